"""Linear models, trees, the small network, and how point predictors draw samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from nas_rlm.benchmarks import Benchmark, nasbench201
from nas_rlm.predictors import Inputs, get_predictor
from nas_rlm.predictors.point import PointPredictor, fit_scale
from search_spaces import get_space

pytest.importorskip("sklearn", reason="needs the extra compare")

CLASSICAL = ("ridge", "ridge_pairs", "forest", "trees", "lightgbm", "mlp")
QUICK: dict[str, dict[str, Any]] = {"mlp": {"members": 2, "steps": 100}}
COUNTS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    space = get_space("nasbench201")
    rng = np.random.default_rng(0)
    return Inputs(space, [space.sample(rng) for _ in range(40)])


@pytest.fixture(scope="module")
def latency(inputs: Inputs) -> NDArray[np.float64]:
    """Sums over operations, (40,)."""
    return np.array([1.0 + sum(map(COUNTS.index, a.values())) for a in inputs.architectures])


class Nearest(PointPredictor):
    """Predicts the latency of the examples, and their mean wherever there is none."""

    def _fit(self, inputs: Inputs, values: NDArray[np.float64], progress: bool) -> None:
        self._means = np.nanmean(values, axis=0)

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        self.check_fitted()
        return np.tile(self._means, (len(inputs), 1))


def test_ridge_finds_a_sum_whatever_is_missing(
    inputs: Inputs, latency: NDArray[np.float64]
) -> None:
    values = np.stack([latency, latency], axis=1)
    values[20:, 0] = np.nan
    ridge = get_predictor("ridge", ["few", "all"]).fit(inputs, values)
    predicted = ridge.predict(inputs)
    np.testing.assert_allclose(predicted[:, 1], latency, rtol=0.02)
    assert spearmanr(predicted[20:, 0], latency[20:])[0] > 0.95


def test_ridge_learns_ranks_where_they_are_nearer_to_a_sum(
    inputs: Inputs, latency: NDArray[np.float64]
) -> None:
    skewed = 100 - np.exp(latency / 2)
    ridge = get_predictor("ridge", ["accuracy"]).fit(inputs[np.arange(30)], skewed[:30, None])
    predicted = ridge.predict(inputs[np.arange(30, 40)])[:, 0]
    assert spearmanr(predicted, skewed[30:])[0] > 0.95
    assert predicted.max() < 100


def test_predictions_of_a_positive_number_are_not_negative(inputs: Inputs) -> None:
    tiny = np.array([10.0 ** -len(set(a.values())) for a in inputs.architectures])[:, None]
    for name in ("ridge", "ridge_pairs", "mlp"):
        predictor = get_predictor(name, ["latency_ms"], folds=2, **QUICK.get(name, {}))
        predictor.fit(inputs[np.arange(20)], tiny[:20])
        assert (predictor.predict(inputs) >= 0).all()
        assert (predictor.sample(inputs, 20) >= 0).all()


@pytest.mark.parametrize("name", CLASSICAL)
def test_cross_validation_survives_equal_labels(name: str, inputs: Inputs) -> None:
    if name == "lightgbm":
        pytest.importorskip("lightgbm")
    values = np.full((40, 2), np.nan)
    values[:4, 0] = 1, 1, 1, 2  # equal where the last one is held out
    values[:, 1] = np.arange(40)
    predictor = get_predictor(name, ["few", "many"], folds=2, **QUICK.get(name, {}))
    samples = predictor.fit(inputs, values).sample(inputs, 10)
    assert np.isfinite(samples).all()


def test_errors_that_occur_together_stay_together(inputs: Inputs) -> None:
    rng = np.random.default_rng(1)
    noise = rng.uniform(1, 2, size=40)
    values = np.stack([noise, 3 - noise, rng.uniform(1, 2, size=40)], axis=1)
    values[::9, 1] = np.nan
    samples = Nearest(["a", "minus a", "other"], folds=4).fit(inputs, values).sample(inputs, 100)
    correlation = np.corrcoef(samples.reshape(-1, 3).T)
    assert correlation[0, 1] < -0.6
    assert abs(correlation[0, 2]) < 0.4


def test_errors_of_an_earlier_predictor_are_measured_anew_once_they_are_stale(
    inputs: Inputs, latency: NDArray[np.float64]
) -> None:
    class Counted(Nearest):
        trainings = 0

        def _fit(self, inputs: Inputs, values: NDArray[np.float64], progress: bool) -> None:
            Counted.trainings += 1
            super()._fit(inputs, values, progress)

    def trained(labels: int, earlier: Counted | None = None) -> tuple[Counted, int]:
        predictor = Counted(["ms"], folds=4)
        if earlier is not None:
            assert predictor.go_on_from(earlier)
        before = Counted.trainings
        predictor.fit(inputs[np.arange(labels)], latency[:labels, None])
        assert np.ptp(predictor.sample(inputs, 50)[0]) > 0
        return predictor, Counted.trainings - before

    first, trainings = trained(20)
    assert trainings == 1 + 4
    second, trainings = trained(25, first)
    assert trainings == 1
    assert trained(29, second)[1] == 1
    assert trained(30, second)[1] == 1 + 4  # half as many again as those of the first
    alone = Counted(["ms"], folds=4)
    assert not alone.go_on_from(Counted(["ms"]))  # which has measured none
    assert not alone.go_on_from(Nearest(["ms"]).fit(inputs, latency[:, None]))


def test_every_fold_learns_from_rare_labels(inputs: Inputs) -> None:
    class Watched(Nearest):
        least = 40

        def _fit(self, inputs: Inputs, values: NDArray[np.float64], progress: bool) -> None:
            Watched.least = min(Watched.least, (~np.isnan(values)).sum(axis=0).min())
            super()._fit(inputs, values, progress)

    rng = np.random.default_rng(2)
    for seed in range(20):
        values = rng.uniform(size=(40, 2))
        values[rng.permutation(40)[4:], 0] = np.nan
        Watched(["rare", "common"], seed=seed).fit(inputs, values).sample(inputs, 1)
    assert Watched.least == 3


def test_a_failed_fit_leaves_no_predictor(inputs: Inputs, latency: NDArray[np.float64]) -> None:
    class Failing(Nearest):
        def _fit(self, inputs: Inputs, values: NDArray[np.float64], progress: bool) -> None:
            if values[0, 0] < 0:
                raise ArithmeticError
            super()._fit(inputs, values, progress)

    predictor = Failing(["a"]).fit(inputs, latency[:, None])
    with pytest.raises(ArithmeticError):
        predictor.fit(inputs, -latency[:, None])
    with pytest.raises(RuntimeError, match="this Failing is not trained: call fit first"):
        predictor.predict(inputs)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="folds must be at least 2, got 1"):
        get_predictor("ridge", ["a"], folds=1)
    with pytest.raises(ValueError, match="members and steps must be at least 1, got 0"):
        get_predictor("mlp", ["a"], members=0)
    with pytest.raises(TypeError, match="depth"):
        get_predictor("forest", ["a"], depth=3)


def test_a_scale_of_equal_labels() -> None:
    scale = fit_scale(np.array([7.0, 7.0]))
    assert scale.inverse(scale(np.array([7.0]))) == 7


@pytest.fixture(scope="module")
def measured(shared_data: Path) -> Benchmark:
    return nasbench201("cifar10_test_acc", ("eyeriss",), shared_data)


@pytest.mark.parametrize(
    ("name", "tau", "rho"),
    [
        ("ridge", 0.5, 0.98),
        ("ridge_pairs", 0.5, 0.98),
        ("forest", 0.65, 0.9),
        ("trees", 0.65, 0.93),
        ("lightgbm", 0.65, 0.93),
        ("mlp", 0.65, 0.97),
    ],
)
def test_is_as_good_as_when_it_was_tuned(
    name: str, tau: float, rho: float, measured: Benchmark
) -> None:
    if name == "lightgbm":
        pytest.importorskip("lightgbm")
    order = np.random.default_rng(100).permutation(len(measured.architectures))
    every = Inputs(measured.space, measured.architectures)
    train, test = order[:78], order[78:1078]
    predictor = get_predictor(name, ["accuracy", "latency_ms"])
    predicted = predictor.fit(every[train], measured.values[train]).predict(every[test])
    assert kendalltau(predicted[:, 0], measured.values[test, 0])[0] > tau
    assert spearmanr(predicted[:, 1], measured.values[test, 1])[0] > rho
