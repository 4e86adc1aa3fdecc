"""ONNX models run by torch, with weights that can be drawn anew and differentiated."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.helper
import onnx.inliner
import onnx.numpy_helper
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import Tensor

Watch = Callable[[str, Tensor], None]

_WEIGHTED = ("Conv", "Gemm", "BatchNormalization")
"""Operators whose first input is data and whose others are weights."""
_SET = ("Clip", "Reshape", "Slice")
"""Operators whose first input is data and whose others, which must be known, say what to do."""
RECTIFIERS = ("Clip", "HardSwish", "Relu")
"""Operators that let pass what is positive; networks clip at zero, and often at six."""


class UnsupportedOperatorError(ValueError):
    """A model has an operator, an attribute of one or an input that cannot be run here."""


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
        if node.op_type == "Shape" or constant.issuperset(node.input):
            constant.update(node.output)
            candidates.append(node)
            continue
        read = list(node.input)
        data = read[:1] if node.op_type in (*_WEIGHTED, *_SET) else read
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


class _Step(NamedTuple):
    """An operator that is run.

    Attributes:
        operator: Its name.
        read: Names of the values that it reads.
        settings: What it is told besides, in inputs; None for those left out.
        attributes: What it is told in attributes.
        output: The name of the value that it makes.
    """

    operator: str
    read: list[str]
    settings: list[Any]
    attributes: dict[str, Any]
    output: str

    def run(self, values: Mapping[str, Tensor]) -> Tensor:
        inputs = [values[name] for name in self.read]
        return _OPERATORS[self.operator](*inputs, *self.settings, **self.attributes)


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
        UnsupportedOperatorError: An operator, or how it is used, is not supported, or the shape
            of the input is not fixed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = onnx.inliner.inline_local_functions(model).graph
        self._input, self._output = graph.input[0].name, graph.output[0].name
        dimensions = graph.input[0].type.tensor_type.shape.dim
        self.input_shape = tuple(dimension.dim_value for dimension in dimensions)
        if not all(self.input_shape):
            raise UnsupportedOperatorError(
                f"{self._input}: the shape of the input must be fixed; give each dimension a size"
            )
        self.normalised = True
        self.weights: dict[str, Tensor] = {}
        self._fans: dict[str, int] = {}
        self._nodes: list[_Step] = []
        known: dict[str, NDArray[Any]] = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        # Run once without numbers: weights may be made from the shapes of what is computed.
        made = {self._input: torch.empty(self.input_shape, device="meta")}
        for node in graph.node:
            attributes = {
                item.name: onnx.helper.get_attribute_value(item) for item in node.attribute
            }
            output = node.output[0]
            if node.op_type == "Shape" and node.input[0] in made:
                span = slice(attributes.get("start", 0), attributes.get("end"))
                known[output] = np.array(made[node.input[0]].shape[span], dtype=np.int64)
                continue
            if all(name in known for name in node.input if name):
                known |= _evaluated(node, known)
                continue
            _check(node, attributes)
            data = node.input[:1] if node.op_type in (*_WEIGHTED, *_SET) else node.input
            if fixed := [name for name in data if name in known]:
                raise UnsupportedOperatorError(
                    f"{output} = {node.op_type}: cannot be run on the constant {fixed[0]}"
                )
            others = [name for name in node.input[len(data) :] if name]
            if computed := [name for name in others if name not in known]:
                raise UnsupportedOperatorError(
                    f"{output} = {node.op_type}: its input {computed[0]} is computed"
                )
            if node.op_type in ("Conv", "Gemm"):
                for name in others:
                    self.weights[name] = torch.tensor(known[name], dtype=torch.float32)
                    made[name] = self.weights[name].to("meta")
                transposed = node.op_type == "Conv" or attributes.get("transB", 0)
                shape = self.weights[others[0]].shape
                self._fans[others[0]] = math.prod(shape[1:]) if transposed else shape[0]
            step = _Step(
                node.op_type,
                [*data, *(name for name in others if name in self.weights)],
                self._settings(node, known) if node.op_type in _SET else [],
                attributes,
                output,
            )
            self._nodes.append(step)
            made[output] = step.run(made)
        for weight in self.weights.values():
            weight.requires_grad_()

    def _settings(self, node: onnx.NodeProto, known: Mapping[str, NDArray[Any]]) -> list[Any]:
        """What a node is told in its inputs but the first."""
        settings: list[Any] = [known[name].tolist() if name else None for name in node.input[1:]]
        if node.op_type == "Reshape" and settings[0][0] == self.input_shape[0]:
            settings[0][0] = 0  # so that batches of another size can be run, too
        return settings

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
            watch: Called with the operator and the data it reads, for every rectifier and Gemm.
            weights: To be used in place of the network's own.
        """
        values = {self._input: images, **(self.weights if weights is None else weights)}
        for step in self._nodes:
            data = values[step.read[0]]
            if watch is not None and step.operator in (*RECTIFIERS, "Gemm"):
                watch(step.operator, data)
            if step.operator == "BatchNormalization" and not self.normalised:
                values[step.output] = data
            else:
                values[step.output] = step.run(values)
        return values[self._output]


