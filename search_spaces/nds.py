"""The NAS spaces of NDS: NASNet, Amoeba, PNAS, ENAS and DARTS, two cells each, for CIFAR-10.

Source: Radosavovic et al., "On Network Design Spaces for Visual Recognition", ICCV 2019,
https://arxiv.org/abs/1905.13214. Operations and network are those of its authors' code,
https://github.com/facebookresearch/unnas. What the output of a cell puts together is as in
https://github.com/microsoft/nni, so PNAS has all nodes although its own paper has not.

The benchmark has networks of many widths and depths, and for PNAS, ENAS and DARTS also a set of
one width and depth, which its repository does not name. We take those with which unnas trains
networks of the DARTS space on CIFAR-10; they also give the ranges of parameters and FLOPs in which
the benchmark plots these sets (``notebooks/nas.ipynb`` of its repository).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from string import Template
from types import MappingProxyType
from typing import Any

from search_spaces.base import Architecture, ArchitectureError
from search_spaces.document import Body
from search_spaces.network import NetworkSpace

CELLS = MappingProxyType({"normal": "Normal", "reduce": "Reduction"})
"""What the notation and the ONNX text call the two cells."""

_Node = tuple[tuple[str, int], tuple[str, int]]
"""What a node adds up: twice an operation and the value it is applied to."""


class NDS(NetworkSpace):
    """Networks of two cells, both of the same form.

    A cell reads the outputs of the cell before it (value 1) and of the one before that (0). Each
    of its nodes (values 2 and up) is the sum of two operations on earlier values, and its output
    puts together all nodes, or those that no other node reads. Two of the cells, after one and
    two thirds of them, are reductions, which halve the size and double the width.

    The notation is the JSON of the benchmark's files, ``{"normal": [["sep_conv_3x3", 1],
    ["skip_connect", 0], ...], "normal_concat": [2, 3, ...], "reduce": ..., "reduce_concat":
    ...}``: operations and what they read, two for each node, and the nodes that the output puts
    together. DARTS' ``Genotype(...)`` is read as well.

    Args:
        width: Channels of each node of the first cells, at least 1.
        depth: Number of cells, at least 1.

    Raises:
        ValueError: ``width`` or ``depth`` is not positive.
    """

    operations: tuple[str, ...]
    nodes: int = 5
    loose_ends: bool = True
    """Whether the output puts together only the nodes that no other node reads."""

    def __init__(self, *, width: int = 16, depth: int = 20) -> None:
        for size, number in (("width", width), ("depth", depth)):
            if number < 1:
                raise ValueError(f"{size} must be at least 1, not {number}")
        self.width, self.depth = width, depth
        choices: dict[str, tuple[str, ...]] = {}
        for cell in CELLS:
            for node in range(2, self.nodes + 2):
                for side in "ab":
                    choices[f"{cell}_{node}{side}_operation"] = self.operations
                    choices[f"{cell}_{node}{side}_input"] = tuple(map(str, range(node)))
        self.choices = choices

    def parse(self, text: str) -> Architecture:
        genotype = _read(text)
        try:
            pairs = [pair for cell in CELLS for pair in genotype[cell]]
            written = [str(choice) for pair in pairs for choice in pair]
            architecture = dict(zip(self.choices, written, strict=True))
        except (KeyError, TypeError, ValueError):
            raise ArchitectureError(
                f"{text[:200]!r} is not a {self.name} network; it is written like "
                '\'{"normal": [["skip_connect", 0], ...], "normal_concat": [2, ...], '
                f'"reduce": ..., "reduce_concat": ...}}\', with {2 * self.nodes} operations a cell'
            ) from None
        self.check(architecture)
        if genotype != self._genotype(architecture):
            raise ArchitectureError(
                f"{text[:200]!r} is not a {self.name} network; with these operations it is "
                f"written {self.format(architecture)}"
            )
        return architecture

    def format(self, architecture: Architecture) -> str:
        self.check(architecture)
        return json.dumps(self._genotype(architecture))

    def key(self, architecture: Architecture) -> str:
        """Both cells as lists of operations on sums, equal for many equal functions.

        A sum commutes, ``none`` is zero, an operation on zero is zero, and a ``skip_connect``
        that does not halve the size is the identity. Operations are listed by what they read, not
        by the nodes they are in, so that the order of nodes does not count either; as in
        NAS-Bench-101, the order in which the output puts channels together is of no importance.
        """
        self.check(architecture)
        return " ".join(_key(*self._cell(architecture, cell), cell) for cell in CELLS)

    def differing(self, architecture: Architecture) -> str:
        """``Normal`` and ``Reduction``: a statement for each operation, and one for each node.

        The first input of a cell has the width of the cell already, since how it gets that
        depends on the cell before it.
        """
        return "".join(_cell_text(*self._cell(architecture, cell), cell) for cell in CELLS)

    @property
    def skeleton(self) -> str:  # type: ignore[override]
        return _skeleton(self.operations, self.width, self.depth)

    def _cell(self, architecture: Architecture, cell: str) -> tuple[list[_Node], list[int]]:
        """The nodes of a cell, and those that its output puts together."""

        def applied(node: int, side: str) -> tuple[str, int]:
            name = f"{cell}_{node}{side}"
            return architecture[f"{name}_operation"], int(architecture[f"{name}_input"])

        numbers = range(2, self.nodes + 2)
        nodes = [(applied(node, "a"), applied(node, "b")) for node in numbers]
        read = {source for node in nodes for _, source in node}
        return nodes, [node for node in numbers if not (self.loose_ends and node in read)]

    def _genotype(self, architecture: Architecture) -> dict[str, list[Any]]:
        genotype: dict[str, list[Any]] = {}
        for cell in CELLS:
            nodes, together = self._cell(architecture, cell)
            genotype[cell] = [list(pair) for node in nodes for pair in node]
            genotype[f"{cell}_concat"] = together
        return genotype


class NDSNASNet(NDS):
    """The 13 operations of NASNet, https://arxiv.org/abs/1707.07012."""

    name = "nds_nasnet"
    operations = (
        "skip_connect",
        "conv_3x1_1x3",
        "conv_7x1_1x7",
        "dil_conv_3x3",
        "avg_pool_3x3",
        "max_pool_3x3",
        "max_pool_5x5",
        "max_pool_7x7",
        "conv_1x1",
        "conv_3x3",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
    )


