"""What a reader of a publisher's file returns, and what all readers check."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_rlm.tables import COSTS, TableError, identity
from search_spaces.base import Architecture, ArchitectureError, SearchSpace

# Within a column of the files read here the largest figure is at most 40 times the smallest.
_WIDEST_RATIO = 300
_USUAL_LATENCY_MS = (0.1, 10_000)


@dataclass(frozen=True)
class Source:
    """Where figures come from.

    Attributes:
        citation: Who published them, and where.
        file: Name of the file, or of the folder if there are several.
        sha256: Of the file; of several files that of what ``sha256sum`` prints for them.
    """

    citation: str
    file: str
    sha256: str


@dataclass(frozen=True, eq=False)
class Published:
    """Figures as their publisher gave them, in the units of this project.

    Attributes:
        space: The search space of the networks that were measured.
        notation: The n architectures in the notation of the space, all different.
        columns: Name with unit, such as ``pixel3_latency_ms``, to the figures, shape (n,), NaN
            where there is none. Accuracies (``_acc``, ``_top1``, ``_top5``) are in %, latencies
            in ms, energies in mJ, parameters (``_params_m``), FLOPs and MACs in millions.
        left_out: Why rows or figures were left out, and how many.
        source: Where the figures come from.
    """

    space: SearchSpace
    notation: tuple[str, ...]
    columns: Mapping[str, NDArray[np.float64]]
    left_out: Mapping[str, int]
    source: Source


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever goes wrong with a file into one kind of error.

    Args:
        path: The file, or the folder that it is in.
        what: What it should have been, such as ``the pickle of HW-NAS-Bench``.

    Raises:
        TableError: Something went wrong.
    """
    try:
        yield
    except TableError:
        raise
    except FileNotFoundError as error:
        raise TableError(
            f"{error.filename or path}: no such file; reading {what} needs it"
        ) from error
    # A damaged file can raise nearly anything, and the remedy is the same for all of it.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableError(
            f"{path}: not {what}, or damaged ({reason[:300]}); get it again from its publisher"
        ) from error


def source(citation: str, path: Path, files: Sequence[Path] | None = None) -> Source:
    """Describe a file, or the files of a folder that were read."""
    if files is None:
        return Source(citation, path.name, _sha256(path))
    listing = "".join(
        f"{_sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in sorted(files)
    )
    return Source(citation, path.name, hashlib.sha256(listing.encode()).hexdigest())


def published(
    space: SearchSpace,
    notation: Sequence[str],
    columns: Mapping[str, Sequence[float | None] | NDArray[np.float64]],
    source: Source,
    *,
    left_out: Mapping[str, int] | None = None,
    keep_first: bool = False,
    zero_key: str | None = None,
) -> Published:
    """Check what was read, and leave out what is not a figure.

    Args:
        space: The search space.
        notation: The architectures as the file writes them, n of them.
        columns: Name with unit to n figures; None and NaN where there is none.
        source: Where they come from.
        left_out: What the reader has left out already.
        keep_first: Of an architecture that is there again with other figures, keep the first row.
        zero_key: The space's key of networks whose output does not depend on their input. A
            runtime may see that and run next to nothing; latencies of such networks below those
            of all others are therefore left out.

    Raises:
        TableError: An architecture is unknown to the space, or there twice with different
            figures; a column has another length, no figure, or what looks like several units.
    """
    file = source.file
    counted = Counter(left_out or {})
    figures = {name: _figures(file, name, column, counted) for name, column in columns.items()}
    for name, column in figures.items():
        if column.shape != (len(notation),):
            raise TableError(
                f"{file}: {len(notation)} architectures but {column.size} figures of {name}; "
                "the files do not belong together, or one is truncated"
            )
    architectures: list[Architecture] = []
    kept: dict[Hashable, int] = {}
    for row, text in enumerate(notation):
        try:
            architecture = space.parse(text)
        except ArchitectureError as error:
            raise TableError(f"{file}, architecture {row}: {error}") from error
        first = kept.setdefault(identity(space, architecture), row)
        if first == row:
            architectures.append(architecture)
            continue
        equal = all(
            np.array_equal(column[row], column[first], equal_nan=True)
            for column in figures.values()
        )
        if not equal and not keep_first:
            raise TableError(
                f"{file}, architecture {row}: that of {first} again ({text[:200]}), with other "
                "figures; remove one of them"
            )
        counted["an architecture again, " + ("the same" if equal else "measured anew")] += 1
    figures = {
        name: column[list(kept.values())]
        for name, column in figures.items()
        if not np.isnan(column).all()
    }
    if not figures:
        raise TableError(f"{file}: no architecture with a figure; is it the right file?")
    zero = np.array([zero_key is not None and space.key(a) == zero_key for a in architectures])
    for name, column in figures.items():
        if zero.any() and not zero.all() and name.endswith("_latency_ms"):
            skipped = zero & (column < np.nanmin(column[~zero], initial=np.inf))
            column[skipped] = np.nan
            if skipped.any():
                counted[f"{name}: output cut off from the input"] = int(skipped.sum())
        _check_unit(file, name, column)
    notation = tuple(space.format(architecture) for architecture in architectures)
    return Published(space, notation, figures, dict(counted), source)


def files_in(folder: Path, pattern: str) -> list[Path]:
    """The files of that name in a folder, sorted.

    Raises:
        TableError: There is none.
    """
    if files := sorted(folder.glob(pattern)):
        return files
    raise TableError(f"{folder}: no file {pattern} in it; is it the publisher's folder?")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _figures(
    file: str,
    name: str,
    column: Sequence[float | None] | NDArray[np.float64],
    counted: Counter[str],
) -> NDArray[np.float64]:
    try:
        figures = np.array(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TableError(f"{file}: {name} has something else than numbers ({error})") from error
    missing = ~np.isfinite(figures)
    wrong = (figures <= 0) & ~missing
    for why, rows in (("no figure", missing), ("zero or negative", wrong)):
        if rows.any():
            counted[f"{name}: {why}"] = int(rows.sum())
    figures[missing | wrong] = np.nan
    return figures


def _check_unit(file: str, name: str, figures: NDArray[np.float64]) -> None:
    """Refuse what cannot be in one unit, or not in that of the name."""
    figures = figures[~np.isnan(figures)]
    if name.endswith(COSTS) and figures.max() > _WIDEST_RATIO * figures.min():
        raise TableError(
            f"{file}: {name} goes from {figures.min():g} to {figures.max():g}, too far for "
            "networks of one space; are there several units in it?"
        )
    low, high = _USUAL_LATENCY_MS
    if name.endswith("_latency_ms") and not low < np.median(figures) < high:
        raise TableError(
            f"{file}: the median of {name} is {np.median(figures):g}; no network of the space "
            f"takes that many ms, are they in another unit?"
        )
    if name.endswith(("_acc", "_top1", "_top5")) and (figures.max() > 100 or figures.max() <= 1):
        raise TableError(
            f"{file}: {name} goes up to {figures.max():g}, which is not an accuracy in %"
        )
