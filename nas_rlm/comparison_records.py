"""The folder of a comparison: what is compared, and one record for each cell measured so far.

``comparison.json`` says what is compared and is written first. ``cells.jsonl`` gets one line for
each cell. Everything else is made from these two and can be made again.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nas_rlm.cells import Labelled, Record, key
from nas_rlm.files import UNFINISHED, alone, drop_half_line, write_json
from nas_rlm.grids import Cell

COMPARISON_VERSION = 1
_PACKAGES = (
    *("nas-rlm", "numpy", "scipy", "torch", "onnx"),
    *("scikit-learn", "lightgbm", "torch-geometric"),
)
_DESCRIPTION = "comparison.json"
_CELLS = "cells.jsonl"


class ComparisonError(ValueError):
    """A comparison cannot be made, or not in full; what it has measured so far is kept."""


def describe(data: Labelled, uncertainty: bool) -> dict[str, Any]:
    """What ``comparison.json`` says: records that differ in it must not be mixed."""
    content = sha256(data.values.tobytes())
    for architecture in data.architectures:
        content.update(data.space.format(architecture).encode() + b"\n")
    return {
        "version": COMPARISON_VERSION,
        "config": {
            "data": data.name,
            "space": data.space.name,
            "rows": len(data.architectures),
            "objectives": [key(objective) for objective in data.objectives],
            "directions": [objective.direction for objective in data.objectives],
            "uncertainty": uncertainty,
        },
        "objectives": [asdict(objective) for objective in data.objectives],
        "figures": dict(data.provenance["figures"]),
        "sha256": {
            **data.provenance["sha256"],
            # Of what the predictors see, however it was read or modelled.
            "architectures and values": content.hexdigest(),
        },
        "versions": {**data.provenance["versions"], **_versions()},
    }


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        # A comparison of few predictors needs few of them.
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


class Records:
    """The records in a comparison's folder, see `open_records`.

    Attributes:
        description: What is compared, see `describe`.
    """

    def __init__(self, file: Path, description: dict[str, Any]) -> None:
        self.description = description
        self._file = file
        self._records = _read_cells(file)

    def get(self, cell: Cell) -> Record | None:
        """The record of a cell, None if it has none or the predictor failed."""
        record = self._records.get(cell)
        return None if record is None or "error" in record else record

    def error(self, cell: Cell) -> str | None:
        """What went wrong when the cell was last tried, None if nothing did."""
        return self._records.get(cell, {}).get("error")

    def add(self, cell: Cell, record: Record) -> None:
        """Keep a cell's record: it is on the disk when this returns.

        Raises:
            OSError: The file cannot be written to.
        """
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**cell._asdict(), **record}, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._records[cell] = record


@contextmanager
def open_records(folder: Path, description: dict[str, Any]) -> Iterator[Records]:
    """Make a comparison's folder, or open one to go on with it, and keep others out of it.

    Args:
        folder: A new or empty folder, or one with a comparison of the same.
        description: What is compared, see `describe`.

    Raises:
        ComparisonError: The folder holds something else or a comparison of something else, its
            records are damaged, or another process is at work in it.
        OSError: The folder cannot be made or written to.
    """
    _check_folder(folder, description)
    folder.mkdir(parents=True, exist_ok=True)
    busy = ComparisonError(
        f"a comparison is at work in {folder}: wait for it to end, or name another folder"
    )
    with alone(folder, busy):
        stored = _check_folder(folder, description) or {"versions": {}}
        # A package that was not there before has measured nothing before.
        description = {
            **description,
            "versions": {**stored["versions"], **description["versions"]},
        }
        if stored != description:
            write_json(folder / _DESCRIPTION, description)
        drop_half_line(folder / _CELLS)
        yield Records(folder / _CELLS, description)


def _check_folder(folder: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """What the comparison in ``folder`` compares, None if the folder is free for a new one."""
    if folder.exists() and not folder.is_dir():
        raise ComparisonError(f"{folder} is a file: name a folder for the comparison")
    stored = _read_description(folder / _DESCRIPTION)
    if stored is None:
        entries = sorted(folder.iterdir()) if folder.exists() else []
        if found := [path.name for path in entries if not path.name.endswith(UNFINISHED)]:
            raise ComparisonError(
                f"{folder} is not empty and holds no comparison (it has {found[0]!r}): "
                "name a new folder"
            )
        return None
    differences = (
        _differences(stored["config"], wanted["config"], "{} is {} there and {} here")
        or _differences(stored["sha256"], wanted["sha256"], "the checksum of {} differs")
        or _differences(
            {name: v for name, v in stored["versions"].items() if name in wanted["versions"]},
            {name: v for name, v in wanted["versions"].items() if name in stored["versions"]},
            "{} is {} there and {} here",
        )
    )
    if differences:
        raise ComparisonError(
            f"{folder} holds another comparison: {'; '.join(differences)}. "
            "Name another folder, or ask for the same as before"
        )
    return stored


def _differences(stored: Mapping[str, Any], wanted: Mapping[str, Any], fault: str) -> list[str]:
    return [
        fault.format(name, _shown(stored.get(name, "absent")), _shown(wanted.get(name, "absent")))
        for name in {**stored, **wanted}
        if stored.get(name) != wanted.get(name)
    ]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _read_description(file: Path) -> dict[str, Any] | None:
    try:
        stored: dict[str, Any] = json.loads(file.read_text("utf-8"))
        if stored["version"] != COMPARISON_VERSION:
            raise ComparisonError(
                f"{file} has version {stored['version']}, this program reads version "
                f"{COMPARISON_VERSION}: name another folder"
            )
        for name in ("config", "sha256", "versions"):
            stored[name].items()
    except FileNotFoundError:
        return None
    except ComparisonError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ComparisonError(f"{file} is damaged ({error}): name another folder") from error
    return stored


def _read_cells(file: Path) -> dict[Cell, Record]:
    """Cell to its latest record."""
    records: dict[Cell, Record] = {}
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            cell = Cell(*(record.pop(name) for name in Cell._fields))
            records[cell] = record
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ComparisonError(
                f"{file}, line {number} is damaged ({error}): delete the line to measure its "
                "cell again"
            ) from error
    return records
