from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nas_rlm.publishers.help import read_fbnet, read_nasbench201, read_ofa
from nas_rlm.tables import TableError

Write = Callable[[str], Path]


def test_latencies_belong_to_the_architecture_of_their_number(write: Write) -> None:
    published = read_nasbench201(write("help_nasbench201"))
    assert published.notation[1].startswith("|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|")
    np.testing.assert_array_equal(published.columns["gold_6226_latency_ms"], [10.5, 20.25, 11.5])
    np.testing.assert_array_equal(published.columns["pixel3_latency_ms"], [3.6, 17.2, np.nan])
    # On the others the network that computes zero is not the quickest.
    assert published.left_out == {"pixel3_latency_ms: output cut off from the input": 1}


def test_fbnet(write: Write) -> None:
    published = read_fbnet(write("help_fbnet"))
    np.testing.assert_array_equal(published.columns["samsung_a50_latency_ms"], [56, 40, 31, 33])


def test_once_for_all_has_the_width_that_was_measured(write: Write) -> None:
    published = read_ofa(write("help_ofa"))
    assert published.space.width == 1.2  # type: ignore[attr-defined]
    np.testing.assert_array_equal(published.columns["v100_64_latency_ms"], [21.5, 30.25, 18])


def test_files_of_different_spaces_are_refused(write: Write) -> None:
    folder = write("help_fbnet")
    torch.save([10.0, 11.0], folder / "latency" / "pixel3.pt")
    with pytest.raises(TableError, match="4 architectures but 2 figures of pixel3_latency_ms"):
        read_fbnet(folder)
    (folder / "metainfo.pt").unlink()
    with pytest.raises(TableError, match=r"metainfo\.pt: no such file"):
        read_fbnet(folder)


def test_a_folder_without_latencies_is_refused(write: Write) -> None:
    folder = write("help_fbnet")
    for file in (folder / "latency").iterdir():
        file.unlink()
    with pytest.raises(TableError, match=r"no file latency/\*\.pt in it"):
        read_fbnet(folder)


def test_indices_with_a_gap_are_refused(write: Write) -> None:
    folder = write("help_nasbench201")
    indices = torch.load(folder / "str_arch2idx.pt")
    indices.popitem()
    torch.save({cell: number + 1 for cell, number in indices.items()}, folder / "str_arch2idx.pt")
    with pytest.raises(TableError, match="not those of a list"):
        read_nasbench201(folder)
