"""NAS-Bench-201: a cell of four nodes and six operations in a fixed residual skeleton.

Source: Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search", ICLR 2020, https://arxiv.org/abs/2001.00326.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from search_spaces.base import Architecture, ArchitectureError
from search_spaces.document import Body
from search_spaces.network import NetworkSpace

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

_NOTATION = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
_NOTATION_PATTERN = re.compile(re.escape(_NOTATION).replace("op", "([^|~+]*)"))


def _edge(source: int, target: int) -> str:
    return f"edge_{source}_{target}"


# Attributes: c channels; i and o channels in and out; k kernel, p pads, s strides.
# With weights of 0.01 the largest logits of any cell are about 1e25, which float32 still holds.
_SKELETON = """\
Network (image) => (logits) {
  h0 = nas.Convolution <i=[3], o=[16], k=[3,3], p=[1,1,1,1], s=[1,1]> (image)
  h1 = nas.BatchNorm <c=[16]> (h0)
  h2 = nas.Stage <c=[16]> (h1)
  h3 = nas.Residual <i=[16], o=[32]> (h2)
  h4 = nas.Stage <c=[32]> (h3)
  h5 = nas.Residual <i=[32], o=[64]> (h4)
  h6 = nas.Stage <c=[64]> (h5)
  h7 = nas.BatchNorm <c=[64]> (h6)
  h8 = Relu (h7)
  h9 = GlobalAveragePool (h8)
  x = Flatten <axis=1> (h9)
  m = Constant <value_ints=[$classes,64]> ()
  n = Constant <value_ints=[$classes]> ()
  w = ConstantOfShape <value=float[1] {0.01}> (m)
  b = ConstantOfShape <value=float[1] {0.01}> (n)
  logits = Gemm <transB=1> (x, w, b)
}
Stage <c> (x0) => (x5) {
  x1 = nas.Cell <c: ints=@c> (x0)
  x2 = nas.Cell <c: ints=@c> (x1)
  x3 = nas.Cell <c: ints=@c> (x2)
  x4 = nas.Cell <c: ints=@c> (x3)
  x5 = nas.Cell <c: ints=@c> (x4)
}
Conv1x1 <c> (x) => (y) {
  y = nas.ReluConvBn <i: ints=@c, o: ints=@c, k=[1,1], p=[0,0,0,0], s=[1,1]> (x)
}
Conv3x3 <c> (x) => (y) {
  y = nas.ReluConvBn <i: ints=@c, o: ints=@c, k=[3,3], p=[1,1,1,1], s=[1,1]> (x)
}
Residual <i, o> (x) => (y) {
  a = nas.ReluConvBn <i: ints=@i, o: ints=@o, k=[3,3], p=[1,1,1,1], s=[2,2]> (x)
  b = nas.Conv3x3 <c: ints=@o> (a)
  d = AveragePool <kernel_shape=[2,2], strides=[2,2]> (x)
  e = nas.Convolution <i: ints=@i, o: ints=@o, k=[1,1], p=[0,0,0,0], s=[1,1]> (d)
  y = Add (b, e)
}
ReluConvBn <i, o, k, p, s> (x) => (y) {
  a = Relu (x)
  b = nas.Convolution <i: ints=@i, o: ints=@o, k: ints=@k, p: ints=@p, s: ints=@s> (a)
  y = nas.BatchNorm <c: ints=@o> (b)
}
Convolution <i, o, k, p, s> (x) => (y) {
  a = Constant <value_ints: ints=@o> ()
  b = Constant <value_ints: ints=@i> ()
  d = Constant <value_ints: ints=@k> ()
  n = Concat <axis=0> (a, b, d)
  w = ConstantOfShape <value=float[1] {0.01}> (n)
  y = Conv <pads: ints=@p, strides: ints=@s> (x, w)
}
BatchNorm <c> (x) => (y) {
  n = Constant <value_ints: ints=@c> ()
  one = ConstantOfShape <value=float[1] {1.0}> (n)
  zero = ConstantOfShape <value=float[1] {0.0}> (n)
  y = BatchNormalization (x, one, zero, zero, one)
}
"""


class NASBench201(NetworkSpace):
    """The 15,625 cells of NAS-Bench-201.

    Node 0 of the cell is its input and node 3 its output; a node is the sum of its incoming
    edges, and each edge applies one of five operations. The benchmark's notation lists the
    edges by target, then by source: ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.
    """

    name = "nasbench201"
    image_multiple = 4
    skeleton = _SKELETON
    choices = MappingProxyType(
        {_edge(source, target): OPERATIONS for target in (1, 2, 3) for source in range(target)}
    )

    def parse(self, text: str) -> Architecture:
        match = _NOTATION_PATTERN.fullmatch(text)
        if match is None:
            raise ArchitectureError(
                f"{text[:100]!r} is not a {self.name} cell; it is written {_NOTATION}"
            )
        architecture = dict(zip(self.choices, match.groups(), strict=True))
        self.check(architecture)
        return architecture

    def format(self, architecture: Architecture) -> str:
        self.check(architecture)
        return "+".join(
            "|"
            + "".join(
                f"{architecture[_edge(source, target)]}~{source}|" for source in range(target)
            )
            for target in (1, 2, 3)
        )

    def key(self, architecture: Architecture) -> str:
        """The function as a sum of operations of sums, in one spelling for equal functions.

        A sum commutes, ``none`` is zero, an operation on zero is zero, ``skip_connect`` is the
        identity, and what does not reach the output is dropped. Otherwise operations are opaque:
        two of them are two even where they have the same name and operand, since each
        convolution has weights of its own. That leaves 5,425 functions. (What is particular to
        average pooling is not used: it has no weights, which would leave 5,260, and distributes
        over sums, which would leave 5,044.)

        One operation that is used twice must not be mistaken for two, so it is marked ``!``. Only
        the operation on the edge from node 0 to node 1 can be: every other edge has at most one
        way on to the output.
        """
        self.check(architecture)
        used_twice = all(architecture[_edge(*edge)] != "none" for edge in ((1, 2), (1, 3), (2, 3)))
        sums = [["x"]]
        for target in (1, 2, 3):
            terms: list[str] = []
            for source in range(target):
                operation = architecture[_edge(source, target)]
                if operation == "skip_connect":
                    terms += sums[source]
                elif operation != "none" and sums[source]:
                    mark = "!" if used_twice and target == 1 else ""
                    terms.append(f"{operation}{mark}({'+'.join(sums[source])})")
            sums.append(sorted(terms))
        return "+".join(sums[-1]) or "0"

    def differing(self, architecture: Architecture) -> str:
        """The function ``Cell``, with its values named by their position.

        It has one statement per edge, dead or not, because dead operations cost time, and one
        ``Sum`` per node with more than one edge.
        """
        body, nodes = Body(), ["v0"]
        for target in (1, 2, 3):
            edges = [
                body.define(
                    _EXPRESSIONS[architecture[_edge(source, target)]].format(nodes[source])
                )
                for source in range(target)
            ]
            summed = f"Sum ({', '.join(edges)})"
            nodes.append(body.define(summed) if len(edges) > 1 else edges[0])
        return body.function("Cell <c> (v0)", nodes[-1])


_EXPRESSIONS = {
    "none": "Sub ({0}, {0})",
    "skip_connect": "Identity ({0})",
    "nor_conv_1x1": "nas.Conv1x1 <c: ints=@c> ({0})",
    "nor_conv_3x3": "nas.Conv3x3 <c: ints=@c> ({0})",
    "avg_pool_3x3": "AveragePool <kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1], "
    "count_include_pad=0> ({0})",
}
