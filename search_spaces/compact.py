"""Any ONNX model as a short text: operators, attributes and shapes, but no weights.

The text is itself a model that `onnx.parser` reads and ONNX Runtime runs. An operator that reads
weights is called through a function, such as ``local.Conv_wbp <w=[8,3,3,3], b=[8],
pads=[1,1,1,1]> (v1)``, which makes them in the graph; its name ends in the initials of what it is
given. What the graph repeats is a function, too, named after its operators and the shape of
its first weight.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, repeat
from pathlib import Path

import numpy as np
import onnx
import onnx.defs
import onnx.helper
import onnx.inliner
import onnx.numpy_helper
import onnx.printer

from search_spaces.flat import LOCAL, WEIGHTS, Flat, described, file_of, flatten, read
from search_spaces.fold import Attribute, Body, Statement, fold, functions, operators
from search_spaces.onnx_graph import InvalidModelError, validate

_LISTED = 6
"""Operators that the name of a function lists."""
_SPATIAL = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")
_SPATIAL_DEFAULTS = {"dilations": 1, "strides": 1, "pads": 0}
_FLOATS = tuple(
    onnx.TensorProto.DataType.Value(name) for name in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16")
)


def compact(model: onnx.ModelProto | str | Path) -> str:
    """The text of a model.

    Values are named by their position: inputs ``x1``, all others ``v1`` and up. Integers and
    single numbers without dimensions among the constants say what is computed, so they stay; all
    others are weights, of which only the shapes stay. Weights that stand in several places are
    several.

    Args:
        model: A model, an ONNX text, or a file (a path, or a name that ends in .onnx), whose
            external data need not be there.

    Raises:
        InvalidModelError: It is not a valid model of standard operators, has control flow, or a
            shape of an input or output is not fixed; the message names the node or the value.
        OSError: The file cannot be read.
    """
    flat = flatten(read(model), _folder(model))
    library = _Operators(flat)
    main = _body(flat, library)
    fold(main)
    names = _names(main, set(library.texts))
    pieces = [_signature(flat, main) + _written(main, names)]
    pieces += [
        f"{name}{_parameters(function)} ({_listed('x', function.inputs)}) => "
        f"({', '.join(_value_names(function)[value] for value in function.outputs)}) "
        + _written(function, names)
        for function, name in names.items()
    ]
    pieces += library.texts.values()
    local = f', "{LOCAL}":1' if len(pieces) > 1 else ""
    imports = f'opset_import: ["":{flat.version}{local}]>\n'
    heads = chain([f"<ir_version: 10, {imports}"], repeat(f'<domain: "{LOCAL}", {imports}'))
    return "".join(head + piece for head, piece in zip(heads, pieces, strict=False))


def weights_of(model: onnx.ModelProto | str | Path) -> list[np.ndarray]:
    """The weights of a model, as `expand` needs them for its text.

    They come in the order in which nodes read them; what several nodes read comes several times.

    Args:
        model: A model or a file, whose external data is beside it.

    Raises:
        InvalidModelError: See `compact`; or the numbers of a weight are not there.
        OSError: The file cannot be read.
    """
    flat, folder = flatten(read(model), _folder(model)), str(_folder(model))
    arrays: dict[str, np.ndarray] = {}
    order = [name for node in flat.nodes for name in node.input if name in flat.weights]
    order += [value.name for value in flat.outputs if value.name in flat.weights]
    for name in dict.fromkeys(order):
        try:
            arrays[name] = onnx.numpy_helper.to_array(flat.weights[name], folder)
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise InvalidModelError(f"the numbers of {name!r} are not there: {error}") from error
    return [arrays[name] for name in order]


def expand(text: str, weights: Sequence[np.ndarray] | None = None) -> onnx.ModelProto:
    """The flat model of a text, its functions inlined.

    Args:
        text: What `compact` gives, or any other ONNX text.
        weights: See `weights_of`; None for those that the text makes in the graph.

    Raises:
        InvalidModelError: It is not the text of a valid model.
        ValueError: There are too many or too few weights, or one has another shape or type.
    """
    model = validate(text)
    if weights is None:
        return onnx.inliner.inline_local_functions(model)
    flat = flatten(model, Path())
    wanted = list(flat.weights.items())
    if len(weights) != len(wanted):
        raise ValueError(f"the text has {len(wanted)} weights, but {len(weights)} were given")
    readers = {value.name: "no node" for value in flat.outputs}
    readers |= {name: described(node) for node in reversed(flat.nodes) for name in node.input}
    initializers = []
    for i, ((name, tensor), weight) in enumerate(zip(wanted, weights, strict=True)):
        given = onnx.numpy_helper.from_array(np.asarray(weight), name)
        if (given.data_type, given.dims) != (tensor.data_type, tensor.dims):
            raise ValueError(
                f"weight {i}, read by {readers[name]}, is {_type(tensor)} in the text, "
                f"but {_type(given)} was given"
            )
        initializers.append(given)
    initializers += flat.kept.values()
    return onnx.helper.make_model(
        onnx.helper.make_graph(flat.nodes, "net", flat.inputs, flat.outputs, initializers),
        opset_imports=[onnx.helper.make_opsetid("", flat.version)],
        ir_version=10,
    )


def _folder(model: onnx.ModelProto | str | Path) -> Path:
    file = file_of(model)
    return Path() if file is None else file.parent


def _body(flat: Flat, library: _Operators) -> Body:
    """The statements of a flat model."""
    number = {value.name: i for i, value in enumerate(flat.inputs)}
    following = count(len(number))
    statements = []
    # An output may be a constant, but a statement has to give it.
    copies = [
        onnx.helper.make_node("Identity", [value.name], [value.name])
        for value in flat.outputs
        if value.name in flat.weights.keys() | flat.kept.keys()
    ]
    for node in (*flat.nodes, *copies):
        # Constants stand where they are read, so that repeats of what reads them are alike.
        for name in dict.fromkeys(node.input):
            if name in flat.kept:
                statements.append(Statement("Constant", (_constant(flat.kept[name]),), ()))
                number[name] = next(following)
        reads = [name for name in node.input if name not in flat.weights]
        weighted = len(reads) < len(node.input)
        if weighted:  # those that are left out, its function leaves out
            reads = [name for name in reads if name]
        inputs = tuple(number[name] if name else None for name in reads)
        results = _results(node)
        statements.append(Statement(*library.call(node), inputs, len(results)))
        number.update((name, next(following)) for name in results)
    return Body(len(flat.inputs), statements, tuple(number[v.name] for v in flat.outputs))


def _results(node: onnx.NodeProto) -> list[str]:
    """The values a node gives, but for those at the end that are left out."""
    results = list(node.output)
    while results[-1] == "":
        results.pop()
    return results


class _Operators:
    """What statements call: operators, and functions for those that read weights.

    Attributes:
        texts: The functions that were called so far, by name, in an order that is stable.
    """

    def __init__(self, flat: Flat) -> None:
        self._flat = flat
        self._names: dict[str, str] = {}
        self._makers: dict[str, str] = {}

    @property
    def texts(self) -> dict[str, str]:
        functions = {name: name + text for text, name in self._names.items()}
        return functions | dict(sorted(self._makers.items()))

    def call(self, node: onnx.NodeProto) -> tuple[str, tuple[Attribute, ...]]:
        """The operator, or a function for it, and what it is given: shapes of weights first."""
        schema = onnx.defs.get_schema(node.op_type, self._flat.version)
        weights = {
            i: self._flat.weights[name]
            for i, name in enumerate(node.input)
            if name in self._flat.weights
        }
        attributes = [_attribute(item) for item in _given(node, schema, weights.get(1))]
        if not weights:
            return node.op_type, tuple(attributes)
        shapes = [
            Attribute(_parameter(schema, i), "ints", _shape(tensor))
            for i, tensor in weights.items()
        ]
        given = (*shapes, *attributes)
        name = f"{node.op_type}_{''.join(_initials(item.name) for item in given)}"
        types = [_type_name(tensor.data_type) for tensor in weights.values()]
        if set(types) != {"float"}:
            name += "_" + "_".join(types if len(set(types)) > 1 else types[:1])
        text = self._function(node, list(weights.values()), shapes, attributes)
        if text not in self._names:
            taken = self._names.values()
            self._names[text] = next(n for n in _numbered(name) if n not in taken)
        return f"{LOCAL}.{self._names[text]}", given

    def _function(
        self,
        node: onnx.NodeProto,
        tensors: list[onnx.TensorProto],
        shapes: list[Attribute],
        attributes: list[Attribute],
    ) -> str:
        """What calls an operator, without its name."""
        lines = [
            f"v{i} = {LOCAL}.{self._maker(tensor)} <shape: ints=@{shape.name}> ()"
            for i, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True), 1)
        ]
        values, weights = (map("x{}".format, count(1)), map("v{}".format, count(1)))
        reads = [
            next(weights) if name in self._flat.weights else next(values) if name else '""'
            for name in node.input
        ]
        number = sum(name.startswith("x") for name in reads)
        results = ", ".join(f"v{len(shapes) + 1 + i}" for i in range(len(_results(node))))
        passed = _in_brackets(item._replace(value=f"@{item.name}") for item in attributes)
        lines.append(f"{results} = {node.op_type}{passed} ({', '.join(reads)})")
        names = ", ".join(item.name for item in (*shapes, *attributes))
        body = "".join(f"  {line}\n" for line in lines)
        return f" <{names}> ({_listed('x', number)}) => ({results}) {{\n{body}}}\n"

    def _maker(self, tensor: onnx.TensorProto) -> str:
        """The function that makes weights of a type."""
        kind = _type_name(tensor.data_type)
        name = WEIGHTS if kind == "float" else f"{WEIGHTS}_{kind}"
        lines = ["Constant <value_ints: ints=@shape> ()"]
        if tensor.data_type in _FLOATS:  # they sum to one, so that nothing overflows
            lines.append("ConstantOfShape <value=float[1] {1.0}> (v1)")
            lines.append("ReduceSum <keepdims=0> (v2)")
            lines.append("Div (v2, v3)")
        else:
            lines.append("ConstantOfShape <value=float[1] {0.0}> (v1)")
        if kind != "float":
            lines.append(f"Cast <to={tensor.data_type}> (v{len(lines)})")
        body = "".join(f"  v{i} = {line}\n" for i, line in enumerate(lines, 1))
        self._makers[name] = f"{name} <shape> () => (v{len(lines)}) {{\n{body}}}\n"
        return name


def _given(
    node: onnx.NodeProto, schema: onnx.defs.OpSchema, weight: onnx.TensorProto | None
) -> Iterator[onnx.AttributeProto]:
    """The attributes that do not have their default value."""
    for item in sorted(node.attribute, key=lambda item: item.name):
        value = onnx.helper.get_attribute_value(item)
        default = onnx.AttributeProto()
        default.CopyFrom(schema.attributes[item.name].default_value)
        default.name = item.name
        if default.type and value == onnx.helper.get_attribute_value(default):
            continue
        if node.op_type in _SPATIAL:  # the standard says these in words
            if set(item.ints) == {_SPATIAL_DEFAULTS.get(item.name)}:
                continue
            if item.name == "kernel_shape" and weight and list(item.ints) == weight.dims[2:]:
                continue
        yield item


def _parameter(schema: onnx.defs.OpSchema, position: int) -> str:
    """What a function calls the shape of the weight that an operator reads there."""
    formal = schema.inputs[min(position, len(schema.inputs) - 1)]
    many = formal.option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    return formal.name.lower() + (str(position + 1) if many else "")


def _initials(parameter: str) -> str:
    """``input_mean`` has im, ``transB`` has tB."""
    found = re.findall(r"(?:^|_)(\w)|([A-Z\d]+)", parameter)
    return "".join(first or further for first, further in found)


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}{i}" for i in count(2))


def _names(main: Body, taken: set[str]) -> dict[Body, str]:
    """A name for each function, in their order."""
    names: dict[Body, str] = {}
    for function in functions(main):
        taken = taken | set(names.values())
        # ONNX Runtime takes a function for the operator of the same name, whatever its domain.
        free = (n for n in _numbered(_described(function)) if not onnx.defs.has(n))
        names[function] = next(name for name in free if name not in taken)
    return names


def _described(function: Body) -> str:
    """Its operators, and the shape of its first weight if that is always the same."""
    given = {f"@{name}": f"@{name}" for name in function.parameters}
    found = list(operators(function, given))
    every = [what.removeprefix(f"{LOCAL}.").split("_")[0] for what, _ in found]
    names = [name for name in every if name != "Constant"]
    if len(names) < 2:
        names = every
    if len(names) > _LISTED:
        names = [*list(Counter(names))[:_LISTED], f"Of{len(names)}"]
    shapes = (attributes[0] for what, attributes in found if what.startswith(LOCAL))
    if (shape := next(shapes, None)) is not None and not shape.is_reference:
        names.append("_" + shape.value.strip("[]").replace(",", "x"))
    return "".join(names)


def _signature(flat: Flat, main: Body) -> str:
    values = _value_names(main)
    inputs = (f"{_typed(value)} x{i}" for i, value in enumerate(flat.inputs, 1))
    outputs = (
        f"{_typed(value)} {values[number]}"
        for value, number in zip(flat.outputs, main.outputs, strict=True)
    )
    return f"net ({', '.join(inputs)}) => ({', '.join(outputs)}) "


def _written(body: Body, names: dict[Body, str]) -> str:
    """The statements."""
    values, following = _value_names(body), body.inputs
    lines = ["{\n"]
    for statement in body.statements:
        what = statement.what
        called = f"{LOCAL}.{names[what]}" if isinstance(what, Body) else what
        results = ", ".join(values[following : following + statement.outputs])
        following += statement.outputs
        reads = ", ".join('""' if value is None else values[value] for value in statement.inputs)
        lines.append(f"  {results} = {called}{_in_brackets(statement.attributes)} ({reads})\n")
    return "".join(lines) + "}\n"


def _value_names(body: Body) -> list[str]:
    made = sum(statement.outputs for statement in body.statements)
    return [f"x{i + 1}" for i in range(body.inputs)] + [f"v{i + 1}" for i in range(made)]


def _parameters(function: Body) -> str:
    return f" <{', '.join(function.parameters)}>" if function.parameters else ""


def _listed(letter: str, number: int) -> str:
    return ", ".join(f"{letter}{i + 1}" for i in range(number))


def _constant(tensor: onnx.TensorProto) -> Attribute:
    """A constant as the attribute of `Constant`."""
    array = onnx.numpy_helper.to_array(tensor)
    kind = {"int64": "int", "float": "float"}.get(_type_name(tensor.data_type))
    if kind is None:
        value = onnx.numpy_helper.from_array(array)
        return _attribute(onnx.helper.make_attribute("value", value))
    if array.ndim == 0:
        return _attribute(onnx.helper.make_attribute(f"value_{kind}", array.item()))
    listed = onnx.AttributeProto.INTS if kind == "int" else onnx.AttributeProto.FLOATS
    return _attribute(onnx.helper.make_attribute(f"value_{kind}s", array.tolist(), None, listed))


def _attribute(item: onnx.AttributeProto) -> Attribute:
    """An attribute as the parser reads it."""
    types = onnx.AttributeProto
    kind = types.AttributeType.Name(item.type).lower()
    if item.type == types.FLOAT:
        return Attribute(item.name, kind, str(np.float32(item.f)))
    if item.type == types.FLOATS:
        return Attribute(item.name, kind, f"[{','.join(str(np.float32(f)) for f in item.floats)}]")
    if item.type == types.INTS:
        return Attribute(item.name, kind, f"[{','.join(map(str, item.ints))}]")
    node = onnx.NodeProto(op_type="Constant", output=["v"], attribute=[item])
    printed = onnx.printer.to_text(onnx.GraphProto(name="g", node=[node]))
    _, _, value = printed[: printed.rindex(">")].partition(f"<{item.name}: {kind} = ")
    return Attribute(item.name, kind, value)


def _in_brackets(attributes: Iterable[Attribute]) -> str:
    # The parser sees types for itself, but for those of references and of empty lists.
    given = ", ".join(
        f"{name}: {kind}={value}" if value[0] == "@" or value == "[]" else f"{name}={value}"
        for name, kind, value in attributes
    )
    return f" <{given}>" if given else ""


def _shape(tensor: onnx.TensorProto) -> str:
    return f"[{','.join(map(str, tensor.dims))}]"


def _type_name(data_type: int) -> str:
    return str(onnx.TensorProto.DataType.Name(data_type)).lower()


def _type(tensor: onnx.TensorProto) -> str:
    return _type_name(tensor.data_type) + _shape(tensor)


def _typed(value: onnx.ValueInfoProto) -> str:
    kind = value.type.tensor_type
    dimensions = ",".join(str(d.dim_value) for d in kind.shape.dim)
    return _type_name(kind.elem_type) + (f"[{dimensions}]" if dimensions else "")
