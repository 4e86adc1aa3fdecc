"""Which texts to label first: those whose labels would tell most of all the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from surrogate.prior import Pool

NOISE = 0.3
"""Variance of a label, where that of what is to be learnt is about 1."""
SMOOTH = 0.1
"""What is expected of a smooth part of the process, beside a linear one."""
MOST_CANDIDATES = 1000


def most_telling(
    pool: Pool, count: int, *, labelled: Sequence[int] = (), seed: int = 0
) -> list[int]:
    """Rows of a pool, one after the other those that leave the least doubt of all its texts.

    The doubt is the mean variance of a Gaussian process on what other models expect of the texts
    and on how often each operator occurs in them. Of very different texts few are like many
    others, so that outliers are not what is chosen.

    Source: Cohn, Ghahramani and Jordan, "Active Learning with Statistical Models", JAIR 4, 1996.

    Args:
        pool: m texts.
        count: How many rows.
        labelled: Rows with labels, which tell something already.
        seed: Of which rows are considered where there are many.

    Raises:
        ValueError: There are fewer rows without labels.
    """
    m = len(pool.texts)
    others = np.setdiff1d(np.arange(m), labelled)
    if not 1 <= count <= len(others):
        raise ValueError(f"{count} texts cannot be chosen of {len(others)} without labels")
    few = np.random.default_rng(seed).permutation(others)[: max(count, MOST_CANDIDATES)]
    candidates = np.concatenate([np.asarray(labelled, dtype=np.intp), few])
    features = pool.features
    seen = [features.expected, features.earlier, features.used, features.counts]
    x = torch.cat(seen, 1).double()
    some = x[candidates]
    covariance = some @ x.T / x.shape[1]
    covariance += SMOOTH * torch.exp(-0.5 * torch.cdist(some, x) ** 2 / x.shape[1])
    chosen: list[int] = []
    for turn in range(len(labelled) + count):
        within = covariance[:, candidates]
        told = (covariance**2).sum(1) / (within.diagonal() + NOISE)
        told[chosen] = -1.0
        place = turn if turn < len(labelled) else int(told.argmax())
        chosen.append(place)
        row = covariance[place].clone()
        covariance -= torch.outer(within[:, place].clone(), row) / (within[place, place] + NOISE)
    return candidates[chosen[len(labelled) :]].tolist()
