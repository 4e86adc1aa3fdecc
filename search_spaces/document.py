"""ONNX text of whole networks: a header, the functions that differ, and those that spaces share.

The parser wants the main graph at the top, so that is a single call of ``Network``. The functions
in which architectures differ follow, and then those that all architectures of the space have.

Weights are constants made in the graph, since training is no concern of a search space. Each is
one over the number of values it weighs, so that convolutions average and nothing overflows. Batch
normalisation stays although it folds into convolutions at inference, so that the parameters of the
graph are those that are published.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from search_spaces.base import TEXT_VERSION

DOMAIN = '<domain: "nas", opset_import: ["":21, "nas":1]>\n'
_CALL = re.compile(r"nas\.(\w+)")
_NAME = re.compile(r"^(\w+)", re.MULTILINE)


def document(
    name: str,
    varying: str,
    constant: str,
    *,
    batch_size: int,
    image_size: int,
    classes: int,
) -> str:
    """The text of a network.

    Args:
        name: Of the space.
        varying: The functions in which architectures differ.
        constant: Functions that all architectures have; ``Network (image) => (logits)`` is in
            one of the two.
        batch_size: Images per batch.
        image_size: Height and width of the input, in pixels.
        classes: Number of logits.

    Raises:
        ValueError: A size is not positive.
    """
    sizes = {"batch_size": batch_size, "image_size": image_size, "classes": classes}
    for size, number in sizes.items():
        if number < 1:
            raise ValueError(f"{size} must be at least 1, not {number}")
    header = (
        f'<ir_version: 10, opset_import: ["":21, "nas":1], producer_name: "nas-rlm", '
        f'producer_version: "{TEXT_VERSION}">\n'
        f"{name} (float[{batch_size},3,{image_size},{image_size}] image) => "
        f"(float[{batch_size},{classes}] logits) {{\n  logits = nas.Network (image)\n}}\n"
    )
    return header + _in_domain(varying) + _in_domain(constant)


class Body:
    """The statements of a function, whose values are called v1, v2 and so on."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def define(self, expression: str) -> str:
        """Add a statement; the name of its value."""
        self._lines.append(expression)
        return f"v{len(self._lines)}"

    def function(self, signature: str, result: str) -> str:
        """The function, such as ``Cell <c> (v0)``, that gives one of the values."""
        lines = "".join(f"  v{i} = {line}\n" for i, line in enumerate(self._lines, 1))
        return f"{signature} => ({result}) {{\n{lines}}}\n"


@cache
def shared(functions: str) -> str:
    """Functions, and those of the library that they call, directly or not."""
    # A space may have functions of its own in place of the library's.
    called = set(_CALL.findall(functions)) - set(_NAME.findall(functions))
    called &= set(_LIBRARY)
    while more := {name for f in called for name in _CALL.findall(_LIBRARY[f])} - called:
        called |= more
    return functions + "".join(text for name, text in _LIBRARY.items() if name in called)


@lru_cache(maxsize=64)
def _in_domain(functions: str) -> str:
    """Each function begins with the operators that it may use."""
    return _NAME.sub(lambda name: DOMAIN + name[1], functions)


