"""How good predictions are: of ranks, of the best, of their own uncertainty.

Plain functions of arrays without NaN: a caller leaves out what was not measured. Samples have
shape (n, s): s plausible numbers for each of n architectures, as `Predictor.sample` gives them
for one objective. Scores of samples are losses (less is better) that no dishonest sample improves
on in expectation (Gneiting & Raftery 2007).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logsumexp

from nas_rlm.objectives import Direction

Floats = NDArray[np.float64]


def kendall_tau(predicted: Floats, actual: Floats) -> float:
    """Kendall's tau-b: pairs in the right order less pairs in the wrong one, as a share.

    Args:
        predicted: Shape (n,). If all are equal the result is 0: they rank nothing.
        actual: Shape (n,).

    Returns:
        From -1 to 1; NaN if all of ``actual`` are equal or n < 2.
    """
    if len(actual) < 2 or np.ptp(actual) == 0:
        return np.nan
    return 0.0 if np.ptp(predicted) == 0 else float(stats.kendalltau(predicted, actual).statistic)


def spearman_rho(predicted: Floats, actual: Floats) -> float:
    """Spearman's rho: the linear correlation of ranks. Arguments and results as `kendall_tau`."""
    if len(actual) < 2 or np.ptp(actual) == 0:
        return np.nan
    return 0.0 if np.ptp(predicted) == 0 else float(stats.spearmanr(predicted, actual).statistic)


def top_regret(predicted: Floats, actual: Floats, direction: Direction, k: int = 10) -> float:
    """What is lost by measuring only the k that look best: the best of all less the best of them.

    Args:
        predicted: Shape (n,). Of equals, those that come first look best.
        actual: Shape (n,).
        direction: Whether more is better.
        k: How many are measured.

    Returns:
        0 or more, in the unit of ``actual``; NaN if n = 0.
    """
    if not len(actual):
        return np.nan
    sign = _sign(direction)
    chosen = np.argsort(-sign * predicted, kind="stable")[:k]
    return float((sign * actual).max() - (sign * actual[chosen]).max())


def top_tau(predicted: Floats, actual: Floats, direction: Direction, share: float = 0.1) -> float:
    """`kendall_tau` among the best ``share`` of the architectures, those equal to its last too."""
    if not len(actual):
        return np.nan
    goodness = _sign(direction) * actual
    least = np.sort(goodness)[-int(np.ceil(share * len(actual)))]
    best = goodness >= least
    return kendall_tau(predicted[best], actual[best])


def share_within(predicted: Floats, actual: Floats, tolerance: float = 0.1) -> float:
    """The share of predictions off by at most ``tolerance`` of the truth; NaN if there are none.

    Rounding does not count: exactly a tenth off is within a tenth.
    """
    if not len(actual):
        return np.nan
    limit = tolerance * np.abs(actual) * (1 + 1e-12)
    return float((np.abs(predicted - actual) <= limit).mean())


def crps(samples: Floats, actual: Floats) -> float:
    """Continuous ranked probability score, in the unit of ``actual``.

    E|X - y| - E|X - X'| / 2, the second by the fair estimator over distinct samples (Ferro 2014),
    so that it does not depend on how many there are. For a single sure number it is the absolute
    error.

    Args:
        samples: Shape (n, s), s at least 2.
        actual: Shape (n,).
    """
    s = samples.shape[1]
    error = np.abs(samples - actual[:, None]).mean()
    # Of the sorted samples, the i-th is the larger of i pairs and the smaller of s - 1 - i.
    weights = 2 * np.arange(s) - s + 1
    spread = (np.sort(samples, axis=1) @ weights).mean() * 2 / (s * (s - 1))
    return float(error - spread / 2)


