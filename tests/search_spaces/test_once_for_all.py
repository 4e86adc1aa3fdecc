"""Once-for-All: what its authors published, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pytest

from search_spaces import (
    ArchitectureError,
    OFAMobileNetV3,
    OFAProxyless,
    OFAResNet50,
    count,
    get_space,
    validate,
)

MOBILENETV3 = (
    '{"d":[3,4,4,4,4],"e":[3,4,3,3,4,4,6,3,6,6,3,4,6,6,6,4,6,6,6,3],"image_size":224,'
    '"ks":[3,5,3,3,5,5,3,5,7,5,3,5,3,5,7,3,3,3,5,3]}'
)
NARROW = (
    '{"d":[2,3,3,3,4],"e":[3,3,3,3,4,3,3,3,6,4,3,3,4,4,3,3,6,6,6,4],"image_size":220,'
    '"ks":[3,3,3,3,7,5,3,3,5,5,5,3,3,7,5,3,5,7,3,3]}'
)
PROXYLESS = (
    '{"d":[2,4,3,3,4],"e":[3,3,3,3,6,6,4,4,6,3,4,3,6,4,4,3,6,6,3,6,6],"image_size":188,'
    '"ks":[3,3,3,3,3,5,3,3,5,3,5,3,5,3,5,3,3,5,7,3,7]}'
)
RESNET50D = json.dumps({"d": [2, 1, 2, 2, 1], "e": [0.25] * 18, "image_size": 224, "w": [2] * 6})
SPACES = [OFAMobileNetV3(), OFAProxyless(), OFAResNet50()]


@pytest.mark.parametrize(
    ("space", "network", "image_size", "parameters_m", "macs_m"),
    [
        (OFAMobileNetV3(), MOBILENETV3, 236, 9.1, 595),
        (OFAMobileNetV3(width=1.0), NARROW, None, 5.8, 230),
        (OFAProxyless(), PROXYLESS, None, 6.5, 397),
    ],
    ids=["flops@595M", "LG-G8_lat@24ms", "1080ti_gpu64@27ms"],
)
def test_published_parameters_and_macs(space, network, image_size, parameters_m, macs_m):
    """Of specialised networks in https://github.com/mit-han-lab/once-for-all.

    Their blocks are in https://github.com/han-cai/files. All 50 networks there have the published
    parameters, and 45 the published MACs; four have up to 0.53 million less, as if rounded twice,
    and note10_lat@8ms has 76 million, not 79.
    """
    text = space.onnx_text(space.parse(network), image_size=image_size)
    costs = count(validate(text))
    assert costs.parameters / 1e6 == pytest.approx(parameters_m, abs=0.05)
    assert costs.flops / 1e6 == pytest.approx(macs_m, abs=0.5)


def test_resnet_50_d_is_in_the_space():
    """25.58 million parameters and 4.36 GFLOPs in mmpretrain, which counts normalisation too."""
    space = OFAResNet50()
    costs = count(validate(space.onnx_text(space.parse(RESNET50D))))
    assert costs.parameters == 25_576_264
    assert costs.flops == pytest.approx(4.36e9, rel=0.01)


@pytest.mark.parametrize("width", [0, -1.2, float("nan")])
@pytest.mark.parametrize("space", [OFAMobileNetV3, OFAProxyless])
def test_widths_that_make_no_sense_are_refused(space, width):
    with pytest.raises(ValueError, match="width must be positive"):
        space(width=width)


def test_number_of_networks():
    """The authors speak of about 2 x 10^19 networks, for each of 25 resolutions."""
    assert SPACES[0].size // 25 == pytest.approx(2e19, rel=0.1)


@pytest.mark.parametrize("table", ["ofa_mbv3_latency", "ofa_mbv3_accuracy"])
def test_the_tables_are_read(shared_data, table):
    """With both keys of the resolution. What is chosen for layers that are not there is lost."""
    space = get_space("ofa_mobilenetv3")
    with gzip.open(shared_data / f"{table}.csv.gz", "rt") as file:
        networks = [row["arch_json"] for row in csv.DictReader(file)]
    assert all(map(space.parse, networks))
    for network in networks[::8]:
        read = json.loads(network)
        written = space.format(space.parse(network))
        assert space.format(space.parse(written)) == written
        again = json.loads(written)
        assert again["image_size"] == (read.get("r") or read["image_size"])
        assert again["d"] == read["d"]
        for key in ("e", "ks"):
            for stage, depth in enumerate(read["d"]):
                layers = slice(4 * stage, 4 * stage + depth)
                assert again[key][layers] == read[key][layers]
        if read["d"] == [4] * 5 and "image_size" in read:
            assert written == network


def test_published_files_have_other_keys():
    """As https://github.com/HayeonLee/HELP writes the networks that it found."""
    space = SPACES[0]
    network = json.loads(MOBILENETV3)
    size = network.pop("image_size")
    assert (
        space.format(space.parse(json.dumps({"wid": None, **network, "r": size}))) == MOBILENETV3
    )


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_layers_that_are_not_there_do_not_count(space):
    rng = np.random.default_rng(0)
    for _ in range(5):
        given = {name: str(rng.choice(offers)) for name, offers in space.choices.items()}
        normal = space.parse(space.format(given))
        assert space.format(normal) == space.format(given)
        assert space.key(normal) == space.key(given)
        assert space.onnx_text(normal) == space.onnx_text(given)
        assert {space.format(other) for other in space.neighbours(given)} == {
            space.format(other) for other in space.neighbours(normal)
        }


