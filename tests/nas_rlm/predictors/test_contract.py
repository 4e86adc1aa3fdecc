"""What every predictor must do; a new one is tested by being listed in `PREDICTORS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from nas_rlm.benchmarks import nasbench201
from nas_rlm.predictors import PREDICTORS, Inputs, Predictor, get_predictor

OBJECTIVES = ("accuracy", "latency_ms")
GRAPHS = {"epochs": 15, "width": 16, "learning_rate": 0.02, "folds": 2}
OPTIONS: dict[str, dict[str, Any]] = {
    "rlm": {"members": 1, "training": {"steps": 40, "passes": 5}, "pool": 64},
    "ridge": {"folds": 2},
    "ridge_pairs": {"folds": 2},
    "forest": {"folds": 2},
    "trees": {"folds": 2},
    "lightgbm": {"folds": 2},
    "mlp": {"members": 2, "steps": 100, "folds": 2},
    "gates": GRAPHS,
    "flan": GRAPHS,
    "flan_zero_cost": GRAPHS,
    "brpnas": GRAPHS,
    "graph_transformer": GRAPHS,
}
"""What makes each predictor quick."""


class Examples(NamedTuple):
    inputs: Inputs
    values: NDArray[np.float64]
    """Labels, one of every six missing."""
    others: Inputs
    """Architectures without labels."""


@pytest.fixture(scope="module")
def examples() -> Examples:
    benchmark = nasbench201("cifar10", devices=("gpu",))
    rows = np.random.default_rng(0).permutation(len(benchmark.architectures))
    inputs = Inputs(benchmark.space, benchmark.architectures)
    values = benchmark.values[rows[:24]].copy()
    values[::6, 0] = values[3::6, 1] = np.nan
    return Examples(inputs[rows[:24]], values, inputs[rows[24:54]])


@pytest.fixture(scope="module", params=PREDICTORS)
def new(request: pytest.FixtureRequest) -> Callable[[], Predictor]:
    """Makes a predictor that is not yet trained."""

    def make() -> Predictor:
        try:
            return get_predictor(request.param, OBJECTIVES, **OPTIONS.get(request.param, {}))
        except ImportError as error:
            pytest.skip(str(error))

    return make


@pytest.fixture(scope="module")
def fitted(new: Callable[[], Predictor], examples: Examples) -> Predictor:
    """A predictor that knows the examples, which leaves global random numbers alone."""
    numpy_state = np.random.get_state(legacy=False)["state"]["key"].copy()
    torch_state = torch.get_rng_state()
    predictor = new().fit(examples.inputs, examples.values)
    predictor.sample(examples.others[np.arange(2)], 2)
    np.testing.assert_array_equal(np.random.get_state(legacy=False)["state"]["key"], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)
    return predictor


def test_predicts_finite_numbers(fitted: Predictor, examples: Examples) -> None:
    predicted = fitted.predict(examples.others)
    assert predicted.shape == (30, 2)
    assert predicted.dtype == np.float64
    assert np.isfinite(predicted).all()


def test_predictions_do_not_depend_on_the_others(fitted: Predictor, examples: Examples) -> None:
    every = fitted.predict(examples.others)
    some = fitted.predict(examples.others[np.arange(3, 9)])
    np.testing.assert_allclose(some, every[3:9], rtol=1e-4)


def test_learns(fitted: Predictor, examples: Examples) -> None:
    known = ~np.isnan(examples.values[:, 1])
    predicted = fitted.predict(examples.inputs)
    assert spearmanr(predicted[known, 1], examples.values[known, 1])[0] > 0.5


def test_samples_spread_around_the_prediction(fitted: Predictor, examples: Examples) -> None:
    samples = fitted.sample(examples.others, 200, seed=1)
    assert samples.shape == (30, 200, 2)
    assert np.isfinite(samples).all()
    assert (samples.std(axis=1) > 0).all()
    # On the whole the middle of the samples is the prediction, to within their spread.
    off = np.median(samples, axis=1) - fitted.predict(examples.others)
    assert (np.abs(off.mean(axis=0)) < samples.std(axis=1).mean(axis=0)).all()


def test_samples_are_those_of_their_seed(fitted: Predictor, examples: Examples) -> None:
    some = examples.others[np.arange(4)]
    first = fitted.sample(some, 5, seed=1)
    np.testing.assert_array_equal(first, fitted.sample(some, 5, seed=1))
    assert (first != fitted.sample(some, 5, seed=2)).any()


def test_draws_are_samples_whose_middle_is_not_left_to_chance(
    fitted: Predictor, examples: Examples
) -> None:
    draws = fitted.draw(examples.others, 16, seed=1)
    assert draws.shape == (30, 16, 2)
    assert np.isfinite(draws).all()
    np.testing.assert_array_equal(draws, fitted.draw(examples.others, 16, seed=1))
    off = np.median(draws, axis=1) - fitted.predict(examples.others)
    assert (np.abs(off) < 2 * draws.std(axis=1)).all()


def test_no_samples_are_an_error(fitted: Predictor, examples: Examples) -> None:
    with pytest.raises(ValueError, match="samples must be at least 1"):
        fitted.sample(examples.others, 0)


def test_same_seed_same_predictor_whatever_it_learnt_before(
    new: Callable[[], Predictor], fitted: Predictor, examples: Examples
) -> None:
    again = new().fit(examples.inputs[np.arange(12)], 200 - examples.values[:12])
    again.fit(examples.inputs, examples.values)
    some = examples.others[np.arange(4)]
    np.testing.assert_array_equal(again.predict(some), fitted.predict(some))
    np.testing.assert_array_equal(again.sample(some, 3), fitted.sample(some, 3))


def test_must_be_trained_first(new: Callable[[], Predictor], examples: Examples) -> None:
    with pytest.raises(RuntimeError, match="is not trained: call fit first"):
        new().predict(examples.others)
    with pytest.raises(RuntimeError, match="is not trained: call fit first"):
        new().sample(examples.others, 2)


def _infinite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values[2, 1] = np.inf
    return values


def _few(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values[3:, 1] = np.nan
    return values


def _constant(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values[:, 1] = 7
    return values


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda values: values[:, :1], r"values must have shape .* = \(24, 2\), got \(24, 1\)"),
        (_infinite, "label 2 of latency_ms is inf"),
        (_few, "latency_ms has 3 labels; at least 4"),
        (_constant, "all labels of latency_ms are 7: nothing to learn"),
    ],
)
def test_refuses_labels(
    new: Callable[[], Predictor],
    examples: Examples,
    spoil: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    message: str,
) -> None:
    values = np.where(np.isnan(examples.values), 50, examples.values)
    with pytest.raises(ValueError, match=message):
        new().fit(examples.inputs, spoil(values))


def test_refuses_two_labels_of_one_architecture(
    new: Callable[[], Predictor], examples: Examples
) -> None:
    rows = np.append(np.arange(24), 1)
    values = examples.values[rows]
    values[-1] += 1
    with pytest.raises(ValueError, match=r"1 and 24 are the same"):
        new().fit(examples.inputs[rows], values)
