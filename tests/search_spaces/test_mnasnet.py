"""MnasNet: what Accel-NASBench published, and what is refused."""

from __future__ import annotations

import csv
import gzip
import math

import numpy as np
import pytest

from search_spaces import ArchitectureError, count, get_space, validate

SPACE = get_space("mnasnet")
EFFICIENTNET_B0 = "e1k3l1s_e6k3l2s_e6k5l2s_e6k3l3s_e6k5l3s_e6k5l4s_e6k3l1s"
BLOCK = "_e6k3l1" * 6


@pytest.fixture(scope="module")
def table(shared_data):
    with gzip.open(shared_data / "accel_nasbench.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


def test_efficientnet_b0_is_in_the_space():
    """It has as many parameters as torchvision's, of which the benchmark's networks are made."""
    text = SPACE.onnx_text(SPACE.parse(EFFICIENTNET_B0))
    assert count(validate(text)).parameters == 5_288_548


def test_the_table_is_read(table):
    assert all(SPACE.format(SPACE.parse(row["arch"])) == row["arch"] for row in table)
    assert len(table) == 5138


def test_published_parameters_and_macs(table, nodes):
    """All of them, to their six digits; a sample is counted here.

    The benchmark has counted with thop, for which a value that is normalised costs 4, and one that
    goes into a mean or comes from it 1, but a bias nothing.
    """
    rng = np.random.default_rng(0)
    for row in rng.choice(np.array(table), 25, replace=False):
        text = SPACE.onnx_text(SPACE.parse(row["arch"]))
        costs = count(validate(text))
        macs = costs.flops
        for operator, read, output in nodes(text):
            if operator == "BatchNormalization":
                macs += 4 * math.prod(output)
            elif operator == "GlobalAveragePool":
                macs += math.prod(read[0]) + math.prod(output)
            elif operator in ("Conv", "Gemm") and len(read) == 3:
                macs -= math.prod(output)
        assert f"{costs.parameters / 1e6:.6g}" == row["params_m"]
        assert f"{macs / 1e6:.6g}" == row["macs_m"]


def test_size():
    """Ahmad et al. speak of about 10^11 networks, 10^9 without squeeze-and-excitation."""
    assert SPACE.size == 36**6 * 48 == 128 * 18**6 * 24


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("", "written as 7 stages"),
        ("e6k3l1", "written as 7 stages"),
        ("e6k3l1" + BLOCK + "_e6k3l1", "written as 7 stages"),
        ("e6k3l1x" + BLOCK, "written as 7 stages"),
        ("e6k3l1ss" + BLOCK, "written as 7 stages"),
        ("e6k3" + BLOCK, "written as 7 stages"),
        ("k3e6l1" + BLOCK, "written as 7 stages"),
        ("e6k33l1" + BLOCK, "written as 7 stages"),
        ("e3k3l1" + BLOCK, "expansion_1 = '3' is not offered"),
        ("e6k7l1" + BLOCK, "kernel_1 = '7' is not offered"),
        ("e6k3l4" + BLOCK, "layers_1 = '4' is not offered"),
        ("e6k3l1" + "_e6k3l1" * 4 + "_e6k3l5_e6k3l1", "layers_6 = '5' is not offered"),
    ],
)
def test_what_is_no_network_is_refused(network, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.parse(network)
