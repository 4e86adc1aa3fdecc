"""Downloading published files: from a mirror if need be, resumed, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import pooch
import requests
from tqdm import tqdm

from nas_rlm.files import UNFINISHED

_CHUNK = 1 << 20
_SECONDS = 30


class DownloadError(OSError):
    """A file could not be downloaded; what has come of it stays, and the next call goes on."""


def download(
    urls: Sequence[str], path: Path, sha256: str | None = None, *, progress: bool = True
) -> Path:
    """Get a file, unless it is there, from the first address that has it.

    Args:
        urls: Addresses of the same file.
        path: Where it goes.
        sha256: Its checksum; a file that has another one is not kept. None: any will do.
        progress: Show a progress bar.

    Raises:
        DownloadError: No address has it.
    """
    known = None if sha256 is None else f"sha256:{sha256}"
    failures = []
    for url in urls:
        resuming = partial(_resume, part=path.with_name(path.name + UNFINISHED), progress=progress)
        try:
            pooch.get_logger().setLevel("WARNING")  # it suggests to write down the checksum
            return Path(
                pooch.retrieve(url, known, fname=path.name, path=path.parent, downloader=resuming)
            )
        except (requests.RequestException, ValueError, OSError) as error:
            failures.append(f"{url}: {' '.join(str(error).split())}")
    raise DownloadError("; ".join(failures) + "; try again, or name a mirror")


def _resume(url: str, output: IO[bytes] | str, _: Any, *, part: Path, progress: bool) -> None:
    """Append what is missing to ``part``, then make it the output."""
    there = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    with requests.get(url, headers=headers, stream=True, timeout=_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            # Nothing is missing, or it is not a part of that file; the checksum tells.
            part.replace(str(output))
            return
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            there = 0
        total = there + int(response.headers.get("Content-Length", 0)) or None
        _append(response, part, there, total, progress)
    part.replace(str(output))


def _append(
    response: requests.Response, part: Path, there: int, total: int | None, progress: bool
) -> None:
    with (
        part.open("ab" if there else "wb") as file,
        tqdm(
            desc=part.name.removesuffix(UNFINISHED),
            total=total,
            initial=there,
            unit="B",
            unit_scale=True,
            disable=not progress,
        ) as bar,
    ):
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        if total is not None and file.tell() != total:
            raise requests.ConnectionError(f"{file.tell():,} of {total:,} bytes came")
