"""What a model takes: parameters, FLOPs, and all the work of its operators.

The texts of a space share most of their functions, and what a call takes depends only on the
function, its attributes and what is known of its inputs. So it is worked out once, and the next
text only pays for what is new in it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.shape_inference
from onnx.reference import ReferenceEvaluator

from search_spaces.onnx_graph import (
    FunctionId,
    InvalidModelError,
    constant,
    domain_name,
)

Shape = tuple[int, ...]

_REMEMBERED = 16_384
"""Functions, calls and operators; those of a thousand texts of any space are fewer."""
_NUMBERS = ("value", "value_int", "value_ints", "value_float", "value_floats")
"""Attributes of a Constant that is a tensor of numbers."""
_WEIGHED = ("Conv", "Gemm", "BatchNormalization")
"""Operators whose second and third inputs are parameters."""
_MOST_KNOWN = 64
"""So many numbers of a value may be known before a run: enough for a shape."""


@dataclass(frozen=True)
class Costs:
    """What one run of a model takes.

    Attributes:
        parameters: Trained numbers: weights and biases of Conv and Gemm, and scale and bias of
            BatchNormalization, but not its running statistics.
        flops: Multiply-accumulates of Conv and Gemm for the whole batch, and one per added bias,
            as NAS-Bench-201 counts them.
    """

    parameters: int
    flops: int


class Operation(NamedTuple):
    """What a standard operator does in one run of a model.

    Attributes:
        operator: Such as ``Conv``.
        inputs: Shapes of what it reads of the model's input, directly or not.
        outputs: Shapes of what it gives.
        weights: Numbers that it reads besides: weights and other constants.
        macs: Multiply-accumulates of Conv, Gemm and MatMul for the whole batch, without biases.
        kernel: Of a convolution or pooling, or empty.
        strides: Of a convolution or pooling, or empty.
        group: Of a convolution; 1 for others.
        read_bytes: Of ``inputs``.
        written_bytes: Of ``outputs``.
        weight_bytes: Of ``weights``.
        used: Whether an output depends on it that depends on the model's input; some devices
            skip what is not used.
    """

    operator: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    weights: int
    macs: int
    kernel: Shape
    strides: Shape
    group: int
    read_bytes: int
    written_bytes: int
    weight_bytes: int
    used: bool


def count(model: onnx.ModelProto) -> Costs:
    """Parameters and FLOPs of a valid model, dead operations included.

    Operators other than Conv, Gemm and BatchNormalization count nothing. A weight is an
    initializer or is computed from constants and shapes alone, such as by ConstantOfShape.

    Args:
        model: A model whose shapes are all known, the batch included.

    Raises:
        InvalidModelError: A shape that is needed is unknown, or there is control flow.
    """
    result = _model(model)
    return Costs(parameters=result.parameters, flops=result.flops)


def work_list(model: onnx.ModelProto) -> Counter[Operation]:
    """The operations of one run of a valid model, dead ones included, and how often each occurs.

    What is computed from constants and shapes alone is ready before the run, so it is no work.
    ``x - x``, which is how search spaces write zero, does not depend on ``x``.

    Args:
        model: A model whose shapes are all known, the batch included.

    Raises:
        InvalidModelError: A shape is unknown, or there is control flow.
    """
    work = Counter[Operation]()
    for operation, times in Counter(_model(model).work).items():
        if isinstance(operation, str):
            raise InvalidModelError(f"a shape of {operation} is unknown")
        work[operation] = times
    return work


class _Value(NamedTuple):
    """What is known of a value before a run.

    Attributes:
        type: A serialised ``TypeProto``; empty if unknown.
        numbers: A serialised ``TensorProto``, if the numbers are few and known.
        weight: Whether it is an initializer or computed from constants and shapes alone.
    """

    type: bytes
    numbers: bytes | None
    weight: bool


class _Result(NamedTuple):
    """What a call of a function or operator gives and takes.

    Attributes:
        outputs: None for those that are left out.
        weighs: Weights among inputs (their positions) and outputs (~position), to be counted by
            who knows whether they are counted elsewhere, too.
        parameters: Those counted already.
        flops: See `Costs`.
        work: Operations; of one with an unknown shape, its name.
        unknown: Position, like those of ``weighs``, of a value whose shape is needed.
    """

    outputs: tuple[_Value | None, ...]
    weighs: tuple[int, ...] = ()
    parameters: int = 0
    flops: int = 0
    work: tuple[Operation | str, ...] = ()
    unknown: int | None = None


_Types = tuple[bytes | None, ...]
"""Of outputs, each a serialised ``TypeProto``, empty if unknown; None for one that is left out."""

_Attributes = tuple[tuple[str, bytes], ...]
"""Names, and each a serialised ``AttributeProto`` without its name."""


class _Node(NamedTuple):
    """A statement of a function; its attributes are values or refer to those of the function."""

    identity: FunctionId
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: _Attributes
    references: tuple[tuple[str, str], ...]

    @property
    def is_zero(self) -> bool:
        """Whether it is how search spaces write zero, which does not depend on what it reads."""
        return self.identity[1] == "Sub" and self.inputs[0] == self.inputs[1]


class _Body:
    """The statements of a function or a main graph.

    Args:
        inputs: Names.
        outputs: Names.
        nodes: The statements.
        opsets: Versions of the operators.
        functions: All that it may call.
        declared: The serialised ``TypeProto`` of each value whose type is declared.
    """

    def __init__(
        self,
        inputs: Iterable[str],
        outputs: Iterable[str],
        nodes: Iterable[onnx.NodeProto],
        opsets: Iterable[onnx.OperatorSetIdProto],
        functions: Mapping[FunctionId, _Body],
        declared: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.nodes = [_node(node.SerializeToString()) for node in nodes]
        self.callees = [functions.get(node.identity) for node in self.nodes]
        self.declared = [
            tuple(declared.get(name, b"") if name else None for name in node.outputs)
            for node in self.nodes
        ]
        self.opsets = onnx.ModelProto(opset_import=opsets).SerializeToString()
        self._needs: dict[frozenset[int], tuple[list[frozenset[int]], frozenset[int]]] = {}

    def needs(self, used: frozenset[int]) -> tuple[list[frozenset[int]], frozenset[int]]:
        """Which of the outputs of each node, and of the inputs, the outputs that are used need."""
        if used not in self._needs:
            read = {self.outputs[i] for i in used}
            needed = []
            for node, callee in zip(self.nodes[::-1], self.callees[::-1], strict=True):
                wanted = frozenset(i for i, name in enumerate(node.outputs) if name in read)
                needed.append(wanted)
                if wanted and callee:
                    needs = callee.needs(wanted)[1]
                    read.update(name for i, name in enumerate(node.inputs) if i in needs)
                elif wanted and not node.is_zero:
                    read.update(node.inputs)
            inputs = frozenset(i for i, name in enumerate(self.inputs) if name in read)
            self._needs[used] = needed[::-1], inputs
        return self._needs[used]


@lru_cache(maxsize=_REMEMBERED)
def _node(text: bytes) -> _Node:
    """A serialised statement: functions differ, but their statements repeat."""
    node = onnx.NodeProto.FromString(text)
    attributes, references = [], []
    for item in node.attribute:
        name = item.name
        if item.HasField("g") or item.graphs:
            raise InvalidModelError(f"{node.op_type} is control flow, which has no fixed costs")
        if item.ref_attr_name:
            references.append((name, item.ref_attr_name))
        else:
            item.ClearField("name")
            attributes.append((name, item.SerializeToString()))
    return _Node(
        (domain_name(node.domain), node.op_type, node.overload),
        tuple(node.input),
        tuple(node.output),
        tuple(attributes),
        tuple(references),
    )


def _model(model: onnx.ModelProto) -> _Result:
    """What a call of the main graph gives and takes; all weights are counted."""
    texts = {
        (domain_name(function.domain), function.name, function.overload): (
            function.SerializeToString()
        )
        for function in model.functions
    }
    bodies: dict[FunctionId, _Body] = {}

    def resolve(identities: Iterable[FunctionId]) -> None:
        for identity in identities:
            if identity in texts and identity not in bodies:
                called = _calls(texts[identity])
                resolve(called)
                functions = tuple([(name, bodies[name]) for name in called if name in bodies])
                bodies[identity] = _function(texts[identity], functions)

    graph = model.graph
    resolve((domain_name(n.domain), n.op_type, n.overload) for n in graph.node)
    values: dict[str, _Value | None] = {
        value.name: _Value(value.type.SerializeToString(), None, False) for value in graph.input
    }
    values |= {tensor.name: _known(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        # A constant may be large: it is not to be remembered.
        if node.op_type == "Constant" and node.attribute[0].name in _NUMBERS:
            values[node.output[0]] = _known(constant(node.attribute[0]))
        else:
            nodes.append(node)
    declared = {v.name: v.type.SerializeToString() for v in (*graph.value_info, *graph.output)}
    outputs = [value.name for value in graph.output]
    main = _Body(values, outputs, nodes, model.opset_import, bodies, declared)
    given = tuple(values.values())
    varying = {i for i, value in enumerate(given) if value and not value.weight}
    used = {i for i in range(len(outputs)) if main.needs(frozenset({i}))[1] & varying}
    result = _walk(main, (), given, frozenset(used))
    values |= zip(outputs, result.outputs, strict=True)
    weighed = [_end(main, end) for end in result.weighs]
    parameters = sum(_size(name, values[name]) for name in weighed)
    return result._replace(weighs=(), parameters=result.parameters + parameters)


@lru_cache(maxsize=_REMEMBERED)
def _calls(function: bytes) -> tuple[FunctionId, ...]:
    """What the nodes of a serialised function are: functions, if there are such, or operators."""
    nodes = onnx.FunctionProto.FromString(function).node
    return tuple({_node(node.SerializeToString()).identity: None for node in nodes})


@lru_cache(maxsize=_REMEMBERED)
def _function(text: bytes, functions: tuple[tuple[FunctionId, _Body], ...]) -> _Body:
    """A serialised function and those that it calls: the same object whenever they are the same.

    So it can be part of the key under which what a call takes is remembered.
    """
    function = onnx.FunctionProto.FromString(text)
    return _Body(
        function.input, function.output, function.node, function.opset_import, dict(functions)
    )


def _walk(
    body: _Body,
    attributes: _Attributes,
    inputs: tuple[_Value | None, ...],
    used: frozenset[int],
) -> _Result:
    """What a call gives and takes.

    Args:
        body: The function.
        attributes: Of the call.
        inputs: None for those that are left out.
        used: Positions of the outputs that an output of the model depends on.
    """
    given = dict(attributes)
    values: dict[str, _Value | None] = dict(zip_longest(body.inputs, inputs))
    weighed: set[str] = set()
    parameters = flops = 0
    work: list[Operation | str] = []
    steps = zip(body.nodes, body.callees, body.declared, body.needs(used)[0], strict=True)
    for node, callee, declared, wanted in steps:
        bound = node.attributes
        if node.references:
            bound += tuple([(name, given[r]) for name, r in node.references if r in given])
        arguments = tuple([values.get(name) for name in node.inputs])
        if callee:
            result = _call(callee, bound, arguments, wanted)
        else:
            result = _operator(
                node.identity, body.opsets, bound, arguments, declared, bool(wanted)
            )
        values.update(zip(node.outputs, result.outputs, strict=False))
        weighed.update(_end(node, end) for end in result.weighs)
        if result.unknown is not None:
            raise _unknown(_end(node, result.unknown))
        parameters += result.parameters
        flops += result.flops
        work += result.work
    ends = {name: i for i, name in enumerate(body.inputs)}
    ends |= {name: ~i for i, name in enumerate(body.outputs)}
    return _Result(
        outputs=tuple([values[name] for name in body.outputs]),
        weighs=tuple([ends[name] for name in weighed & ends.keys()]),
        parameters=parameters + sum(_size(name, values[name]) for name in weighed - ends.keys()),
        flops=flops,
        work=tuple(work),
    )


def _end(node: _Node | _Body, end: int) -> str:
    """The name of an input, or of an output, see `_Result`."""
    return node.inputs[end] if end >= 0 else node.outputs[~end]


_call = lru_cache(maxsize=_REMEMBERED)(_walk)


def _known(tensor: onnx.TensorProto) -> _Value:
    """An initializer or constant."""
    kind = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    numbers = None
    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    if math.prod(tensor.dims) <= _MOST_KNOWN and not external:
        numbers = tensor.SerializeToString()
    return _Value(kind.SerializeToString(), numbers, True)


@lru_cache(maxsize=_REMEMBERED)
def _operator(
    identity: FunctionId,
    opsets: bytes,
    attributes: _Attributes,
    inputs: tuple[_Value | None, ...],
    declared: _Types,
    used: bool,
) -> _Result:
    """What a standard operator gives and takes."""
    outputs = _outputs(identity, opsets, attributes, inputs, declared)
    operator = identity[1]
    settings = {name: _setting(text) for name, text in attributes}
    macs = biases = 0
    if operator in ("Conv", "Gemm"):
        given, weight = _shape(outputs[0]), _shape(inputs[1])
        if given is None or weight is None:
            return _Result(outputs, unknown=1 if given is not None else ~0)
        transposed = operator == "Conv" or settings.get("transB", 0)
        features = weight[0] if transposed else weight[1]
        macs = math.prod(given) * (math.prod(weight) // features)
        biases = math.prod(given) * (len(inputs) > 2 and inputs[2] is not None)
    return _Result(
        outputs,
        weighs=tuple(
            i
            for i, value in enumerate(inputs[1:3], 1)
            if operator in _WEIGHED and value and value.weight
        ),
        flops=macs + biases,
        work=_work(operator, settings, inputs, outputs, macs, used),
    )


def _work(
    operator: str,
    settings: Mapping[str, Any],
    inputs: tuple[_Value | None, ...],
    outputs: tuple[_Value | None, ...],
    macs: int,
    used: bool,
) -> tuple[Operation | str, ...]:
    """The operation, or its name if a shape is unknown; none if what it gives is a weight."""
    written = [value for value in outputs if value]
    if all(value.weight for value in written):
        return ()
    read = [value for value in inputs if value and not value.weight]
    weights = [value for value in inputs if value and value.weight]
    shapes = {value: _shape(value) for value in (*read, *weights, *written)}
    known = {value: shape for value, shape in shapes.items() if shape is not None}
    if len(known) < len(shapes):
        return (operator,)
    if operator == "MatMul":
        macs = sum(math.prod(known[value]) for value in written) * known[(*read, *weights)[0]][-1]
    kernel = settings.get("kernel_shape", ())
    if operator == "Conv" and inputs[1]:
        kernel = known[inputs[1]][2:]
    operation = Operation(
        operator=operator,
        inputs=tuple(known[value] for value in read),
        outputs=tuple(known[value] for value in written),
        weights=sum(math.prod(known[value]) for value in weights),
        macs=macs,
        kernel=tuple(kernel),
        strides=tuple(settings.get("strides", ())),
        group=settings.get("group", 1),
        read_bytes=sum(_bytes(value, known[value]) for value in read),
        written_bytes=sum(_bytes(value, known[value]) for value in written),
        weight_bytes=sum(_bytes(value, known[value]) for value in weights),
        used=used,
    )
    return (operation,)


@lru_cache(maxsize=_REMEMBERED)
def _outputs(
    identity: FunctionId,
    opsets: bytes,
    attributes: _Attributes,
    inputs: tuple[_Value | None, ...],
    declared: _Types,
) -> tuple[_Value | None, ...]:
    """What is known of the outputs of an operator: what ONNX infers for it alone."""
    model = onnx.ModelProto.FromString(opsets)
    model.ir_version = onnx.IR_VERSION
    graph = model.graph
    domain, operator, overload = identity
    graph.name = operator
    node = graph.node.add(op_type=operator, domain=domain, overload=overload)
    for name, text in attributes:
        node.attribute.add().ParseFromString(text)
        node.attribute[-1].name = name
    for i, value in enumerate(inputs):
        node.input.append(f"x{i}" if value else "")
        if value:
            graph.input.add(name=f"x{i}").type.ParseFromString(value.type)
        if value and value.numbers:
            graph.initializer.add().ParseFromString(value.numbers)
            graph.initializer[-1].name = f"x{i}"
    for i, kind in enumerate(declared):
        node.output.append("" if kind is None else f"y{i}")
        if kind:
            graph.value_info.add(name=f"y{i}").type.ParseFromString(kind)
    try:
        inferred = onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except onnx.shape_inference.InferenceError as error:
        raise InvalidModelError(str(error)) from error
    types = {value.name: value.type.SerializeToString() for value in inferred.graph.value_info}
    weight = operator == "Shape" or all(value.weight for value in inputs if value)
    outputs = tuple(
        None if kind is None else _Value(types.get(f"y{i}", b""), None, weight)
        for i, kind in enumerate(declared)
    )
    if weight and len(outputs) == 1 and outputs[0]:
        return (outputs[0]._replace(numbers=_numbers(model, inputs, outputs[0])),)
    return outputs


def _numbers(
    model: onnx.ModelProto, inputs: tuple[_Value | None, ...], output: _Value
) -> bytes | None:
    """What the only node of a model gives, if that is few integers and known before the run."""
    (node,) = model.graph.node
    shape = _shape(output)
    kind = onnx.TypeProto.FromString(output.type).tensor_type
    kinds = (onnx.TensorProto.INT64, onnx.TensorProto.FLOAT)
    allowed = kinds if node.op_type == "Constant" else kinds[:1]
    if kind.elem_type not in allowed or shape is None or math.prod(shape) > _MOST_KNOWN:
        return None
    if node.op_type == "Shape" and inputs[0]:
        settings = {item.name: item.i for item in node.attribute}
        dimensions = _dimensions(inputs[0]) or []
        dimensions = dimensions[settings.get("start", 0) : settings.get("end")]
        if None in dimensions:
            return None
        numbers = np.array(dimensions, np.int64)
    elif all(value.numbers for value in inputs if value):
        model.graph.output.add(name=node.output[0])
        numbers = np.asarray(next(iter(ReferenceEvaluator(model).run(None, {}))))
    else:
        return None
    return onnx.numpy_helper.from_array(numbers).SerializeToString()


def _setting(attribute: bytes) -> Any:
    return onnx.helper.get_attribute_value(onnx.AttributeProto.FromString(attribute))


def _dimensions(value: _Value) -> list[int | None] | None:
    """None for those that are unknown, and for all if not even their number is known."""
    kind = onnx.TypeProto.FromString(value.type).tensor_type
    if not kind.HasField("shape"):
        return None
    return [item.dim_value if item.HasField("dim_value") else None for item in kind.shape.dim]


def _shape(value: _Value | None) -> Shape | None:
    dimensions = _dimensions(value) if value else None
    if dimensions is None:
        return None
    known = tuple(number for number in dimensions if number is not None)
    return known if len(known) == len(dimensions) else None


def _size(name: str, value: _Value | None) -> int:
    shape = _shape(value)
    if shape is None:
        raise _unknown(name)
    return math.prod(shape)


def _unknown(name: str) -> InvalidModelError:
    return InvalidModelError(f"the shape of {name!r} is unknown")


def _bytes(value: _Value, shape: Shape) -> int:
    kind = onnx.TypeProto.FromString(value.type).tensor_type
    return math.prod(shape) * onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
