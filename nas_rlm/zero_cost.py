"""Zero-cost scores: what a network shows at initialisation, before any training.

A model is run in torch straight from its ONNX graph, with random weights, so that every search
space has these scores. They cost milliseconds and no label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import onnx
import onnx.helper
import onnx.inliner
import onnx.numpy_helper
import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-5
"""Added to eigenvalues in `jacov`, as its authors do."""


class UnsupportedOperatorError(ValueError):
    """A model has an operator that cannot be run here."""


class OnnxNetwork(nn.Module):
    """A network as torch runs it, from an ONNX model, with random weights.

    Weights are whatever Conv and Gemm read that is made from constants: they are drawn from
    Kaiming's normal distribution. Batch normalisation uses the statistics of the batch. What the
    output does not depend on is left out.

    Args:
        model: Functions are inlined.
        generator: Source of the weights.

    Raises:
        UnsupportedOperatorError: An operator is unknown.
    """

    def __init__(self, model: onnx.ModelProto, generator: torch.Generator) -> None:
        super().__init__()
        graph = onnx.inliner.inline_local_functions(model).graph
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        self.weights = nn.ParameterDict()
        self.input, self.output = graph.input[0].name, graph.output[0].name
        self.input_shape = tuple(d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)
        self.normalised = True
        nodes = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type in _CONSTANT and all(name in constants for name in node.input):
                read = [constants[name] for name in node.input]
                constants[node.output[0]] = _CONSTANT[node.op_type](attributes, *read)
            elif node.op_type in _OPERATORS:
                nodes.append((node, attributes))
            else:
                raise UnsupportedOperatorError(
                    f"{node.output[0]} = {node.op_type}: not among the operators that can be "
                    f"scored: {', '.join(sorted(_OPERATORS))}"
                )
        needed = {self.output}
        self.nodes: list[tuple[str, dict[str, Any], list[str], str]] = []
        for node, attributes in reversed(nodes):
            if node.output[0] in needed:
                read = [name for name in node.input if name]
                needed.update(read)
                self.nodes.append((node.op_type, attributes, read, node.output[0]))
        self.nodes.reverse()
        for operator, _, read, _ in self.nodes:
            for name in read[1:] if operator in ("Conv", "Gemm") else ():
                if name in constants and name not in self.weights:
                    shape = constants[name].shape
                    deviation = math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.0
                    drawn = torch.randn(shape, generator=generator) * deviation
                    self.weights[name] = nn.Parameter(drawn)

    def forward(self, image: Tensor, watch: Callable[[str, Tensor], None] | None = None) -> Tensor:
        """Run the network on (n, channels, height, width).

        Args:
            watch: Called with the operator and the input of every ReLU, Conv and Gemm.
        """
        values: dict[str, Tensor] = {self.input: image, **dict(self.weights.items())}
        for operator, attributes, read, output in self.nodes:
            if operator == "BatchNormalization":
                x = values[read[0]]
                made = F.batch_norm(x, None, None, training=True) if self.normalised else x
            else:
                inputs = [values[name] for name in read]
                if watch is not None and operator in ("Relu", "Conv", "Gemm"):
                    watch(operator, inputs[0])
                made = _OPERATORS[operator](attributes, *inputs)
            values[output] = made
        return values[self.output]


def _conv(attributes: Mapping[str, Any], x: Tensor, *weights: Tensor) -> Tensor:
    return F.conv2d(
        x,
        *weights,
        stride=tuple(attributes.get("strides", (1, 1))),
        padding=_padding(attributes),
        dilation=tuple(attributes.get("dilations", (1, 1))),
        groups=attributes.get("group", 1),
    )


def _padding(attributes: Mapping[str, Any]) -> tuple[int, int]:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        raise UnsupportedOperatorError(f"padding {attributes['pads']} is not symmetric")
    return top, left


def _average(attributes: Mapping[str, Any], x: Tensor) -> Tensor:
    return F.avg_pool2d(
        x,
        tuple(attributes["kernel_shape"]),
        tuple(attributes.get("strides", (1, 1))),
        _padding(attributes),
        count_include_pad=bool(attributes.get("count_include_pad", 0)),
    )


def _gemm(attributes: Mapping[str, Any], x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
    return F.linear(x, weight if attributes.get("transB", 0) else weight.T, *bias)


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda attributes, *x: sum(x[1:], x[0]),
    "Sum": lambda attributes, *x: sum(x[1:], x[0]),
    "Sub": lambda attributes, a, b: a - b,
    "Identity": lambda attributes, x: x,
    "Relu": lambda attributes, x: F.relu(x),
    "Conv": _conv,
    "Gemm": _gemm,
    "AveragePool": _average,
    "GlobalAveragePool": lambda attributes, x: x.mean((2, 3), keepdim=True),
    "Flatten": lambda attributes, x: x.flatten(attributes.get("axis", 1)),
    "BatchNormalization": lambda attributes, x: x,  # see `forward`
}
"""Operator to torch: attributes and inputs to the output."""

_CONSTANT: dict[str, Callable[..., np.ndarray]] = {
    "Constant": lambda attributes: np.asarray(next(iter(attributes.values()))),
    "Concat": lambda attributes, *x: np.concatenate(x),
    "ConstantOfShape": lambda attributes, shape: np.empty(shape.astype(int)),
}
"""Operators that make weights and shapes."""
