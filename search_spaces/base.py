"""What every search space offers: architectures, their notation, and their ONNX text."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import onnx
import onnx.parser
from optuna.distributions import BaseDistribution, CategoricalDistribution

Architecture = Mapping[str, Any]
"""An immutable mapping from parameter name to choice: the dict Optuna calls ``trial.params``."""

TEXT_VERSION = 1
"""Version of the ONNX texts, recorded in each as ``producer_version``.

It grows when the text of any architecture changes, so that what was trained on other texts can
refuse these.
"""


class ArchitectureError(ValueError):
    """An architecture, or its written form, does not belong to the search space."""


class SearchSpace(ABC):
    """A set of architectures, each of which has an ONNX text.

    A new space defines ``name``, ``choices``, ``parse``, ``format``, ``key`` and ``onnx_text``;
    the rest follows. A space whose choices depend on one another overrides ``sample``,
    ``neighbours``, ``size`` and ``__iter__`` as well.
    """

    name: str
    choices: Mapping[str, tuple[Any, ...]]
    affordable: int = 16_384
    """So many texts are written within seconds."""

    @abstractmethod
    def parse(self, text: str) -> Architecture:
        """Read the benchmark's own notation.

        Raises:
            ArchitectureError: ``text`` is not an architecture of this space.
        """

    @abstractmethod
    def format(self, architecture: Architecture) -> str:
        """Write the benchmark's own notation, the inverse of `parse`."""

    @abstractmethod
    def key(self, architecture: Architecture) -> str:
        """A name of the function computed, equal for architectures that compute the same one."""

    @abstractmethod
    def onnx_text(
        self, architecture: Architecture, *, batch_size: int = 1, image_size: int | None = None
    ) -> str:
        """The network in the ONNX textual syntax, what differs between architectures first.

        Args:
            architecture: A member of this space.
            batch_size: Images per batch.
            image_size: Height and width of the input, in pixels; None: those of the benchmark.
        """

    def onnx_model(
        self, architecture: Architecture, *, batch_size: int = 1, image_size: int | None = None
    ) -> onnx.ModelProto:
        """The network that `onnx_text` describes, ready for ONNX Runtime."""
        text = self.onnx_text(architecture, batch_size=batch_size, image_size=image_size)
        return onnx.parser.parse_model(text)

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Parameter name to Optuna distribution, one categorical per decision."""
        return {name: CategoricalDistribution(choices) for name, choices in self.choices.items()}

    @property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(len(choices) for choices in self.choices.values())

    def __iter__(self) -> Iterator[Architecture]:
        for combination in product(*self.choices.values()):
            yield dict(zip(self.choices, combination, strict=True))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, uniformly at random."""
        return {
            name: choices[rng.integers(len(choices))] for name, choices in self.choices.items()
        }

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """All architectures that differ in exactly one choice."""
        self.check(architecture)
        return [
            {**architecture, name: choice}
            for name, choices in self.choices.items()
            for choice in choices
            if choice != architecture[name]
        ]

    def check(self, architecture: Architecture) -> None:
        """Refuse what is not a member of this space.

        Raises:
            ArchitectureError: A parameter is missing or unknown, or its choice is not offered.
        """
        if missing := [name for name in self.choices if name not in architecture]:
            raise ArchitectureError(f"{self.name}: the architecture lacks {', '.join(missing)}")
        if unknown := [name for name in architecture if name not in self.choices]:
            raise ArchitectureError(
                f"{self.name} has no parameter {unknown[0]!r}; it has {', '.join(self.choices)}"
            )
        for name, choices in self.choices.items():
            if architecture[name] not in choices:
                raise ArchitectureError(
                    f"{self.name}: {name} = {architecture[name]!r} is not offered; "
                    f"choose one of {', '.join(choices)}"
                )
