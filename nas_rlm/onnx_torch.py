"""ONNX models run by torch, with weights that can be drawn anew and differentiated."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.inliner
import onnx.numpy_helper
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Watch = Callable[[str, Tensor], None]

_WEIGHTED = ("Conv", "Gemm", "BatchNormalization")
"""Operators whose first input is data and whose others are weights."""


class UnsupportedOperatorError(ValueError):
    """A model has an operator, or an attribute of one, that cannot be run here."""


def live(model: onnx.ModelProto) -> onnx.ModelProto:
    """The part of a model that lies on a way from its input to its output.

    At initialisation all biases are zero, so what the input does not reach is zero, and a sum
    does without it. A value minus itself is zero too: that is how search spaces write ``none``.

    Args:
        model: A model with one input and one output.

    Returns:
        The model with its functions inlined. It has no nodes if the output does not depend on
        the input.
    """
    inlined = onnx.inliner.inline_local_functions(model)
    reached = {inlined.graph.input[0].name}
    constant = {tensor.name for tensor in inlined.graph.initializer}
    candidates = []
    for node in inlined.graph.node:
        if constant.issuperset(node.input):
            constant.update(node.output)
            candidates.append(node)
            continue
        read = list(node.input)
        data = read[:1] if node.op_type in _WEIGHTED else read
        is_zero = node.op_type == "Sub" and read[0] == read[1]
        if is_zero or reached.isdisjoint(data):
            # It is zero, and is kept only if an operator other than a sum reads it.
            candidates.append(node)
            continue
        reached.add(node.output[0])
        if node.op_type in ("Add", "Sum"):
            kept = [name for name in read if name in reached or name in constant]
            node = onnx.helper.make_node("Sum", kept, list(node.output))
        candidates.append(node)
    needed = {inlined.graph.output[0].name} & reached
    nodes = []
    for node in reversed(candidates):
        if not needed.isdisjoint(node.output):
            needed.update(node.input)
            nodes.append(node)
    del inlined.graph.node[:]
    inlined.graph.node.extend(reversed(nodes))
    return inlined


class OnnxNetwork:
    """A network as torch runs it, from an ONNX model.

    Weights are what Conv and Gemm read that is made from constants. They start as the model has
    them; `draw` makes them random.

    Args:
        model: One input and one output, both of known shape; functions are inlined.

    Attributes:
        weights: Name to weight, float32, gradients enabled.
        input_shape: Batch, channels, height, width.
        normalised: Whether batch normalisation normalises, by the statistics of the batch, with
            neither scale nor bias; otherwise it is left out.

    Raises:
        UnsupportedOperatorError: An operator, or how it is used, is not supported.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = onnx.inliner.inline_local_functions(model).graph
        self._input, self._output = graph.input[0].name, graph.output[0].name
        dimensions = graph.input[0].type.tensor_type.shape.dim
        self.input_shape = tuple(dimension.dim_value for dimension in dimensions)
        self.normalised = True
        self.weights: dict[str, Tensor] = {}
        self._fans: dict[str, int] = {}
        self._nodes: list[tuple[str, dict[str, Any], list[str], str]] = []
        constants: dict[str, NDArray[Any]] = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        for node in graph.node:
            attributes = {
                item.name: onnx.helper.get_attribute_value(item) for item in node.attribute
            }
            if node.op_type in _CONSTANT and all(name in constants for name in node.input):
                made = _CONSTANT[node.op_type](*map(constants.get, node.input), **attributes)
                constants[node.output[0]] = made
                continue
            _check(node, attributes)
            data = node.input[:1] if node.op_type in _WEIGHTED else node.input
            if fixed := [name for name in data if name in constants]:
                raise UnsupportedOperatorError(
                    f"{node.output[0]} = {node.op_type}: cannot be run on the constant {fixed[0]}"
                )
            read = list(data)
            if node.op_type in ("Conv", "Gemm"):
                read = [name for name in node.input if name]
                for name in read[1:]:
                    if name not in constants:
                        raise UnsupportedOperatorError(
                            f"{node.output[0]} = {node.op_type}: its weight {name} is computed"
                        )
                    self.weights[name] = torch.tensor(constants[name], dtype=torch.float32)
                transposed = node.op_type == "Conv" or attributes.get("transB", 0)
                shape = self.weights[read[1]].shape
                self._fans[read[1]] = math.prod(shape[1:]) if transposed else shape[0]
            self._nodes.append((node.op_type, attributes, read, node.output[0]))
        for weight in self.weights.values():
            weight.requires_grad_()

    def draw(self, generator: torch.Generator) -> None:
        """Make weights random: matrices by Kaiming's normal distribution, biases zero.

        Source: He et al., "Delving Deep into Rectifiers", ICCV 2015.
        """
        with torch.no_grad():
            for name, weight in self.weights.items():
                if name in self._fans:
                    weight.normal_(0, math.sqrt(2 / self._fans[name]), generator=generator)
                else:
                    weight.zero_()

    def matrices(self) -> dict[str, Tensor]:
        """The weights that are not biases."""
        return {name: self.weights[name] for name in self._fans}

    def run(
        self,
        images: Tensor,
        watch: Watch | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """The output for images, (n, channels, height, width).

        Args:
            images: Of the type of the weights.
            watch: Called with the operator and the data it reads, for every ReLU and Gemm.
            weights: To be used in place of the network's own.
        """
        values = {self._input: images, **(self.weights if weights is None else weights)}
        for operator, attributes, read, output in self._nodes:
            inputs = [values[name] for name in read]
            if watch is not None and operator in ("Relu", "Gemm"):
                watch(operator, inputs[0])
            if operator == "BatchNormalization" and not self.normalised:
                values[output] = inputs[0]
            else:
                values[output] = _OPERATORS[operator](*inputs, **attributes)
        return values[self._output]


def _check(node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Refuse a node that would fail, or be something else than it says."""
    if node.op_type not in _OPERATORS or node.domain not in ("", "ai.onnx"):
        raise UnsupportedOperatorError(
            f"{node.output[0]} = {node.op_type}: not among the operators that can be run: "
            f"{', '.join(sorted(_OPERATORS))}"
        )
    known = _attributes(node.op_type)
    if unknown := [name for name in attributes if name not in known]:
        raise UnsupportedOperatorError(
            f"{node.output[0]} = {node.op_type}: its attribute {unknown[0]} is not supported"
        )
    _padding(attributes.get("pads", (0, 0, 0, 0)))


@cache
def _attributes(operator: str) -> frozenset[str]:
    parameters = inspect.signature(_OPERATORS[operator]).parameters.values()
    return frozenset(item.name for item in parameters if item.kind is item.KEYWORD_ONLY)


def _padding(pads: Sequence[int]) -> list[int]:
    half = len(pads) // 2
    if list(pads[:half]) != list(pads[half:]):
        raise UnsupportedOperatorError(f"the padding {list(pads)} is not symmetric")
    return list(pads[:half])


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel_shape: Sequence[int] = (),  # the weight has it too
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
) -> Tensor:
    return F.conv2d(x, weight, bias, list(strides), _padding(pads), list(dilations), group)


def _average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    count_include_pad: int = 0,
) -> Tensor:
    include = bool(count_include_pad)
    return F.avg_pool2d(
        x, list(kernel_shape), list(strides), _padding(pads), count_include_pad=include
    )


def _max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
) -> Tensor:
    return F.max_pool2d(x, list(kernel_shape), list(strides), _padding(pads))


def _gemm(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, transB: int = 0) -> Tensor:  # noqa: N803
    return F.linear(x, weight if transB else weight.T, bias)


def _batch_norm(x: Tensor, *, epsilon: float = 1e-5, momentum: float = 0.9) -> Tensor:
    return F.batch_norm(x, None, None, training=True, eps=epsilon)


def _sum(*x: Tensor) -> Tensor:
    return sum(x[1:], x[0])


def _concat(*x: Tensor, axis: int) -> Tensor:
    return torch.cat(x, axis)


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    return x.flatten(axis)


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": _sum,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "Identity": lambda x: x,
    "MaxPool": _max_pool,
    "Relu": lambda x: F.relu(x),
    "Sub": lambda a, b: a - b,
    "Sum": _sum,
}
"""Operator to torch: from its inputs, and its attributes by name, to its output."""


def _constant(**attributes: Any) -> NDArray[Any]:
    (value,) = attributes.values()
    is_tensor = isinstance(value, onnx.TensorProto)
    return onnx.numpy_helper.to_array(value) if is_tensor else np.asarray(value)


def _constant_of_shape(
    shape: NDArray[np.int64], *, value: onnx.TensorProto | None = None
) -> NDArray[Any]:
    fill = np.zeros(1, np.float32) if value is None else onnx.numpy_helper.to_array(value)
    return np.full(shape, fill[0])


_CONSTANT: dict[str, Callable[..., NDArray[Any]]] = {
    "Concat": lambda *x, axis: np.concatenate(x, axis),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
}
"""Operators that make weights and their shapes from constants."""
