from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nas_rlm.benchmarks import Benchmark, nasbench201
from nas_rlm.evolution import LocalSearchSampler
from nas_rlm.methods import (
    METHODS,
    TRIALS_PER_EVALUATION,
    Evaluations,
    evaluations,
    make_sampler,
    search_distinct,
)
from search_spaces import Listed, get_space


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    return nasbench201(devices=["pixel3"])


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"rlm", "flan", "gp", "lightgbm"}))
def test_baseline_evaluates_distinct_architectures(method: str, benchmark: Benchmark) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a deprecated argument would change under our feet
        sampler = make_sampler(method, benchmark, budget=60, seed=1)
        found = search_distinct(benchmark, sampler, 60)
    assert len(found.rows) == len(set(found.rows.tolist())) == 60
    np.testing.assert_array_equal(found.values, benchmark.values[found.rows])
    again = search_distinct(benchmark, make_sampler(method, benchmark, 60, 1), 60)
    np.testing.assert_array_equal(found.rows, again.rows)
    other = search_distinct(benchmark, make_sampler(method, benchmark, 60, 2), 60)
    assert other.rows.tolist() != found.rows.tolist()


def test_unknown_method(benchmark: Benchmark) -> None:
    with pytest.raises(ValueError, match=r"unknown method 'nsga4'; did you mean 'nsga3'\?"):
        make_sampler("nsga4", benchmark, 10, 0)


@pytest.mark.parametrize("method", ["random", "nsga2", "tpe", "local", "evolution"])
def test_a_table_is_searched_where_it_has_figures(method: str, benchmark: Benchmark) -> None:
    rows = np.random.default_rng(0).permutation(benchmark.space.size)[:300]
    architectures = tuple(benchmark.architectures[row] for row in rows)
    some = replace(
        benchmark,
        space=Listed(benchmark.space, architectures),
        architectures=architectures,
        values=benchmark.values[rows],
    )
    study = optuna.create_study(directions=list(some.directions))
    found = search_distinct(some, make_sampler(method, some, 60, 1), 60, study=study)
    assert len(set(found.rows.tolist())) == 60
    np.testing.assert_array_equal(found.values, some.values[found.rows])
    told = study.get_trials(states=(TrialState.COMPLETE,))
    assert all(tuple(trial.values) == some.evaluate(trial.params) for trial in told)
    assert found.trials == len(told), "what was asked for instead is not counted as well"


class _Alternating(optuna.samplers.RandomSampler):
    """Proposes the same two architectures for ever."""

    def sample_independent(self, study, trial, param_name, param_distribution):  # type: ignore[no-untyped-def]
        return param_distribution.choices[trial.number % 2]


def test_repeats_are_told_but_not_counted_and_end(benchmark: Benchmark) -> None:
    reported: list[Evaluations] = []
    study = optuna.create_study(directions=list(benchmark.directions))
    found = search_distinct(
        benchmark, _Alternating(), 5, study=study, after_evaluation=reported.append
    )
    assert len(found.rows) == len(reported) == 2
    assert found.trials == len(study.trials) == 5 * TRIALS_PER_EVALUATION
    assert all(trial.values for trial in study.trials)
    few = search_distinct(benchmark, _Alternating(), 5, trials=METHODS["gp"].trials)
    assert few.trials == 10, "a Gaussian process takes longer with each trial"


def test_goes_on_with_a_study(benchmark: Benchmark) -> None:
    study = optuna.create_study(directions=list(benchmark.directions))
    first = search_distinct(benchmark, make_sampler("random", benchmark, 8, 0), 8, study=study)
    whole = search_distinct(benchmark, make_sampler("tpe", benchmark, 12, 0), 12, study=study)
    assert whole.rows[:8].tolist() == first.rows.tolist()
    assert len(set(whole.rows.tolist())) == 12
    np.testing.assert_array_equal(evaluations(benchmark, study).values, whole.values)


@pytest.mark.parametrize("method", ["local", "evolution"])
def test_neighbours_beat_random_search(method: str, benchmark: Benchmark) -> None:
    def share(method: str, seed: int) -> float:
        found = search_distinct(benchmark, make_sampler(method, benchmark, 150, seed), 150)
        return benchmark.hypervolume_share(found.values)

    ours, random = (np.mean([share(m, seed) for seed in range(5)]) for m in (method, "random"))
    assert ours > random + 0.01


def test_neighbours_of_what_is_evaluated_end_in_random_architectures() -> None:
    space = get_space("nasbench201")
    sampler = LocalSearchSampler(space, n_startup_trials=1, seed=0)
    study = optuna.create_study(sampler=sampler)
    centre = next(iter(space))
    for architecture in [centre, *space.neighbours(centre)]:
        trial = optuna.trial.create_trial(
            params=dict(architecture),
            distributions=dict(space.distributions),
            value=float(architecture != centre),
        )
        study.add_trial(trial)
    far = study.ask(dict(space.distributions)).params
    assert sum(far[name] != centre[name] for name in centre) > 1
