"""The size space of NATS-Bench: how many channels each of five layers has.

Source: Dong et al., "NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size",
TPAMI 2021, https://arxiv.org/abs/2009.00437. The network is that of the authors' code
(https://github.com/D-X-Y/AutoDL-Projects): the cell is the one of the topology space that is best
on CIFAR-100, and not its twin with a 1x1 convolution that is best on CIFAR-10; there is one cell
between the residual blocks, where the topology space has five.
"""

from __future__ import annotations

from types import MappingProxyType

from search_spaces.base import Architecture, ArchitectureError
from search_spaces.document import Body
from search_spaces.network import NetworkSpace

CHANNELS = tuple(str(channels) for channels in range(8, 65, 8))
LAYERS = 5


_SKELETON = """\
Network (image) => (logits) {
  x = nas.Layers (image)
  y = nas.BatchNorm (x)
  z = Relu (y)
  logits = nas.Classifier <o=$classes> (z)
}
Stem <o> (x) => (y) {
  y = nas.ConvBn <o: int=@o, k=[3,3], p=[1,1,1,1], s=[1,1]> (x)
}
Cell <o> (x) => (y) {
  y = nas.Nodes <o: int=@o> (x, x)
}
ProjectedCell <o> (x) => (y) {
  s = nas.PointwiseBn <o: int=@o> (x)
  y = nas.Nodes <o: int=@o> (x, s)
}
Nodes <o> (x, s) => (y) {
  a = nas.Conv3x3 <o: int=@o> (x)
  b = nas.Conv3x3 <o: int=@o> (x)
  c = nas.Conv3x3 <o: int=@o> (a)
  d = Add (b, c)
  e = nas.Conv3x3 <o: int=@o> (a)
  f = nas.Conv3x3 <o: int=@o> (d)
  y = Sum (s, e, f)
}
Residual <o> (x) => (y) {
  a = nas.ReluConvBn <o: int=@o, k=[3,3], p=[1,1,1,1], s=[2,2]> (x)
  b = nas.Conv3x3 <o: int=@o> (a)
  c = AveragePool <kernel_shape=[2,2], strides=[2,2]> (x)
  d = nas.Convolution <o: int=@o, k=[1,1], p=[0,0,0,0], s=[1,1]> (c)
  y = Add (b, d)
}
Conv3x3 <o> (x) => (y) {
  y = nas.ReluConvBn <o: int=@o, k=[3,3], p=[1,1,1,1], s=[1,1]> (x)
}
"""


class NATSSize(NetworkSpace):
    """The 8^5 networks of NATS-Bench that differ in size alone.

    Layers 1, 3 and 5 are cells, layers 2 and 4 residual blocks that halve the image. The notation
    is the benchmark's: the channels of the five layers, joined by ``:``.
    """

    name = "nats_size"
    image_multiple = 4
    skeleton = _SKELETON
    choices = MappingProxyType({f"layer_{i}": CHANNELS for i in range(1, LAYERS + 1)})

    def parse(self, text: str) -> Architecture:
        channels = text.split(":")
        if len(channels) != LAYERS or not set(channels) <= set(CHANNELS):
            raise ArchitectureError(
                f"{text[:100]!r} is not a {self.name} network; it is written as {LAYERS} numbers "
                f"of channels ({', '.join(CHANNELS)}), joined by ':'"
            )
        return dict(zip(self.choices, channels, strict=True))

    def format(self, architecture: Architecture) -> str:
        self.check(architecture)
        return ":".join(architecture[layer] for layer in self.choices)

    def key(self, architecture: Architecture) -> str:
        """The notation: no two networks have weights of the same shapes."""
        return self.format(architecture)

    def differing(self, architecture: Architecture) -> str:
        """``Layers``: one statement for each layer, and the stem.

        A cell that changes the number of channels has another name, since its skip connection is
        then a 1x1 convolution.
        """
        first, second, third, fourth, fifth = (architecture[layer] for layer in self.choices)
        layers = (
            ("Stem", first),
            ("Cell", first),
            ("Residual", second),
            ("Cell" if third == second else "ProjectedCell", third),
            ("Residual", fourth),
            ("Cell" if fifth == fourth else "ProjectedCell", fifth),
        )
        body, value = Body(), "v0"
        for function, channels in layers:
            value = body.define(f"nas.{function} <o={channels}> ({value})")
        return body.function("Layers (v0)", value)
