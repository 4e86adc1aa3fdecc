from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from nas_rlm.publishers.published import Published, Source, published, source
from nas_rlm.tables import TableError
from search_spaces import get_space

SPACE = get_space("nats_size")
FIRST, SECOND, THIRD = "8:8:8:8:8", "8:16:8:64:24", "64:64:64:64:64"
SOURCE = Source("us", "table", "0")


def make(notation: tuple[str, ...], **columns: list[float | None]) -> Published:
    return published(SPACE, notation, columns, SOURCE)


def test_what_is_no_figure_is_left_out_and_counted() -> None:
    table = make(
        (FIRST, SECOND, THIRD),
        cpu_latency_ms=[5.0, 0.0, -1.0],
        top_acc=[None, float("nan"), 71.5],
        gpu_latency_ms=[float("inf"), 2.0, 3.0],
    )
    np.testing.assert_array_equal(table.columns["cpu_latency_ms"], [5, np.nan, np.nan])
    np.testing.assert_array_equal(table.columns["top_acc"], [np.nan, np.nan, 71.5])
    assert table.left_out == {
        "cpu_latency_ms: zero or negative": 2,
        "top_acc: no figure": 2,
        "gpu_latency_ms: no figure": 1,
    }


def test_a_column_without_figures_is_left_out() -> None:
    table = make((FIRST, SECOND), cpu_latency_ms=[5.0, 6.0], gpu_latency_ms=[None, -1.0])
    assert set(table.columns) == {"cpu_latency_ms"}
    assert table.left_out == {
        "gpu_latency_ms: no figure": 1,
        "gpu_latency_ms: zero or negative": 1,
    }


def test_an_architecture_may_be_repeated_with_the_same_figures() -> None:
    table = make((FIRST, SECOND, FIRST), top_acc=[60, 70, 60], cpu_latency_ms=[None, 2, None])
    assert table.notation == (FIRST, SECOND)
    np.testing.assert_array_equal(table.columns["top_acc"], [60, 70])
    assert table.left_out["an architecture again, the same"] == 1


def test_the_first_measurement_is_kept_on_request() -> None:
    notation, columns = (FIRST, SECOND, FIRST), {"top_acc": [60.0, 70.0, 61.0]}
    table = published(SPACE, notation, columns, SOURCE, keep_first=True)
    np.testing.assert_array_equal(table.columns["top_acc"], [60, 70])
    assert table.left_out == {"an architecture again, measured anew": 1}


@pytest.mark.parametrize(
    ("notation", "columns", "message"),
    [
        ((FIRST, SECOND, FIRST), {"top_acc": [60, 70, 61]}, "architecture 2: that of 0 again"),
        ((FIRST, "9:8:8:8:8"), {"top_acc": [60, 70]}, "architecture 1: '9:8:8:8:8' is not a nats"),
        ((FIRST,), {"top_acc": [60, 70]}, "1 architectures but 2 figures of top_acc"),
        ((FIRST,), {"top_acc": ["good"]}, "top_acc has something else than numbers"),
        ((), {"top_acc": []}, "no architecture with a figure"),
        ((FIRST,), {}, "no architecture with a figure"),
        ((FIRST,), {"top_acc": [None]}, "no architecture with a figure"),
        ((FIRST, SECOND), {"top_acc": [0.6, 0.7]}, "up to 0.7, which is not an accuracy in %"),
        ((FIRST,), {"imagenet_top1": [761.0]}, "up to 761, which is not an accuracy in %"),
        ((FIRST, SECOND), {"a_latency_ms": [12.0, 0.013]}, "are there several units in it?"),
        ((FIRST, SECOND), {"a_energy_mj": [12.0, 13000]}, "are there several units in it?"),
        ((FIRST, SECOND), {"a_latency_ms": [0.012, 0.013]}, "are they in another unit?"),
        ((FIRST, SECOND), {"a_latency_ms": [12000, 13000]}, "are they in another unit?"),
    ],
)
def test_what_cannot_be_is_refused(
    notation: tuple[str, ...], columns: dict[str, list], message: str
) -> None:
    with pytest.raises(TableError, match=re.escape(message)) as caught:
        make(notation, **columns)
    assert str(caught.value).startswith("table")


def test_the_checksum_of_a_folder_is_that_of_what_sha256sum_prints(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    files = [tmp_path / "b" / "two", tmp_path / "a"]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]))
    two, one = (hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    printed = f"{one}  a\n{two}  b/two\n"
    expected = hashlib.sha256(printed.encode()).hexdigest()
    assert source("us", tmp_path, files) == Source("us", tmp_path.name, expected)
    assert source("us", files[1]).sha256 == one