def _evaluated(node: onnx.NodeProto, known: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What a node makes from constants, by name."""
    read = {name: known[name] for name in node.input if name}
    made = ReferenceEvaluator(node).run(None, read)
    return {name: np.asarray(value) for name, value in zip(node.output, made, strict=True)}


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


@cache
def _attributes(operator: str) -> frozenset[str]:
    parameters = inspect.signature(_OPERATORS[operator]).parameters.values()
    return frozenset(item.name for item in parameters if item.kind is item.KEYWORD_ONLY)


def _padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """Images with rows and columns added: above, on the left, below and on the right."""
    top, left, bottom, right = pads
    return F.pad(x, [left, right, top, bottom], value=value) if any(pads) else x


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
    # Added by the convolution itself where it can: that is faster.
    symmetric = list(pads[:2]) == list(pads[2:])
    if not symmetric:
        x = _padded(x, pads)
    padding = list(pads[:2]) if symmetric else [0, 0]
    return F.conv2d(x, weight, bias, list(strides), padding, list(dilations), group)


def _average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    count_include_pad: int = 0,
    ceil_mode: int = 0,
) -> Tensor:
    pool = partial(
        F.avg_pool2d,
        kernel_size=list(kernel_shape),
        stride=list(strides),
        ceil_mode=bool(ceil_mode),
    )
    means = pool(_padded(x, pads))
    if any(pads) and not count_include_pad:
        means = means / pool(_padded(torch.ones_like(x[:1, :1]), pads))
    return means


def _max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    ceil_mode: int = 0,
) -> Tensor:
    x = _padded(x, pads, -math.inf)
    return F.max_pool2d(x, list(kernel_shape), list(strides), ceil_mode=bool(ceil_mode))


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


def _clip(x: Tensor, least: float | None = None, most: float | None = None) -> Tensor:
    return x.clamp(least, most)


def _hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def _reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    # Zero keeps a dimension.
    return x.reshape([size or x.shape[i] for i, size in enumerate(shape)])


def _slice(
    x: Tensor,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
) -> Tensor:
    parts = [slice(None)] * x.ndim
    for i, axis in enumerate(range(len(starts)) if axes is None else axes):
        parts[axis] = slice(starts[i], ends[i], steps[i] if steps else 1)
    return x[tuple(parts)]


def _transpose(x: Tensor, *, perm: Sequence[int]) -> Tensor:
    return x.permute(list(perm))


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": _sum,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda x: F.hardswish(x),
    "Identity": lambda x: x,
    "MaxPool": _max_pool,
    "Mul": lambda a, b: a * b,
    "Relu": lambda x: F.relu(x),
    "Reshape": _reshape,
    "Slice": _slice,
    "Sub": lambda a, b: a - b,
    "Sum": _sum,
    "Transpose": _transpose,
}
"""Operator to torch: from its inputs, and its attributes by name, to its output."""
