"""The search methods by name, and the loop that counts distinct architectures.

Every argument of Optuna's samplers is pinned to the default of Optuna 5, so that a later Optuna
does not silently change what the RLM is compared with.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from nas_rlm.benchmark import Benchmark
from nas_rlm.devices import unknown
from nas_rlm.evolution import LocalSearchSampler, RegularizedEvolutionSampler
from nas_rlm.space_sampler import UniformSampler
from search_spaces.base import Architecture, ArchitectureError

if TYPE_CHECKING:
    from surrogate import RLM

TRIALS_PER_EVALUATION = 20
"""Most trials of a search per architecture of its budget, repeats included, by default."""


def _rlm(
    benchmark: Benchmark,
    budget: int,
    seed: int,
    *,
    members: int | None = None,
    training_steps: int | None = None,
    warm_start: RLM | None = None,
    **options: Any,
) -> BaseSampler:
    # Imported here: the baselines must not pay for torch.
    from nas_rlm.sampler import RLMSampler, rlm_surrogate

    surrogate = rlm_options(members, training_steps, warm_start)
    return RLMSampler(
        benchmark.space,
        [objective.name for objective in benchmark.objectives],
        reference_point=benchmark.loss_range[:, 1].tolist(),
        surrogate=partial(rlm_surrogate, **surrogate) if surrogate else None,
        seed=seed,
        **options,
    )


def _with(predictor: str) -> Callable[[Benchmark, int, int], BaseSampler]:
    """The loop of the RLM with another predictor in its place."""

    def make(benchmark: Benchmark, budget: int, seed: int) -> BaseSampler:
        from nas_rlm.predictors import get_predictor
        from nas_rlm.sampler import RLMSampler

        return RLMSampler(
            benchmark.space,
            [objective.name for objective in benchmark.objectives],
            reference_point=benchmark.loss_range[:, 1].tolist(),
            surrogate=lambda names, seed: get_predictor(predictor, names, seed=seed),
            seed=seed,
        )

    return make


def _random(benchmark: Benchmark, budget: int, seed: int) -> BaseSampler:
    return UniformSampler(benchmark.space, seed=seed)


_GENETIC: Mapping[str, Any] = {
    "population_size": 50,
    "mutation": None,
    "mutation_prob": None,
    "crossover": None,
    "crossover_prob": 0.9,
    "swapping_prob": 0.5,
    "elite_population_selection_strategy": None,
    "child_generation_strategy": None,
    "after_trial_strategy": None,
}


def _nsga2(benchmark: Benchmark, budget: int, seed: int) -> BaseSampler:
    return NSGAIISampler(seed=seed, **_GENETIC)


def _nsga3(benchmark: Benchmark, budget: int, seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return NSGAIIISampler(seed=seed, reference_points=None, dividing_parameter=3, **_GENETIC)


def _tpe(benchmark: Benchmark, budget: int, seed: int) -> BaseSampler:
    # The arguments that Optuna 5 deprecates stay out: naming them warns, and None is the default.
    return TPESampler(
        n_startup_trials=10,
        n_ei_candidates=24,
        seed=seed,
        multivariate=None,
        group=False,
        constant_liar=True,
    )


def _gp(benchmark: Benchmark, budget: int, seed: int) -> BaseSampler:
    return GPSampler(
        seed=seed,
        independent_sampler=None,
        n_startup_trials=10,
        deterministic_objective=False,
        warn_independent_sampling=True,
    )


def _local(benchmark: Benchmark, budget: int, seed: int) -> BaseSampler:
    return LocalSearchSampler(benchmark.space, seed=seed)


def _evolution(benchmark: Benchmark, budget: int, seed: int) -> BaseSampler:
    return RegularizedEvolutionSampler(benchmark.space, seed=seed)


class Method(NamedTuple):
    """How to make a search method's sampler, and how tables and plots show it."""

    make: Callable[..., BaseSampler]
    """From benchmark, budget and seed; the RLM's has options too."""
    title: str
    colour: str
    trials: int = TRIALS_PER_EVALUATION
    """Most trials per architecture of a budget: less where each takes longer than the last."""


METHODS: Mapping[str, Method] = {
    "rlm": Method(_rlm, "RLM", "#D55E00"),
    "random": Method(_random, "Random search", "#7F7F7F"),
    "nsga2": Method(_nsga2, "NSGA-II", "#0072B2"),
    "tpe": Method(_tpe, "TPE", "#009E73"),
    "nsga3": Method(_nsga3, "NSGA-III", "#56B4E9"),
    "gp": Method(_gp, "Gaussian process", "#CC79A7", trials=2),
    "local": Method(_local, "Local search", "#E6AB02"),
    "evolution": Method(_evolution, "Regularised evolution", "#8C510A"),
    "lightgbm": Method(_with("lightgbm"), "LightGBM in our loop", "#6A3D9A"),
    "flan": Method(_with("flan"), "FLAN in our loop", "#003F8A"),
}
"""Method name to what it is. Colours are those of Okabe and Ito, and some more."""

