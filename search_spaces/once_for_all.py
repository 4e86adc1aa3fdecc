"""Once-for-All: networks whose depth, kernels, expansions and resolution are chosen.

Source: Cai et al., "Once for All: Train One Network and Specialize it for Efficient Deployment",
ICLR 2020, https://arxiv.org/abs/1908.09791; channels, strides and activations are those of its
https://github.com/mit-han-lab/once-for-all.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from search_spaces.base import Architecture, ArchitectureError
from search_spaces.inverted_residual import block, functions, layers
from search_spaces.network import NetworkSpace

RESOLUTIONS = tuple(str(size) for size in range(128, 225, 4))
"""Height and width of the image, in pixels."""
WIDTHS = (0.65, 0.8, 1.0)
"""Of ResNet-50: its choices are the indices, as in the authors' code."""
_OFFERS = MappingProxyType({"d": ("2", "3", "4"), "e": ("3", "4", "6"), "ks": ("3", "5", "7")})


def _names(choice: str, stages: tuple[int, ...]) -> tuple[str, ...]:
    """Of the parameters of every layer, for stages of so many."""
    return tuple(
        f"{choice}_{stage}_{layer}"
        for stage, number in enumerate(stages, 1)
        for layer in range(1, number + 1)
    )


def _choices(
    lists: Mapping[str, tuple[str, ...]], offers: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """What each parameter offers, the resolution first."""
    named = {name: offers[key] for key, names in lists.items() for name in names}
    return {"image_size": RESOLUTIONS} | named


def _divisible(channels: float) -> int:
    """The nearest multiple of 8, but not less than nine tenths."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 * (nearest < 0.9 * channels)


class OnceForAll(NetworkSpace):
    """What the spaces of Once-for-All have in common: a notation and a normal form.

    What is chosen for a layer that its stage does not have does not count, so that different
    parameters can be the same network. Sampled and parsed ones are in normal form, in which such
    layers have the first choice.

    The notation is that of the authors' code, a JSON object of ``image_size`` and lists of the
    other choices. It is written with sorted keys and without blanks. What is read may call the
    resolution ``r``, and may have ``wid`` if that is null: published files have both.

    Attributes:
        lists: Names of parameters by key of the JSON object, all but the resolution.
        least: Layers that each stage has whatever its depth.
    """

    image_size = 224
    classes = 1000
    lists: Mapping[str, tuple[str, ...]]
    least: tuple[int, ...]

    @abstractmethod
    def _statements(self, architecture: Architecture) -> Iterator[tuple[str, bool]]:
        """What applies each layer, and whether what it reads is added."""

    def parse(self, text: str) -> Architecture:
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            read = None
        items = [
            ("image_size" if key == "r" else key, value)
            for key, value in (read.items() if isinstance(read, dict) else ())
            if (key, value) != ("wid", None)
        ]
        given = dict(items)
        if sorted(key for key, _ in items) != sorted(("image_size", *self.lists)) or any(
            not isinstance(given[key], list) or len(given[key]) != len(names)
            for key, names in self.lists.items()
        ):
            lengths = " and ".join(f"{len(names)} ({k})" for k, names in self.lists.items())
            raise ArchitectureError(
                f"{text[:300]!r} is not a {self.name} network; it is written as a JSON object of "
                f"image_size and lists of {lengths} numbers"
            )
        architecture = {"image_size": json.dumps(given["image_size"])}
        for key, names in self.lists.items():
            architecture |= zip(names, map(json.dumps, given[key]), strict=True)
        return self._normal(architecture)

    def format(self, architecture: Architecture) -> str:
        normal = self._normal(architecture)
        written = {"image_size": normal["image_size"]}
        for key, names in self.lists.items():
            written[key] = f"[{','.join(normal[name] for name in names)}]"
        return "{" + ",".join(f'"{key}":{written[key]}' for key in sorted(written)) + "}"

    def key(self, architecture: Architecture) -> str:
        """The notation: no two networks of one resolution are known to be the same function."""
        return self.format(architecture)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One network, as the authors sample: every parameter uniformly at random."""
        return self._normal(super().sample(rng))

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """Networks that differ in one choice from the normal form.

        A stage that grows gets a layer of first choices, whatever one that shrinks has lost, so
        an architecture need not be a neighbour of its neighbours.
        """
        normal = self._normal(architecture)
        changed = map(self._normal, super().neighbours(normal))
        found = {self.format(neighbour): neighbour for neighbour in changed}
        found.pop(self.format(normal), None)
        return list(found.values())

    def __iter__(self) -> Iterator[Architecture]:
        """Every network once, in normal form. All of them take for ever."""
        return (each for each in super().__iter__() if each == self._normal(each))

    def resolution(self, architecture: Architecture) -> int:
        return int(architecture["image_size"])

    def differing(self, architecture: Architecture) -> str:
        """``Layers``: one statement for each layer, and one for its sum with what it reads."""
        return layers(self._statements(architecture))

    def _depths(self, architecture: Architecture) -> list[int]:
        """How many layers each stage has."""
        return [
            least + int(architecture.get(f"depth_{stage}", 0))
            for stage, least in enumerate(self.least, 1)
        ]

    def _normal(self, architecture: Architecture) -> dict[str, str]:
        """The same network, in normal form."""
        self.check(architecture)
        depths = self._depths(architecture)
        normal = {}
        for name, offers in self.choices.items():
            _, *place = name.split("_")
            there = len(place) < 2 or int(place[1]) <= depths[int(place[0]) - 1]
            normal[name] = architecture[name] if there else offers[0]
        return normal


class _Mobile(OnceForAll):
    """A space of inverted residual blocks.

    Args:
        width: Multiplier of all channels.

    Raises:
        ValueError: ``width`` is not positive.

    Attributes:
        stages: Kind of block, channels, and stride of the first layer.
    """

    stages: tuple[tuple[str, int, int], ...]

    def __init__(self, *, width: float) -> None:
        if not width > 0:
            raise ValueError(f"width must be positive, not {width}")
        self.width = width

    def _channels(self, channels: int) -> int:
        return _divisible(channels * self.width)

    def _statements(self, architecture: Architecture) -> Iterator[tuple[str, bool]]:
        before = self._channels(16)
        depths = self._depths(architecture)
        for stage, (kind, base, first) in enumerate(self.stages, 1):
            channels = self._channels(base)
            for layer in range(1, depths[stage - 1] + 1):
                stride = first if layer == 1 else 1
                kernel = int(architecture[f"kernel_{stage}_{layer}"])
                middle = before * int(architecture[f"expansion_{stage}_{layer}"])
                squeezed = {"q": _divisible(middle // 4)} if kind.endswith("SE") else {}
                call = block(kind, kernel, stride, m=middle, o=channels, **squeezed)
                yield call, stride == 1 and channels == before
                before = channels


class OFAMobileNetV3(_Mobile):
    """Once-for-All of MobileNetV3: five stages of two to four layers.

    Args:
        width: Multiplier of all channels. The authors have trained 1.2, with which Lee et al.,
            "HELP", NeurIPS 2021, https://arxiv.org/abs/2106.08630, have measured latencies, and
            1.0, with which the accuracies at
            https://github.com/MaximeGirard/memory-optimized-once-for-all are measured.
    """

    name = "ofa_mobilenetv3"
    lists = MappingProxyType(
        {
            "d": tuple(f"depth_{stage}" for stage in range(1, 6)),
            "e": _names("expansion", (4,) * 5),
            "ks": _names("kernel", (4,) * 5),
        }
    )
    choices = MappingProxyType(_choices(lists, _OFFERS))
    least = (0,) * 5
    stages = (
        ("MBConv", 24, 2),
        ("MBConvSE", 40, 2),
        ("MBSwish", 80, 2),
        ("MBSwishSE", 112, 1),
        ("MBSwishSE", 160, 2),
    )

    def __init__(self, *, width: float = 1.2) -> None:
        super().__init__(width=width)

    @property
    def size(self) -> int:
        """Number of different networks."""
        return len(RESOLUTIONS) * sum(9**depth for depth in (2, 3, 4)) ** 5

    @property
    def skeleton(self) -> str:  # type: ignore[override]
        return f"""\
Network (image) => (logits) {{
  a = nas.ConvBnHardSwish <o={self._channels(16)}, k=[3,3], p=[1,1,1,1], s=[2,2]> (image)
  b = nas.Separable3x3 <m={self._channels(16)}, o={self._channels(16)}> (a)
  c = Add (a, b)
  d = nas.Layers (c)
  e = nas.PointwiseBnHardSwish <o={self._channels(960)}> (d)
  f = GlobalAveragePool (e)
  g = nas.Convolution <o={self._channels(1280)}, k=[1,1], p=[0,0,0,0], s=[1,1]> (f)
  h = HardSwish (g)
  i = Flatten (h)
  logits = nas.Linear <o=$classes> (i)
}}
{_MOBILENETV3}"""


class OFAProxyless(_Mobile):
    """Once-for-All of ProxylessNAS: five stages of two to four layers, and one of a single layer.

    The authors' code gives that stage a depth too, which does nothing and is left out here.

    Args:
        width: Multiplier of all channels. The authors have trained 1.3.
    """

    name = "ofa_proxyless"
    lists = MappingProxyType(
        {
            "d": tuple(f"depth_{stage}" for stage in range(1, 6)),
            "e": _names("expansion", (4, 4, 4, 4, 4, 1)),
            "ks": _names("kernel", (4, 4, 4, 4, 4, 1)),
        }
    )
    choices = MappingProxyType(_choices(lists, _OFFERS))
    least = (0, 0, 0, 0, 0, 1)
    stages = (
        ("MBConv", 24, 2),
        ("MBConv", 40, 2),
        ("MBConv", 80, 2),
        ("MBConv", 96, 1),
        ("MBConv", 192, 2),
        ("MBConv", 320, 1),
    )

    def __init__(self, *, width: float = 1.3) -> None:
        super().__init__(width=width)

    @property
    def size(self) -> int:
        """Number of different networks."""
        return len(RESOLUTIONS) * sum(9**depth for depth in (2, 3, 4)) ** 5 * 9

    @property
    def skeleton(self) -> str:  # type: ignore[override]
        return f"""\
Network (image) => (logits) {{
  a = nas.ConvBnRelu6 <o={self._channels(32)}, k=[3,3], p=[1,1,1,1], s=[2,2]> (image)
  b = nas.Separable3x3 <m={self._channels(32)}, o={self._channels(16)}> (a)
  c = nas.Layers (b)
  d = nas.PointwiseBnRelu6 <o={self._channels(1280)}> (c)
  logits = nas.Classifier <o=$classes> (d)
}}
{_PROXYLESS}"""


_RESNET50 = """\
Network (image) => (logits) {
  x = nas.Layers (image)
  logits = nas.Classifier <o=$classes> (x)
}
Stem <m, o> (x) => (y) {
  a = nas.Conv3x3 <o: int=@m, s=[2,2]> (x)
  y = nas.StemEnd <o: int=@o> (a)
}
ResidualStem <m, o> (x) => (y) {
  a = nas.Conv3x3 <o: int=@m, s=[2,2]> (x)
  b = nas.Conv3x3 <o: int=@m, s=[1,1]> (a)
  c = Add (a, b)
  y = nas.StemEnd <o: int=@o> (c)
}
StemEnd <o> (x) => (y) {
  a = nas.Conv3x3 <o: int=@o, s=[1,1]> (x)
  y = MaxPool <kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]> (a)
}
Bottleneck <m, o> (x) => (y) {
  a = nas.Branch <m: int=@m, o: int=@o, s=[1,1]> (x)
  b = Add (x, a)
  y = Relu (b)
}
BottleneckWider <m, o> (x) => (y) {
  a = nas.Branch <m: int=@m, o: int=@o, s=[1,1]> (x)
  b = nas.PointwiseBn <o: int=@o> (x)
  c = Add (b, a)
  y = Relu (c)
}
BottleneckDown <m, o> (x) => (y) {
  a = nas.Branch <m: int=@m, o: int=@o, s=[2,2]> (x)
  b = AveragePool <ceil_mode=1, kernel_shape=[2,2], strides=[2,2]> (x)
  c = nas.PointwiseBn <o: int=@o> (b)
  d = Add (c, a)
  y = Relu (d)
}
Branch <m, o, s> (x) => (y) {
  a = nas.PointwiseBnRelu <o: int=@m> (x)
  b = nas.Conv3x3 <o: int=@m, s: ints=@s> (a)
  y = nas.PointwiseBn <o: int=@o> (b)
}
Conv3x3 <o, s> (x) => (y) {
  y = nas.ConvBnRelu <o: int=@o, k=[3,3], p=[1,1,1,1], s: ints=@s> (x)
}
"""


class OFAResNet50(OnceForAll):
    """Once-for-All of ResNet-50-D: a stem and four stages of bottlenecks.

    The stem has three convolutions, of which the second, with its sum, may be missing. Its first
    number of channels (``width_middle``) and those it gives are chosen, and those of each stage;
    a bottleneck has a part of them in the middle. Stages have 2, 2, 4 and 2 layers, and up to two
    more.
    """

    name = "ofa_resnet50"
    lists = MappingProxyType(
        {
            "d": ("depth_stem", *(f"depth_{stage}" for stage in range(1, 5))),
            "e": _names("expansion", (4, 4, 6, 4)),
            "w": ("width_middle", "width_stem", *(f"width_{stage}" for stage in range(1, 5))),
        }
    )
    choices = MappingProxyType(
        _choices(lists, {"d": ("0", "1", "2"), "e": ("0.2", "0.25", "0.35"), "w": ("0", "1", "2")})
        | {"depth_stem": ("0", "2")}
    )
    skeleton = _RESNET50
    least = (2, 2, 4, 2)

    @property
    def size(self) -> int:
        """Number of different networks."""
        stages = (3 * sum(3 ** (least + depth) for depth in (0, 1, 2)) for least in self.least)
        return len(RESOLUTIONS) * 2 * 2 * 3 * math.prod(stages)

    def _normal(self, architecture: Architecture) -> dict[str, str]:
        normal = super()._normal(architecture)
        if normal["width_middle"] == "1":
            normal["width_middle"] = "0"  # 24 channels, both of them
        return normal

    def _statements(self, architecture: Architecture) -> Iterator[tuple[str, bool]]:
        def wide(name: str, channels: int) -> int:
            return _divisible(channels * WIDTHS[int(architecture[f"width_{name}"])])

        stem = "Stem" if architecture["depth_stem"] == "0" else "ResidualStem"
        middle = _divisible(wide("middle", 64) // 2)
        yield f"nas.{stem} <m={middle}, o={wide('stem', 64)}>", False
        for stage, depth in enumerate(self._depths(architecture), 1):
            channels = wide(str(stage), 128 * 2**stage)
            for layer in range(1, depth + 1):
                ratio = float(architecture[f"expansion_{stage}_{layer}"])
                kind = "" if layer > 1 else "Wider" if stage == 1 else "Down"
                middle = _divisible(round(channels * ratio))
                yield f"nas.Bottleneck{kind} <m={middle}, o={channels}>", False


_MOBILENETV3 = functions("Separable", (3,), expands=False) + "".join(
    functions(kind, (3, 5, 7), activation=activation, squeezes=kind.endswith("SE"))
    for kind, activation in (
        ("MBConv", "Relu"),
        ("MBConvSE", "Relu"),
        ("MBSwish", "HardSwish"),
        ("MBSwishSE", "HardSwish"),
    )
)
_PROXYLESS = functions("Separable", (3,), activation="Relu6", expands=False) + functions(
    "MBConv", (3, 5, 7), activation="Relu6"
)
