"""NAS-Bench-201: its notation, its functions and its network."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from search_spaces import ArchitectureError, NASBench201, count

SPACE = NASBench201()
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
BEST = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
)
architectures = st.fixed_dictionaries(
    {name: st.sampled_from(choices) for name, choices in SPACE.choices.items()}
)


def cell(letters: str) -> dict[str, str]:
    """Six letters in the order of the notation: zero, skip, 1x1, 3x3, pool."""
    names = dict(zip("zs13p", OPERATIONS, strict=True))
    return {name: names[letter] for name, letter in zip(SPACE.choices, letters, strict=True)}


def test_parameters_in_the_order_of_the_notation():
    assert list(SPACE.choices) == [
        "edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3",
    ]  # fmt: skip
    assert set(SPACE.choices.values()) == {OPERATIONS}
    assert SPACE.size == 15_625
    assert SPACE.parse(BEST) == cell("333s31")


@given(architectures)
def test_notation_round_trip(architecture):
    assert SPACE.parse(SPACE.format(architecture)) == architecture


@pytest.mark.parametrize(
    "text",
    [
        "",
        "banana",
        BEST[1:],
        BEST + "|",
        BEST + "\n",
        " " + BEST,
        BEST.replace("+", ""),
        BEST.replace("~2", "~1"),
        BEST.replace("nor_conv_1x1", ""),
        BEST.replace("nor_conv_1x1", "nor_conv_5x5"),
        BEST.replace("nor_conv_1x1", "nor_conv_1x1\n"),
        BEST.replace("nor_conv_1x1", "NONE"),
        BEST * 1_000,
    ],
    ids=range(13),
)
def test_bad_notation_is_refused_in_one_sentence(text):
    with pytest.raises(ArchitectureError) as caught:
        SPACE.parse(text)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 250
    assert "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|" in message or ", ".join(OPERATIONS) in message


@given(st.text(max_size=60) | st.text("|~+012none_", max_size=60))
def test_garbage_is_refused(text):
    with pytest.raises(ArchitectureError):
        SPACE.parse(text)


def test_number_of_functions():
    assert len({SPACE.key(architecture) for architecture in SPACE}) == 5_425


def test_key_agrees_with_brute_force():
    """Two cells are one function if renaming their operations turns one sum into the other."""

    def flat_sum(operations, names):
        nodes = [[("x",)]]
        for target in (1, 2, 3):
            terms = []
            for source in range(target):
                edge = (source, target)
                match operations[edge]:
                    case "none":
                        pass
                    case "skip_connect":
                        terms += nodes[source]
                    case operation if nodes[source]:
                        terms.append((operation, names[edge], *nodes[source]))
            nodes.append(sorted(terms, key=repr))
        return tuple(nodes[-1])

    def live(terms):
        return {name for term in terms if term != ("x",) for name in (term[1], *live(term[2:]))}

    def smallest(architecture):
        edges = [(source, target) for target in (1, 2, 3) for source in range(target)]
        operations = dict(zip(edges, architecture.values(), strict=True))
        names = sorted(live(flat_sum(operations, {edge: edge for edge in edges})))
        return min(
            repr(
                flat_sum(
                    operations,
                    dict.fromkeys(edges, -1) | {name: number for number, name in enumerate(order)},
                )
            )
            for order in permutations(names)
        )

    rng = np.random.default_rng(0)
    pairs = {
        (SPACE.key(member), smallest(member))
        for member in (SPACE.sample(rng) for _ in range(2_000))
    }
    assert len(pairs) == len({key for key, _ in pairs}) == len({name for _, name in pairs})


def set_edges(architecture, operation, *edges):
    return architecture | {f"edge_{edge}": operation for edge in edges}


@pytest.mark.parametrize(
    ("operation", "where", "swapped"),
    [
        ("none", ["1_2"], {"0_1": "0_2", "1_3": "2_3"}),
        ("skip_connect", ["0_1"], {"0_3": "1_3"}),
        ("skip_connect", ["0_1"], {"0_2": "1_2"}),
    ],
    ids=["nodes 1 and 2 apart", "node 1 is node 0, to 3", "node 1 is node 0, to 2"],
)
@given(architecture=architectures)
def test_key_of_swapped_edges(operation, where, swapped, architecture):
    architecture = set_edges(architecture, operation, *where)
    partner = swapped | {second: first for first, second in swapped.items()}
    twin = {name: architecture[f"edge_{partner.get(name[5:], name[5:])}"] for name in architecture}
    assert SPACE.key(twin) == SPACE.key(architecture)


@pytest.mark.parametrize(
    ("cut", "dead"),
    [
        (["1_2", "1_3"], "0_1"),
        (["2_3"], "0_2"),
        (["2_3"], "1_2"),
        (["0_1"], "1_2"),
        (["0_1"], "1_3"),
        (["0_2", "1_2"], "2_3"),
        (["0_3", "1_3", "2_3"], "0_1"),
    ],
    ids=str,
)
@given(architecture=architectures)
def test_key_ignores_dead_operations(cut, dead, architecture):
    architecture = set_edges(architecture, "none", *cut)
    assert len({SPACE.key(set_edges(architecture, choice, dead)) for choice in OPERATIONS}) == 1


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("zzz3zz", "3zzzsz", True),  # the operation may sit on any edge of the way
        ("3zszzs", "z3zzzs", True),
        ("zzz3zz", "zzz1zz", False),
        ("zzzszz", "szzzsz", True),
        ("zzzszz", "szzssz", False),  # x is not x + x
        ("3zzz3z", "3zzz1z", False),
        ("3zsz33", "33zz33", False),  # one convolution used twice is not two
        ("3z3zzz", "zzzzzz", True),
    ],
)
def test_key_of_known_pairs(first, second, equal):
    assert (SPACE.key(cell(first)) == SPACE.key(cell(second))) is equal


def published_parameters(cells_3x3: int, cells_1x1: int) -> int:
    return 73_306 + 243_040 * cells_3x3 + 28_000 * cells_1x1


def published_flops(cells_3x3: int, cells_1x1: int) -> int:
    return 7_783_050 + 35_389_440 * cells_3x3 + 3_932_160 * cells_1x1


@pytest.mark.parametrize(
    ("convolutions_3x3", "convolutions_1x1"),
    [(n3, n1) for n3, n1 in product(range(7), repeat=2) if n3 + n1 <= 6],
)
def test_costs_are_those_published(convolutions_3x3, convolutions_1x1):
    rng = np.random.default_rng(7 * convolutions_3x3 + convolutions_1x1)
    letters = ["3"] * convolutions_3x3 + ["1"] * convolutions_1x1
    letters += [*rng.choice([*"zsp"], size=6 - len(letters))]
    costs = count(SPACE.onnx_model(cell("".join(rng.permutation(letters)))))
    assert costs.parameters == published_parameters(convolutions_3x3, convolutions_1x1)
    assert costs.flops == published_flops(convolutions_3x3, convolutions_1x1)


def test_costs_at_other_sizes():
    architecture = cell("31zsp1")
    text = SPACE.onnx_text(architecture, batch_size=2, image_size=16, classes=120)
    costs = count(onnx.parser.parse_model(text))
    assert costs.parameters == published_parameters(1, 2) + 110 * 65
    assert costs.flops == 2 * ((published_flops(1, 2) - 650) // 4 + 120 * 65)


@pytest.mark.parametrize("letters", ["333s31", "p1zs3p", "ppp1p3", "sss333", "3z1zzz"])
def test_network_is_the_one_of_the_paper(letters, run):
    """An independent PyTorch version of the network, with the same constant weights."""

    def convolve(x, channels, kernel, stride=1, normalize=True):
        weight = torch.full((channels, x.shape[1], kernel, kernel), 0.01)
        x = functional.conv2d(x, weight, stride=stride, padding=kernel // 2)
        return normalized(x) if normalize else x

    def normalized(x):
        return functional.batch_norm(x, torch.zeros(x.shape[1]), torch.ones(x.shape[1]))

    apply = {
        "none": torch.zeros_like,
        "skip_connect": torch.clone,
        "nor_conv_1x1": lambda x: convolve(x.relu(), x.shape[1], 1),
        "nor_conv_3x3": lambda x: convolve(x.relu(), x.shape[1], 3),
        "avg_pool_3x3": lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    }

    def stage(x, architecture):
        for _ in range(5):
            nodes = [x]
            for target in (1, 2, 3):
                edges = [(architecture[f"edge_{i}_{target}"], nodes[i]) for i in range(target)]
                nodes.append(sum(apply[operation](node) for operation, node in edges))
            x = nodes[3]
        return x

    def residual(x, channels):
        inner = convolve(convolve(x.relu(), channels, 3, stride=2).relu(), channels, 3)
        return inner + convolve(functional.avg_pool2d(x, 2), channels, 1, normalize=False)

    architecture = cell(letters)
    x = torch.from_numpy(np.random.default_rng(0).random((1, 3, 16, 16), dtype=np.float32))
    x = stage(convolve(x, 16, 3), architecture)
    x = stage(residual(x, 32), architecture)
    x = stage(residual(x, 64), architecture)
    logits = normalized(x).relu().mean((2, 3)) @ torch.full((64, 10), 0.01) + 0.01
    output = run(SPACE.onnx_model(architecture, image_size=16))
    assert output == pytest.approx(logits.numpy(), rel=1e-4)


@pytest.mark.parametrize("image_size", [1, 2, 30, 33])
def test_image_size_must_be_a_multiple_of_four(image_size):
    with pytest.raises(ValueError, match=f"positive multiple of 4, not {image_size}"):
        SPACE.onnx_text(cell("333333"), image_size=image_size)


def test_texts_are_compact():
    lengths = [len(SPACE.onnx_text(architecture)) for architecture in SPACE]
    assert max(lengths) < 3_400
    assert sum(lengths) / len(lengths) < 3_100
