"""Inception: what its authors published, which networks are the same, and what is refused."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pytest

from search_spaces import ArchitectureError, count, get_space, validate

SPACE = get_space("inception")
SUPPLEMENTS = set(SPACE.choices["stage_1_path_1_supplement"])
STAGES = ((32, 32), (32, 64), (64, 128), (128, 256))


def written(*stages: str) -> str:
    """Stages like ``2: 32 conv3x3 -> 32 | 16 conv3x3+conv5x5 -> 32``.

    The number of blocks, and for each path its channels inside and its channels out.
    """
    config = []
    for stage, (before, after) in zip(stages, STAGES, strict=False):
        blocks, _, rest = stage.partition(": ")
        paths = []
        for path in rest.split(" | "):
            inside, operations, _, out = path.split()
            names = operations.split("+")
            paths.append(
                {
                    "ops": names,
                    "op_types": ["supp" if name in SUPPLEMENTS else "conv" for name in names],
                    "C_internal": int(inside),
                    "C_out": int(out),
                }
            )
        config.append(
            {
                "block": {"paths": paths},
                "n_blocks": int(blocks),
                "C_in": before,
                "C_out": after,
                "stride": after // before,
            }
        )
    return json.dumps({"stages": config})


LONG = (
    "conv5x5+inception_p5x5+conv1x1+conv3x3+inception_s3x3+conv5x5+inception_s3x3+depthwise5x5+"
    "inception_p3x3+inception_s5x5+depthwise5x5"
)
BEST = (
    "6: 16 depthwise5x5 -> 16 | 16 inception_s3x3 -> 16 | 16 depthwise5x5+conv5x5 -> 16",
    "2: 128 conv5x5+double1x1 -> 64",
    "5: 128 conv3x3 -> 128",
    f"3: 64 inception_s5x5 -> 64 | 32 {LONG} -> 64 | 32 inception_p3x3+inception_s3x3 -> 64 | "
    "64 inception_s3x3 -> 64",
)


def test_costs_of_the_graph_that_the_authors_publish():
    """InceptionNet226, ``architectures/inception_best.pkl`` in github.com/Ascend-Research/AutoGO.

    The graph has the weights of the convolutions; a scale and a bias are normalisation's, one bias
    and its additions are the convolution's before it, and the classifier has 512 x 10 weights and
    10 biases.
    """
    costs = count(validate(SPACE.onnx_text(SPACE.parse(written(*BEST)))))
    assert costs.parameters == 3_517_504 + 3 * 5_088 + 5_130
    assert costs.flops == 242_835_968 + 947_200 + 5_130


def test_notation_is_that_of_the_authors_but_for_the_order_of_paths():
    def multiset(text):
        stages = json.loads(text)["stages"]
        for stage in stages:
            stage["block"]["paths"].sort(key=json.dumps)
        return stages

    text = written(*BEST)
    assert multiset(SPACE.format(SPACE.parse(text))) == multiset(text)
    first = "2: 128 conv3x3 -> 128 | 64 conv5x5 -> 64 | 64 conv3x3+conv5x5 -> 64"
    other = "2: 64 conv3x3+conv5x5 -> 64 | 64 conv5x5 -> 64 | 128 conv3x3 -> 128"
    twins = [SPACE.parse(written(*BEST[:3], stage)) for stage in (first, other)]
    assert twins[0] == twins[1]


def test_blocks_that_halve_the_image_have_functions_of_their_own():
    text = SPACE.onnx_text(SPACE.parse(written(*BEST)))

    def function(name):
        return text.partition(f"\n{name} (v0) =>")[2].partition("}")[0]

    assert "nas.Conv5x5 <o=128> (v0)" in function("Block2")
    assert "Add (v2, v0)" in function("Block2")
    assert "nas.Conv5x5Down <o=128> (v0)" in function("Down2")
    assert "Add" not in function("Down2")
    assert text.count("nas.Block1 (") == 6
    assert text.count("nas.Block2 (") == text.count("nas.Down2 (") == 1
    assert "nas.Projection <o=32>" in function("Block1")
    assert "nas.Projection" not in function("Block2")


def test_what_is_not_used_does_not_count():
    architecture = SPACE.parse(written(*BEST))
    same = {
        **architecture,
        "stage_2_path_2_length": "3",
        "stage_1_path_2_width": "expand2",
        "stage_3_path_1_supplement_at": "1",
        "stage_2_path_1_op_2": "conv5x5",
    }
    assert same != architecture
    assert SPACE.format(same) == SPACE.format(architecture)
    assert SPACE.onnx_text(same) == SPACE.onnx_text(architecture)
    assert SPACE.parse(SPACE.format(same)) == architecture


def test_a_path_has_no_more_operations_than_are_left():
    architecture = {**SPACE.parse(written(*BEST)), "stage_4_path_3_length": "13"}
    paths = json.loads(SPACE.format(architecture))["stages"][3]["block"]["paths"]
    assert sorted(len(path["ops"]) for path in paths) == [1, 2, 2, 11]


def test_no_path_is_narrower_than_sixteen_channels():
    """Half of 16 would be 8: that is no choice, and twice as wide is another."""
    stage = "2: 16 conv3x3+conv3x3 -> 16 | 16 conv5x5 -> 16"
    architecture = SPACE.parse(written(stage, *BEST[1:]))
    narrow, wide = ({**architecture, "stage_1_path_1_width": w} for w in ("reduce2", "expand2"))
    assert SPACE.format(narrow) == SPACE.format(architecture)
    assert '"C_internal": 32, "C_out": 16' in SPACE.format(wide)


@pytest.mark.parametrize(("stage", "insides"), [(1, 2), (4, 3)])
def test_number_of_paths_of_two_operations(stage, insides):
    """8 x 8 of convolutions and 2 x 8 x 4 with a supplement.

    The 2 x 8 x 2 of them with a pool cannot have other channels inside; the others have a choice
    of three, but of two if half as many would be too few.
    """
    architecture = {**SPACE.parse(written(*BEST)), f"stage_{stage}_paths": "4"}
    path = f"stage_{stage}_path_1"
    architecture[f"{path}_length"] = "2"
    names = [f"{path}_{name}" for name in ("supplement_at", "supplement", "op_1", "op_2", "width")]
    offers = [("none", "1", "2"), *(SPACE.choices[name] for name in names[1:])]
    found = {
        SPACE.format({**architecture, **dict(zip(names, chosen, strict=True))})
        for chosen in product(*offers)
    }
    assert len(found) == 32 + insides * 96


def test_size():
    """Counted otherwise: paths are added to blocks one kind after another."""

    def kinds(width):
        insides = 2 if width == 16 else 3
        for length in range(1, 14):
            chains = 8**length + (length * 4 * 8 ** (length - 1) if length > 1 else 0)
            rigid = {1: 8, 2: 32}.get(length, 0)
            yield length, rigid + insides * (chains - rigid)

    def multisets(number, width):
        """How many choices of so many paths there are, by the operations they have together."""
        table = {(0, 0): 1}
        for length, different in kinds(width):
            new: dict[tuple[int, int], int] = {}
            for (paths, total), ways in table.items():
                for more in range(number - paths + 1):
                    place = (paths + more, total + more * length)
                    chosen = math.comb(different + more - 1, more)
                    new[place] = new.get(place, 0) + ways * chosen
            table = new
        return {total: ways for (paths, total), ways in table.items() if paths == number}

    def blocks(channels):
        number = 0
        for paths in (1, 2, 4):
            ways = multisets(paths, max(16, channels // paths))
            number += sum(n for total, n in ways.items() if total <= 4 * paths)
        if channels == 32:
            return number + sum(n for total, n in multisets(3, 16).items() if total <= 12)
        wide, others = multisets(1, channels // 2), multisets(2, max(16, channels // 4))
        for (first, ways), (rest, more) in product(wide.items(), others.items()):
            number += ways * more if first + rest <= 12 else 0
        return number

    assert SPACE.size == math.prod(5 * blocks(channels) for _, channels in STAGES)


def test_iteration_begins_with_different_networks_in_normal_form():
    networks = [network for network, _ in zip(SPACE, range(100), strict=False)]
    assert len({SPACE.format(network) for network in networks}) == 100
    assert all(SPACE.parse(SPACE.format(network)) == network for network in networks)


def test_samples_have_long_paths():
    rng = np.random.default_rng(0)
    longest = max(
        len(path["ops"])
        for _ in range(100)
        for stage in json.loads(SPACE.format(SPACE.sample(rng)))["stages"]
        for path in stage["block"]["paths"]
    )
    assert longest == 13


GOOD = written(*BEST)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"stages": []}',
        '{"stages": [1, 2, 3, 4]}',
        written(*BEST[:3]),
        json.dumps({"stages": json.loads(GOOD)["stages"] * 2}),
        GOOD[:-1],
        GOOD.replace('"n_blocks": 6', '"n_blocks": 7'),
        GOOD.replace('"n_blocks": 6', '"n_blocks": 1'),
        GOOD.replace('"n_blocks": 6', '"n_blocks": 6.0'),
        GOOD.replace('"n_blocks": 6', '"n_blocks": "6"'),
        GOOD.replace('"stride": 2', '"stride": 1'),
        GOOD.replace('"C_in": 128', '"C_in": 64'),
        GOOD.replace("conv5x5", "conv7x7"),
        GOOD.replace('"supp"', '"conv"'),
        written("2: 16 conv3x3 -> 32", *BEST[1:]),
        written("2: 32 maxpool3x3 -> 32", *BEST[1:]),
        written("2: 16 conv3x3+maxpool3x3 -> 32", *BEST[1:]),
        written("2: 64 conv3x3+maxpool3x3+conv1x1 -> 32", *BEST[1:]),
        written("2: 24 conv3x3+conv3x3 -> 32", *BEST[1:]),
        written("2: 32 conv3x3+conv3x3+conv3x3+conv3x3+conv3x3 -> 32", *BEST[1:]),
        written("2: 8 conv3x3 -> 8 | 8 conv3x3 -> 8", *BEST[1:]),
        written("2: " + " | ".join(["16 conv3x3 -> 16"] * 5), *BEST[1:]),
        written(*BEST[:3], "2: 128 conv3x3 -> 128 | 128 conv3x3 -> 128 | 64 conv3x3 -> 64"),
    ],
    ids=range(25),
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ArchitectureError, match="at least one conv and at most one supp") as error:
        SPACE.parse(text)
    assert len(str(error.value)) < 700
