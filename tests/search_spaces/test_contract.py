"""What every search space must satisfy; a new one is tested by being in the registry."""

from __future__ import annotations

import pickle

import numpy as np
import onnx.parser
import onnx.printer
import pytest

from search_spaces import (
    SPACES,
    TEXT_VERSION,
    Architecture,
    ArchitectureError,
    SearchSpace,
    get_space,
    space_names,
    validate,
)

SMALL = 100_000
"""Spaces up to this size are enumerated."""


@pytest.fixture(params=space_names())
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return get_space(request.param)


def sample(space: SearchSpace, number: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(number)]


def test_is_known_by_its_name(space):
    assert space.name in space_names()
    assert type(space) is SPACES[space.name]


def test_travels_to_other_processes(space):
    assert dict(pickle.loads(pickle.dumps(space)).choices) == dict(space.choices)


def test_distributions_offer_the_choices(space):
    assert list(space.distributions) == list(space.choices)
    for name, distribution in space.distributions.items():
        assert distribution.choices == space.choices[name]
        assert len(set(distribution.choices)) == len(distribution.choices)


def test_samples_are_members_and_follow_the_seed(space):
    architectures = sample(space, 50)
    for architecture in architectures:
        space.check(architecture)
        assert list(architecture) == list(space.choices)
        assert all(type(choice) is str for choice in architecture.values())
    assert architectures == sample(space, 50)
    assert architectures != sample(space, 50, seed=1)


def test_neighbours_are_other_members(space):
    for architecture in sample(space, 3):
        neighbours = space.neighbours(architecture)
        written = {space.format(neighbour) for neighbour in neighbours}
        assert len(written) == len(neighbours) > 0
        assert space.format(architecture) not in written
        for neighbour in neighbours:
            space.check(neighbour)


def test_neighbours_differ_in_one_choice_and_are_mutual(space):
    if type(space).neighbours is not SearchSpace.neighbours:
        pytest.skip("its choices depend on one another")
    for architecture in sample(space, 3):
        for neighbour in space.neighbours(architecture):
            assert sum(neighbour[name] != architecture[name] for name in architecture) == 1
            assert architecture in space.neighbours(neighbour)


def test_iteration_visits_every_architecture_once(space):
    if space.size > SMALL:
        pytest.skip("too large to enumerate")
    written = [space.format(architecture) for architecture in space]
    assert len(written) == len(set(written)) == space.size


def test_notation_round_trip(space):
    for architecture in sample(space, 100):
        written = space.format(architecture)
        assert space.parse(written) == architecture
        assert space.format(space.parse(written)) == written


def test_parameters_may_come_in_any_order(space):
    for architecture in sample(space, 3):
        backwards = dict(reversed(architecture.items()))
        for method in (space.format, space.key, space.onnx_text):
            assert method(backwards) == method(architecture)


def test_what_is_no_member_is_refused(space):
    architecture = sample(space, 1)[0]
    name = next(iter(architecture))
    foreign = {
        "lacks": {key: architecture[key] for key in architecture if key != name},
        "no parameter 'banana'": {**architecture, "banana": "yellow"},
        "'banana' is not offered": {**architecture, name: "banana"},
    }
    for message, wrong in foreign.items():
        for method in (space.check, space.format, space.key, space.neighbours, space.onnx_text):
            with pytest.raises(ArchitectureError, match=message):
                method(wrong)


def test_text_is_valid_and_survives_printing(space):
    for architecture in sample(space, 10):
        model = validate(space.onnx_text(architecture))
        assert onnx.parser.parse_model(onnx.printer.to_text(model)) == model
        assert space.onnx_model(architecture) == model
        assert model.producer_version == str(TEXT_VERSION)


def test_text_is_one_statement_a_line(space):
    for architecture in sample(space, 10):
        header, *functions = space.onnx_text(architecture).split("}\n")
        assert header.count(" = ") == 1, "the main graph is a single call"
        assert functions.pop() == "", "the text ends with a line"
        for function in functions:
            domain, signature, *statements = function.splitlines()
            assert domain.startswith("<domain: ")
            assert signature.endswith(") {")
            assert all(line.startswith("  ") and ") = " not in line for line in statements)
            assert all(line.count(" = ") == 1 and line.endswith(")") for line in statements)


def test_what_differs_comes_first(space):
    """After the main graph, so that what is constant can be folded away or cut off."""
    functions = [space.onnx_text(a).split("}\n")[1:-1] for a in sample(space, 30)]
    constant = set.intersection(*map(set, functions))
    for text in functions:
        differs = [function not in constant for function in text]
        assert differs[0]
        assert differs == sorted(differs, reverse=True)


def test_text_tells_architectures_apart_and_nothing_else(space):
    architectures = list(space) if space.size <= SMALL else sample(space, 1_000)
    texts = {space.onnx_text(architecture) for architecture in architectures}
    assert len(texts) == len({space.format(architecture) for architecture in architectures})
    again = type(space)()
    assert all(again.onnx_text(architecture) in texts for architecture in architectures[:100])


@pytest.mark.parametrize(("batch_size", "image_size"), [(1, 32), (3, 16)])
def test_runs_with_finite_output(space, run, batch_size, image_size):
    for architecture in sample(space, 5):
        options = {"batch_size": batch_size, "image_size": image_size}
        assert validate(space.onnx_text(architecture, **options))
        output = run(space.onnx_model(architecture, **options))
        assert output.shape[0] == batch_size
        assert np.isfinite(output).all()


@pytest.mark.parametrize(
    "sizes",
    [{"batch_size": 0}, {"batch_size": -1}, {"image_size": 0}, {"image_size": -32}],
    ids=str,
)
def test_sizes_that_make_no_sense_are_refused(space, sizes):
    (name,) = sizes
    with pytest.raises(ValueError, match=f"{name} must be .* not {sizes[name]}"):
        space.onnx_text(sample(space, 1)[0], **sizes)


def test_equal_keys_compute_equal_outputs(space, run):
    """With constant weights, twins must agree up to the order of floating-point sums."""
    twins: dict[str, list] = {}
    for architecture in sample(space, 300):
        twins.setdefault(space.key(architecture), []).append(architecture)
    pairs = [members[:2] for members in twins.values() if len(members) > 1][:8]
    for first, second in pairs:
        outputs = [run(space.onnx_model(member, image_size=16)) for member in (first, second)]
        assert outputs[0] == pytest.approx(outputs[1], rel=1e-4)
