"""FBNet: 22 layers, each of which is one of nine blocks.

Source: Wu et al., "FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural
Architecture Search", CVPR 2019, https://arxiv.org/abs/1812.03443; its blocks, in their order, as
in Li et al., "HW-NAS-Bench", ICLR 2021, https://arxiv.org/abs/2103.10584.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

from search_spaces.base import Architecture, ArchitectureError
from search_spaces.inverted_residual import SUFFIXES, block, functions, layers, network
from search_spaces.network import NetworkSpace

BLOCKS = (
    "k3_e1",
    "k3_e1_g2",
    "k3_e3",
    "k3_e6",
    "k5_e1",
    "k5_e1_g2",
    "k5_e3",
    "k5_e6",
    "skip",
)
STEM = 16
STAGES = ((16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
"""Channels, layers, and stride of the first of them."""


@dataclass(frozen=True)
class Variant:
    """What depends on the images.

    Attributes:
        image_size: Their height and width, in pixels.
        classes: Of them.
        strides: Of the stem, and of the first layer of each stage.
        head: Channels of the last convolution.
    """

    image_size: int
    classes: int
    strides: tuple[int, ...]
    head: int

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """Channels and stride of each."""
        return tuple(
            (channels, first if i == 0 else 1)
            for (channels, number, _), first in zip(STAGES, self.strides[1:], strict=True)
            for i in range(number)
        )


VARIANTS = MappingProxyType(
    {
        "imagenet": Variant(224, 1000, (2, *(stride for _, _, stride in STAGES)), 1984),
        "cifar100": Variant(32, 100, (1, 1, 1, 2, 2, 1, 2, 1), 1504),
    }
)
"""HW-NAS-Bench has both."""

_GROUPED = "".join(
    f"""\
Grouped{k}x{k}{suffix} <h, m, o> (x) => (y) {{
  a = nas.Halves <h: int=@h, o: int=@m> (x)
  b = Relu (a)
  c = nas.Shuffle (b)
  d = nas.DepthwiseBn <g: int=@m, k=[{k},{k}], p=[{p},{p},{p},{p}], s=[{s},{s}]> (c)
  e = Relu (d)
  y = nas.Halves <h: int=@h, o: int=@o> (e)
}}
"""
    for k, p in ((3, 1), (5, 2))
    for s, suffix in SUFFIXES.items()
)
_SKIPS = "".join(
    f"""\
Skip{suffix} <o> (x) => (y) {{
  y = nas.ConvBnRelu <o: int=@o, k=[1,1], p=[0,0,0,0], s=[{s},{s}]> (x)
}}
"""
    for s, suffix in SUFFIXES.items()
)
_FUNCTIONS = f"""\
{functions("MBConv", (3, 5))}{_GROUPED}{_SKIPS}\
Halves <h, o> (x) => (y) {{
  o = nas.Number <n: int=@o> ()
  i = nas.Number <n: int=@h> ()
  k = Constant <value_ints=[1,1]> ()
  n = Concat <axis=0> (i, k)
  w = nas.Weights (o, n)
  a = Conv <group=2> (x, w)
  y = nas.BatchNorm (a)
}}
Shuffle (x) => (y) {{
  n = Constant <value_ints=[0,2,-1]> ()
  r = Shape <start=2> (x)
  m = Concat <axis=0> (n, r)
  a = Reshape (x, m)
  b = Transpose <perm=[0,2,1,3,4]> (a)
  s = Shape (x)
  y = Reshape (b, s)
}}
"""


class FBNet(NetworkSpace):
    """The 9^22 networks of FBNet.

    A block has a kernel (k), an expansion (e) and perhaps groups (g). A ``skip`` that changes the
    size is a 1x1 convolution, as in HW-NAS-Bench. The notation is HW-NAS-Bench's: the numbers of
    the 22 blocks, from 0 to 8, joined by ``-``.

    Args:
        images: ``imagenet``, or ``cifar100`` for the variant that HW-NAS-Bench and HELP measured
            latencies of as well: images of 32 x 32 pixels, two reductions less.

    Raises:
        ValueError: There is no such variant.
    """

    name = "fbnet"
    choices = MappingProxyType({f"layer_{i}": BLOCKS for i in range(1, 23)})

    def __init__(self, *, images: str = "imagenet") -> None:
        if images not in VARIANTS:
            raise ValueError(f"images must be one of {', '.join(VARIANTS)}, not {images!r}")
        self.variant = VARIANTS[images]
        self.image_size = self.variant.image_size
        self.classes = self.variant.classes

    @property
    def skeleton(self) -> str:  # type: ignore[override]
        return network(STEM, self.variant.head, self.variant.strides[0]) + _FUNCTIONS

    def parse(self, text: str) -> Architecture:
        numbers = text.split("-")
        if len(numbers) != len(self.choices) or not set(numbers) <= set("012345678"):
            raise ArchitectureError(
                f"{text[:100]!r} is not a {self.name} network; it is written as "
                f"{len(self.choices)} numbers from 0 to {len(BLOCKS) - 1}, joined by '-'"
            )
        blocks = (BLOCKS[int(number)] for number in numbers)
        return dict(zip(self.choices, blocks, strict=True))

    def format(self, architecture: Architecture) -> str:
        self.check(architecture)
        return "-".join(str(BLOCKS.index(architecture[layer])) for layer in self.choices)

    def key(self, architecture: Architecture) -> str:
        """The network without the skips that do nothing."""
        self.check(architecture)
        return "-".join(
            name
            for name, (channels, stride), before in self._layers(architecture)
            if name != "skip" or stride > 1 or channels != before
        )

    def differing(self, architecture: Architecture) -> str:
        """``Layers``: one statement for each block, and one for its sum with what it reads."""
        return layers(self._statements(architecture))

    def _layers(self, architecture: Architecture) -> Iterator[tuple[str, tuple[int, int], int]]:
        """Each block, its channels and stride, and the channels before it."""
        blocks = (architecture[layer] for layer in self.choices)
        before = (STEM, *(channels for channels, _ in self.variant.layers))
        return zip(blocks, self.variant.layers, before, strict=False)

    def _statements(self, architecture: Architecture) -> Iterator[tuple[str, bool]]:
        """What applies each block, and whether what it reads is added."""
        for name, (channels, stride), before in self._layers(architecture):
            same = stride == 1 and before == channels
            if name == "skip":
                yield "Identity" if same else f"nas.Skip{SUFFIXES[stride]} <o={channels}>", False
                continue
            kernel, expansion, *groups = name.split("_")
            middle = before * int(expansion[1])
            if groups:
                sizes = {"h": middle // 2, "m": middle, "o": channels}
                call = block("Grouped", int(kernel[1]), stride, **sizes)
            else:
                call = block("MBConv", int(kernel[1]), stride, m=middle, o=channels)
            yield call, same
