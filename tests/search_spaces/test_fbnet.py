"""FBNet: what its authors and HELP published, and what is refused."""

from __future__ import annotations

import csv
import gzip
import math

import pytest

from search_spaces import ArchitectureError, get_space
from search_spaces.fbnet import STAGES, STEM, VARIANTS, FBNet

SPACE = get_space("fbnet")
HEAD = VARIANTS["imagenet"].head
PUBLISHED = {
    "FBNet-A": (
        "skip k3_e3 k3_e1 skip skip k5_e6 k3_e3 k5_e1 k3_e3 k5_e6 k5_e3 k5_e1_g2 k5_e6 "
        "k3_e6 k5_e1_g2 k5_e3 k3_e1_g2 k5_e6 k5_e6 k5_e3 k5_e6 k5_e6",
        1504,
        4.27029,
        244.52636,
    ),
    "FBNet-B": (
        "k3_e1 k3_e6 k5_e1 k3_e1 k3_e1 k5_e6 k5_e3 k3_e6 k5_e6 k5_e6 k5_e6 skip k5_e3 "
        "k5_e6 k3_e1 k5_e1 k5_e3 k5_e6 k5_e1 k5_e6 k5_e6 k3_e6",
        1984,
        4.76667,
        291.10164,
    ),
    "FBNet-C": (
        "k3_e1 k3_e6 skip k3_e1 k3_e1 k5_e6 k5_e3 k5_e6 k3_e6 k5_e6 k5_e3 k5_e6 k5_e6 "
        "k5_e6 k5_e6 k5_e6 k5_e3 k5_e6 k5_e6 k5_e6 k5_e6 k3_e6",
        1984,
        5.52542,
        378.23344,
    ),
}
"""Blocks, channels of the head, millions of parameters and of FLOPs.

From fbnet_modeldef_cls_fbnet.py and model_info_fbnet.json of
https://github.com/facebookresearch/mobile-vision.
"""


@pytest.mark.parametrize(
    ("blocks", "head", "parameters_m", "flops_m"), PUBLISHED.values(), ids=PUBLISHED
)
def test_published_parameters_and_flops(nodes, blocks, head, parameters_m, flops_m):
    """Published are weights alone, and multiply-accumulates and the elements that are pooled.

    Those networks have no first convolution in blocks of expansion 1, which HW-NAS-Bench has, and
    FBNet-A has a narrower head.
    """
    names = blocks.split()
    parameters = flops = 0
    text = SPACE.onnx_text(dict(zip(SPACE.choices, names, strict=True)))
    for operator, read, output in nodes(text):
        if operator in ("Conv", "Gemm"):
            weights = math.prod(read[1])
            parameters += weights
            flops += math.prod(output) * weights // output[1]
        elif operator == "GlobalAveragePool":
            flops += math.prod(read[0])
    before, size = STEM, 112
    layers = [(o, s if i == 0 else 1) for o, n, s in STAGES for i in range(n)]
    for name, (channels, stride) in zip(names, layers, strict=True):
        if "_e1" in name:
            weights = before**2 // (2 if name.endswith("g2") else 1)
            parameters -= weights
            flops -= weights * size**2
        before, size = channels, size // stride
    parameters -= (HEAD - head) * (before + 1000)
    flops -= (HEAD - head) * (before * size**2 + 1000 + size**2)
    assert parameters == pytest.approx(parameters_m * 1e6, abs=5)
    assert flops == pytest.approx(flops_m * 1e6, abs=5)


def test_the_table_of_latencies_is_read(shared_data):
    with gzip.open(shared_data / "fbnet_latency.csv.gz", "rt") as file:
        networks = [row["op_indices"] for row in csv.DictReader(file)]
    assert len(networks) == 5000
    assert [SPACE.format(SPACE.parse(network)) for network in networks] == networks


def test_the_variant_for_cifar_has_two_reductions_less(nodes):
    space = FBNet(images="cifar100")
    text = space.onnx_text(dict.fromkeys(space.choices, "k3_e1"))
    sizes = [output[2:] for operator, _, output in nodes(text) if operator == "Conv"]
    assert sizes[0] == (32, 32)
    assert sizes[-1] == (4, 4)
    head = next(read[1] for operator, read, _ in nodes(text) if operator == "Gemm")
    assert sorted(head) == [100, 1504]
    with pytest.raises(ValueError, match="one of imagenet, cifar100, not 'mnist'"):
        FBNet(images="mnist")


def test_skips_that_do_nothing_do_not_count():
    """The 6th layer changes the size, the 7th does not."""
    plain = {name: "k3_e1" for name in SPACE.choices}
    idle, other = {**plain, "layer_7": "skip"}, {**plain, "layer_8": "skip"}
    assert SPACE.key(idle) == SPACE.key(other) != SPACE.key(plain)
    assert SPACE.onnx_text(idle).count(" = Identity (") == 1
    smaller = {**plain, "layer_6": "skip"}
    assert SPACE.key(smaller) != SPACE.key(idle)
    assert SPACE.onnx_text(smaller).count(" = nas.SkipDown <o=32> (") == 1


@pytest.mark.parametrize(
    "network",
    [
        "",
        "0",
        "0" * 22,
        "-".join("0" * 21),
        "-".join("0" * 23),
        "-".join("0" * 21 + "9"),
        "-".join("0" * 21) + "-",
        "-".join("0" * 21) + "-00",
        "-".join("0" * 21) + "-k3_e1",
    ],
)
def test_what_is_no_network_is_refused(network):
    with pytest.raises(ArchitectureError, match="written as 22 numbers from 0 to 8"):
        SPACE.parse(network)
