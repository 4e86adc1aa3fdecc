"""An Optuna sampler that proposes architectures with a Regression Language Model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.logging import get_logger
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas_rlm.acquisition import HypervolumeImprovement
from nas_rlm.pareto import non_dominated
from nas_rlm.predictors import Inputs, Predictor, get_predictor
from nas_rlm.space_sampler import SpaceSampler, signs
from search_spaces.base import Architecture, ArchitectureError, SearchSpace
from surrogate.labels import LEAST_LABELS

if TYPE_CHECKING:
    from surrogate import RLM

_logger = get_logger(__name__)

_PROPOSAL = "nas_rlm:architecture"
_ENUMERABLE = 100_000
_PARENTS = 50
_DRAWS = 32
"""Plausible outcomes of each candidate, for the expected improvement."""
_MOST_CLASHES = 20
_READ = 2048
"""Candidates that are read, those which are best by what is quickly known of them."""
_FINALISTS = 300
"""Candidates whose numbers are sampled jointly, which takes longer than one by one."""


@dataclass(frozen=True)
class _Problem:
    """What a study asks for: k objectives and c constraints.

    Attributes:
        names: Of the objectives.
        constraints: Of the constraints.
        signs: What makes objectives losses, (k,).
        reference: Losses beyond which nothing is of interest, (k,); None where not given.
    """

    names: tuple[str, ...]
    constraints: tuple[str, ...]
    signs: NDArray[np.float64]
    reference: NDArray[np.float64] | None

    @property
    def numbers(self) -> list[str]:
        """Names of all k + c numbers."""
        return [*self.names, *(f"constraint {name}" for name in self.constraints)]

    def measured(self, trials: Sequence[FrozenTrial]) -> NDArray[np.float64]:
        """Numbers of n trials, (n, k + c); NaN where a constraint was not set."""
        rows = [
            [*trial.values, *(trial.constraints.get(name, np.nan) for name in self.constraints)]
            for trial in trials
        ]
        return np.array(rows).reshape(-1, len(self.names) + len(self.constraints))

    def losses(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of numbers (..., k + c), to be minimised, (..., k)."""
        return numbers[..., : len(self.signs)] * self.signs

    def of_interest(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers (n, k + c) with objectives no worse than a given reference point.

        How much worse need not be learnt, and would take most of a scale: a network that does not
        train at all is further from the worst acceptable one than that is from the best.
        """
        if self.reference is None:
            return numbers
        losses = np.minimum(self.losses(numbers), self.reference)
        return np.hstack([losses * self.signs, numbers[:, len(self.signs) :]])

    def violation(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far constraints are from being met, of numbers (..., k + c), (...)."""
        return np.maximum(np.nan_to_num(numbers[..., len(self.signs) :]), 0.0).sum(-1)

    def reference_point(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """What was given, or a little beyond the worst on the front of losses (n, k)."""
        if self.reference is not None:
            return self.reference
        front = losses[non_dominated(losses, ["minimize"] * len(self.signs))]
        worst = front.max(0)
        return worst + 0.1 * np.maximum(worst - front.min(0), 1e-12)


@dataclass(frozen=True)
class _Plan:
    """What one training of the model says about the candidates."""

    constraints: tuple[str, ...]
    trained_on: tuple[tuple[float, ...], ...]
    candidates: Inputs
    keys: list[str]
    numbers: NDArray[np.float64]
    """Plausible objectives and constraints, (candidates, draws, k + c)."""


class RLMSampler(SpaceSampler):
    """Proposes the architecture expected to add most to the Pareto front, never one twice.

    The first trials are random. After that a model is trained on the finished ones, predicts
    every architecture of the space (or, where it is too large to enumerate, random ones and the
    relatives of the front), and the one with the highest expected hypervolume improvement over
    the model's joint samples comes next. Between trainings the front is kept up to date.

    Everything is recomputed from the study's storage, so a sampler can be lost and another one
    goes on; but its first training starts anew, where the lost one would have gone on from its
    last. Architectures that are being evaluated elsewhere are counted as what the model expects of
    them. Constraints that trials set (``trial.set_constraint``, at most 0 where feasible) are
    learnt as further numbers, and only feasible draws improve the front. Parameters that are not
    the space's own are left to ``independent_sampler``.

    Args:
        space: Where the architectures come from.
        objectives: Names of the study's objectives, in order; accuracy first, then latencies.
            None: they are numbered.
        reference_point: Objective values beyond which nothing is of interest, in the
            objectives' units; how far beyond is not learnt. None: a little beyond the worst
            values on the front so far.
        n_startup_trials: Finished trials before the model is used, at least 4.
        retrain_every: Finished trials between trainings, or a tenth of those before, if that is
            more.
        n_candidates: Spaces of up to this size are predicted whole. Of larger ones, about this
            many architectures are: the neighbours of the front, theirs in turn if these are
            few, and random ones. None: as many as the space writes in seconds.
        surrogate: Makes an untrained predictor from the objectives' names and a seed, such as
            ``lambda names, seed: get_predictor("gates", names, seed=seed)``. None: an RLM.
        warm_start: An RLM of other objectives, such as another dataset's or other devices': what
            it expects of architectures is known from the start, what that is worth is learnt.
        acquisition: Made from losses that are there, (m, k), and a reference point, (k,), all to
            be minimised; gives the worth of points, (..., k) to (...).
        exploration: Factor on how far draws stray from what the model expects: less than 1
            trusts its expectations more than the model does.
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
        n_startup_trials: int = 6,
        retrain_every: int = 3,
        n_candidates: int | None = None,
        surrogate: Callable[[Sequence[str], int], Predictor] | None = None,
        warm_start: RLM | None = None,
        acquisition: Callable[
            [NDArray[np.float64], NDArray[np.float64]],
            Callable[[NDArray[np.float64]], NDArray[np.float64]],
        ] = HypervolumeImprovement,
        exploration: float = 0.75,
        independent_sampler: BaseSampler | None = None,
        seed: int | None = None,
        on_training: Callable[[int], None] | None = None,
    ) -> None:
        n_candidates = space.affordable if n_candidates is None else n_candidates
        if n_startup_trials < 4 or retrain_every < 1 or n_candidates < 1:
            raise ValueError(
                "n_startup_trials must be at least 4, retrain_every and n_candidates at least 1; "
                f"got {n_startup_trials}, {retrain_every} and {n_candidates}"
            )
        if not 0 <= exploration < np.inf:
            raise ValueError(f"exploration must be at least 0, got {exploration}")
        if surrogate is not None and warm_start is not None:
            raise ValueError("warm_start is for the RLM; give it to your surrogate instead")
        super().__init__(space, independent_sampler=independent_sampler, seed=seed)
        self.model: Predictor | None = None
        self._objectives = None if objectives is None else tuple(objectives)
        self._reference_point = reference_point
        self._n_startup_trials = n_startup_trials
        self._retrain_every = retrain_every
        self._n_candidates = n_candidates
        self._surrogate = surrogate
        self._warm_start = warm_start
        self._acquisition = acquisition
        self._exploration = exploration
        self._on_training = on_training
        self._plan: _Plan | None = None
        self._ignored: set[int] = set()

    def _choose(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Architecture:
        names = self._objective_names(study)
        trials = study.get_trials(deepcopy=False)
        taken = self._taken(trials, trial)
        finished = self._finished(trials)
        for _ in range(_MOST_CLASHES):
            if len(finished) < self._n_startup_trials:
                proposal = self._random(rng, taken)
            else:
                problem = self._problem(study, names, finished)
                proposal = self._improving(problem, finished, taken, rng)
            name = self._space.format(proposal)
            # Other workers must see the choice before the trial's parameters reach the storage.
            study._storage.set_trial_system_attr(trial._trial_id, _PROPOSAL, name)
            # Of two that chose the same at once, at least one sees the other and gives way.
            others = self._taken(study.get_trials(deepcopy=False), trial)
            if name not in others or name in taken:
                break
            taken |= others
        return proposal

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        super().after_trial(study, trial, state, values)
        # Stop before an exhausted space makes the study repeat itself.
        trials = study.get_trials(deepcopy=False)
        if len(trials) >= self._space.size and self._ours(trial):
            done = {*self._taken(trials, trial), self._space.format(self._architecture(trial))}
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

    def _taken(
        self, trials: Sequence[FrozenTrial], current: FrozenTrial
    ) -> dict[str, Architecture]:
        """Architectures that were evaluated or are being evaluated, by their notation."""
        taken: dict[str, Architecture] = {}
        for trial in trials:
            if trial.state == TrialState.FAIL or trial._trial_id == current._trial_id:
                continue
            if self._ours(trial):
                architecture = self._architecture(trial)
                taken[self._space.format(architecture)] = architecture
            elif _PROPOSAL in trial.system_attrs:
                proposal = trial.system_attrs[_PROPOSAL]
                with suppress(ArchitectureError):  # a trial of another space
                    taken[proposal] = self._space.parse(proposal)
        return taken

    def _finished(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Trials that can be learnt from, in the order in which they were completed."""
        finished = []
        for trial in trials:
            if trial.state != TrialState.COMPLETE or not self._ours(trial):
                continue
            if np.isfinite([*trial.values, *trial.constraints.values()]).all():
                finished.append(trial)
            elif trial.number not in self._ignored:
                self._ignored.add(trial.number)
                _logger.warning(
                    f"Trial {trial.number} is not learnt from: its values {trial.values} and "
                    f"constraints {trial.constraints} are not all finite."
                )
        # By number, a slow worker's trial would come between those that were learnt from.
        return sorted(finished, key=lambda t: (t.datetime_complete or datetime.max, t.number))

    def _problem(
        self, study: Study, names: tuple[str, ...], finished: list[FrozenTrial]
    ) -> _Problem:
        reference = None
        if self._reference_point is not None:
            reference = np.asarray(self._reference_point, dtype=np.float64) * signs(study)
        constraints = sorted({key for trial in finished for key in trial.constraints})
        return _Problem(names, tuple(constraints), signs(study), reference)

    def _random(self, rng: np.random.Generator, taken: Collection[str]) -> Architecture:
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
        problem: _Problem,
        finished: list[FrozenTrial],
        taken: dict[str, Architecture],
        rng: np.random.Generator,
    ) -> Architecture:
        """The candidate with the highest expected improvement."""
        plan = self._planned(problem, finished, taken)
        # Until the model is trained again it cannot know that it was wrong about a function, and
        # would try all of its twins one after the other.
        since = finished[len(plan.trained_on) :]
        tried = {self._space.key(self._architecture(trial)) for trial in since}
        free = [i for i, name in enumerate(plan.candidates.names) if name not in taken]
        rows = [i for i in free if plan.keys[i] not in tried] or free
        if not rows:
            return self._random(rng, taken)
        # Where other workers are busy, what the model expects of their trials is already there.
        running = self._running(finished, taken)
        pending = [i for i, name in enumerate(plan.candidates.names) if name in running]
        there = np.vstack([problem.measured(finished), plan.numbers[pending].mean(1)])
        best = self._best_first(problem, there, plan.numbers[rows], rng)[0]
        return plan.candidates.architectures[rows[best]]

    def _best_first(
        self,
        problem: _Problem,
        there: NDArray[np.float64],
        draws: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> NDArray[np.intp]:
        """The order of candidates by what they are expected to add to what is there.

        Args:
            problem: What counts.
            there: Numbers, (m, k + c).
            draws: Plausible numbers of the candidates, (n, draws, k + c).
            rng: Breaks ties.
        """
        losses = problem.losses(there)
        feasible = losses[problem.violation(there) == 0]
        reference = problem.reference_point(feasible if len(feasible) else losses)
        scale = np.ptp(np.vstack([losses, reference]), axis=0)
        scale[scale == 0] = 1.0
        worth = self._acquisition(feasible / scale, reference / scale)
        violation = problem.violation(draws)
        gain = (worth(problem.losses(draws) / scale) * (violation == 0)).mean(1)
        # Where no draw improves anything, the least violation of constraints is a start.
        return np.lexsort([rng.random(len(gain)), violation.mean(1), -gain])

    def _running(
        self, finished: list[FrozenTrial], taken: dict[str, Architecture]
    ) -> dict[str, Architecture]:
        """What is being evaluated, by its notation."""
        done = {self._space.format(self._architecture(trial)) for trial in finished}
        return {name: architecture for name, architecture in taken.items() if name not in done}

    def _planned(
        self,
        problem: _Problem,
        finished: list[FrozenTrial],
        taken: dict[str, Architecture],
    ) -> _Plan:
        """The model's view of the candidates, from the last training that is due."""
        n = self._due(len(finished))
        # With the values, because trials of different studies may have the same ids.
        trained_on = tuple((trial._trial_id, *trial.values) for trial in finished[:n])
        known = self._plan
        if known and (known.constraints, known.trained_on) == (problem.constraints, trained_on):
            return known
        if self._on_training is not None:
            self._on_training(n)
        labelled, values = self._labels(problem, finished[:n])
        candidates = self._candidates(labelled, problem.losses(values), n)
        running = self._running(finished, taken)
        best = None
        if known is not None and known.trained_on == trained_on[: len(known.trained_on)]:
            # What the last training learnt is not learnt again, unless it was of another study.
            best = known.candidates
        candidates, numbers = self._predicted(problem, labelled, values, candidates, running, best)
        keys = [self._space.key(a) for a in candidates.architectures]
        self._plan = _Plan(problem.constraints, trained_on, candidates, keys, numbers)
        return self._plan

    def _due(self, finished: int) -> int:
        """How many of the finished trials the last training that is due learns from."""
        n = self._n_startup_trials
        while (later := n + max(self._retrain_every, n // 10)) <= finished:
            n = later
        return n

    def _predicted(
        self,
        problem: _Problem,
        labelled: Inputs,
        values: NDArray[np.float64],
        candidates: Inputs,
        running: Collection[str],
        best: Inputs | None,
    ) -> tuple[Inputs, NDArray[np.float64]]:
        """Train a model, and let it choose among candidates.

        Args:
            problem: What counts.
            labelled: What is learnt from.
            values: Its numbers, (n, k + c).
            candidates: What may be proposed.
            running: What is being evaluated, by its notation.
            best: What the last training found best, if this one goes on from it.

        Returns:
            The best candidates, with those that are running, and their plausible numbers,
            (n, draws, k + c).
        """
        lessons = problem.of_interest(values)
        # What is constant teaches nothing and cannot be written as a distribution.
        varied = [k for k, column in enumerate(lessons.T) if _varies(column)]
        if not varied:
            return candidates, np.tile(_mean(lessons), (len(candidates), 1, 1))
        n = len(labelled)
        model = self._new_model(problem, varied, n)
        if best is not None and self.model is not None:
            model.go_on_from(self.model, best)
        # Only a model that was trained to the end can be gone on from.
        self.model = model.fit(labelled, lessons[:, varied])
        # Only what was trained on decides which are best: a sampler that takes over must find the
        # same.
        known = set(labelled.names)
        unknown = [i for i, name in enumerate(candidates.names) if name not in known]
        candidates = candidates[np.array(unknown, dtype=np.intp)]
        rng = np.random.default_rng([self._seed, n])
        for most, quickly in ((_READ, True), (_FINALISTS, False)):
            if quickly and len(candidates) <= most:
                continue
            numbers = np.tile(_mean(lessons), (len(candidates), _DRAWS, 1))
            numbers[..., varied] = self.model.draw(
                candidates, _DRAWS, spread=self._exploration, seed=n, quickly=quickly
            )
            first = self._best_first(problem, values, numbers, rng)[:most]
            busy = [i for i, name in enumerate(candidates.names) if name in running]
            rows = np.union1d(first, np.array(busy, np.intp))
            numbers, candidates = numbers[rows], candidates[rows]
        # These few are read again, for how their numbers depend on one another.
        samples = self.model.sample(candidates, _DRAWS, seed=n)
        numbers[..., varied] = _ordered_as(samples, numbers[..., varied])
        return candidates, numbers

    def _new_model(self, problem: _Problem, varied: list[int], labels: int) -> Predictor:
        names = [problem.numbers[k] for k in varied]
        # Other weights each time: what one training gets wrong, the next need not.
        seed = (self._seed + labels) % 2**31
        if self._surrogate is not None:
            return self._surrogate(names, seed)
        # Zero-cost scores grow with an accuracy, not with an error.
        trend = varied[0] == 0 and problem.signs[0] < 0
        return rlm_surrogate(names, seed, trend=trend, warm_start=self._warm_start)

    def _labels(
        self, problem: _Problem, trials: list[FrozenTrial]
    ) -> tuple[Inputs, NDArray[np.float64]]:
        """Each architecture once, with the mean of its numbers: measurements may be noisy."""
        found: dict[str, list[NDArray[np.float64]]] = {}
        for trial, numbers in zip(trials, problem.measured(trials), strict=True):
            found.setdefault(self._space.format(self._architecture(trial)), []).append(numbers)
        labelled = Inputs.buildable(self._space, map(self._space.parse, found))
        means = [_mean(np.array(found[name])) for name in labelled.names]
        return labelled, np.array(means).reshape(len(means), len(problem.numbers))

    def _candidates(self, labelled: Inputs, losses: NDArray[np.float64], labels: int) -> Inputs:
        """What may be proposed next.

        Args:
            labelled: What was learnt from.
            losses: Its losses, (n, k).
            labels: Of how many trials; seeds the random choices.
        """
        if self._space.size <= self._n_candidates:
            return self._whole
        rng = np.random.default_rng([self._seed, labels])
        return self._buildable(self._relatives(labelled, losses, rng).values())

    @cached_property
    def _whole(self) -> Inputs:
        """The space."""
        return self._buildable(self._space)

    def _buildable(self, architectures: Iterable[Architecture]) -> Inputs:
        wanted = list(architectures)
        candidates = Inputs.buildable(self._space, wanted)
        if failed := len(wanted) - len(candidates):
            _logger.warning(
                f"{failed} of {len(wanted)} candidates cannot be built and are left out; the "
                "space's onnx_text says why."
            )
        return candidates

    def _relatives(
        self, labelled: Inputs, losses: NDArray[np.float64], rng: np.random.Generator
    ) -> dict[str, Architecture]:
        """Neighbours of the front, theirs in turn if these are few, and random architectures."""
        front = np.flatnonzero(non_dominated(losses, ["minimize"] * losses.shape[1]))
        rng.shuffle(front)
        found: dict[str, Architecture] = {}
        parents = [labelled.architectures[i] for i in front[:_PARENTS]]
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
        return found


def rlm_surrogate(names: Sequence[str], seed: int, **options: Any) -> Predictor:
    """An RLM that is trained often, and so only as long as a few dozen labels are worth.

    Where all of the space is affordable it learns what is to be expected of each architecture,
    and draws lean on these lessons as much as on the digits, see `surrogate.RLM.draw`.

    Args:
        names: Of the numbers it learns.
        seed: Of its training.
        options: Other arguments of `nas_rlm.predictors.rlm.RLMPredictor`.
    """
    quick = {
        "passes": 50,
        "steps": 300,
        "guess_share": 0.5,
        "typical": -1.5,
        "sums": False,  # it is the few best that are looked for
        "beyond": 0.5,  # what is looked for is better than all labels
    }
    options = {"members": 1, "pool": 2048, "whole": True, **options}
    training = {**quick, **options.pop("training", {})}
    return get_predictor("rlm", names, seed=seed, training=training, **options)


def _ordered_as(samples: NDArray[np.float64], draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draws, (n, s, k), put together as joint samples (n, s, k) are.

    Of few samples the mean is off, for better or worse, and the best of many candidates would be
    those whose samples were lucky. Draws are spread evenly, but know nothing of one another.
    Source: Clark et al., "The Schaake Shuffle", Journal of Hydrometeorology, 2004.
    """
    ranks = samples.argsort(axis=1).argsort(axis=1)
    return np.take_along_axis(np.sort(draws, axis=1), ranks, axis=1)


def _mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each column of (n, k) what is not NaN; NaN where nothing is."""
    known = ~np.isnan(rows)
    with np.errstate(invalid="ignore"):
        return np.where(known, rows, 0.0).sum(0) / known.sum(0)


def _varies(column: NDArray[np.float64]) -> bool:
    """Whether there is something to learn in labels (n,), NaN where missing."""
    known = column[~np.isnan(column)]
    return len(known) >= LEAST_LABELS and bool(np.ptp(known) > 0)