def negative_log_likelihood(samples: Floats, actual: Floats) -> float:
    """Mean negative logarithm of the density at the truth, in nats.

    The density of each architecture is a Gaussian kernel density over its samples with Scott's
    bandwidth, s^(-1/5) standard deviations. The bandwidth is at least a thousandth of the
    standard deviation of ``actual``: a spread of nothing would cost infinity, or gain it.

    Args:
        samples: Shape (n, s), s at least 2.
        actual: Shape (n,), n at least 2.
    """
    s = samples.shape[1]
    width = np.maximum(samples.std(axis=1, ddof=1) * s**-0.2, 1e-3 * actual.std())[:, None]
    exponents = -0.5 * ((actual[:, None] - samples) / width) ** 2
    log_density = logsumexp(exponents, axis=1) - np.log(s * np.sqrt(2 * np.pi) * width[:, 0])
    return float(-log_density.mean())


def central_interval(samples: Floats, level: float) -> tuple[Floats, Floats]:
    """Bounds, (n,) each, between which the truth lies with probability ``level``.

    Weibull's quantiles: the truth, if it is drawn as the samples were, lies below the p-quantile
    with probability p however few the samples are, as long as p(s + 1) is from 1 to s.
    """
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(samples, tails, axis=1, method="weibull")
    return low, high


def coverage(samples: Floats, actual: Floats, level: float) -> float:
    """The share of truths inside their `central_interval`: ``level``, if the samples are honest.

    Args:
        samples: Shape (n, s).
        actual: Shape (n,).
        level: Such as 0.8.
    """
    low, high = central_interval(samples, level)
    return float(((low <= actual) & (actual <= high)).mean())


def sharpness(samples: Floats, deviation: float, level: float = 0.8) -> float:
    """Mean width of the `central_interval`, in units of the labels' standard deviation.

    Args:
        samples: Shape (n, s).
        deviation: The standard deviation of the labels.
        level: Of the intervals.
    """
    low, high = central_interval(samples, level)
    return float((high - low).mean() / deviation)


def energy_score(samples: Floats, actual: Floats) -> float:
    """`crps` for k objectives together, with distances in place of differences.

    Gneiting & Raftery 2007; fair, like `crps`, which it is for k = 1. The objectives weigh by
    their scales: standardise them first.

    Args:
        samples: Shape (n, s, k), s at least 2.
        actual: Shape (n, k).
    """
    s = samples.shape[1]
    error = np.linalg.norm(samples - actual[:, None], axis=2).mean()
    # Shifts meet every ordered pair of distinct samples once, and keep the memory at (n, s, k).
    spread = np.mean(
        [
            np.linalg.norm(samples - np.roll(samples, shift, axis=1), axis=2).mean()
            for shift in range(1, s)
        ]
    )
    return float(error - spread / 2)


def variogram_score(samples: Floats, actual: Floats, order: float = 0.5) -> float:
    """How well the differences between objectives are foreseen (Scheuerer & Hamill 2015).

    Mean over architectures and pairs of objectives of the squared error of E|X_i - X_j|^order.
    Where `energy_score` hardly notices wrong correlations, this does. Standardise the objectives
    first.

    Args:
        samples: Shape (n, s, k), k at least 2.
        actual: Shape (n, k).
        order: The power of the differences.
    """
    first, second = np.triu_indices(actual.shape[1], 1)
    expected = (np.abs(samples[..., first] - samples[..., second]) ** order).mean(axis=1)
    observed = np.abs(actual[:, first] - actual[:, second]) ** order
    return float(((observed - expected) ** 2).mean())


def independent(samples: Floats, seed: int) -> Floats:
    """Samples with the same marginals but no dependence between objectives, (n, s, k).

    Each objective's samples of each architecture are put in an order of their own.
    """
    return np.random.default_rng(seed).permuted(samples, axis=1)


def mean_and_half_width(values: Iterable[float]) -> tuple[float, float]:
    """The mean and half the width of its 95 % interval (Student's t), NaN for a single value."""
    sample = np.array(list(values), dtype=float)
    if len(sample) < 2:
        return float(sample.mean()), np.nan
    half = stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample)
    return float(sample.mean()), float(half)


def _sign(direction: Direction) -> int:
    return 1 if direction == "maximize" else -1
