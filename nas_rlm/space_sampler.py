"""What samplers that propose architectures of a search space share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces.base import Architecture, SearchSpace


class SpaceSampler(BaseSampler):
    """Proposes architectures; parameters that are not the space's are another sampler's.

    A subclass defines `_choose`, and draws from the seed and the trial's number alone, so that it
    can be lost and another one goes on.

    Args:
        space: Where the architectures come from.
        independent_sampler: For parameters that are not the space's. None: a `RandomSampler`.
        seed: Seeds everything; None: a different search each time.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        independent_sampler: BaseSampler | None = None,
        seed: int | None = None,
    ) -> None:
        self._space = space
        self._independent_sampler = independent_sampler or RandomSampler(seed=seed)
        self._seed = int(np.random.SeedSequence(seed).generate_state(1)[0])

    @abstractmethod
    def _choose(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Architecture:
        """The architecture that a trial evaluates."""

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
        rng = np.random.default_rng([self._seed, trial.number])
        return dict(self._choose(study, trial, rng))

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

    def _ours(self, trial: FrozenTrial) -> bool:
        """Whether a trial evaluated an architecture of the space."""
        return all(trial.distributions.get(n) == d for n, d in self._space.distributions.items())

    def _architecture(self, trial: FrozenTrial) -> Architecture:
        return {name: trial.params[name] for name in self._space.distributions}


class UniformSampler(SpaceSampler):
    """Draws architectures uniformly at random."""

    def _choose(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Architecture:
        return self._space.sample(rng)


def signs(study: Study) -> np.ndarray:
    """What makes the values of a study losses, (k,)."""
    return np.array([-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions])
