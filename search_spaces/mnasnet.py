"""MnasNet as Accel-NASBench has it: seven stages, whose blocks and number of layers are chosen.

Source: Ahmad et al., "Accel-NASBench: Sustainable Benchmarking for Accelerator-Aware NAS", DAC
2024, https://github.com/afzalxo/Accel-NASBench; the networks are those of its
https://github.com/afzalxo/ANB-DatasetCollection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType

from search_spaces.base import Architecture, ArchitectureError
from search_spaces.inverted_residual import block, functions, layers, network
from search_spaces.network import NetworkSpace

STEM, HEAD = 32, 1280
STAGES = ((16, 1), (24, 2), (40, 2), (80, 2), (112, 1), (192, 2), (320, 1))
"""Channels, and stride of the first layer."""
_OFFERS = {
    "expansion": ("1", "4", "6"),
    "kernel": ("3", "5"),
    "layers": ("1", "2", "3"),
    "squeeze_excite": ("no", "yes"),
}
_DEEPEST = 6
"""The stage that may have four layers."""
_STAGE = re.compile("e([0-9])k([0-9])l([0-9])(s?)")


_SKELETON = network(STEM, HEAD) + "".join(
    functions(kind + suffix, (3, 5), expands=kind == "MBConv", squeezes=suffix == "SE")
    for kind in ("Separable", "MBConv")
    for suffix in ("", "SE")
)


class MnasNet(NetworkSpace):
    """The 36^6 * 48 networks of Accel-NASBench for ImageNet.

    All layers of a stage have the same expansion (e), kernel (k) and squeeze-and-excitation (s),
    if any. Channels and strides are those of EfficientNet-B0; the activation is ReLU, with which
    the benchmark was measured. The notation is the seven stages, like ``e6k3l1`` or ``e4k5l3s``
    where l is the number of layers, joined by ``_``.
    """

    name = "mnasnet"
    image_size = 224
    classes = 1000
    skeleton = _SKELETON
    choices = MappingProxyType(
        {
            f"{name}_{stage}": (*offers, "4") if (name, stage) == ("layers", _DEEPEST) else offers
            for stage in range(1, len(STAGES) + 1)
            for name, offers in _OFFERS.items()
        }
    )

    def parse(self, text: str) -> Architecture:
        stages = [_STAGE.fullmatch(stage) for stage in text.split("_")]
        written = [choice for stage in stages if stage for choice in stage.groups()]
        if len(written) != len(self.choices) or None in stages:
            raise ArchitectureError(
                f"{text[:200]!r} is not a {self.name} network; it is written as {len(STAGES)} "
                "stages like 'e6k3l1' or 'e4k5l3s', joined by '_'"
            )
        architecture = {
            name: {"": "no", "s": "yes"}.get(choice, choice)
            for name, choice in zip(self.choices, written, strict=True)
        }
        self.check(architecture)
        return architecture

    def format(self, architecture: Architecture) -> str:
        self.check(architecture)
        return "_".join(
            f"e{expansion}k{kernel}l{number}{'s' * (squeezes == 'yes')}"
            for expansion, kernel, number, squeezes in _stages(architecture)
        )

    def key(self, architecture: Architecture) -> str:
        """The notation: no two architectures are known to be the same function."""
        return self.format(architecture)

    def differing(self, architecture: Architecture) -> str:
        """``Layers``: one statement for each layer, and one for its sum with what it reads."""
        return layers(_statements(architecture))


def _stages(architecture: Architecture) -> Iterator[tuple[str, ...]]:
    """Expansion, kernel, number of layers, and whether it squeezes."""
    for stage in range(1, len(STAGES) + 1):
        yield tuple(architecture[f"{name}_{stage}"] for name in _OFFERS)


def _statements(architecture: Architecture) -> Iterator[tuple[str, bool]]:
    """What applies each layer, and whether what it reads is added."""
    before = STEM
    for (channels, first), stage in zip(STAGES, _stages(architecture), strict=True):
        expansion, kernel, number, squeezes = stage
        kind = "Separable" if expansion == "1" else "MBConv"
        for layer in range(int(number)):
            stride = 1 if layer else first
            given = {"m": before * int(expansion), "o": channels}
            if squeezes == "yes":
                call = block(f"{kind}SE", int(kernel), stride, **given, q=before // 4)
            else:
                call = block(kind, int(kernel), stride, **given)
            yield call, stride == 1 and channels == before
            before = channels
