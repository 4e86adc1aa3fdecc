"""Two baselines that change one choice at a time: local search and regularised evolution."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas_rlm.pareto import non_dominated
from nas_rlm.space_sampler import SpaceSampler, signs
from search_spaces.base import Architecture, SearchSpace


class NeighbourSampler(SpaceSampler):
    """Random at first, then relatives of what was evaluated; see the subclasses.

    Args:
        space: Where the architectures come from.
        n_startup_trials: Finished trials before it starts from any of them.
        seed: Seeds everything.
    """

    def __init__(
        self, space: SearchSpace, *, n_startup_trials: int = 10, seed: int | None = None
    ) -> None:
        super().__init__(space, seed=seed)
        self._n_startup_trials = n_startup_trials

    def _choose(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Architecture:
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        finished = [trial for trial in trials if self._ours(trial)]
        if len(finished) < self._n_startup_trials:
            return self._space.sample(rng)
        losses = np.array([trial.values for trial in finished]) * signs(study)
        return self._propose([self._architecture(trial) for trial in finished], losses, rng)

    @abstractmethod
    def _propose(
        self,
        evaluated: Sequence[Architecture],
        losses: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Architecture:
        """What to evaluate after n architectures, in their order, with losses (n, k)."""

    def _new(
        self, architectures: Sequence[Architecture], evaluated: Sequence[Architecture]
    ) -> list[Architecture]:
        """Those that were not evaluated."""
        seen = {self._space.format(architecture) for architecture in evaluated}
        return [a for a in architectures if self._space.format(a) not in seen]


class LocalSearchSampler(NeighbourSampler):
    """Evaluates the neighbours of what is on the front, and starts anew when there are none.

    Source: White et al., "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021;
    with several objectives, the Pareto local search of Paquete et al., 2004.
    """

    def _propose(
        self,
        evaluated: Sequence[Architecture],
        losses: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Architecture:
        front = np.flatnonzero(non_dominated(losses, ["minimize"] * losses.shape[1]))
        for parent in rng.permutation(front):
            if near := self._new(self._space.neighbours(evaluated[parent]), evaluated):
                return near[rng.integers(len(near))]
        return self._space.sample(rng)


class RegularizedEvolutionSampler(NeighbourSampler):
    """Changes the best of a few that were drawn from the youngest.

    With several objectives, the best is that which the fewest of the youngest dominate. It does
    not evaluate an architecture again as long as its parent has neighbours that are new.

    Source: Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI
    2019: population 100 and sample 25 there, for thousands of evaluations.
    """

    POPULATION = 50
    SAMPLE = 10

    def _propose(
        self,
        evaluated: Sequence[Architecture],
        losses: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Architecture:
        youngest = losses[-self.POPULATION :]
        others = youngest[:, None]
        dominates = (others <= youngest).all(-1) & (others < youngest).any(-1)
        drawn = rng.integers(len(youngest), size=self.SAMPLE)
        best = drawn[np.argmin(dominates.sum(0)[drawn])]
        parent = evaluated[len(losses) - len(youngest) + best]
        near = self._space.neighbours(parent)
        near = self._new(near, evaluated) or near
        return near[rng.integers(len(near))]
