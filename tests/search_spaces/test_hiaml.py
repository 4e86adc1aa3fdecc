"""HiAML: what its authors and others published, and what is refused."""

from __future__ import annotations

import json

import pytest

from search_spaces import ArchitectureError, count, get_space, validate

SPACE = get_space("hiaml")
BLOCKS = SPACE.choices["stage_1"]


def network(*blocks: str):
    return SPACE.parse(json.dumps([f"hiaml_{block}" for block in blocks]))


def test_size_is_the_one_published():
    """14 blocks in 4 stages, says the authors' code."""
    assert SPACE.size == 14**4 == 38_416


def test_costs_of_the_graph_that_the_authors_publish():
    """HiAMLNet4153, ``architectures/hiaml_best.pkl`` in github.com/Ascend-Research/AutoGO.

    The graph has the weights of the convolutions; a scale and a bias are normalisation's, and the
    classifier has 256 x 10 weights and 10 biases.
    """
    costs = count(validate(SPACE.onnx_text(network("src1", "src1", "r30", "src3"))))
    assert costs.parameters == 2_209_472 + 2 * 4_352 + 2_570
    assert costs.flops == 122_077_184 + 2_570


@pytest.mark.parametrize("first", ["z", "j30"])
@pytest.mark.parametrize("third", ["src0", "src1"])
def test_costs_of_a_network_that_others_publish(first, third):
    """Hiaml_654 on the card of the data set Samsoup/GraphArch at Hugging Face.

    Of its network the card shows that the first block has a 3x3 and an InceptionS convolution, so
    it is one of these. It says 2,207,050 parameters and 217,724,416 FLOPs: two for each
    multiply-accumulate, and under 1 % for what else there is.
    """
    costs = count(validate(SPACE.onnx_text(network(first, "l20", third, "src3"))))
    assert costs.parameters == 2_207_050
    assert 0.99 < 2 * costs.flops / 217_724_416 < 1


def test_stages_two_and_four_halve_the_image():
    text = SPACE.onnx_text(network("z", "a22", "src3", "t31"))
    for statement in (
        "v2 = nas.Z <i=64, o=64> (v1)",
        "v3 = nas.A22Down <i=64, o=128> (v2)",
        "v5 = nas.Src3 <i=128, o=128> (v4)",
        "v7 = nas.T31Down <i=128, o=256> (v6)",
    ):
        assert statement in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hiaml_z",
        "[",
        "[" * 100_000,
        "null",
        "4",
        '"zzzz"',
        "[[], [], [], []]",
        '["hiaml_z", "hiaml_z", "hiaml_z"]',
        '["hiaml_z", "hiaml_z", "hiaml_z", "hiaml_z", "hiaml_z"]',
        '["hiaml_z", "hiaml_z", "hiaml_z", "z"]',
        '{"hiaml_z": 1, "hiaml_a22": 2, "hiaml_t31": 3, "hiaml_l20": 4}',
    ],
    ids=range(12),
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ArchitectureError, match="written as the JSON of a list of 4 of hiaml_z"):
        SPACE.parse(text)
