"""A monotone coordinate for each objective, in which digits are softened and compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from surrogate.numbers import NumberFormat

BEYOND = 0.1
"""Mass that a model leaves on branches far from all labels must not spoil expectations."""
RANK_SHARE = 0.5
"""Of the coordinate; the rest is size."""


class Scale:
    """Maps values to about [0, 1]: by default half their rank among the labels, half their size.

    Labels crowd near the best accuracy. In this coordinate a step is as wide where labels are
    dense as where they are rare, so that soft targets and ranking margins mean the same
    everywhere. It is used for losses and expectations only: the model writes plain numbers.

    Args:
        knots: Increasing values, (m,) with m >= 2.
        coordinates: Their increasing coordinates, (m,).
        beyond: How far from the labels expectations place what lies beyond them.
    """

    def __init__(self, knots: ArrayLike, coordinates: ArrayLike, beyond: float = BEYOND) -> None:
        self.knots = np.asarray(knots, dtype=np.float64)
        self.coordinates = np.asarray(coordinates, dtype=np.float64)
        self.beyond = beyond

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        knots: int = 64,
        rank_share: float = RANK_SHARE,
        beyond: float = BEYOND,
    ) -> Scale:
        """From training labels, (n,), which must not all be equal."""
        ordered = np.sort(values)
        low, high = ordered[0], ordered[-1]
        ranks = np.linspace(0, 1, knots)
        quantiles = np.quantile(ordered, ranks)
        at = np.unique(np.concatenate([quantiles, np.linspace(low, high, knots)]))
        rank = np.interp(at, quantiles, ranks)
        coordinates = rank_share * rank + (1 - rank_share) * (at - low) / (high - low)
        # Beyond the labels the coordinate goes on with the overall slope, but positive labels
        # (a latency, an accuracy) have nothing below zero.
        span = high - low
        bottom = 0.0 if low > 0 else low - span
        return cls(
            np.concatenate([[bottom], at, [high + span]]),
            np.concatenate([[-1.0], coordinates, [2.0]]),
            beyond,
        )

    @property
    def range(self) -> tuple[float, float]:
        """Of coordinates in expectations."""
        return -self.beyond, 1 + self.beyond

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return np.interp(values, self.knots, self.coordinates)

    def inverse(self, coordinates: np.ndarray) -> np.ndarray:
        return np.interp(coordinates, self.coordinates, self.knots)

    def middle(self, number: NumberFormat, prefix: np.ndarray) -> np.ndarray:
        """Coordinate of the middle of every branch below a prefix, (..., j) to (..., vocabulary).

        Branches beyond the labels are moved to the ends of `range`.
        """
        low, high = (self(bound).clip(*self.range) for bound in number.children(prefix))
        return (low + high) / 2


def to_coordinates(scales: Sequence[Scale], values: np.ndarray) -> np.ndarray:
    """Coordinates of values, (..., k), each number on its own of k scales."""
    return np.stack([scale(values[..., k]) for k, scale in enumerate(scales)], axis=-1)


def to_values(scales: Sequence[Scale], coordinates: np.ndarray) -> np.ndarray:
    """Values of coordinates, (..., k), each number on its own of k scales."""
    return np.stack([scale.inverse(coordinates[..., k]) for k, scale in enumerate(scales)], -1)
