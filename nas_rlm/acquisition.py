"""Expected hypervolume improvement from samples."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

# The library's own decomposition, exact in any dimension; it is not public there, so a test
# compares it with hypervolumes from moocore.
from optuna._hypervolume import get_non_dominated_box_bounds

from nas_rlm.pareto import non_dominated


class HypervolumeImprovement:
    """How much a point would add to the hypervolume of those that are there.

    Args:
        losses: What is there, (m, k), to be minimised; m may be 0.
        reference_point: (k,).
    """

    def __init__(self, losses: NDArray[np.float64], reference_point: NDArray[np.float64]) -> None:
        front = losses[(losses < reference_point).all(1)]
        front = np.unique(front[non_dominated(front, ["minimize"] * front.shape[1])], axis=0)
        self._reference_point = reference_point
        if len(front) and front.shape[1] == 1:
            self._lower, self._upper = np.full((1, 1), -np.inf), front[:1]
        elif len(front):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Box decomposition")
                self._lower, self._upper = get_non_dominated_box_bounds(front, reference_point)
        else:
            self._lower = np.full((1, len(reference_point)), -np.inf)
            self._upper = reference_point[None]

    def __call__(self, points: NDArray[np.float64], chunk: int = 4096) -> NDArray[np.float64]:
        """Improvement by each point alone, (..., k) to (...)."""
        flat = points.reshape(-1, points.shape[-1])
        added = np.empty(len(flat))
        for start in range(0, len(flat), chunk):
            volume = np.ones((len(flat[start : start + chunk]), len(self._lower)))
            for axis in range(flat.shape[1]):
                bottom = np.maximum(flat[start : start + chunk, axis, None], self._lower[:, axis])
                volume *= np.maximum(self._upper[:, axis] - bottom, 0.0)
            added[start : start + chunk] = volume.sum(1)
        return added.reshape(points.shape[:-1])
