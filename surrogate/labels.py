"""What can be learnt from, and the error that says why something cannot."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

LEAST_LABELS = 4
"""Labels that each objective needs."""


def check_labels(
    objectives: Sequence[str], examples: Sequence[Hashable], values: ArrayLike
) -> np.ndarray:
    """Labels as an array of shape (n, k), float64, NaN where one is missing.

    Args:
        objectives: Names of the k numbers.
        examples: n examples, such as texts; equal ones are the same example.
        values: Labels, (n, k).

    Raises:
        ValueError: The shape is wrong, a label is infinite, an objective has fewer than
            `LEAST_LABELS` labels or only equal ones, or one example has two different labels of
            an objective.
    """
    if isinstance(examples, str):
        raise ValueError("texts must be a sequence of texts, not one text")
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(examples), len(objectives)):
        raise ValueError(
            f"values must have shape (examples, objectives) = ({len(examples)}, "
            f"{len(objectives)}), got {values.shape}"
        )
    for k, name in enumerate(objectives):
        column = values[:, k]
        if np.isinf(column).any():
            row = int(np.flatnonzero(np.isinf(column))[0])
            raise ValueError(f"label {row} of {name} is {column[row]}; leave it out (NaN)")
        known = column[~np.isnan(column)]
        if len(known) < LEAST_LABELS:
            raise ValueError(
                f"{name} has {len(known)} labels; at least {LEAST_LABELS} labels are needed"
            )
        if known.min() == known.max():
            raise ValueError(f"all labels of {name} are {known[0]:g}: nothing to learn")
    first: dict[Hashable, int] = {}
    for row, example in enumerate(examples):
        earlier = first.setdefault(example, row)
        if contradicting := np.flatnonzero(np.abs(values[earlier] - values[row]) > 0).tolist():
            k = contradicting[0]
            raise ValueError(
                f"examples {earlier} and {row} are the same, but their labels of "
                f"{objectives[k]} differ: {values[earlier, k]:g} and {values[row, k]:g}; "
                "keep one, or their mean"
            )
    return values
