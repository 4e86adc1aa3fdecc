"""What the three spaces of GENNAPE share: HiAML, Inception and Two-Path, for CIFAR-10.

Source: Mills et al., "GENNAPE: Towards Generalized Neural Architecture Performance Estimators",
AAAI 2023, https://arxiv.org/abs/2211.17226. Operations, rules and networks are those of the
authors' code, https://github.com/Ascend-Research/GENNAPE. That has each network in PyTorch and in
TensorFlow, with weights of the same shapes, but not always the same activations: bottlenecks have
none in TensorFlow, and some convolutions of HiAML have ReLU there instead of ReLU6. The networks
here are those in PyTorch.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from search_spaces.base import Architecture, ArchitectureError
from search_spaces.network import NetworkSpace


class Gennape(NetworkSpace):
    """A space whose notation is the JSON of what the authors' code calls ``net_config``.

    A space defines, beside ``name``, ``choices`` and ``key``:

    Attributes:
        rules: How a configuration is written, in a few words.
    """

    rules: str

    @abstractmethod
    def config(self, architecture: Architecture) -> Any:
        """The authors' ``net_config``, of JSON types.

        Raises:
            ArchitectureError: ``architecture`` is not a member of this space.
        """

    @abstractmethod
    def _read(self, config: Any) -> Architecture:
        """The inverse of `config`; where that is no configuration, any error or result."""

    @abstractmethod
    def _layers(self, config: Any) -> str:
        """The functions in which networks differ."""

    def parse(self, text: str) -> Architecture:
        try:
            config = json.loads(text)
            architecture = self._read(config)
            is_member = _json(self.config(architecture)) == _json(config)
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
            is_member = False
        if not is_member:
            raise ArchitectureError(
                f"{text[:100]!r} is not a network of {self.name}; it is written as the JSON of "
                f"{self.rules}"
            )
        return architecture

    def format(self, architecture: Architecture) -> str:
        return json.dumps(self.config(architecture))

    def differing(self, architecture: Architecture) -> str:
        return self._layers(self.config(architecture))


class ChainSpace(Gennape):
    """A space of chains: convolutions one after another, one of them perhaps not a convolution.

    Each operation of a chain has a parameter, and two more say which supplementary operation
    takes the place of which of them, if any: none in a chain of one. What is not used is the first
    choice in normal form, which sampled and parsed architectures have. Whether a parameter is used
    depends on those before it alone.

    Attributes:
        convolutions: What operations there are.
        supplements: What may take the place of one of them.
    """

    convolutions: tuple[str, ...]
    supplements: tuple[str, ...]

    @abstractmethod
    def _used(self, architecture: Architecture) -> Iterator[str]:
        """The parameters that matter here."""

    @abstractmethod
    def _layout(self, rng: np.random.Generator) -> dict[str, str]:
        """The parameters that say how much there is, drawn as the authors draw them."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, in normal form: operations at random, numbers as the authors draw."""
        drawn = {**super().sample(rng), **self._layout(rng)}
        return self._read(self.config(drawn))

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """Architectures in normal form that another choice leads to.

        What the choice brings into use begins with the first choices, so an architecture need not
        be a neighbour of its neighbours.
        """
        normal = self._read(self.config(architecture))
        found = {}
        for name in self._used(normal):
            for choice in self.choices[name]:
                neighbour = self._read(self.config({**normal, name: choice}))
                found[tuple(neighbour.values())] = neighbour
        del found[tuple(normal.values())]
        return list(found.values())

    def __iter__(self) -> Iterator[Architecture]:
        """Every architecture in normal form. All of them take forever."""
        return self._extensions(self._unused(), tuple(self.choices))

    def _extensions(
        self, architecture: Architecture, names: Sequence[str]
    ) -> Iterator[Architecture]:
        """Architectures in normal form that differ in some of these parameters at most."""
        if not names:
            if architecture == self._read(self.config(architecture)):
                yield architecture
        elif names[0] in self._used(architecture):
            for choice in self.choices[names[0]]:
                yield from self._extensions({**architecture, names[0]: choice}, names[1:])
        else:
            yield from self._extensions(architecture, names[1:])

    def _unused(self) -> dict[str, str]:
        """The first choices."""
        return {name: offers[0] for name, offers in self.choices.items()}

    def _names(self, architecture: Architecture, prefix: str, length: int) -> list[str]:
        """The parameter that says what each operation of a chain is."""
        place = architecture[f"{prefix}_supplement_at"] if length > 1 else "none"
        return [
            f"{prefix}_supplement" if place == str(i) else f"{prefix}_op_{i}"
            for i in range(1, length + 1)
        ]

    def _parameters(self, prefix: str, operations: Sequence[str]) -> dict[str, str]:
        """The parameters of a chain of these operations."""
        parameters = {}
        for i, operation in enumerate(operations, 1):
            if operation in self.supplements:
                parameters[f"{prefix}_supplement"] = operation
                parameters[f"{prefix}_supplement_at"] = str(i)
            else:
                parameters[f"{prefix}_op_{i}"] = operation
        return parameters

    def _number_of_chains(self, length: int) -> int:
        """How many chains of this length there are."""
        number = len(self.convolutions) ** length
        if length > 1:
            number += length * len(self.supplements) * len(self.convolutions) ** (length - 1)
        return number

    def _kinds(self, operations: Sequence[str]) -> list[str]:
        """What the configurations call ``op_types``."""
        return ["supp" if operation in self.supplements else "conv" for operation in operations]


def chain_choices(
    prefix: str, longest: int, convolutions: tuple[str, ...], supplements: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """The parameters of a chain of up to ``longest`` operations, as `ChainSpace` reads them."""
    places = [str(i) for i in range(1, longest + 1)]
    return {
        f"{prefix}_supplement_at": ("none", *places),
        f"{prefix}_supplement": supplements,
    } | {f"{prefix}_op_{place}": convolutions for place in places}


def convolutions(function: str, *, separate_strides: bool = False) -> str:
    """ONNX functions of convolutions, each also with another name where it halves the image.

    ``InceptionS`` is a convolution along the width and another along the height.

    Args:
        function: What the convolutions call, with the attributes o, k, p and s.
        separate_strides: Whether InceptionS halves the width in its first convolution and the
            height in its second, instead of both in its first.
    """
    texts = []
    for (k, p), (s, suffix) in product(((1, 0), (3, 1), (5, 2)), ((1, ""), (2, "Down"))):
        first, second = ((1, s), (s, 1)) if separate_strides else ((s, s), (1, 1))
        texts.append(f"""\
Conv{k}x{k}{suffix} <o> (x) => (y) {{
  y = nas.{function} <o: int=@o, k=[{k},{k}], p=[{p},{p},{p},{p}], s=[{s},{s}]> (x)
}}
InceptionS{k}x{k}{suffix} <o> (x) => (y) {{
  a = nas.{function} <o: int=@o, k=[1,{k}], p=[0,{p},0,{p}], s=[{first[0]},{first[1]}]> (x)
  y = nas.{function} <o: int=@o, k=[{k},1], p=[{p},0,{p},0], s=[{second[0]},{second[1]}]> (a)
}}
""")
    return "".join(texts)


POOLS = """\
AvgPool (x) => (y) {
  a = AveragePool <count_include_pad=1, kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]> (x)
  y = nas.BatchNorm (a)
}
MaxPool (x) => (y) {
  a = MaxPool <kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]> (x)
  y = nas.BatchNorm (a)
}
"""
"""ONNX functions of pooling, without strides, and the normalisation that follows it."""


def _json(config: Any) -> str:
    return json.dumps(config, sort_keys=True)
