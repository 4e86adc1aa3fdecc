"""NDS, NAS-Bench-101, Once-for-All and Accel-NASBench."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas_rlm.publishers import accel_nasbench, nasbench101, nds, once_for_all
from nas_rlm.tables import TableError
from nas_rlm.unpickling import ARRAYS, unpickle
from search_spaces.nds import NDSDARTS

Write = Callable[[str], Path]


def test_nds_takes_the_most_frequent_width_and_depth(write: Write) -> None:
    published = nds.read(write("nds"))
    assert isinstance(published.space, NDSDARTS)
    assert (published.space.width, published.space.depth) == (16, 20)
    np.testing.assert_allclose(published.columns["cifar10_test_acc"], [92, 92.75])
    np.testing.assert_allclose(published.columns["cifar10_best_test_acc"], [92.5, 93.25])
    np.testing.assert_allclose(published.columns["params_m"], 3.349342)
    np.testing.assert_allclose(published.columns["flops_m"], 533)
    assert published.left_out == {"of width 32 and depth 20": 1}


def test_nds_with_a_chosen_width(write: Write) -> None:
    published = nds.read(write("nds"), width=32)
    assert isinstance(published.space, NDSDARTS)
    assert published.space.width == 32
    np.testing.assert_allclose(published.columns["cifar10_test_acc"], [94.5])
    with pytest.raises(TableError, match="no network of width any and depth 8; there are 16 x 20"):
        nds.read(write("nds"), depth=8)


def test_nds_reads_plain_lists_and_fixed_sizes(write: Write) -> None:
    path = write("nds")
    fixed = path.with_name("DARTS_fix-w-d.json")
    fixed.write_text(json.dumps(json.loads(path.read_text())["mid"]))
    np.testing.assert_allclose(nds.read(fixed).columns["cifar10_test_acc"], [92.75])


@pytest.mark.parametrize("name", ["DARTS_in.json", "ResNet.json", "results.json"])
def test_nds_refuses_files_of_other_spaces(write: Write, name: str) -> None:
    path = write("nds")
    with pytest.raises(TableError, match="name of the file says what is in it"):
        nds.read(path.rename(path.with_name(name)))


def test_nds_refuses_genotypes_of_another_space(write: Write) -> None:
    path = write("nds")
    with pytest.raises(TableError, match=r"architecture 0: .* is not a nds_enas network"):
        nds.read(path.rename(path.with_name("ENAS.json")))


def test_nasbench101_is_averaged_over_trainings(write: Write) -> None:
    published = nasbench101.read(write("nasbench101"))
    assert published.notation == (
        "011/001/000 input,conv3x3-bn-relu,output",
        "0110/0010/0001/0000 input,conv1x1-bn-relu,maxpool3x3,output",
    )
    np.testing.assert_allclose(published.columns["cifar10_valid_acc"], [91, 93])
    np.testing.assert_allclose(published.columns["cifar10_test_acc"], [90, 92])
    np.testing.assert_allclose(published.columns["train_time_s"], 1000)
    np.testing.assert_allclose(published.columns["params_m"], 2.694282)


def test_nasbench101_leaves_out_short_trainings(
    write: Write, record: Callable[..., bytes]
) -> None:
    path = write("nasbench101")
    short = record("011001000", "input,conv3x3-bn-relu,output", 0.5, epochs=36)
    path.write_bytes(path.read_bytes() + short)
    published = nasbench101.read(path)
    np.testing.assert_allclose(published.columns["cifar10_valid_acc"], [91, 93])
    assert published.left_out == {"a training of 36 epochs": 1}


@pytest.mark.parametrize("position", [1, 9, 100, 420])
def test_nasbench101_notices_a_flipped_bit(write: Write, position: int) -> None:
    path = write("nasbench101")
    content = bytearray(path.read_bytes())
    content[position] ^= 2
    path.write_bytes(content)
    with pytest.raises(TableError, match=r"checksum of a record|a record of [0-9]{15,} bytes"):
        nasbench101.read(path)


def test_nasbench101_does_not_reserve_what_a_damaged_length_says(write: Write) -> None:
    path = write("nasbench101")
    content = bytearray(path.read_bytes())
    content[6] = 255
    path.write_bytes(content)
    with pytest.raises(TableError, match="a record of 717"):
        nasbench101.read(path)


def test_once_for_all_accuracies_are_percentages(write: Write) -> None:
    published = once_for_all.read_accuracies(write("ofa_accuracy"))
    assert published.space.width == 1.0  # type: ignore[attr-defined]
    np.testing.assert_allclose(published.columns["imagenet_top1"], [68.2, 71.24, 69])
    np.testing.assert_array_equal(
        published.columns["peak_activation_elements"], [262912, 301056, 262912]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wid": None}, "figures of CompOFA"),
        ({"e": [2] * 20}, "expansion_1_1 = '2' is not offered"),
    ],
)
def test_once_for_all_refuses_other_supernets(write: Write, change: dict, message: str) -> None:
    path = write("ofa_accuracy")
    content = unpickle(path.read_bytes(), ARRAYS)
    content["configs"][0] |= change
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(TableError, match=re.escape(message)):
        once_for_all.read_accuracies(path)


def test_accel_nasbench_keeps_the_first_of_two_trainings(write: Write) -> None:
    published = accel_nasbench.read(write("accel_nasbench"))
    np.testing.assert_array_equal(published.columns["imagenet_top1"], [58.5, 60.5])
    np.testing.assert_array_equal(published.columns["zcu102_latency_ms"], [np.nan, 4.25])
    np.testing.assert_array_equal(published.columns["rtx3090_throughput_img_s"], 501)
    np.testing.assert_array_equal(published.columns["vck190_throughput_img_s"], 505)
    assert published.left_out == {
        "zcu102_latency_ms: no figure": 1,
        "an architecture again, measured anew": 1,
    }
