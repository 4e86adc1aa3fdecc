"""What must hold of a search space's ONNX models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
import onnx.checker
import onnx.defs
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import onnx.shape_inference


class InvalidModelError(ValueError):
    """A model is not valid ONNX, or would silently compute something else than it says."""


def validate(model: onnx.ModelProto | str) -> onnx.ModelProto:
    """Refuse a model that `onnx.checker` refuses, or whose functions it does not look into.

    The checker accepts a call to a function that is nowhere defined and a function that never
    defines its output, and the inliner ignores the default values of a function's attributes.
    So each call must find its function, with exactly the attributes it declares; functions must
    define their values, have no default attributes, not call themselves and not be called like an
    operator; and every domain must be imported where it is used. A function that is never called
    is harmless: a skeleton may offer more than one architecture uses.

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


FunctionId = tuple[str, str, str]
"""Domain, name and overload."""


def _check_functions(model: onnx.ModelProto) -> None:
    functions: dict[FunctionId, onnx.FunctionProto] = {}
    for function in model.functions:
        identity = (domain_name(function.domain), function.name, function.overload)
        if identity in functions:
            raise InvalidModelError(f"function {function.name} is defined twice")
        if onnx.defs.has(function.name, identity[0]):
            raise InvalidModelError(
                f"function {function.name} has the name of an operator of its domain, and ONNX "
                "Runtime crashes on it; give it another name or domain"
            )
        if function.attribute_proto:
            raise InvalidModelError(
                f"function {function.name} has a default for its attribute "
                f"{function.attribute_proto[0].name}, which the inliner would ignore"
            )
        _check_values(function)
        functions[identity] = function

    calls = {identity: _calls(function, functions) for identity, function in functions.items()}
    finished: set[FunctionId] = set()

    def follow(identity: FunctionId, callers: tuple[FunctionId, ...]) -> None:
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
    functions: dict[FunctionId, onnx.FunctionProto],
) -> set[FunctionId]:
    """The functions that a function, or the main graph, calls."""
    if isinstance(caller, onnx.ModelProto):
        where, nodes, attributes = "the main graph", caller.graph.node, set[str]()
    else:
        where, nodes = f"function {caller.name}", caller.node
        attributes = set(caller.attribute)
    imported = {domain_name(opset.domain) for opset in caller.opset_import}
    calls = set()
    for node in nested(nodes):
        domain = domain_name(node.domain)
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


def nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of the graphs that are their attributes."""
    for node in nodes:
        yield node
        for item in node.attribute:
            for graph in (*([item.g] if item.HasField("g") else []), *item.graphs):
                yield from nested(graph.node)


def _statement(where: str, node: onnx.NodeProto) -> str:
    """A node, as a message names it."""
    domain = domain_name(node.domain)
    operator = f"{domain}.{node.op_type}" if domain else node.op_type
    return f"{where}: {', '.join(node.output)} = {operator}"


def domain_name(name: str) -> str:
    """The standard domain has two spellings."""
    return "" if name == "ai.onnx" else name


def constant(attribute: onnx.AttributeProto) -> onnx.TensorProto:
    """What a Constant with this attribute gives: a tensor, or integers, floats or strings."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return value
    kind = {"f": np.float32, "i": np.int64, "s": np.object_}[attribute.name[len("value_")]]
    return onnx.numpy_helper.from_array(np.array(value, kind))
