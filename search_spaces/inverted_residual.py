"""Networks of inverted residual blocks, as FBNet, MnasNet and Once-for-All have them.

Such a block is a 1x1 convolution to more channels, a depthwise one, and a 1x1 convolution back.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018,
https://arxiv.org/abs/1801.04381.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from search_spaces.document import Body

SUFFIXES = {1: "", 2: "Down"}
"""Of the names of blocks, by stride."""


def layers(blocks: Iterable[tuple[str, bool]]) -> str:
    """The function ``Layers``: one statement for each block, and one for its sum.

    Args:
        blocks: What applies each block, and whether what it reads is added to what it gives.
    """
    body = Body()
    value = "v0"
    for block, added in blocks:
        given = body.define(f"{block} ({value})")
        value = body.define(f"Add ({value}, {given})") if added else given
    return body.function("Layers (v0)", value)


def network(stem: int, head: int, stride: int = 2) -> str:
    """The function ``Network`` around ``Layers``, from channels before them to channels after.

    The stride is that of the first convolution.
    """
    return f"""\
Network (image) => (logits) {{
  x = nas.ConvBnRelu <o={stem}, k=[3,3], p=[1,1,1,1], s=[{stride},{stride}]> (image)
  y = nas.Layers (x)
  z = nas.PointwiseBnRelu <o={head}> (y)
  logits = nas.Classifier <o=$classes> (z)
}}
"""


def block(kind: str, kernel: int, stride: int, **channels: int) -> str:
    """What applies a block, such as ``nas.MBConv3x3Down <m=96, o=24>``."""
    given = ", ".join(f"{name}={number}" for name, number in channels.items())
    return f"nas.{kind}{kernel}x{kernel}{SUFFIXES[stride]} <{given}>"


def functions(
    kind: str,
    kernels: Iterable[int],
    *,
    activation: str = "Relu",
    expands: bool = True,
    squeezes: bool = False,
) -> str:
    """The functions of a kind of block: m channels in the middle, o out, q where it squeezes.

    Args:
        kind: The name of the functions, without kernel and stride.
        kernels: Sizes of the depthwise convolution.
        activation: ``Relu``, ``Relu6`` or ``HardSwish``.
        expands: Whether there is a first convolution; m is the number of channels in otherwise.
        squeezes: Whether the channels in the middle are weighed by squeeze-and-excitation.
    """
    activate = "nas.Relu6" if activation == "Relu6" else activation
    text = ""
    for k in kernels:
        p = k // 2
        for s, suffix in SUFFIXES.items():
            steps = [
                f"nas.DepthwiseBn <g: int=@m, k=[{k},{k}], p=[{p},{p},{p},{p}], s=[{s},{s}]>",
                activate,
                "nas.PointwiseBn <o: int=@o>",
            ]
            if expands:
                steps.insert(0, f"nas.PointwiseBn{activation} <o: int=@m>")
            if squeezes:
                steps.insert(-1, "nas.SqueezeExcite <m: int=@m, q: int=@q>")
            values = pairwise(("x", *"abcd"[: len(steps) - 1], "y"))
            body = "".join(
                f"  {y} = {step} ({x})\n" for step, (x, y) in zip(steps, values, strict=True)
            )
            attributes = "m, o, q" if squeezes else "m, o"
            text += f"{kind}{k}x{k}{suffix} <{attributes}> (x) => (y) {{\n{body}}}\n"
    return text
