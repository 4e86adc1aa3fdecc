"""Features of ONNX text and of parameters, and the tables they make."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from nas_rlm.predictors import Inputs
from nas_rlm.predictors.features import Table, choices, pairs, paths
from search_spaces import get_space
from surrogate.paths import path_features
from surrogate.text import TextError, Tokenizer, split_blocks

SPACE = get_space("nasbench201")


def _inputs(*cells: str) -> Inputs:
    return Inputs(SPACE, [SPACE.parse(cell) for cell in cells])


def _features(body: str, inputs: str = "x", outputs: str = "y") -> dict[object, float]:
    """Features of one function, by the name within it."""
    features = path_features(f"F <c> ({inputs}) => ({outputs}) {{\n{body}")
    assert {name[0] for name, _ in features} == {"F"}  # type: ignore[index]
    return {name[1]: number for name, number in features}  # type: ignore[index]


def test_paths_run_through_sums_and_identities() -> None:
    found = _features("""
        a = A <k=[3,3]> (x)
        i = Identity (a)
        b = B (i)
        s = Sum (i, b, x)
        y = A <k=[3,3]> (s)
    """)
    a = "A<k=[3,3]>"
    assert {name: number for name, number in found.items() if name[0] == "path"} == {  # type: ignore[index]
        ("path", (a,)): 1,
        ("path", (a, a)): 1,
        ("path", (a, "B", a)): 1,
    }
    assert [found["length", length] for length in (1, 2, 3)] == [1, 1, 1]
    assert found["paths"] == found["longest"] == 3
    assert found["occurs", a] == found["on a path", a] == 2
    assert found["occurs", "Sum"] == 1


def test_zero_and_what_no_output_needs_are_on_no_path() -> None:
    found = _features("""
        z = Sub (x, x)
        a = A (z)
        d = D (x)
        k = Constant ()
        c = C (k)
        b = B (x)
        y = Sum (a, b, c)
    """)
    assert found["path", ("B",)] == found["paths"] == found["on a path", "B"] == 1
    assert found["occurs", "A"] == found["occurs", "D"] == 1
    assert found["is used", "A"] == found["is used", "C"] == found["is used", "Sum"] == 1
    assert ("is used", "D") not in found
    assert not {("on a path", "A"), ("on a path", "D"), ("on a path", "C")} & set(found)


def test_used_is_what_the_encoder_calls_used() -> None:
    texts = [
        SPACE.onnx_text(architecture) for architecture in itertools.islice(SPACE, 0, None, 500)
    ]
    tokenizer = Tokenizer.fit(texts)
    programs = tokenizer.programs(texts)
    for text, signature, used in zip(texts, programs.signature, programs.used, strict=True):
        expected = Counter(programs.signatures[i] for i in signature[used])
        (cell,) = (
            block for block in split_blocks(text) if block not in tokenizer.folded["nasbench201"]
        )
        found = dict(path_features(cell))
        counted = {
            name[1][1]: number  # type: ignore[index]
            for name, number in found.items()
            if name[1][0] == "is used"  # type: ignore[index]
        }
        assert counted == expected


def test_what_is_subtracted_from_itself_is_not_used() -> None:
    found = _features("a = A (x)\nz = Sub (a, a)\nb = B (x)\ny = Sum (z, b)")
    assert {name[1] for name in found if name[0] == "is used"} == {"Sub", "B", "Sum"}  # type: ignore[index]


def test_a_function_may_be_zero_or_have_several_values() -> None:
    assert _features("y = Sub (x, x)") == {("occurs", "Sub"): 1, ("is used", "Sub"): 1}
    found = _features("y, z = Split (x, w)", inputs="x, w", outputs="y, z")
    assert found["path", ("Split",)] == 4


def test_paths_of_deep_residual_networks_are_bounded() -> None:
    lines = [f"x{i + 1} = Add (x{i}, h{i})" for i in range(60)]
    body = "\n".join(f"h{i} = Op{i % 3} (x{i})\n{line}" for i, line in enumerate(lines))
    found = _features(body, inputs="x0", outputs="x60")
    assert len(found) < 2000
    assert found["longest"] == 60
    assert max(number for name, number in found.items() if name[0] == "path") == 8  # type: ignore[index]


def test_what_is_not_onnx_text_is_refused() -> None:
    with pytest.raises(TextError):
        path_features("nonsense")


def test_equal_functions_have_equal_paths() -> None:
    # skip_connect is the identity, so a 3x3 on either edge of a path is the same path.
    table = Table(paths)
    inputs = _inputs(
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|",
        "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|",
        "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|",
    )
    first, second, dead = table.fit(inputs)
    np.testing.assert_array_equal(first, second)
    assert (dead != first).any()


def test_columns_are_those_that_differ_in_training() -> None:
    trained = _inputs(
        "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
        "|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|",
    )
    table = Table(choices)
    # The choice and the count of each of two operations; "none" never changes.
    np.testing.assert_array_equal(table.fit(trained), [[1, 1, 0, 0], [0, 0, 1, 1]])
    other = _inputs("|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    np.testing.assert_array_equal(table(other), [[0, 1, 0, 0]])
    # A parameter that an architecture lacks has no choice.
    np.testing.assert_array_equal(table(Inputs(SPACE, [{}])), np.zeros((1, 4)))


def test_pairs_are_products() -> None:
    rng = np.random.default_rng(0)
    inputs = Inputs(SPACE, [SPACE.sample(rng) for _ in range(20)])
    found = Table(pairs)
    table = found.fit(inputs)
    for row, architecture in zip(table, inputs.architectures, strict=True):
        possible = set(itertools.combinations(architecture.items(), 2))
        assert row.sum() == len(possible & set(found.names)) <= 15


def test_nothing_that_differs_is_a_column_of_zeros() -> None:
    inputs = _inputs(*["|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"] * 3)
    np.testing.assert_array_equal(Table(choices, paths).fit(inputs), np.zeros((3, 1)))
    assert Table(paths)(inputs).shape == (3, 1)


def test_columns_are_few_in_the_whole_space() -> None:
    inputs = Inputs(SPACE, list(SPACE)[::7])
    table = Table(choices, paths).fit(inputs)
    # Choices and their counts; paths of up to three of three operations, of four lengths; their
    # number and the longest; how often each operator but Sum occurs, is used, and is on a path.
    assert table.shape == (len(inputs), 30 + 5 + 40 + 4 + 2 + 5 + 6 + 3)
