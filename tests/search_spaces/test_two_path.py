"""Two-Path: what its authors published, which networks are the same, and what is refused."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from search_spaces import ArchitectureError, count, get_space, validate

SPACE = get_space("two_path")
SUPPLEMENTS = set(SPACE.choices["path1_block_1_supplement"])


def written(*paths: str) -> str:
    """Paths like ``conv3x3+maxpool3x3/2 conv5x5/2``, a word for each block."""
    config = {}
    for number, path in enumerate(paths, 1):
        blocks = [block.removesuffix("/2").split("+") for block in path.split()]
        config[f"path{number}"] = [
            {
                "op_names": block,
                "op_types": ["supp" if name in SUPPLEMENTS else "conv" for name in block],
            }
            for block in blocks
        ]
    for number, path in enumerate(paths, 1):
        reduce = [i for i, block in enumerate(path.split()) if block.endswith("/2")]
        config[f"path{number}_reduce_inds"] = reduce
    return json.dumps(config)


PLAIN = "conv5x5/2 conv5x5/2"
BEST = (
    "double3x3+bottleneck-e2-k3 conv1x1+bottleneck-r2-k3/2 "
    "bottleneck-e2-k3+bottleneck-r2-k3+bottleneck-e2-k1 bottleneck-r2-k3/2"
)


def test_costs_of_the_graph_that_the_authors_publish():
    """TwoPathNet4860, ``architectures/two_path_best.pkl`` in github.com/Ascend-Research/AutoGO.

    The graph has the weights of the convolutions; a scale and a bias are normalisation's, and the
    classifier has 512 x 10 weights and 10 biases.
    """
    costs = count(validate(SPACE.onnx_text(SPACE.parse(written(PLAIN, BEST)))))
    assert costs.parameters == 1_771_872 + 2 * 1_680 + 5_130
    assert costs.flops == 57_704_448 + 5_130


def test_notation_is_that_of_the_authors():
    text = written(PLAIN, BEST)
    assert SPACE.format(SPACE.parse(text)) == text
    assert SPACE.parse(json.dumps(json.loads(text), indent=2)) == SPACE.parse(text)


def test_size():
    """A block is one of 8 + (8^2 + 2 x 5 x 8) + (8^3 + 3 x 5 x 8^2) chains."""
    blocks = 8 + 144 + 1_472
    assert SPACE.size == (blocks**2 + 3 * blocks**3 + 6 * blocks**4) ** 2


def test_what_is_not_used_does_not_count():
    architecture = SPACE.parse(written(PLAIN, BEST))
    same = {
        **architecture,
        "path1_block_3_length": "3",
        "path1_block_1_op_2": "conv5x5",
        "path1_block_1_supplement": "maxpool3x3",
        "path1_block_1_supplement_at": "1",
        "path1_block_2_supplement_at": "2",
    }
    assert same != architecture
    assert SPACE.format(same) == SPACE.format(architecture)
    assert SPACE.onnx_text(same) == SPACE.onnx_text(architecture)
    assert SPACE.parse(SPACE.format(same)) == architecture
    assert SPACE.neighbours(same) == SPACE.neighbours(architecture)


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("conv3x3+conv3x3 conv3x3/2 conv3x3/2", "double3x3 conv3x3/2 conv3x3/2", True),
        ("conv3x3+conv3x3/2 conv3x3/2", "bottleneck-e2-k3/2 conv3x3/2", True),
        ("conv3x3+conv3x3/2 conv3x3/2", "double3x3/2 conv3x3/2", False),
        ("conv3x3+avgpool3x3/2 conv5x5/2", "conv3x3/2 avgpool3x3+conv5x5/2", True),
        ("conv3x3+avgpool3x3/2 conv5x5/2", "conv3x3/2 conv5x5+avgpool3x3/2", False),
        ("conv3x3+avgpool3x3/2 conv5x5/2", "conv3x3+maxpool3x3/2 conv5x5/2", False),
        ("conv3x3/2 conv5x5 conv3x3/2", "conv3x3+conv5x5/2 conv3x3/2", False),
        ("conv3x3 conv3x3 conv3x3/2 conv3x3/2", "double3x3 conv3x3/2 conv3x3/2", False),
    ],
)
def test_key_is_that_of_the_function(first, second, equal, run):
    networks = [SPACE.parse(text) for text in (written(first, PLAIN), written(PLAIN, second))]
    outputs = [run(SPACE.onnx_model(network, image_size=16)) for network in networks]
    assert (SPACE.key(networks[0]) == SPACE.key(networks[1])) is equal
    assert SPACE.onnx_text(networks[0]) != SPACE.onnx_text(networks[1])
    if equal:
        assert outputs[0] == pytest.approx(outputs[1], rel=1e-4)


def test_blocks_that_share_out_their_operations_otherwise_have_other_texts():
    first = SPACE.parse(written(PLAIN, "conv3x3+avgpool3x3/2 conv5x5/2"))
    second = SPACE.parse(written(PLAIN, "conv3x3/2 avgpool3x3+conv5x5/2"))
    assert SPACE.key(first) == SPACE.key(second)
    assert SPACE.onnx_text(first) != SPACE.onnx_text(second)


def test_iteration_begins_with_different_networks_in_normal_form():
    networks = [network for network, _ in zip(SPACE, range(500), strict=False)]
    assert len({SPACE.format(network) for network in networks}) == 500
    assert all(SPACE.parse(SPACE.format(network)) == network for network in networks)


def test_samples_are_as_deep_as_those_of_the_authors():
    rng = np.random.default_rng(0)
    blocks = Counter(len(SPACE.sample(rng)["path1_strides"]) for _ in range(600))
    assert set(blocks) == {2, 3, 4}
    assert all(150 < number < 250 for number in blocks.values())


GOOD = written(PLAIN, BEST)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"path1": 1}',
        written(PLAIN),
        written(PLAIN, BEST, PLAIN),
        written(PLAIN, ""),
        written(PLAIN, "conv3x3/2"),
        written(PLAIN, "conv3x3/2 conv3x3"),
        written(PLAIN, "conv3x3/2 conv3x3/2 conv3x3/2"),
        written(PLAIN, "conv3x3 conv3x3/2 conv3x3/2 conv3x3 conv3x3"),
        written(PLAIN, "conv3x3/2 maxpool3x3/2"),
        written(PLAIN, "conv3x3/2 conv3x3+maxpool3x3+conv1x1/2"),
        written(PLAIN, "conv3x3/2 conv3x3+conv3x3+conv3x3+conv3x3/2"),
        written(PLAIN, "conv3x3/2 conv7x7/2"),
        GOOD.replace('"supp"', '"conv"'),
        GOOD.replace("[0, 1]", "[1, 0]"),
        GOOD.replace("[0, 1]", "[0.0, true]"),
        GOOD.replace("[0, 1]", "[0, 2]"),
        GOOD.replace("[0, 1]", "null"),
        GOOD[:-1],
    ],
    ids=range(22),
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ArchitectureError, match="at least one conv and at most one supp") as error:
        SPACE.parse(text)
    assert len(str(error.value)) < 600
