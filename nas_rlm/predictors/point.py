"""Predictors that give one number: how they learn, and how far off they may be."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_rlm.predictors.base import Inputs, Predictor
from surrogate.scale import Scale, to_coordinates, to_values

STALE = 1.5
"""Factor of labels after which a predictor that goes on from another measures its errors anew."""


class _Errors(NamedTuple):
    """What cross-validation says about a predictor."""

    scales: list[Scale]
    residuals: NDArray[np.float64]
    """Label minus prediction on the objectives' scales, centred, (n, k)."""


class PointPredictor(Predictor):
    """A predictor whose samples are its predictions plus cross-validated residuals.

    A subclass defines `_fit` and `predict`, which calls `check_fitted` first. Residuals are
    computed when the first samples are asked for, since that takes ``folds`` more trainings. They
    are measured on each objective's `Scale`, where errors are about as large for slow networks
    as for fast ones, and drawn for all objectives of a training example together, so that errors
    that occur together stay together. One that goes on from another with about as many labels
    takes that one's residuals for its own.

    Args:
        objectives: Names of the k numbers, accuracy first.
        seed: Seeds every random choice.
        folds: Parts of the training examples, each predicted by a copy that learnt the others.
    """

    def __init__(self, objectives: Sequence[str], *, seed: int = 0, folds: int = 5) -> None:
        super().__init__(objectives, seed=seed)
        if folds < 2:
            raise ValueError(f"folds must be at least 2, got {folds}")
        self.folds = folds
        self._examples: tuple[Inputs, NDArray[np.float64]] | None = None
        self._errors: _Errors | None = None
        self._earlier: NDArray[np.float64] | None = None

    def go_on_from(self, earlier: Predictor, promising: Inputs | None = None) -> bool:
        if type(earlier) is not type(self) or earlier.objectives != self.objectives:
            return False
        if earlier._errors is None:
            return False
        self._earlier = earlier._errors.residuals
        return True

    def fit(self, inputs: Inputs, values: ArrayLike, *, progress: bool = False) -> Self:
        values = self.check_labels(inputs, values)
        earlier, self._earlier = self._earlier, None
        self._examples = self._errors = None
        self._fit(inputs, values, progress)
        self._examples = inputs, values
        if earlier is not None and len(values) < STALE * len(earlier):
            self._errors = _Errors(_scales(values), earlier)
        return self

    @abstractmethod
    def _fit(self, inputs: Inputs, values: NDArray[np.float64], progress: bool) -> None:
        """Learn, into new attributes: shallow copies of the predictor must stay as they are.

        Args:
            inputs: n architectures.
            values: Labels, (n, k), NaN where missing. In cross-validation an objective may have
                fewer than ``least_labels`` of them, or only equal ones.
            progress: Show a progress bar where it takes more than seconds.
        """

    def check_fitted(self) -> None:
        """Refuse to predict before there is something to predict from.

        Raises:
            RuntimeError: `fit` was not called, or did not succeed.
        """
        if self._examples is None:
            raise RuntimeError(f"this {type(self).__name__} is not trained: call fit first")

    def sample(self, inputs: Inputs, samples: int, *, seed: int = 0) -> NDArray[np.float64]:
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        residuals = self._residuals()
        drawn = np.random.default_rng(seed).integers(len(residuals), size=(len(inputs), samples))
        return self._shifted(inputs, residuals[drawn])

    def draw(
        self,
        inputs: Inputs,
        draws: int,
        *,
        spread: float = 1.0,
        seed: int = 0,
        quickly: bool = False,
    ) -> NDArray[np.float64]:
        residuals = self._residuals()
        order = np.random.default_rng(seed).permutation(len(residuals))
        drawn = residuals[np.resize(order, draws)]
        return self._shifted(inputs, spread * (drawn - drawn.mean(0)))

    def _residuals(self) -> NDArray[np.float64]:
        self.check_fitted()
        if self._errors is None:
            self._errors = self._cross_validate()
        return self._errors.residuals

    def _shifted(self, inputs: Inputs, residuals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Predictions of n inputs, each moved by residuals, ([n,] samples, k)."""
        assert self._errors is not None
        scales = self._errors.scales
        return to_values(scales, _coordinates(scales, self.predict(inputs))[:, None] + residuals)

    def _cross_validate(self) -> _Errors:
        assert self._examples is not None
        inputs, values = self._examples
        known = ~np.isnan(values)
        rng = np.random.default_rng(self.seed)
        order = rng.permutation(len(values))
        # Rows that lack the same labels are dealt out in turn, so that no objective loses all of
        # its labels to one fold.
        order = order[np.lexsort(known[order].T)]
        predicted = np.empty_like(values)
        folds = min(self.folds, len(values))
        for fold in range(folds):
            held_out = np.sort(order[fold::folds])
            rest = np.setdiff1d(order, held_out)
            twin = copy(self)
            twin._examples = inputs[rest], values[rest]
            twin._fit(*twin._examples, False)
            predicted[held_out] = twin.predict(inputs[held_out])

        scales = _scales(values)
        residuals = _coordinates(scales, values) - _coordinates(scales, predicted)
        residuals -= np.nanmean(residuals, axis=0)
        for column, have in zip(residuals.T, known.T, strict=True):
            column[~have] = rng.choice(column[have], (~have).sum())
        return _Errors(scales, residuals)


def _scales(values: NDArray[np.float64]) -> list[Scale]:
    """Of labels, (n, k), NaN where missing."""
    return [Scale.fit(column[~np.isnan(column)]) for column in values.T]


def fit_scale(labels: NDArray[np.float64]) -> Scale:
    """`Scale.fit`, also for equal labels, (m,), which is all that cross-validation may leave."""
    if np.ptp(labels) > 0:
        return Scale.fit(labels)
    return Scale([labels[0] - 1, labels[0] + 1], [0, 1])


def _coordinates(scales: Sequence[Scale], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values, (n, k), on their scales; those far beyond all labels count as just beyond them."""
    return to_coordinates(scales, values).clip(*scales[0].range)
