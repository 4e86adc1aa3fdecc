"""Writing files so that a reader, or a process that was killed, never sees half of one."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

UNFINISHED = ".unfinished"
"""Ending of the name of a file that is being written; safe to delete."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that appears, or replaces its former self, when it is complete.

    Raises:
        OSError: The folder cannot be made or written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + UNFINISHED)
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text, see `write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON, see `write_bytes`."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, see `write_bytes`."""
    write_text(path, format_csv(header, rows))


def format_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """The text of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


@contextmanager
def alone(path: Path, busy: Exception) -> Iterator[None]:
    """Hold a folder's or file's lock, which the system releases even if this process is killed.

    Args:
        path: It exists.
        busy: Raised if another process holds the lock.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        yield
    finally:
        os.close(handle)


def drop_half_line(file: Path) -> None:
    """Take off the half line that a killed process may have left: the next would join it."""
    if file.exists():
        content = file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(file, whole)


def check_model_folder(folder: Path) -> None:
    """Refuse before the training what saving would refuse after it.

    Raises:
        FileExistsError: The folder holds something other than a model.
        OSError: It cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(0, "is a file; name a folder for the model", str(folder))
    if folder.exists() and any(folder.iterdir()) and not (folder / "rlm.json").exists():
        raise FileExistsError(0, "holds something else; name another folder", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(folder.parent, os.W_OK):
        raise PermissionError(13, "Permission denied", str(folder.parent))
