"""Imported tables: figures for architectures, column by column, with where each came from.

Such a file is a numpy archive of arrays that needs no unpickling: one of numbers for each column,
the architectures in their space's notation, and what is known of the columns' origins. Columns of
several publishers can lie in one file, if they are of the same architectures.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_rlm.files import write_bytes

VERSION = 1
_ARCHITECTURES, _ABOUT = "arch", "about.json"


class ColumnarError(ValueError):
    """A file of columns cannot be read, or columns do not belong into it; nothing was changed."""


@dataclass(frozen=True)
class Origin:
    """Where a column comes from.

    Attributes:
        citation: Who published it.
        file: What it was read from.
        sha256: Of that.
        imported: When, UTC, ISO 8601.
        left_out: Why figures of it were left out, and how many.
    """

    citation: str
    file: str
    sha256: str
    imported: str
    left_out: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Columns:
    """What a file of columns holds.

    Attributes:
        space: The name of the search space.
        notation: The n architectures, all different.
        figures: Name with unit to figures, shape (n,), NaN where there is none.
        origins: Name to origin.
    """

    space: str
    notation: tuple[str, ...]
    figures: Mapping[str, NDArray[np.float64]]
    origins: Mapping[str, Origin]


def now() -> str:
    """For `Origin`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(path: Path, columns: Columns) -> None:
    """Write a file that appears, or replaces its former self, when it is complete.

    Raises:
        OSError: It cannot be written.
    """
    about = {
        "version": VERSION,
        "nas-rlm": version("nas-rlm"),
        "space": columns.space,
        "origins": {name: asdict(origin) for name, origin in columns.origins.items()},
    }
    arrays = {
        _ARCHITECTURES: _bytes("\n".join(columns.notation)),
        _ABOUT: _bytes(json.dumps(about)),
        **columns.figures,
    }
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    write_bytes(path, content.getvalue())


def read(content: bytes, names: Iterable[str] | None = None) -> Columns:
    """Read a file of columns.

    Args:
        content: Of the file.
        names: Columns to read; None: all.

    Raises:
        ColumnarError: It is damaged or of another version, or lacks a column.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            about = json.loads(_text(archive[_ABOUT]))
            if about["version"] != VERSION:
                raise ColumnarError(
                    f"it has version {about['version']}, this program reads version {VERSION}; "
                    "import it again"
                )
            origins = {name: Origin(**origin) for name, origin in about["origins"].items()}
            chosen = list(origins) if names is None else list(names)
            if absent := [name for name in chosen if name not in origins]:
                raise ColumnarError(f"no column {absent[0]!r}; it has {', '.join(origins)}")
            notation = tuple(_text(archive[_ARCHITECTURES]).split("\n"))
            figures = {name: archive[name] for name in chosen}
    except ColumnarError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ColumnarError(f"damaged, or no imported table ({error}); import it again") from error
    if any(column.shape != (len(notation),) for column in figures.values()):
        raise ColumnarError("its columns are not of one length; import it again")
    return Columns(about["space"], notation, figures, {name: origins[name] for name in chosen})


def merged(there: Columns, new: Columns) -> Columns:
    """Columns of two imports; the new ones replace those of the same name.

    Raises:
        ColumnarError: They are not of the same architectures.
    """
    row = {text: number for number, text in enumerate(new.notation)}
    if there.space != new.space or row.keys() != set(there.notation):
        raise ColumnarError(
            f"it has {len(there.notation):,} architectures of {there.space}, and these are "
            f"{len(row):,} of {new.space}, not the same ones; import them into another file"
        )
    order = [row[text] for text in there.notation]
    figures = {name: column[order] for name, column in new.figures.items()}
    return Columns(
        there.space,
        there.notation,
        {**there.figures, **figures},
        {**there.origins, **new.origins},
    )


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _text(numbers: Any) -> str:
    return bytes(numbers).decode()
