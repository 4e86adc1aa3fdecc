"""An Optuna sampler that proposes architectures with a Regression Language Model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.logging import get_logger
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas_rlm.acquisition import HypervolumeImprovement
from nas_rlm.pareto import non_dominated
from search_spaces.base import Architecture, SearchSpace
from surrogate import RLM, TrainingConfig
from surrogate.labels import LEAST_LABELS

_logger = get_logger(__name__)

_PROPOSAL = "nas_rlm:architecture"
_ENUMERABLE = 100_000
_PARENTS = 50
_DRAWS = 8
"""Draws per member of the model, for the expected improvement."""
_FINALISTS = 1000
_SPREAD = 0.5
"""Digits are trained softened, which about doubles their standard deviation."""


@dataclass(frozen=True)
class _Plan:
    """What one training of the model says about the candidates."""

    trained_on: tuple[tuple[float, ...], ...]
    names: list[str]
    architectures: list[Architecture]
    keys: list[str]
    losses: NDArray[np.float64]
    """Plausible losses, (candidates, draws, k)."""


class RLMSampler(BaseSampler):
    """Proposes the architecture expected to add most to the Pareto front, never one twice.

    The first trials are random. After that the model is trained on the finished ones, predicts
    every architecture of the space (or, where it is too large to enumerate, random ones and the
    relatives of the front), and the one with the highest expected hypervolume improvement over
    draws from the model comes next. The model is trained again after every
    ``retrain_every`` finished trials; in between the front is kept up to date.

    Everything is recomputed from the study's storage, so a sampler can be lost and another one
    goes on. Parameters that are not the space's own are left to ``independent_sampler``.

    Args:
        space: Where the architectures come from.
        objectives: Names of the study's objectives, in order; accuracy first, then latencies.
            None: they are numbered.
        reference_point: Objective values beyond which nothing is of interest, in the
            objectives' units. None: a little beyond the worst values on the front so far.
        n_startup_trials: Finished trials before the model is used, at least 4.
        retrain_every: Finished trials between trainings.
        n_candidates: Spaces of up to this size are predicted whole. Of larger ones, about this
            many architectures are: the neighbours of the front, theirs in turn if these are
            few, and random ones. Few and near is better: the model is trained on little and
            goes wrong far from what was measured.
        surrogate: Makes an untrained model from the objectives' names and a seed. None: three
            members, trained for 200 steps.
        independent_sampler: For parameters that are not the space's. None: a `RandomSampler`.
        seed: Seeds everything; None: a different search each time.
        on_training: Called before each training with the number of labels.

    Example:
        >>> sampler = RLMSampler(space, ["accuracy", "latency_ms"])  # doctest: +SKIP
        >>> optuna.create_study(
        ...     directions=["maximize", "minimize"], sampler=sampler
        ... )  # doctest: +SKIP
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[str] | None = None,
        *,
        reference_point: Sequence[float] | None = None,
        n_startup_trials: int = 20,
        retrain_every: int = 5,
        n_candidates: int = 300,
        surrogate: Callable[[Sequence[str], int], RLM] | None = None,
        independent_sampler: BaseSampler | None = None,
        seed: int | None = None,
        on_training: Callable[[int], None] | None = None,
    ) -> None:
        if n_startup_trials < 4 or retrain_every < 1 or n_candidates < 1:
            raise ValueError(
                "n_startup_trials must be at least 4, retrain_every and n_candidates at least 1; "
                f"got {n_startup_trials}, {retrain_every} and {n_candidates}"
            )
        self.model: RLM | None = None
        self._space = space
        self._objectives = None if objectives is None else tuple(objectives)
        self._reference_point = reference_point
        self._n_startup_trials = n_startup_trials
        self._retrain_every = retrain_every
        self._n_candidates = n_candidates
        self._surrogate = surrogate or _default_surrogate
        self._independent_sampler = independent_sampler or RandomSampler(seed=seed)
        self._seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
        self._on_training = on_training
        self._plan: _Plan | None = None

    def reseed_rng(self) -> None:
        self._seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._independent_sampler.reseed_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._space.distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if search_space != self._space.distributions:
            return {
                name: self._independent_sampler.sample_independent(
                    study, trial, name, distribution
                )
                for name, distribution in search_space.items()
            }
        names = self._objective_names(study)
        trials = study.get_trials(deepcopy=False)
        taken = self._taken(trials, trial)
        finished = [t for t in trials if t.state == TrialState.COMPLETE and self._ours(t)]
        rng = np.random.default_rng([self._seed, trial.number])
        if len(finished) < self._n_startup_trials:
            proposal = self._random(rng, taken)
        else:
            proposal = self._improving(study, names, finished, taken, rng)
        # Other workers must see the choice before the trial's parameters reach the storage.
        study._storage.set_trial_system_attr(
            trial._trial_id, _PROPOSAL, self._space.format(proposal)
        )
        return dict(proposal)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._independent_sampler.sample_independent(
            study, trial, param_name, param_distribution
        )

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._independent_sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._independent_sampler.after_trial(study, trial, state, values)
        # Stop before an exhausted space makes the study repeat itself.
        trials = study.get_trials(deepcopy=False)
        if len(trials) >= self._space.size and self._ours(trial):
            done = self._taken(trials, trial) | {self._space.format(self._architecture(trial))}
            if len(done) >= self._space.size and study._thread_local.in_optimize_loop:
                _logger.info(f"All {self._space.size} architectures are evaluated: stopping.")
                study.stop()

    def _objective_names(self, study: Study) -> tuple[str, ...]:
        names = self._objectives or tuple(f"objective{k}" for k in range(len(study.directions)))
        if len(names) != len(study.directions):
            raise ValueError(
                f"the sampler has {len(names)} objectives ({', '.join(names)}), the study has "
                f"{len(study.directions)} directions; give both the same number"
            )
        if self._reference_point is not None and len(self._reference_point) != len(names):
            raise ValueError(
                f"the reference point has {len(self._reference_point)} values for "
                f"{len(names)} objectives"
            )
        return names

    def _ours(self, trial: FrozenTrial) -> bool:
        """Whether a trial evaluated an architecture of the space."""
        return all(trial.distributions.get(n) == d for n, d in self._space.distributions.items())

    def _architecture(self, trial: FrozenTrial) -> Architecture:
        return {name: trial.params[name] for name in self._space.distributions}

    def _taken(self, trials: Sequence[FrozenTrial], current: FrozenTrial) -> set[str]:
        """Architectures that were evaluated or are being evaluated, in their notation."""
        taken = set()
        for trial in trials:
            if trial.state == TrialState.FAIL or trial._trial_id == current._trial_id:
                continue
            if self._ours(trial):
                taken.add(self._space.format(self._architecture(trial)))
            elif _PROPOSAL in trial.system_attrs:
                taken.add(trial.system_attrs[_PROPOSAL])
        return taken

    def _random(self, rng: np.random.Generator, taken: set[str]) -> Architecture:
        """A random architecture, a new one unless none is left."""
        for _ in range(1000):
            architecture = self._space.sample(rng)
            if self._space.format(architecture) not in taken:
                return architecture
        if self._space.size <= _ENUMERABLE:
            left = [a for a in self._space if self._space.format(a) not in taken]
            if left:
                return left[rng.integers(len(left))]
        return architecture

    def _improving(
        self,
        study: Study,
        names: tuple[str, ...],
        finished: list[FrozenTrial],
        taken: set[str],
        rng: np.random.Generator,
    ) -> Architecture:
        """The candidate with the highest expected hypervolume improvement."""
        signs = np.array([-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions])
        losses = np.array([trial.values for trial in finished]) * signs
        plan = self._planned(names, finished, signs, taken)
        # Until the model is trained again it cannot know that it was wrong about a function, and
        # would try all of its twins one after the other.
        since = finished[len(plan.trained_on) :]
        tried = {self._space.key(self._architecture(trial)) for trial in since}
        free = [i for i, name in enumerate(plan.names) if name not in taken]
        rows = [i for i in free if plan.keys[i] not in tried] or free
        if not rows:
            return self._random(rng, taken)
        reference = self._reference(losses, signs)
        scale = np.ptp(np.vstack([losses, reference]), axis=0)
        scale[scale == 0] = 1.0
        # Where other workers are busy, what the model expects of their trials is already there.
        running = taken - {self._space.format(self._architecture(t)) for t in finished}
        pending = [i for i, name in enumerate(plan.names) if name in running]
        there = np.vstack([losses, plan.losses[pending].mean(1)])
        improvement = HypervolumeImprovement(there / scale, reference / scale)
        # A few draws tell the candidates apart well enough to leave most of them out.
        rough = improvement(plan.losses[rows, ::_DRAWS] / scale).mean(1)
        rows = [rows[i] for i in np.argsort(-rough, kind="stable")[:_FINALISTS]]
        gain = improvement(plan.losses[rows] / scale).mean(1)
        best = np.flatnonzero(gain == gain.max())
        return plan.architectures[rows[best[rng.integers(len(best))]]]

    def _reference(
        self, losses: NDArray[np.float64], signs: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if self._reference_point is not None:
            return np.asarray(self._reference_point, dtype=np.float64) * signs
        front = losses[non_dominated(losses, ["minimize"] * len(signs))]
        worst = front.max(0)
        return worst + 0.1 * np.maximum(worst - front.min(0), 1e-12)

    def _planned(
        self,
        names: tuple[str, ...],
        finished: list[FrozenTrial],
        signs: NDArray[np.float64],
        taken: set[str],
    ) -> _Plan:
        """The model's view of the candidates, from the last training that is due."""
        n = len(finished) - (len(finished) - self._n_startup_trials) % self._retrain_every
        # With the values, because trials of different studies may have the same ids.
        trained_on = tuple((trial._trial_id, *trial.values) for trial in finished[:n])
        if self._plan is not None and self._plan.trained_on == trained_on:
            return self._plan
        if self._on_training is not None:
            self._on_training(n)
        labelled, values = self._labels(finished[:n])
        # A constant objective teaches nothing and cannot be written as a distribution.
        enough = len(labelled) >= LEAST_LABELS
        varied = [k for k in range(len(names)) if enough and np.ptp(values[:, k]) > 0]
        losses = np.tile(values.mean(0) * signs, (1, 1, 1))
        rng = np.random.default_rng([self._seed, n])
        architectures = self._candidates(labelled, values * signs, rng)
        if varied:
            self.model = self._surrogate([names[k] for k in varied], self._seed % 2**31)
            self.model.fit(
                [self._space.onnx_text(a) for a in labelled], values[:, varied], progress=False
            )
            texts = [self._space.onnx_text(a) for a in architectures]
            expected = self.model.draw(texts, _DRAWS, spread=_SPREAD, seed=n)
            losses = np.tile(losses, (*expected.shape[:2], 1))
            losses[..., varied] = expected * signs[varied]
        notation = [self._space.format(a) for a in architectures]
        keys = [self._space.key(a) for a in architectures]
        self._plan = _Plan(trained_on, notation, architectures, keys, losses)
        return self._plan

    def _labels(self, trials: list[FrozenTrial]) -> tuple[list[Architecture], NDArray[np.float64]]:
        """Each architecture once, with the mean of its values: measurements may be noisy."""
        found: dict[str, tuple[Architecture, list[Sequence[float]]]] = {}
        for trial in trials:
            architecture = self._architecture(trial)
            name = self._space.format(architecture)
            found.setdefault(name, (architecture, []))[1].append(trial.values)
        labelled = [architecture for architecture, _ in found.values()]
        return labelled, np.array([np.mean(values, axis=0) for _, values in found.values()])

    def _candidates(
        self, labelled: list[Architecture], losses: NDArray[np.float64], rng: np.random.Generator
    ) -> list[Architecture]:
        if self._space.size <= self._n_candidates:
            return list(self._space)
        front = np.flatnonzero(non_dominated(losses, ["minimize"] * losses.shape[1]))
        rng.shuffle(front)
        found: dict[str, Architecture] = {}
        parents = [labelled[i] for i in front[:_PARENTS]]
        while parents and len(found) < self._n_candidates // 2:
            relatives = [a for parent in parents for a in self._space.neighbours(parent)]
            new = {self._space.format(a): a for a in relatives}
            new = {name: a for name, a in new.items() if name not in found}
            if not new:
                break
            found.update(new)
            parents = [list(new.values())[i] for i in rng.permutation(len(new))[:_PARENTS]]
        while len(found) < self._n_candidates:
            architecture = self._space.sample(rng)
            found[self._space.format(architecture)] = architecture
        return list(found.values())


def _default_surrogate(objectives: Sequence[str], seed: int) -> RLM:
    """An RLM that is trained often, and so only as long as a few dozen labels are worth."""
    return RLM(objectives, seed=seed, training=TrainingConfig(steps=200))
