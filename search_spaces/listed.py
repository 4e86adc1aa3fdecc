"""Some architectures of a search space, such as those of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces.base import Architecture, ArchitectureError, SearchSpace

NEAR = 20
"""Neighbours of each architecture."""


class Listed(SearchSpace):
    """A search space of some architectures of another one: no others are there to be found.

    Parameters, notation and texts are those of the other space. Few architectures have a listed
    one that differs in a single choice, so the neighbours are the `NEAR` nearest.

    Args:
        space: The other space.
        architectures: n of its architectures, all different.

    Raises:
        ValueError: There is none.
        ArchitectureError: One of them is not of that space, or is listed twice.
    """

    def __init__(self, space: SearchSpace, architectures: Sequence[Architecture]) -> None:
        if not architectures:
            raise ValueError("a list of architectures needs at least one")
        self.space = space
        self.name = space.name
        self.choices = dict(space.choices)
        self.affordable = space.affordable
        self.distributions = space.distributions
        self._architectures = tuple(architectures)
        self._row: dict[str, int] = {}
        for row, architecture in enumerate(self._architectures):
            written = space.format(architecture)
            if self._row.setdefault(written, row) != row:
                raise ArchitectureError(f"{space.name}: {written} is listed twice")
        self._codes = np.array([self._code(each) for each in self._architectures])

    def parse(self, text: str) -> Architecture:
        return self._architectures[self._position(self.space.parse(text))]

    def format(self, architecture: Architecture) -> str:
        return self.space.format(architecture)

    def key(self, architecture: Architecture) -> str:
        return self.space.key(architecture)

    def onnx_text(
        self, architecture: Architecture, *, batch_size: int = 1, image_size: int | None = None
    ) -> str:
        return self.space.onnx_text(architecture, batch_size=batch_size, image_size=image_size)

    @property
    def size(self) -> int:
        """Number of architectures."""
        return len(self._architectures)

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._architectures)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One listed architecture, uniformly at random."""
        return self._architectures[rng.integers(self.size)]

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """The `NEAR` others that differ from it in the fewest choices."""
        row = self._position(architecture)
        nearest = self._by_distance(architecture)
        return [self._architectures[other] for other in nearest[: NEAR + 1] if other != row][:NEAR]

    def nearest(self, architecture: Architecture) -> Architecture:
        """The listed architecture that differs in the fewest choices, of several the first.

        Args:
            architecture: Any of the other space.

        Raises:
            ArchitectureError: It is not of that space.
        """
        row = self._row.get(self.space.format(architecture))
        return self._architectures[self._by_distance(architecture)[0] if row is None else row]

    def check(self, architecture: Architecture) -> None:
        """Refuse what is not listed.

        Raises:
            ArchitectureError: It is not, or is not even of the other space.
        """
        self._position(architecture)

    def _position(self, architecture: Architecture) -> int:
        written = self.space.format(architecture)
        if written not in self._row:
            raise ArchitectureError(
                f"{written} is not one of the {self.size:,} listed architectures of {self.name}"
            )
        return self._row[written]

    def _code(self, architecture: Architecture) -> list[int]:
        """Numbers of its choices."""
        return [choices.index(architecture[name]) for name, choices in self.choices.items()]

    def _by_distance(self, architecture: Architecture) -> NDArray[np.intp]:
        """Rows, those that differ in the fewest choices first."""
        differ = self._codes != self._code(architecture)
        return np.argsort(differ.sum(1), kind="stable")
