"""A benchmark: a search space with the objective values of its architectures.

It answers at once what a measurement would have taken hours to say, and it knows the true Pareto
front, so that a search can be judged by the share of the true hypervolume it reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_rlm import pareto
from nas_rlm.objectives import Direction, Objective
from search_spaces import Listed
from search_spaces.base import Architecture, SearchSpace


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Objective values for every architecture of a search space.

    Where a table has some of a space's architectures only, the search space is that list of them,
    see `search_spaces.Listed`.

    Losses are the values scaled to [0, 1], to be minimised; hypervolumes are those of losses.

    Attributes:
        name: Such as ``nasbench201-cifar10_valid_acc``.
        space: The search space.
        objectives: The k objectives, accuracy first.
        architectures: The n architectures, in the space's order of iteration.
        values: Array of shape (n, k), float64, in the objectives' own units.
        loss_range: Array of shape (k, 2): the values whose losses are 0 and 1. Values beyond
            them are clipped.
        provenance: Where each figure comes from: sources, checksums, versions of packages.
    """

    name: str
    space: SearchSpace
    objectives: tuple[Objective, ...]
    architectures: tuple[Architecture, ...] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)
    loss_range: NDArray[np.float64] = field(repr=False)
    provenance: Mapping[str, Any] = field(repr=False)

    def evaluate(self, architecture: Architecture) -> tuple[float, ...]:
        """The objective values of one architecture, in the order of ``objectives``.

        Raises:
            ArchitectureError: It is not a member of the space.
        """
        return tuple(self.values[self.row(architecture)].tolist())

    __call__ = evaluate

    def row(self, architecture: Architecture) -> int:
        """The architecture's position in ``architectures`` and ``values``.

        Raises:
            ArchitectureError: It is not a member of the space.
        """
        self.space.check(architecture)
        return self._rows[self.space.format(architecture)]

    def nearest(self, architecture: Architecture) -> Architecture:
        """The architecture itself, or the most similar one that has figures.

        Raises:
            ArchitectureError: It is not a member of the space, or of that which a table has some
                architectures of.
        """
        return self.space.nearest(architecture) if isinstance(self.space, Listed) else architecture

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {self.space.format(a): row for row, a in enumerate(self.architectures)}

    @property
    def directions(self) -> tuple[Direction, ...]:
        """``maximize`` or ``minimize`` for each objective, for ``optuna.create_study``."""
        return tuple(objective.direction for objective in self.objectives)

    @property
    def reference_point(self) -> NDArray[np.float64]:
        """The losses (1, ..., 1), shape (k,)."""
        return np.ones(len(self.objectives))

    def normalise(self, values: ArrayLike) -> NDArray[np.float64]:
        """Losses in [0, 1], to be minimised.

        Args:
            values: Array of shape (n, k), in the objectives' own units.

        Raises:
            ValueError: ``values`` is not of shape (n, k) or holds a NaN.
        """
        best, worst = self.loss_range.T
        points = pareto.as_points(values, len(self.objectives))
        return np.clip((points - best) / (worst - best), 0, 1)

    def hypervolume(self, values: ArrayLike) -> float:
        """The volume of losses that ``values``, of shape (n, k), dominate."""
        return pareto.hypervolume(self.normalise(values), self.reference_point)

    @cached_property
    def true_hypervolume(self) -> float:
        """The hypervolume of the whole space."""
        return self.hypervolume(self.values[self.true_front])

    def hypervolume_share(self, values: ArrayLike) -> float:
        """The hypervolume of ``values``, of shape (n, k), as a share of the true one."""
        return self.hypervolume(values) / self.true_hypervolume

    @cached_property
    def true_front(self) -> NDArray[np.intp]:
        """Rows of the architectures that no other one dominates, twins included, ascending."""
        return np.flatnonzero(pareto.non_dominated(self.values, self.directions))


def versions(*packages: str) -> dict[str, str]:
    """Of the packages behind a benchmark's figures, for its provenance."""
    return {name: version(name) for name in ("nas-rlm", *packages, "numpy", "moocore")}
