"""Zero-cost scores as predictors: the order is the score's, labels only give it a unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas_rlm.devices import unknown
from nas_rlm.predictors.base import Inputs
from nas_rlm.predictors.point import PointPredictor, fit_scale
from nas_rlm.zero_cost import SCORES, Settings, scores

Floats = NDArray[np.float64]

_TAIL = 0.1
"""How far beyond the rank of the lowest or highest training score any other can come."""


class ZeroCostPredictor(PointPredictor):
    """A straight line from the rank of a score among training scores to the labels' `Scale`.

    It always rises, latencies included, so that predictions are in the order of the score,
    whatever the labels. Networks without the score come last.

    Args:
        objectives: Names of the k numbers, accuracy first.
        score: One of `nas_rlm.zero_cost.SCORES`.
        image_size: Height and width of the images that scores are computed on.
        seed: Seeds the samples, but not the scores.
        folds: See `PointPredictor`.

    Raises:
        ValueError: There is no such score.
    """

    def __init__(
        self,
        objectives: Sequence[str],
        *,
        score: str,
        image_size: int = Settings().image_size,
        seed: int = 0,
        folds: int = 5,
    ) -> None:
        super().__init__(objectives, seed=seed, folds=folds)
        if score not in SCORES:
            raise unknown("score", score, SCORES)
        self.score = score
        self.image_size = image_size

    def _fit(self, inputs: Inputs, values: Floats, progress: bool) -> None:
        column = self._scores(inputs, progress)
        self._curves = [
            _Curve(column[~np.isnan(labels)], labels[~np.isnan(labels)]) for labels in values.T
        ]

    def predict(self, inputs: Inputs) -> Floats:
        self.check_fitted()
        column = self._scores(inputs)
        return np.stack([curve(column) for curve in self._curves], axis=1)

    def _scores(self, inputs: Inputs, progress: bool = False) -> Floats:
        table = scores(
            inputs.space, inputs.architectures, image_size=self.image_size, progress=progress
        )
        return table[:, SCORES.index(self.score)]


class _Curve:
    """A strictly increasing function of scores.

    Args:
        column: Scores, (m,), NaN where undefined.
        labels: What they should become, (m,).
    """

    def __init__(self, column: Floats, labels: Floats) -> None:
        defined = column[~np.isnan(column)]
        self._knots, counts = np.unique(defined if len(defined) else [0.0], return_counts=True)
        # Equal scores share the middle of their ranks.
        self._ranks = (counts.cumsum() - counts / 2) / counts.sum()
        self._scale = fit_scale(labels)
        ranks, coordinates = self._rank(column), self._scale(labels)
        self._middle = ranks.mean(), coordinates.mean()
        covariance = np.mean((ranks - self._middle[0]) * (coordinates - self._middle[1]))
        # Never flat nor falling, nor so steep that it leaves the scale.
        self._slope = float(np.clip(covariance / max(ranks.var(), 1e-9), 0.01, 1))

    def __call__(self, column: Floats) -> Floats:
        rank, coordinate = self._middle
        return self._scale.inverse(coordinate + self._slope * (self._rank(column) - rank))

    def _rank(self, column: Floats) -> Floats:
        """Strictly increasing from -`_TAIL` for NaN to 1 + `_TAIL`."""
        low, high = self._knots[0], self._knots[-1]
        excess = (np.maximum(column - high, 0) - np.maximum(low - column, 0)) / (high - low or 1)
        tail = _TAIL * excess / (1 + np.abs(excess))
        return np.where(
            np.isnan(column), -_TAIL, np.interp(column, self._knots, self._ranks) + tail
        )
