"""An ONNX model without its functions and without the numbers of its weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.checker
import onnx.defs
import onnx.external_data_helper
import onnx.helper
import onnx.inliner
import onnx.numpy_helper
import onnx.parser
import onnx.version_converter

from search_spaces.onnx_graph import InvalidModelError, constant

OLDEST = 13
"""Models of earlier opsets are converted to this one."""
LOCAL = "local"
WEIGHTS = "Weights"
"""In the domain `LOCAL`, a function of this name, or of one that begins so, makes weights."""
MOST_KEPT = 64
"""Numbers of a constant that stays in the text, such as a shape; longer ones are weights."""
_PLAIN = {
    onnx.TensorProto.DataType.Value(name)
    for name in (
        *("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "BOOL", "STRING"),
        *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
    )
}


@dataclass(frozen=True)
class Flat:
    """A graph of standard operators.

    Attributes:
        version: Of the operators.
        inputs: Those that are given when it runs, with fixed shapes.
        outputs: With fixed shapes, inferred where the model does not say.
        nodes: In the order of evaluation, without those that are constants.
        kept: The constants that say what is computed, such as shapes and axes.
        weights: All others, their numbers perhaps absent.
    """

    version: int
    inputs: list[onnx.ValueInfoProto]
    outputs: list[onnx.ValueInfoProto]
    nodes: list[onnx.NodeProto]
    kept: dict[str, onnx.TensorProto]
    weights: dict[str, onnx.TensorProto]


def file_of(model: onnx.ModelProto | str | Path) -> Path | None:
    """The file that is meant, if one is: by a path, or by a name that ends in .onnx."""
    if isinstance(model, str) and model.endswith(".onnx"):
        return Path(model)
    return model if isinstance(model, Path) else None


def read(model: onnx.ModelProto | str | Path) -> onnx.ModelProto:
    """A model, an ONNX text or a file (see `file_of`), whose external data is not loaded.

    Raises:
        InvalidModelError: It is none.
        OSError: The file cannot be read.
    """
    if (file := file_of(model)) is not None:
        try:
            return onnx.load(file, load_external_data=False)
        except OSError:
            raise
        except Exception as error:  # what protobuf raises depends on its implementation
            raise InvalidModelError(f"{file} is not an ONNX file: {error}") from error
    if isinstance(model, str):
        try:
            return onnx.parser.parse_model(model)
        except onnx.parser.ParseError as error:
            raise InvalidModelError(f"not ONNX text: {error}") from error
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(
            f"expected a model, an ONNX text or a file, not a {type(model).__name__}; "
            "search_spaces.export makes a model of a torch module"
        )
    return model


def flatten(model: onnx.ModelProto, folder: Path) -> Flat:
    """Inline what is local, check what remains, and tell weights from other constants.

    The numbers of weights are not read, and not copied.

    Args:
        model: See `read`.
        folder: Where its external data is.

    Raises:
        InvalidModelError: It is not a valid model of standard operators, has control flow, or a
            shape of an input or output is not fixed; the message names the node or the value.
    """
    graph, constants = _inlined(model)
    _drop_copies(graph, constants)
    version = _version(model)
    for node in graph.node:
        _check(node, version)
    read = {name for node in graph.node for name in node.input}
    read |= {value.name for value in graph.output}
    constants = {name: constants[name] for name in constants if name in read}
    kept = _say_what_is_computed(graph.node, constants)
    small = {name: _loaded(name, constants[name], folder) for name in kept}
    light = _light(graph, small, constants, version)
    given = [value for value in graph.input if value.name not in constants]
    if not all(_is_fixed(value) for value in graph.output):
        light = onnx.shape_inference.infer_shapes(light, data_prop=True)
    for value in (*given, *light.graph.output):
        _check_shape(value)
    try:
        onnx.checker.check_model(light, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InvalidModelError(str(error)) from error
    _check_connections(light.graph, given)
    if version < OLDEST:
        light = _converted(light)
    small = dict(_constants(light.graph))
    return Flat(
        version=max(version, OLDEST),
        inputs=given,
        outputs=list(light.graph.output),
        nodes=[node for node in light.graph.node if node.op_type != "Constant"],
        kept=small,
        weights={name: tensor for name, tensor in constants.items() if name not in small},
    )


def described(node: onnx.NodeProto) -> str:
    """A node, as a message names it."""
    return f"node {node.name or node.output[0]!r} ({node.op_type})"


def _version(model: onnx.ModelProto) -> int:
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx"):
            return opset.version
    raise InvalidModelError("the model imports no version of the standard operators")


def _inlined(
    model: onnx.ModelProto,
) -> tuple[onnx.GraphProto, dict[str, onnx.TensorProto]]:
    """The graph without functions, constants and initializers, and these."""
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise InvalidModelError(f"the initializer {name!r} is sparse")
    constants = dict(_constants(model.graph))
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.functions.extend(model.functions)
    _without(model.graph, constants, light.graph)
    if not model.functions:
        return light.graph, constants
    makers = [
        (function.domain, function.name)
        for function in model.functions
        if function.domain == LOCAL and function.name.startswith(WEIGHTS)
    ]
    graph = onnx.inliner.inline_selected_functions(light, makers, exclude=True).graph
    constants.update(_constants(graph))
    bare = onnx.GraphProto()
    _without(graph, constants, bare)
    return bare, constants


def _drop_copies(graph: onnx.GraphProto, constants: dict[str, onnx.TensorProto]) -> None:
    """Identities of constants, by which exporters write equal numbers once."""
    for node in graph.node:
        if node.op_type == "Identity" and node.domain == "" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    nodes = [node for node in graph.node if node.output[0] not in constants]
    del graph.node[:]
    graph.node.extend(nodes)


def _without(graph: onnx.GraphProto, constants: Iterable[str], copy: onnx.GraphProto) -> None:
    """Copy a graph but for these constants."""
    copy.name = graph.name or "net"
    copy.input.extend(value for value in graph.input if value.name not in constants)
    copy.output.extend(graph.output)
    copy.node.extend(node for node in graph.node if node.output[0] not in constants)


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Initializers, what `Constant` nodes give, and the weights that a compact text makes."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            yield node.output[0], _constant(node)
        elif node.domain == LOCAL and node.op_type.startswith(WEIGHTS):
            kind = node.op_type.removeprefix(WEIGHTS).removeprefix("_").upper() or "FLOAT"
            yield (
                node.output[0],
                onnx.TensorProto(
                    dims=node.attribute[0].ints,
                    data_type=onnx.TensorProto.DataType.Value(kind),
                    data_location=onnx.TensorProto.EXTERNAL,
                ),
            )


def _constant(node: onnx.NodeProto) -> onnx.TensorProto:
    (item,) = node.attribute
    if item.name == "sparse_value":
        raise InvalidModelError(f"{described(node)} is sparse")
    return constant(item)


def _check(node: onnx.NodeProto, version: int) -> None:
    if node.domain not in ("", "ai.onnx"):
        raise InvalidModelError(
            f"{described(node)} is of domain {node.domain!r}, not a standard one"
        )
    if not onnx.defs.has(node.op_type, version):
        raise InvalidModelError(f"{described(node)} is not an operator of opset {version}")
    if any(item.HasField("g") or item.graphs for item in node.attribute):
        raise InvalidModelError(f"{described(node)} is control flow, which has no fixed graph")


def _say_what_is_computed(
    nodes: Iterable[onnx.NodeProto], constants: dict[str, onnx.TensorProto]
) -> list[str]:
    """The constants that are not weights: integers, and single numbers without dimensions."""
    role: dict[str, bool] = {}
    for node in nodes:
        for name in node.input:
            if node.op_type.startswith(("QuantizeLinear", "DequantizeLinear", "QLinear")):
                role[name] = False  # scales and zero points, which are fitted like weights
            elif node.op_type in ("Resize", "Upsample"):
                role[name] = True  # scales of sizes
    return [name for name, tensor in constants.items() if _is_kept(tensor, role.get(name))]


def _is_kept(tensor: onnx.TensorProto, role: bool | None) -> bool:
    size, rank = math.prod(tensor.dims), len(tensor.dims)
    if role is False or rank > 1 or size > MOST_KEPT or _is_placeholder(tensor):
        return False
    if tensor.data_type == onnx.TensorProto.INT64 or role:
        return True
    return rank == 0 and tensor.data_type in _PLAIN


def _is_placeholder(tensor: onnx.TensorProto) -> bool:
    """Whether it stands for a weight whose numbers are nowhere."""
    return onnx.external_data_helper.uses_external_data(tensor) and not tensor.external_data


def _loaded(name: str, tensor: onnx.TensorProto, folder: Path) -> onnx.TensorProto:
    if not onnx.external_data_helper.uses_external_data(tensor):
        return tensor
    try:
        return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor, str(folder)), name)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise InvalidModelError(
            f"the constant {name!r} says what is computed, but it is in external data that is not "
            f"there: {error}"
        ) from error


def _light(
    graph: onnx.GraphProto,
    kept: dict[str, onnx.TensorProto],
    constants: dict[str, onnx.TensorProto],
    version: int,
) -> onnx.ModelProto:
    """A model whose weights are inputs."""
    weights = [
        onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))
        for name, tensor in constants.items()
        if name not in kept
    ]
    light = onnx.helper.make_model(
        onnx.helper.make_graph(graph.node, graph.name, [*graph.input, *weights], graph.output),
        opset_imports=[onnx.helper.make_opsetid("", version)],
        ir_version=10,
    )
    for name, tensor in kept.items():
        light.graph.initializer.append(tensor)
        light.graph.initializer[-1].name = name  # what a node gives is named by the node
    return light


def _check_connections(light: onnx.GraphProto, given: Iterable[onnx.ValueInfoProto]) -> None:
    """The checker accepts a graph that does not read its inputs."""
    inputs = {value.name for value in given}
    reached = set(inputs)
    for node in light.node:
        if not reached.isdisjoint(node.input):
            reached.update(node.output)
    if inputs and reached.isdisjoint(value.name for value in light.output):
        raise InvalidModelError(
            f"the graph is disconnected: no output depends on {', '.join(sorted(inputs))}"
        )


def _converted(light: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.version_converter.convert_version(light, OLDEST)
    except Exception as error:  # the converter raises RuntimeError and what its adapters do
        raise InvalidModelError(
            f"a model of opset {_version(light)} cannot be converted to opset {OLDEST}: {error}"
        ) from error


def _check_shape(value: onnx.ValueInfoProto) -> None:
    if not value.type.HasField("tensor_type"):
        raise InvalidModelError(f"{value.name!r} is not a tensor")
    if not _is_fixed(value):
        raise InvalidModelError(
            f"the shape of {value.name!r} is not fixed: export the model for one batch size"
        )


def _is_fixed(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim)
