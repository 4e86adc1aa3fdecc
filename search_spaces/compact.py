"""Any ONNX model as a short text: operators, attributes and shapes, but no weights.

The text is itself a model that `onnx.parser` reads and ONNX Runtime runs: weights have become
further inputs, called ``w1``, ``w2`` and so on, with their types.
"""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.defs
import onnx.helper
import onnx.inliner
import onnx.numpy_helper
import onnx.parser
import onnx.printer

from search_spaces.onnx_graph import InvalidModelError, constant

_WEIGHT = re.compile(r"w\d+")
MOST_KEPT = 64
"""Numbers of a constant that stays in the text, such as a shape; longer ones are weights."""


def compact(model: onnx.ModelProto | str | Path) -> str:
    """The text of a model.

    Local functions are inlined. Values are named by their position: inputs ``x1``, weights
    ``w1``, all others ``v1`` and up; an input that has the name of a weight is one. Integers and
    single numbers among the constants say what is computed, so they stay; all others are weights,
    of which only the shapes stay.

    Args:
        model: A model, an ONNX text, or a file, whose external data need not be there.

    Raises:
        InvalidModelError: It is not a valid model of standard operators, has control flow, or a
            shape of an input is not fixed; the message names the node or the input.
        OSError: The file cannot be read.
    """
    graph, opset = _flat(_read(model))
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            tensors[node.output[0]] = constant(node.attribute[0])
    free = {value.name: value for value in graph.input if _WEIGHT.fullmatch(value.name)}
    given = [value for value in graph.input if value.name not in tensors.keys() | free.keys()]
    names = {value.name: f"x{i}" for i, value in enumerate(given, 1)}
    value_names = (f"v{i}" for i in count(1))
    weights: list[onnx.ValueInfoProto] = []
    body: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Constant":
            continue
        for name in node.input:
            if name in names or name not in tensors.keys() | free.keys():
                continue
            kept = _kept(tensors[name]) if name in tensors else None
            if kept is not None:
                names[name] = next(value_names)
                body.append(onnx.helper.make_node("Constant", [], [names[name]], **kept))
                continue
            names[name] = f"w{len(weights) + 1}"
            if name in free:
                weights.append(_fixed(free[name], names))
            else:
                weights.append(_weight(names[name], tensors[name]))
        names.update((name, next(value_names)) for name in node.output if name)
        body.append(_renamed(node, names, opset.version))
    inputs = [*(_fixed(value, names) for value in given), *weights]
    outputs = [_fixed(value, names) for value in graph.output]
    short = onnx.helper.make_model(
        onnx.helper.make_graph(body, "net", inputs, outputs),
        opset_imports=[opset],
        ir_version=10,
    )
    try:
        onnx.checker.check_model(short, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InvalidModelError(str(error)) from error
    return onnx.printer.to_text(short)


def _read(model: onnx.ModelProto | str | Path) -> onnx.ModelProto:
    if isinstance(model, Path):
        try:
            return onnx.load(model, load_external_data=False)
        except OSError:
            raise
        except Exception as error:  # what protobuf raises depends on its implementation
            raise InvalidModelError(f"{model} is not an ONNX file: {error}") from error
    if isinstance(model, str):
        try:
            return onnx.parser.parse_model(model)
        except onnx.parser.ParseError as error:
            raise InvalidModelError(f"not ONNX text: {error}") from error
    return model


def _flat(model: onnx.ModelProto) -> tuple[onnx.GraphProto, onnx.OperatorSetIdProto]:
    """The graph without local functions, and the operators that it may use."""
    flat = onnx.inliner.inline_local_functions(model) if model.functions else model
    opsets = [opset for opset in flat.opset_import if opset.domain in ("", "ai.onnx")]
    if not opsets:
        raise InvalidModelError("the model imports no version of the standard operators")
    for node in flat.graph.node:
        where = f"node {node.name or node.output[0]!r} ({node.op_type})"
        if node.domain not in ("", "ai.onnx"):
            raise InvalidModelError(f"{where} is of domain {node.domain!r}, not a standard one")
        if not onnx.defs.has(node.op_type, opsets[0].version):
            raise InvalidModelError(f"{where} is not an operator of opset {opsets[0].version}")
        if any(item.HasField("g") or item.graphs for item in node.attribute):
            raise InvalidModelError(f"{where} is control flow, which has no fixed graph")
    return flat.graph, opsets[0]


def _kept(tensor: onnx.TensorProto) -> dict[str, Any] | None:
    """A constant as arguments of `Constant`; None for a weight."""
    size = int(np.prod(tensor.dims))
    integers = tensor.data_type == onnx.TensorProto.INT64
    if size > (MOST_KEPT if integers else 1) or len(tensor.dims) > 1:
        return None
    if not integers and tensor.data_type != onnx.TensorProto.FLOAT:
        return None
    numbers = onnx.numpy_helper.to_array(tensor)
    kind = "int" if integers else "float"
    if numbers.ndim:
        return {f"value_{kind}s": numbers.tolist()}
    return {f"value_{kind}": numbers.item()}


def _weight(name: str, tensor: onnx.TensorProto) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))


def _fixed(value: onnx.ValueInfoProto, names: dict[str, str]) -> onnx.ValueInfoProto:
    """An input or output under its new name, all of its dimensions known."""
    kind = value.type.tensor_type
    dimensions = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    if not kind.HasField("shape") or None in dimensions:
        raise InvalidModelError(
            f"the shape of {value.name!r} is not fixed: export the model for one batch size"
        )
    return onnx.helper.make_tensor_value_info(names[value.name], kind.elem_type, dimensions)


def _renamed(node: onnx.NodeProto, names: dict[str, str], version: int) -> onnx.NodeProto:
    """A node under the new names, without attributes that have their default value."""
    defaults = onnx.defs.get_schema(node.op_type, version).attributes
    renamed = onnx.NodeProto(op_type=node.op_type)
    renamed.input.extend(names[name] if name else "" for name in node.input)
    renamed.output.extend(names[name] if name else "" for name in node.output)
    for item in sorted(node.attribute, key=lambda item: item.name):
        default = onnx.AttributeProto()
        default.CopyFrom(defaults[item.name].default_value)
        default.name = item.name
        if onnx.helper.get_attribute_value(item) != _value(default):
            renamed.attribute.append(item)
    return renamed


def _value(attribute: onnx.AttributeProto) -> object:
    """None where the attribute has no value."""
    return onnx.helper.get_attribute_value(attribute) if attribute.type else None
