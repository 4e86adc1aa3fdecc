"""Pareto fronts and hypervolumes, on figures in their own units or on losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from nas_rlm.benchmarks import Benchmark
    from nas_rlm.objectives import Direction


def non_dominated(values: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.bool_]:
    """Which points no other point dominates.

    A point dominates another if it is at least as good everywhere and better somewhere. Copies
    of a point therefore do not dominate one another: all of them are kept.

    Args:
        values: Array of shape (n, k), no NaN.
        directions: ``maximize`` or ``minimize``, one for each of the k columns.

    Returns:
        Array of shape (n,), True for the points of the front.

    Raises:
        ValueError: ``values`` is not of shape (n, k) or holds a NaN.
    """
    points = as_points(values, len(directions))
    if not len(points):
        return np.zeros(0, dtype=bool)
    maximise = [direction == "maximize" for direction in directions]
    return moocore.is_nondominated(points, maximise=maximise, keep_weakly=True)


def hypervolume(losses: ArrayLike, reference_point: ArrayLike) -> float:
    """The volume that losses, to be minimised, dominate up to a reference point.

    Args:
        losses: Array of shape (n, k); zero points dominate nothing.
        reference_point: Array of shape (k,). Points beyond it add nothing.

    Raises:
        ValueError: The shapes do not fit or ``losses`` holds a NaN.
    """
    reference = np.asarray(reference_point, dtype=np.float64)
    points = as_points(losses, len(reference))
    return float(moocore.hypervolume(points, ref=reference)) if len(points) else 0.0


def hypervolume_over_time(benchmark: Benchmark, values: ArrayLike) -> NDArray[np.float64]:
    """The share of the true hypervolume reached after each evaluation.

    Args:
        benchmark: What was searched; its true hypervolume counts as 1.
        values: Array of shape (n, k), objective values in the order of evaluation.

    Returns:
        Array of shape (n,), never decreasing.

    Raises:
        ValueError: ``values`` is not of shape (n, k) or holds a NaN.
    """
    losses = benchmark.normalise(values)
    reached = np.zeros(len(losses))
    front = np.empty((0, losses.shape[1]))
    volume = 0.0
    for step, loss in enumerate(losses):
        # Only a point that nothing on the front equals or betters adds volume.
        if not (front <= loss).all(axis=1).any():
            front = np.vstack([front[~(loss <= front).all(axis=1)], loss])
            volume = hypervolume(front, benchmark.reference_point)
        reached[step] = volume
    return reached / benchmark.true_hypervolume


def as_points(values: ArrayLike, columns: int) -> NDArray[np.float64]:
    points = np.asarray(values, dtype=np.float64)
    if points.size == 0:
        points = points.reshape(0, columns)
    if points.ndim != 2 or points.shape[1] != columns:
        raise ValueError(f"expected an array of shape (n, {columns}), got {points.shape}")
    if np.isnan(points).any():
        raise ValueError(f"row {int(np.isnan(points).any(axis=1).argmax())} holds a NaN")
    return points
