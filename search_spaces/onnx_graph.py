"""What must hold of a search space's ONNX models, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx
import onnx.checker
import onnx.defs
import onnx.inliner
import onnx.parser
import onnx.shape_inference


class InvalidModelError(ValueError):
    """A model is not valid ONNX, or would silently compute something else than it says."""


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


def validate(model: onnx.ModelProto | str) -> onnx.ModelProto:
    """Refuse a model that `onnx.checker` refuses, or whose functions it does not look into.

    The checker accepts a call to a function that is nowhere defined and a function that never
    defines its output, and the inliner ignores the default values of a function's attributes.
    So each call must find its function, with exactly the attributes it declares; functions must
    define their values, have no default attributes and not call themselves; and every domain
    must be imported where it is used. A function that is never called is harmless: a skeleton
    may offer more than one architecture uses.

    Args:
        model: A model, or a text in the ONNX textual syntax.

    Returns:
        The model, parsed if it was a text.

    Raises:
        InvalidModelError: The first fault, with the function and the node it is in.
    """
    if isinstance(model, str):
        try:
            model = onnx.parser.parse_model(model)
        except onnx.parser.ParseError as error:
            raise InvalidModelError(f"not ONNX text: {error}") from error
    _check_functions(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InvalidModelError(str(error)) from error
    return model


def count(model: onnx.ModelProto) -> Costs:
    """Parameters and FLOPs of a valid model, dead operations included.

    Operators other than Conv, Gemm and BatchNormalization count nothing. A weight is an
    initializer or is computed from constants and shapes alone, such as by ConstantOfShape.

    Args:
        model: A model whose shapes are all known, the batch included.

    Raises:
        InvalidModelError: A shape that is needed is unknown.
    """
    flat = flatten(model)
    shapes = Shapes(flat.graph)
    weights = {tensor.name for tensor in flat.graph.initializer}
    parameters: set[str] = set()
    flops = 0
    for node in flat.graph.node:
        if node.op_type == "Shape" or weights.issuperset(filter(None, node.input)):
            weights.update(node.output)
        if node.op_type in ("Conv", "Gemm", "BatchNormalization"):
            parameters |= weights.intersection(node.input[1:3])
        if node.op_type in ("Conv", "Gemm"):
            output = math.prod(shapes[node.output[0]])
            kernel = shapes[node.input[1]]
            transposed = any(item.name == "transB" and item.i for item in node.attribute)
            features = kernel[1] if node.op_type == "Gemm" and not transposed else kernel[0]
            has_bias = len(node.input) > 2 and node.input[2] != ""
            flops += output * (math.prod(kernel) // features + has_bias)
    return Costs(parameters=sum(math.prod(shapes[name]) for name in parameters), flops=flops)


def flatten(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without local functions, and with the shapes that can be inferred."""
    return onnx.shape_inference.infer_shapes(
        onnx.inliner.inline_local_functions(model),
        check_type=True,
        strict_mode=True,
        data_prop=True,
    )


