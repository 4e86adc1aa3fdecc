from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_rlm import columnar
from nas_rlm.columnar import ColumnarError, Columns, Origin
from nas_rlm.tables import TableError, read_columns, read_table
from search_spaces import get_space

SPACE = get_space("nasbench201")
ORIGIN = Origin("somebody, https://example.org", "file.pt", "0" * 64, "2026-01-01", {"a: b": 2})


def made(rows: int = 30, **figures: float) -> Columns:
    """Columns that count up from a figure each."""
    rng = np.random.default_rng(0)
    notation = list(dict.fromkeys(SPACE.format(SPACE.sample(rng)) for _ in range(2 * rows)))[:rows]
    numbers = {name: first + np.arange(rows) for name, first in figures.items()}
    return Columns("nasbench201", tuple(notation), numbers, dict.fromkeys(figures, ORIGIN))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "table.npz"
    columns = made(pixel3_latency_ms=1.0, cifar10_test_acc=50.0)
    columns.figures["pixel3_latency_ms"][3] = np.nan
    columnar.write(path, columns)
    return path


def test_what_is_written_is_read(path: Path) -> None:
    columns = columnar.read(path.read_bytes())
    assert columns.space == "nasbench201"
    assert columns.notation == made().notation
    assert columns.origins == {"pixel3_latency_ms": ORIGIN, "cifar10_test_acc": ORIGIN}
    np.testing.assert_array_equal(columns.figures["cifar10_test_acc"], 50 + np.arange(30.0))
    assert np.isnan(columns.figures["pixel3_latency_ms"][3])
    some = columnar.read(path.read_bytes(), ["cifar10_test_acc"])
    assert list(some.figures) == list(some.origins) == ["cifar10_test_acc"]


def test_is_a_table(path: Path) -> None:
    assert read_columns(path) == ("arch", "pixel3_latency_ms", "cifar10_test_acc")
    names = ["cifar10_test_acc", "pixel3_latency_ms"]
    table = read_table(path, SPACE, names, complete=False, missing=True)
    assert [SPACE.format(a) for a in table.architectures] == list(made().notation)
    np.testing.assert_array_equal(table.values[:3], [[50, 1], [51, 2], [52, 3]])
    assert np.isnan(table.values[3, 1])
    with pytest.raises(TableError, match="column 'pixel3_latency_ms': a figure is missing"):
        read_table(path, SPACE, names, complete=False)
    with pytest.raises(TableError, match="expected 15,625 rows"):
        read_table(path, SPACE, names[:1])
    with pytest.raises(TableError, match="no column 'toaster'; it has pixel3_latency_ms, cifar10"):
        read_table(path, SPACE, ["toaster"])
    with pytest.raises(TableError, match="a table of nasbench201, not of fbnet"):
        read_table(path, get_space("fbnet"), names, complete=False)


def test_columns_of_several_imports_come_together() -> None:
    there, new = made(a_ms=1.0, b_ms=2.0), made(b_ms=9.0, c_ms=3.0)
    order = np.arange(30)[::-1]
    turned = replace(
        new,
        notation=tuple(new.notation[i] for i in order),
        figures={name: column[order] for name, column in new.figures.items()},
    )
    both = columnar.merged(there, turned)
    assert both.notation == there.notation
    assert list(both.figures) == ["a_ms", "b_ms", "c_ms"]
    assert [column[0] for column in both.figures.values()] == [1, 9, 3]
    assert all(np.diff(column).min() == 1 for column in both.figures.values())
    with pytest.raises(ColumnarError, match="30 architectures of nasbench201, and these are 29"):
        columnar.merged(there, made(29, c_ms=1.0))
    with pytest.raises(ColumnarError, match="30 of fbnet, not the same ones"):
        columnar.merged(there, replace(new, space="fbnet"))


@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_a_truncated_file_is_refused(path: Path, keep: float) -> None:
    content = path.read_bytes()
    end = int(keep * len(content)) if isinstance(keep, float) else keep
    with pytest.raises(ColumnarError, match="import it again"):
        columnar.read(content[:end])


def test_a_changed_byte_is_noticed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    with pytest.raises(ColumnarError, match="import it again"):
        columnar.read(bytes(content))


def test_another_archive_and_version_are_refused(path: Path, tmp_path: Path, monkeypatch) -> None:
    other = tmp_path / "other.npz"
    np.savez(other, a=np.arange(3))
    with pytest.raises(ColumnarError, match="no imported table"):
        columnar.read(other.read_bytes())
    np.savez(other, arch=np.array([{}], dtype=object))
    with pytest.raises(ColumnarError, match="no imported table"):
        columnar.read(other.read_bytes())
    monkeypatch.setattr(columnar, "VERSION", 2)
    with pytest.raises(ColumnarError, match="has version 1, this program reads version 2"):
        columnar.read(path.read_bytes())