class NDSAmoeba(NDS):
    """The 8 operations of AmoebaNet, https://arxiv.org/abs/1802.01548."""

    name = "nds_amoeba"
    operations = (
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
        "avg_pool_3x3",
        "max_pool_3x3",
        "dil_sep_conv_3x3",
        "conv_7x1_1x7",
    )


class NDSPNAS(NDS):
    """The 8 operations of PNAS, https://arxiv.org/abs/1712.00559; the output has all nodes."""

    name = "nds_pnas"
    operations = (
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
        "conv_7x1_1x7",
        "skip_connect",
        "avg_pool_3x3",
        "max_pool_3x3",
        "dil_conv_3x3",
    )
    loose_ends = False


class NDSENAS(NDS):
    """The 5 operations of ENAS, https://arxiv.org/abs/1802.03268."""

    name = "nds_enas"
    operations = (
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "avg_pool_3x3",
        "max_pool_3x3",
    )


class NDSDARTS(NDS):
    """The 8 operations of DARTS, https://arxiv.org/abs/1806.09055; the output has all 4 nodes."""

    name = "nds_darts"
    operations = (
        "none",
        "max_pool_3x3",
        "avg_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    )
    nodes = 4
    loose_ends = False


def _read(text: str) -> Any:
    """JSON, and as JSON what Python writes of a dictionary or of DARTS' ``Genotype``; or None."""
    text = text.strip()
    if text.startswith("Genotype(") and text.endswith(")"):
        text = "{" + re.sub(r"(\w+)\s*=", r'"\1":', text[len("Genotype(") : -1]) + "}"
    text = re.sub(
        r"range\((\d), *(\d)\)", lambda ends: str([*range(int(ends[1]), int(ends[2]))]), text
    )
    text = text.translate(str.maketrans("()'", '[]"'))
    try:
        return json.loads(re.sub(r",\s*([]}])", r"\1", text))
    except (ValueError, RecursionError):
        return None


def _halves(cell: str, source: int) -> bool:
    """Whether an operation of a cell halves the size of what it reads."""
    return cell == "reduce" and source < 2


def _key(nodes: Sequence[_Node], together: Iterable[int], cell: str) -> str:
    """A cell as numbered operations on sums of inputs (-2, -1) and earlier ones, and its output.

    Nodes are taken in an order that depends on them alone but for twins: of those that can come
    next, the one whose operations are first in the alphabet.
    """
    sums = {0: [-2], 1: [-1]}
    listed: list[str] = []
    while len(sums) < len(nodes) + 2:
        described: list[tuple[list[str], list[int], int]] = []
        for number, node in enumerate(nodes, 2):
            if number in sums or not all(source in sums for _, source in node):
                continue
            new: list[str] = []
            passed: list[int] = []
            for operation, source in node:
                if operation == "skip_connect" and not _halves(cell, source):
                    passed += sums[source]
                elif operation != "none" and sums[source]:
                    name = _function_name(operation, _halves(cell, source))
                    new.append(f"{name}({_plus(sums[source])})")
            described.append((sorted(new), sorted(passed), number))
        new, passed, number = min(described)
        sums[number] = [*passed, *range(len(listed), len(listed) + len(new))]
        listed += new
    return f"{';'.join(listed)}->{','.join(map(_plus, sorted(sums[node] for node in together)))}"


def _plus(terms: Iterable[int]) -> str:
    return "+".join(map(str, terms))


def _cell_text(nodes: Iterable[_Node], together: Sequence[int], cell: str) -> str:
    """The function of a cell."""
    body = Body()
    values = ["v0"]
    values.append(body.define("nas.Conv1x1 <c: int=@c> (x)"))
    for node in nodes:
        terms = [
            body.define(_expression(operation, _halves(cell, source)).format(values[source]))
            for operation, source in node
        ]
        values.append(body.define(f"Sum ({', '.join(terms)})"))
    out = [values[node] for node in together]
    result = out[0] if len(out) == 1 else body.define(f"Concat <axis=1> ({', '.join(out)})")
    return body.function(f"{CELLS[cell]} <c> (v0, x)", result)


@cache
def _expression(operation: str, halves: bool) -> str:
    """What applies an operation to the value ``{0}``."""
    if not halves and operation in _PLAIN:
        return _PLAIN[operation]
    channels = "<c: int=@c> " if _has_weights(operation) else ""
    return f"nas.{_function_name(operation, halves)} {channels}({{0}})"


@cache
def _function_name(operation: str, halves: bool) -> str:
    """``SepConv3x3Down`` for ``sep_conv_3x3`` that halves the size."""
    words = re.sub("(?:^|_)([a-z])", lambda letter: letter[1].upper(), operation)
    return words.replace("_", "", 1) + ("Down" if halves else "")


def _has_weights(operation: str) -> bool:
    return operation != "none" and "pool" not in operation


def _function(operation: str, halves: bool) -> str:
    """The function of an operation."""
    kernel = int(max(filter(str.isdigit, operation), default="1"))
    dilation = 2 if operation.startswith("dil") else 1
    body = Template(_BODIES[re.sub(r"\d", "k", operation)]).substitute(
        d=dilation, k=kernel, p=kernel // 2 * dilation, s=1 + halves
    )
    attributes = "<c> " if _has_weights(operation) else ""
    return f"{_function_name(operation, halves)} {attributes}(x) => (y) {{\n{body}}}\n"


@lru_cache
def _skeleton(operations: tuple[str, ...], width: int, depth: int) -> str:
    """The functions that all architectures of a space have."""
    lines = [f"  x0 = nas.ConvBn <o={3 * width}, k=[3,3], p=[1,1,1,1], s=[1,1]> (image)\n"]
    before, last, halved = "x0", "x0", False
    for cell in range(1, depth + 1):
        halves = cell - 1 in (depth // 3, 2 * depth // 3)
        width *= 1 + halves
        fit = "SkipConnectDown" if halved else "Conv1x1"
        kind = "Reduction" if halves else "Normal"
        lines.append(f"  y{cell} = nas.{fit} <c={width}> ({before})\n")
        lines.append(f"  x{cell} = nas.{kind} <c={width}> (y{cell}, {last})\n")
        before, last, halved = last, f"x{cell}", halves
    lines.append(f"  logits = nas.Classifier <o=$classes> ({last})\n")
    applied = [(operation, halves) for operation in operations for halves in (False, True)]
    functions = dict.fromkeys((*applied, ("conv_1x1", False)))
    return (
        f"Network (image) => (logits) {{\n{''.join(lines)}}}\n"
        + "".join(
            _function(operation, halves)
            for operation, halves in functions
            if halves or operation not in _PLAIN
        )
        + _SEPARABLE
    )


# Operations that need no function where they keep the size.
_PLAIN = {"none": "Sub ({0}, {0})", "skip_connect": "Identity ({0})"}
_SEPARABLE = """\
Separable <c, d, k, p, s> (x) => (y) {
  a = Relu (x)
  o = nas.Number <n: int=@c> ()
  i = Constant <value_ints=[1]> ()
  k = Constant <value_ints: ints=@k> ()
  n = Concat <axis=0> (i, k)
  w = nas.Weights (o, n)
  b = Conv <dilations: ints=@d, group: int=@c, pads: ints=@p, strides: ints=@s> (a, w)
  y = nas.PointwiseBn <o: int=@c> (b)
}
"""
_SEPARATE = "nas.Separable <c: int=@c, d=[$d,$d], k=[$k,$k], p=[$p,$p,$p,$p], s=[$s,$s]> (x)\n"
_TWICE = f"  a = {_SEPARATE}  y = {_SEPARATE.replace('$s', '1').replace('(x)', '(a)')}"
# A skip connection that halves the size is DARTS' factorised reduction: one half of the channels
# from even rows and columns, the other from odd ones. With 20 cells the largest logits of any
# network are about 1e30, which float32 still holds.
_BODIES = {
    "none": """\
  a = MaxPool <kernel_shape=[1,1], strides=[2,2]> (x)
  y = Sub (a, a)
""",
    "skip_connect": """\
  a = Relu (x)
  o = nas.Number <n: int=@c> ()
  i = Shape <end=2, start=1> (x)
  one = Constant <value_ints=[1,1]> ()
  n = Concat <axis=0> (i, one)
  w = nas.Weights (o, n)
  u, v = Split <axis=0, num_outputs=2> (w)
  even = Conv <strides=[2,2]> (a, u)
  axes = Constant <value_ints=[2,3]> ()
  end = Constant <value_ints=[65535,65535]> ()
  b = Slice (a, one, end, axes)
  odd = Conv <pads=[0,0,1,1], strides=[2,2]> (b, v)
  d = Concat <axis=1> (even, odd)
  y = nas.BatchNorm (d)
""",
    "avg_pool_kxk": """\
  y = AveragePool <kernel_shape=[$k,$k], pads=[$p,$p,$p,$p], strides=[$s,$s]> (x)
""",
    "max_pool_kxk": """\
  y = MaxPool <kernel_shape=[$k,$k], pads=[$p,$p,$p,$p], strides=[$s,$s]> (x)
""",
    "conv_kxk": """\
  y = nas.ReluConvBn <o: int=@c, k=[$k,$k], p=[$p,$p,$p,$p], s=[$s,$s]> (x)
""",
    "conv_kxk_kxk": """\
  a = Relu (x)
  b = nas.Convolution <o: int=@c, k=[1,$k], p=[0,$p,0,$p], s=[1,$s]> (a)
  d = nas.Convolution <o: int=@c, k=[$k,1], p=[$p,0,$p,0], s=[$s,1]> (b)
  y = nas.BatchNorm (d)
""",
    "dil_conv_kxk": f"  y = {_SEPARATE}",
    "sep_conv_kxk": _TWICE,
    "dil_sep_conv_kxk": _TWICE,
}
