"""Publishers' files to imported tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nas_rlm import columnar
from nas_rlm.columnar import ColumnarError, Columns, Origin
from nas_rlm.config import IMPORTED
from nas_rlm.files import alone
from nas_rlm.publishers import Publisher
from nas_rlm.tables import TableError
from search_spaces import get_space
from search_spaces.base import ArchitectureError


def import_table(
    publisher: Publisher, path: Path, folder: Path, *, any_file: bool = False
) -> tuple[Path, Mapping[str, int]]:
    """Read a publisher's file into a folder of tables.

    Several publishers' figures of the same architectures come into one table.

    Args:
        publisher: Whose file it is.
        path: The file, or the folder that its publisher has.
        folder: Of the tables; it is made if it is not there.
        any_file: Import it even if its checksum is not the publisher's.

    Returns:
        The table, and what was left out: why, and how many.

    Raises:
        TableError: The file cannot be used, or is not that which was published. The table is as
            it was.
        OSError: The table cannot be written.
    """
    published = publisher.read(path)
    if publisher.sha256 not in (None, published.source.sha256) and not any_file:
        raise TableError(
            f"{path} has the checksum {published.source.sha256}, the published file has "
            f"{publisher.sha256}: get it again, or import it with --any-file"
        )
    imported = columnar.now()
    origins = {
        name: Origin(
            published.source.citation,
            published.source.file,
            published.source.sha256,
            imported,
            {why: n for why, n in published.left_out.items() if why.startswith(f"{name}: ")},
        )
        for name in published.columns
    }
    new = Columns(published.space.name, published.notation, published.columns, origins)
    target = folder / f"{publisher.table or published.space.name}{IMPORTED}"
    folder.mkdir(parents=True, exist_ok=True)
    busy = TableError(f"another import is at work in {folder}: wait for it to end")
    with alone(folder, busy):
        if target.exists():
            try:
                new = columnar.merged(columnar.read(target.read_bytes()), new)
            except ColumnarError as error:
                raise TableError(f"{target}: {error}") from error
        columnar.write(target, new)
    return target, published.left_out


def check_table(path: Path) -> str:
    """Read an imported table whole, and say what is in it.

    Raises:
        TableError: It is damaged, or an architecture is not of its space or there twice.
    """
    try:
        columns = columnar.read(path.read_bytes())
        space = get_space(columns.space)
        written = [space.format(space.parse(text)) for text in columns.notation]
    except (ColumnarError, ArchitectureError) as error:
        raise TableError(f"{path}: {error}") from error
    if len(set(written)) != len(written):
        raise TableError(f"{path}: an architecture is there twice; import it again")
    missing = sum(int(np.isnan(column).sum()) for column in columns.figures.values())
    return (
        f"{len(written):,} architectures of {space.name}, {len(columns.figures)} columns, "
        f"{missing:,} figures missing; sound"
    )
