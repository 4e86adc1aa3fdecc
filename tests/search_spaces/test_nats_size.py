"""The size space of NATS-Bench: what its authors published, and what is refused."""

from __future__ import annotations

import pytest

from search_spaces import ArchitectureError, count, get_space, validate

SPACE = get_space("nats_size")


@pytest.mark.parametrize(
    ("network", "classes", "image_size", "parameters", "flops"),
    [
        ("8:8:8:8:8", 10, 32, 11_714, 4_481_114),
        ("8:8:8:8:8", 100, 32, 12_524, 4_481_924),
        ("8:8:8:8:8", 120, 16, 12_704, 1_121_336),
        ("8:8:8:16:32", 10, 32, 49_202, 6_840_650),
        ("8:8:8:16:32", 100, 32, 52_172, 6_843_620),
        ("8:8:8:16:32", 120, 16, 52_832, 1_714_040),
        ("8:8:40:32:40", 10, 32, 144_834, 21_827_994),
        ("8:8:40:32:40", 100, 32, 148_524, 21_831_684),
        ("8:8:40:32:40", 120, 16, 149_344, 5_461_816),
        ("8:8:8:16:40", 10, 32, 67_378, 7_991_706),
    ],
)
def test_costs_are_those_published(network, classes, image_size, parameters, flops):
    """Networks 0, 11, 284 and 12, in the sample and a notebook of github.com/D-X-Y/NATS-Bench.

    The data sets are CIFAR-10, CIFAR-100 and ImageNet16-120.
    """
    text = SPACE.onnx_text(SPACE.parse(network), classes=classes, image_size=image_size)
    costs = count(validate(text))
    assert (costs.parameters, costs.flops) == (parameters, flops)


def test_size_is_the_one_published():
    assert SPACE.size == 32_768
    assert len({SPACE.key(architecture) for architecture in SPACE}) == 32_768


def test_order_is_that_of_the_benchmark():
    """The numbers of networks there begin 8:8:8:8:8, 8:8:8:8:16."""
    written = [SPACE.format(architecture) for architecture in SPACE]
    assert [written[i] for i in (0, 1, 11, 284)] == [
        "8:8:8:8:8",
        "8:8:8:8:16",
        "8:8:8:16:32",
        "8:8:40:32:40",
    ]


def test_a_cell_that_changes_the_channels_has_another_name():
    text = SPACE.onnx_text(SPACE.parse("8:16:16:24:32"))
    assert "v4 = nas.Cell <o=16> (v3)" in text
    assert "v6 = nas.ProjectedCell <o=32> (v5)" in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "64:32:16:8",
        "64:32:16:8:24:8",
        "64:32:16:8:0",
        "64:32:16:8:72",
        "64:32:16:8:12",
        "64:32:16:8:8.0",
        "64:32:16:8:08",
        "64:32:16:8:24 ",
        "64-32-16-8-24",
    ],
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ArchitectureError, match="5 numbers of channels"):
        SPACE.parse(text)


@pytest.mark.parametrize("image_size", [2, 30])
def test_image_size_must_be_a_multiple_of_four(image_size):
    with pytest.raises(ValueError, match=f"positive multiple of 4, not {image_size}"):
        SPACE.onnx_text(SPACE.parse("8:8:8:8:8"), image_size=image_size)
