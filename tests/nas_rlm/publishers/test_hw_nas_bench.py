from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas_rlm.publishers.hw_nas_bench import read_fbnet, read_nasbench201
from nas_rlm.tables import TableError
from nas_rlm.unpickling import NUMBERS, unpickle

Write = Callable[[str], Path]


def test_figures_of_nasbench201(write: Write) -> None:
    published = read_nasbench201(write("hw_nas_bench"))
    assert len(published.columns) == 27
    edgegpu = published.columns["edgegpu_latency_ms"]
    np.testing.assert_array_equal(edgegpu, [3, 12.5, 7.25])
    np.testing.assert_array_equal(published.columns["edgegpu_energy_mj"], 2 * edgegpu)
    np.testing.assert_array_equal(
        published.columns["imagenet16_120_fpga_latency_ms"], 11 * edgegpu
    )


def test_what_pixel3_did_not_run_is_left_out(write: Write) -> None:
    published = read_nasbench201(write("hw_nas_bench"))
    for prefix in ("", "cifar100_", "imagenet16_120_"):
        column = f"{prefix}pixel3_latency_ms"
        np.testing.assert_array_equal(published.columns[column], [3.60585, 17.2381, np.nan])
        assert published.left_out[f"{column}: output cut off from the input"] == 1
    assert len(published.left_out) == 3


def test_datasets_must_have_the_same_cells(write: Write) -> None:
    path = write("hw_nas_bench")
    content = unpickle(path.read_bytes(), NUMBERS)
    content["nasbench201"]["cifar100"]["config"].reverse()
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(TableError, match="the datasets have different architectures"):
        read_nasbench201(path)


def test_a_network_of_fbnet_costs_the_sum_of_its_blocks(write: Write) -> None:
    path = write("hw_nas_bench_fbnet")
    notation = "0-1-2-3-4-5-6-7-8-8-8-8-8-0-0-0-0-0-0-0-0-8"
    published = read_fbnet(path, networks=[notation])
    costs = unpickle(path.read_bytes(), NUMBERS)["fbnet"]["pixel3_latency"]
    imagenet = [
        "ConvNorm_H224_W224_Cin3_Cout16_kernel3_stride2_group1",
        "ConvBlock_H112_W112_Cin16_Cout16_exp1_kernel3_stride1_group1",
        "ConvBlock_H112_W112_Cin16_Cout24_exp1_kernel3_stride2_group2",
        "ConvBlock_H56_W56_Cin24_Cout24_exp3_kernel3_stride1_group1",
        "ConvBlock_H56_W56_Cin24_Cout24_exp6_kernel3_stride1_group1",
        "ConvBlock_H56_W56_Cin24_Cout24_exp1_kernel5_stride1_group1",
        "ConvBlock_H56_W56_Cin24_Cout32_exp1_kernel5_stride2_group2",
        "ConvBlock_H28_W28_Cin32_Cout32_exp3_kernel5_stride1_group1",
        "ConvBlock_H28_W28_Cin32_Cout32_exp6_kernel5_stride1_group1",
        "Skip_H28_W28_Cin32_Cout32_stride1",
        "Skip_H28_W28_Cin32_Cout64_stride2",
        *["Skip_H14_W14_Cin64_Cout64_stride1"] * 3,
        "ConvBlock_H14_W14_Cin64_Cout112_exp1_kernel3_stride1_group1",
        *["ConvBlock_H14_W14_Cin112_Cout112_exp1_kernel3_stride1_group1"] * 3,
        "ConvBlock_H14_W14_Cin112_Cout184_exp1_kernel3_stride2_group1",
        *["ConvBlock_H7_W7_Cin184_Cout184_exp1_kernel3_stride1_group1"] * 3,
        "Skip_H7_W7_Cin184_Cout352_stride1",
        "ConvNorm_H7_W7_Cin352_Cout1984_kernel1_stride1_group1",
        "AvgP_H7_W7_Cin1984_Cout1984_kernel7_stride1",
        "FC_Cin1984_Cout1000",
    ]
    expected = sum(costs[name] for name in imagenet)
    assert published.columns["imagenet_pixel3_latency_ms"] == pytest.approx([expected])
    cifar100 = [
        "ConvNorm_H32_W32_Cin3_Cout16_kernel3_stride1_group1",
        "ConvBlock_H32_W32_Cin16_Cout16_exp1_kernel3_stride1_group1",
        "ConvBlock_H32_W32_Cin16_Cout24_exp1_kernel3_stride1_group2",
        "ConvBlock_H32_W32_Cin24_Cout24_exp3_kernel3_stride1_group1",
        "ConvBlock_H32_W32_Cin24_Cout24_exp6_kernel3_stride1_group1",
        "ConvBlock_H32_W32_Cin24_Cout24_exp1_kernel5_stride1_group1",
        "ConvBlock_H32_W32_Cin24_Cout32_exp1_kernel5_stride2_group2",
        "ConvBlock_H16_W16_Cin32_Cout32_exp3_kernel5_stride1_group1",
        "ConvBlock_H16_W16_Cin32_Cout32_exp6_kernel5_stride1_group1",
        "Skip_H16_W16_Cin32_Cout32_stride1",
        "Skip_H16_W16_Cin32_Cout64_stride2",
        *["Skip_H8_W8_Cin64_Cout64_stride1"] * 3,
        "ConvBlock_H8_W8_Cin64_Cout112_exp1_kernel3_stride1_group1",
        *["ConvBlock_H8_W8_Cin112_Cout112_exp1_kernel3_stride1_group1"] * 3,
        "ConvBlock_H8_W8_Cin112_Cout184_exp1_kernel3_stride2_group1",
        *["ConvBlock_H4_W4_Cin184_Cout184_exp1_kernel3_stride1_group1"] * 3,
        "Skip_H4_W4_Cin184_Cout352_stride1",
        "ConvNorm_H4_W4_Cin352_Cout1504_kernel1_stride1_group1",
        "AvgP_H4_W4_Cin1504_Cout1504_kernel4_stride1",
        "FC_Cin1504_Cout100",
    ]
    expected = sum(costs[name] for name in cifar100)
    assert published.columns["pixel3_latency_ms"] == pytest.approx([expected])


def test_networks_of_fbnet_are_always_the_same(write: Write) -> None:
    path = write("hw_nas_bench_fbnet")
    first, second = read_fbnet(path), read_fbnet(path)
    assert first.notation == second.notation
    assert len(first.notation) == 5000
    assert len(first.columns) == 16  # the EdgeTPU was not measured


def test_a_table_that_lacks_a_block_is_refused(write: Write) -> None:
    path = write("hw_nas_bench_fbnet")
    content = unpickle(path.read_bytes(), NUMBERS)
    del content["fbnet"]["pixel3_latency"]["Skip_H7_W7_Cin184_Cout352_stride1"]
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(TableError, match="Skip_H7_W7_Cin184_Cout352_stride1"):
        read_fbnet(path)