def test_iteration_is_over_normal_forms():
    space = SPACES[0]
    first, second = (architecture for architecture, _ in zip(space, range(2), strict=False))
    assert space.parse(space.format(first)) == first
    assert space.onnx_text(first) != space.onnx_text(second)


def test_widths_that_are_the_same_are_one():
    """0.65 and 0.8 of 32 channels are both 24."""
    space = SPACES[2]
    network = json.loads(RESNET50D)
    written = {
        middle: space.format(space.parse(json.dumps({**network, "w": [middle, *[2] * 5]})))
        for middle in (0, 1, 2)
    }
    assert written[0] == written[1] != written[2]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_resolution_is_the_architectures_own(space):
    architecture = {**space.sample(np.random.default_rng(0)), "image_size": "132"}
    assert "float[1,3,132,132] image" in space.onnx_text(architecture)
    other = {**architecture, "image_size": "160"}
    assert space.onnx_text(other) != space.onnx_text(architecture)
    assert space.onnx_text(other, image_size=132) == space.onnx_text(architecture)


def changed(**values):
    network = json.loads(MOBILENETV3) | values
    return json.dumps({key: value for key, value in network.items() if value != "absent"})


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("", "written as a JSON object"),
        ("banana", "written as a JSON object"),
        ("[" * 100_000, "written as a JSON object"),
        ("[]", "written as a JSON object"),
        ("{}", "written as a JSON object"),
        (MOBILENETV3[:-1], "written as a JSON object"),
        (changed(image_size="absent"), "written as a JSON object"),
        (changed(r=224), "written as a JSON object"),
        (changed(wid=1.2), "written as a JSON object"),
        (changed(d=[2, 2, 2, 2]), "written as a JSON object"),
        (changed(ks=3), "written as a JSON object"),
        (changed(e=[3] * 21), "written as a JSON object"),
        (changed(d=[2, 2, 2, 2, 5]), "depth_5 = '5' is not offered"),
        (changed(d=[2, 2, 2, 2, True]), "depth_5 = 'true' is not offered"),
        (changed(d=[2, 2, 2, 2, "2"]), "depth_5 = '\"2\"' is not offered"),
        (changed(e=[3.5] + [3] * 19), "expansion_1_1 = '3.5' is not offered"),
        (changed(ks=[3] * 19 + [1]), "kernel_5_4 = '1' is not offered"),
        (changed(image_size=225), "image_size = '225' is not offered"),
        (changed(image_size=[224]), r"image_size = '\[224\]' is not offered"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_network_is_refused(network, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACES[0].parse(network)