BASELINES = ("random", "nsga2", "tpe")
"""What a report compares a search with."""


def rlm_options(
    members: int | None, training_steps: int | None, warm_start: RLM | None = None
) -> dict[str, Any]:
    """Arguments of `RLMPredictor` for what users choose; its own for what is None."""
    options: dict[str, Any] = {} if warm_start is None else {"warm_start": warm_start}
    if members is not None:
        options["members"] = members
    if training_steps is not None:
        passes = math.ceil(training_steps / 4)
        options["training"] = {"steps": training_steps, "passes": passes}
    return options


def load_warm_start(method: str, folder: str | Path | None) -> RLM | None:
    """The model that a search begins with; None if there is no folder.

    Raises:
        CheckpointError: The folder holds no model.
        ValueError: The method cannot begin with one.
    """
    if folder is None:
        return None
    if method != "rlm":
        raise ValueError(f"a warm start is for the method rlm, not for {method}")
    from surrogate import RLM

    return RLM.load(folder)


class Evaluations(NamedTuple):
    """What a search evaluated, in order of first evaluation.

    Attributes:
        rows: Shape (m,), positions in ``benchmark.architectures``, no two alike.
        values: Shape (m, k), in the objectives' own units.
        trials: Number of trials it took, repeats and invalid ones included.
    """

    rows: NDArray[np.intp]
    values: NDArray[np.float64]
    trials: int


def make_sampler(
    method: str, benchmark: Benchmark, budget: int, seed: int, **options: Any
) -> BaseSampler:
    """The sampler of a search method.

    Args:
        method: A key of `METHODS`.
        benchmark: What will be searched.
        budget: Distinct architectures that will be evaluated.
        seed: Seeds whatever the sampler draws.
        options: Other arguments of the sampler, where the method takes any.

    Raises:
        ValueError: There is no such method.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    return METHODS[method].make(benchmark, budget, seed, **options)


def search_distinct(
    benchmark: Benchmark,
    sampler: BaseSampler,
    budget: int,
    *,
    trials: int = TRIALS_PER_EVALUATION,
    study: optuna.Study | None = None,
    after_evaluation: Callable[[Evaluations], None] | None = None,
) -> Evaluations:
    """Search until ``budget`` distinct architectures have been evaluated.

    A sampler may propose an architecture again. It is then told the known values, which costs a
    real user nothing and so does not count. One that proposes what a table does not have is told
    of the nearest that it has. A sampler that only repeats itself is stopped.

    Args:
        benchmark: What to search.
        sampler: Proposes the architectures.
        budget: Distinct architectures, those of ``study`` included.
        trials: Most trials per architecture of the budget, see `Method`.
        study: Go on with this study instead of a new one in memory.
        after_evaluation: Called after every new architecture with all there are.
    """
    if study is None:
        study = optuna.create_study(directions=list(benchmark.directions))
    study.sampler = sampler
    known = evaluations(benchmark, study)
    seen = set(known.rows.tolist())
    budget = min(budget, benchmark.space.size)
    while len(seen) < budget and known.trials < trials * budget:
        trial = study.ask(dict(benchmark.space.distributions))
        known = known._replace(trials=known.trials + 1)
        try:
            architecture = benchmark.nearest(trial.params)
        except ArchitectureError:
            study.tell(trial, state=TrialState.FAIL)
            continue
        row = benchmark.row(architecture)
        values = benchmark.evaluate(architecture)
        _tell(study, trial, architecture, values)
        if row not in seen:
            seen.add(row)
            rows = np.append(known.rows, row)
            known = known._replace(rows=rows, values=np.vstack([known.values, values]))
            if after_evaluation is not None:
                after_evaluation(known)
    return known


def _tell(
    study: optuna.Study, trial: optuna.Trial, architecture: Architecture, values: Sequence[float]
) -> None:
    """Let the sampler know what was evaluated, even if it is not what it had asked for."""
    if architecture == trial.params:
        study.tell(trial, values)
        return
    asked = study.tell(trial, state=TrialState.FAIL)
    study.add_trial(
        optuna.trial.create_trial(
            params=dict(architecture),
            distributions=asked.distributions,
            values=values,
            system_attrs=asked.system_attrs,  # such as the generation
        )
    )


def evaluations(benchmark: Benchmark, study: optuna.Study) -> Evaluations:
    """What a study has evaluated so far."""
    trials = study.get_trials(deepcopy=False)
    values: dict[int, list[float]] = {}
    # In order of completion, which is that of the trials' numbers unless workers share the study.
    for trial in sorted(trials, key=_completed):
        if trial.state == TrialState.COMPLETE:
            values.setdefault(benchmark.row(trial.params), trial.values)
    return Evaluations(
        rows=np.fromiter(values, dtype=np.intp, count=len(values)),
        values=np.array(list(values.values())).reshape(-1, len(benchmark.objectives)),
        trials=sum(trial.state == TrialState.COMPLETE for trial in trials),
    )


def _completed(trial: FrozenTrial) -> tuple[bool, Any]:
    return trial.datetime_complete is None, trial.datetime_complete or trial.number
