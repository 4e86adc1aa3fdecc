import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate import NumberFormat, NumberRangeError

FORMATS = st.builds(
    NumberFormat,
    digits=st.integers(1, 6),
    min_exponent=st.integers(-9, -3),
    max_exponent=st.integers(3, 9),
)
NUMBERS = st.floats(-9e2, 9e2)


@given(FORMATS, st.lists(NUMBERS, min_size=1, max_size=20))
def test_a_number_comes_back_rounded_to_its_digits(number, values):
    values = np.array(values)
    back = number.decode(number.encode(values))
    unit = 10.0 ** (np.floor(np.log10(np.maximum(np.abs(values), 1e-300))) - number.digits + 1)
    smallest = 10.0 ** (number.min_exponent - number.digits + 1)
    assert (np.abs(back - values) <= 0.5000001 * np.maximum(unit, smallest)).all()


@given(FORMATS, st.data())
def test_every_sequence_of_the_grammar_is_a_number(number, data):
    tokens = [
        data.draw(st.sampled_from(list(np.flatnonzero(allowed)))) for allowed in number.grammar
    ]
    value = number.decode(np.array(tokens))
    assert np.isfinite(value)
    assert number.decode(number.encode(value)) == value


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        (93.76, "<+><E1><9><3><7><6>"),
        (-0.0725, "<-><E-2><7><2><5><0>"),
        (9.9996, "<+><E1><1><0><0><0>"),
        (0.0, "<+><E-8><0><0><0><0>"),
        (-0.0, "<+><E-8><0><0><0><0>"),
        (-1e-30, "<+><E-8><0><0><0><0>"),
    ],
)
def test_how_numbers_are_written(value, tokens):
    number = NumberFormat()
    ids = number.encode(np.array(value))
    assert "".join(number.vocabulary[i] for i in ids) == tokens


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e10, 9.99999e9])
def test_what_cannot_be_written_is_refused(value):
    with pytest.raises(NumberRangeError):
        NumberFormat().encode(np.array([1.0, value]))


def test_tokens_out_of_place_are_refused():
    number = NumberFormat()
    tokens = number.encode(np.array(12.5))
    with pytest.raises(ValueError, match="grammar"):
        number.decode(tokens[::-1])
    with pytest.raises(ValueError, match="tokens"):
        number.decode(tokens[:-1])
    with pytest.raises(ValueError, match="grammar"):
        number.decode(np.full_like(tokens, 10_000))


@pytest.mark.parametrize("options", [{"digits": 0}, {"min_exponent": 3, "max_exponent": 2}])
def test_impossible_formats_are_refused(options):
    with pytest.raises(ValueError, match=r"digits|exponents"):
        NumberFormat(**options)


@given(FORMATS, NUMBERS)
def test_a_number_lies_in_every_branch_of_its_path(number, value):
    tokens = number.encode(np.array(value))
    written = number.decode(tokens)
    for j in range(number.length):
        low, high = number.children(tokens[:j])
        assert low[tokens[j]] <= written <= high[tokens[j]]


@given(FORMATS, NUMBERS)
def test_branches_of_a_digit_split_their_parent(number, value):
    tokens = number.encode(np.array(value))
    for j in range(3, number.length):
        parent_low, parent_high = (b[tokens[j - 1]] for b in number.children(tokens[: j - 1]))
        low, high = (np.sort(bound[-10:]) for bound in number.children(tokens[:j]))
        np.testing.assert_allclose(low[1:], high[:-1], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose([low[0], high[-1]], [parent_low, parent_high], rtol=1e-9)