# Attributes: o channels out, m in the middle, q where it squeezes; g groups; k kernel, p pads,
# s strides. How many channels come in, functions see for themselves.
_FUNCTIONS = """\
ReluConvBn <o, k, p, s> (x) => (y) {
  a = Relu (x)
  y = nas.ConvBn <o: int=@o, k: ints=@k, p: ints=@p, s: ints=@s> (a)
}
ConvBnRelu <o, k, p, s> (x) => (y) {
  a = nas.ConvBn <o: int=@o, k: ints=@k, p: ints=@p, s: ints=@s> (x)
  y = Relu (a)
}
ConvBnRelu6 <o, k, p, s> (x) => (y) {
  a = nas.ConvBn <o: int=@o, k: ints=@k, p: ints=@p, s: ints=@s> (x)
  y = nas.Relu6 (a)
}
ConvBnHardSwish <o, k, p, s> (x) => (y) {
  a = nas.ConvBn <o: int=@o, k: ints=@k, p: ints=@p, s: ints=@s> (x)
  y = HardSwish (a)
}
ConvBn <o, k, p, s> (x) => (y) {
  a = nas.Convolution <o: int=@o, k: ints=@k, p: ints=@p, s: ints=@s> (x)
  y = nas.BatchNorm (a)
}
Convolution <o, k, p, s> (x) => (y) {
  o = nas.Number <n: int=@o> ()
  i = Shape <end=2, start=1> (x)
  k = Constant <value_ints: ints=@k> ()
  n = Concat <axis=0> (i, k)
  w = nas.Weights (o, n)
  y = Conv <pads: ints=@p, strides: ints=@s> (x, w)
}
DepthwiseBn <g, k, p, s> (x) => (y) {
  a = nas.Depthwise <g: int=@g, k: ints=@k, p: ints=@p, s: ints=@s> (x)
  y = nas.BatchNorm (a)
}
Depthwise <g, k, p, s> (x) => (y) {
  o = nas.Number <n: int=@g> ()
  i = Constant <value_ints=[1]> ()
  k = Constant <value_ints: ints=@k> ()
  n = Concat <axis=0> (i, k)
  w = nas.Weights (o, n)
  y = Conv <group: int=@g, pads: ints=@p, strides: ints=@s> (x, w)
}
BatchNorm (x) => (y) {
  n = Shape <end=2, start=1> (x)
  one = ConstantOfShape <value=float[1] {1.0}> (n)
  zero = ConstantOfShape <value=float[1] {0.0}> (n)
  y = BatchNormalization (x, one, zero, zero, one)
}
PointwiseBnRelu <o> (x) => (y) {
  y = nas.ConvBnRelu <o: int=@o, k=[1,1], p=[0,0,0,0], s=[1,1]> (x)
}
PointwiseBnRelu6 <o> (x) => (y) {
  y = nas.ConvBnRelu6 <o: int=@o, k=[1,1], p=[0,0,0,0], s=[1,1]> (x)
}
PointwiseBnHardSwish <o> (x) => (y) {
  y = nas.ConvBnHardSwish <o: int=@o, k=[1,1], p=[0,0,0,0], s=[1,1]> (x)
}
PointwiseBn <o> (x) => (y) {
  y = nas.ConvBn <o: int=@o, k=[1,1], p=[0,0,0,0], s=[1,1]> (x)
}
SqueezeExcite <m, q> (x) => (y) {
  a = GlobalAveragePool (x)
  b = nas.PointwiseBias <o: int=@q> (a)
  c = Relu (b)
  d = nas.PointwiseBias <o: int=@m> (c)
  e = HardSigmoid <alpha=0.16666667, beta=0.5> (d)
  y = Mul (x, e)
}
PointwiseBias <o> (x) => (y) {
  o = nas.Number <n: int=@o> ()
  i = Shape <end=2, start=1> (x)
  k = Constant <value_ints=[1,1]> ()
  n = Concat <axis=0> (i, k)
  w = nas.Weights (o, n)
  z = ConstantOfShape <value=float[1] {0.0}> (o)
  y = Conv (x, w, z)
}
Relu6 (x) => (y) {
  zero = Constant <value_float=0.0> ()
  six = Constant <value_float=6.0> ()
  y = Clip (x, zero, six)
}
Classifier <o> (x) => (y) {
  a = GlobalAveragePool (x)
  b = Flatten (a)
  y = nas.Linear <o: int=@o> (b)
}
Linear <o> (x) => (y) {
  o = nas.Number <n: int=@o> ()
  n = Shape <end=2, start=1> (x)
  w = nas.Weights (o, n)
  z = ConstantOfShape <value=float[1] {0.0}> (o)
  y = Gemm <transB=1> (x, w, z)
}
Weights (o, n) => (w) {
  m = Concat <axis=0> (o, n)
  one = ConstantOfShape <value=float[1] {1.0}> (m)
  f = ReduceProd <keepdims=0> (n)
  g = Cast <to=1> (f)
  w = Div (one, g)
}
Number <n> () => (y) {
  a = Constant <value_int: int=@n> ()
  z = Constant <value_ints=[0]> ()
  y = Unsqueeze (a, z)
}
"""
_LIBRARY = {text.split(maxsplit=1)[0]: text + "}\n" for text in _FUNCTIONS.split("}\n")[:-1]}
