from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import nn

from search_spaces import ArchitectureError, compact, export, from_builder


def build(params):
    if params["width"] == 16 and params["depth"] == 3:
        raise MemoryError("too large")
    layers = [nn.Linear(4, params["width"])]
    for _ in range(params["depth"] - 1):
        layers += [nn.Linear(params["width"], params["width"])]
        layers += [nn.ReLU()] if params["relu"] else []
    return nn.Sequential(*layers)


CHOICES = {
    "width": [8, 16],
    "depth": IntDistribution(1, 3),
    "relu": CategoricalDistribution([True, False]),
}
SPACE = from_builder(build, CHOICES, input_shape=(1, 4), name="linear")


def test_it_is_a_space():
    assert SPACE.size == len(list(SPACE)) == 12
    assert SPACE.distributions["depth"] == CHOICES["depth"]
    architecture = {"width": 8, "depth": 2, "relu": False}
    assert SPACE.parse(SPACE.format(architecture)) == architecture
    assert len(SPACE.neighbours(architecture)) == 4
    assert SPACE.onnx_text(architecture) == compact(export(build(architecture), (1, 4)))
    assert "Gemm" in SPACE.onnx_text(architecture)


def test_architectures_of_one_text_have_one_key():
    keys = [SPACE.key({"width": 8, "depth": 1, "relu": relu}) for relu in (True, False)]
    assert keys[0] == keys[1]
    assert SPACE.key({"width": 16, "depth": 1, "relu": True}) != keys[0]


def test_models_and_texts_are_taken_as_they_are():
    proto = from_builder(lambda p: export(build(p), (1, 4)), CHOICES)
    text = from_builder(lambda p: compact(export(build(p), (1, 4))), CHOICES)
    architecture = {"width": 8, "depth": 3, "relu": True}
    assert proto.onnx_text(architecture) == text.onnx_text(architecture)
    assert proto.onnx_text(architecture) == SPACE.onnx_text(architecture)


def test_it_builds_once():
    built = []
    space = from_builder(lambda p: built.append(p) or build(p), CHOICES, input_shape=(1, 4))
    architecture = {"width": 8, "depth": 3, "relu": True}
    space.onnx_text(architecture)
    space.key(architecture)
    assert len(built) == 1


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (build, r'linear: build raised for .*"width": 16.*too large'),
        (lambda params: "net (", "invalid model .*not ONNX text"),
        (lambda params: nn.Linear(5, 5), "cannot be exported"),
    ],
)
def test_what_cannot_be_built_is_named(builder, message):
    space = from_builder(builder, CHOICES, input_shape=(1, 4), name="linear")
    for _ in range(2):
        with pytest.raises(ArchitectureError, match=message):
            space.onnx_text({"width": 16, "depth": 3, "relu": True})


def test_what_is_not_a_network_is_a_mistake_of_the_builder():
    with pytest.raises(ValueError, match="not NoneType"):
        from_builder(lambda params: None, CHOICES).onnx_text(next(iter(SPACE)))
    with pytest.raises(ValueError, match="input_shape"):
        from_builder(build, CHOICES).onnx_text(next(iter(SPACE)))


@pytest.mark.parametrize("given", [FloatDistribution(0, 1), "abc"])
def test_parameters_need_choices(given):
    with pytest.raises(ValueError, match="width must have choices"):
        from_builder(build, {"width": given})


def test_no_parameters():
    with pytest.raises(ValueError, match="at least one"):
        from_builder(build, {})


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"width": 8}', '{"width": 9, "depth": 1, "relu": true}']
)
def test_a_notation_that_is_none_of_its(text):
    with pytest.raises(ArchitectureError, match="linear"):
        SPACE.parse(text)
