from __future__ import annotations

from pathlib import Path

import optuna
import optunahub
import pytest

module = optunahub.load_local_module(
    package="benchmarks/nas_rlm_nasbench201", registry_root=str(Path(__file__).parents[3])
)


def test_a_study_of_it() -> None:
    problem = module.Problem("cifar10", devices=["pixel3", "gpu"])
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(directions=problem.directions, sampler=sampler)
    study.set_metric_names(problem.metric_names)
    study.optimize(problem, n_trials=5)
    assert study.trials[0].values == problem.evaluate(study.trials[0].params)
    share = problem.hypervolume_share([trial.values for trial in study.trials])
    assert 0.3 < share < 1
    assert "modelled" in problem.metric_names[1]


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="gpu"):
        module.Problem(devices=["gpus"])