class Shapes(dict[str, tuple[int, ...]]):
    """Value name to shape, for the values whose shape is known."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__({tensor.name: tuple(tensor.dims) for tensor in graph.initializer})
        for value in (*graph.input, *graph.value_info, *graph.output):
            dimensions = value.type.tensor_type.shape.dim
            if all(dimension.HasField("dim_value") for dimension in dimensions):
                self[value.name] = tuple(dimension.dim_value for dimension in dimensions)

    def __missing__(self, name: str) -> tuple[int, ...]:
        raise InvalidModelError(f"the shape of {name!r} is unknown")


_FunctionId = tuple[str, str, str]
"""Domain, name and overload."""


def _check_functions(model: onnx.ModelProto) -> None:
    functions: dict[_FunctionId, onnx.FunctionProto] = {}
    for function in model.functions:
        identity = (_domain(function.domain), function.name, function.overload)
        if identity in functions:
            raise InvalidModelError(f"function {function.name} is defined twice")
        if function.attribute_proto:
            raise InvalidModelError(
                f"function {function.name} has a default for its attribute "
                f"{function.attribute_proto[0].name}, which the inliner would ignore"
            )
        _check_values(function)
        functions[identity] = function

    calls = {identity: _calls(function, functions) for identity, function in functions.items()}
    finished: set[_FunctionId] = set()

    def follow(identity: _FunctionId, callers: tuple[_FunctionId, ...]) -> None:
        if identity in callers:
            raise InvalidModelError(f"function {identity[1]} calls itself")
        if identity not in finished:
            for callee in calls[identity]:
                follow(callee, (*callers, identity))
            finished.add(identity)

    _calls(model, functions)
    for identity in functions:
        follow(identity, ())


def _check_values(function: onnx.FunctionProto) -> None:
    """Each value is defined once, before it is read. The checker does so for graphs alone."""
    defined = {"", *function.input}
    for node in function.node:
        statement = _statement(f"function {function.name}", node)
        if undefined := [name for name in node.input if name not in defined]:
            raise InvalidModelError(f"{statement}: the value {undefined[0]!r} is not defined")
        if repeated := [name for name in node.output if name and name in defined]:
            raise InvalidModelError(f"{statement}: the value {repeated[0]!r} is defined twice")
        defined.update(node.output)
    if missing := [name for name in function.output if name not in defined]:
        raise InvalidModelError(
            f"function {function.name}: the output {missing[0]!r} is not defined"
        )


def _calls(
    caller: onnx.ModelProto | onnx.FunctionProto,
    functions: dict[_FunctionId, onnx.FunctionProto],
) -> set[_FunctionId]:
    """The functions that a function, or the main graph, calls."""
    if isinstance(caller, onnx.ModelProto):
        where, nodes, attributes = "the main graph", caller.graph.node, set[str]()
    else:
        where, nodes = f"function {caller.name}", caller.node
        attributes = set(caller.attribute)
    imported = {_domain(opset.domain) for opset in caller.opset_import}
    calls = set()
    for node in _nested(nodes):
        domain = _domain(node.domain)
        statement = _statement(where, node)
        if domain not in imported:
            raise InvalidModelError(f"{statement}: the domain {domain!r} is not imported")
        for item in node.attribute:
            if item.ref_attr_name and item.ref_attr_name not in attributes:
                raise InvalidModelError(
                    f"{statement}: no attribute {item.ref_attr_name} to refer to"
                )
        identity = (domain, node.op_type, node.overload)
        if identity in functions:
            _check_call(statement, node, functions[identity])
            calls.add(identity)
        elif not onnx.defs.has(node.op_type, domain):
            raise InvalidModelError(f"{statement}: there is no such operator or function")
    return calls


def _check_call(statement: str, node: onnx.NodeProto, function: onnx.FunctionProto) -> None:
    given, declared = {item.name for item in node.attribute}, set(function.attribute)
    if given != declared:
        raise InvalidModelError(
            f"{statement}: the attributes are {sorted(given)} where the function declares "
            f"{sorted(declared)}"
        )
    for kind in ("input", "output"):
        if len(getattr(node, kind)) != len(getattr(function, kind)):
            raise InvalidModelError(
                f"{statement}: {len(getattr(node, kind))} {kind}s where the function declares "
                f"{len(getattr(function, kind))}"
            )


def _nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of the graphs that are their attributes."""
    for node in nodes:
        yield node
        for item in node.attribute:
            for graph in (*([item.g] if item.HasField("g") else []), *item.graphs):
                yield from _nested(graph.node)


def _statement(where: str, node: onnx.NodeProto) -> str:
    """A node, as a message names it."""
    domain = _domain(node.domain)
    operator = f"{domain}.{node.op_type}" if domain else node.op_type
    return f"{where}: {', '.join(node.output)} = {operator}"


def _domain(name: str) -> str:
    """The standard domain has two spellings."""
    return "" if name == "ai.onnx" else name
