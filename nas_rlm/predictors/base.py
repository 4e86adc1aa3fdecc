"""What every predictor offers, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from search_spaces.base import Architecture, ArchitectureError, SearchSpace
from surrogate.labels import check_labels


@dataclass(frozen=True, eq=False)
class Inputs:
    """Architectures of one space, in the forms that predictors read.

    Attributes:
        space: Their search space.
        architectures: n of them.
    """

    space: SearchSpace
    architectures: Sequence[Architecture]

    @classmethod
    def buildable(cls, space: SearchSpace, architectures: Iterable[Architecture]) -> Self:
        """Those that have a text: what a user's function builds may be invalid."""
        texts: dict[int, str] = {}
        architectures = list(architectures)
        for row, architecture in enumerate(architectures):
            with suppress(ArchitectureError):
                texts[row] = space.onnx_text(architecture)
        inputs = cls(space, [architectures[row] for row in texts])
        inputs.__dict__["texts"] = list(texts.values())
        return inputs

    def __len__(self) -> int:
        return len(self.architectures)

    def __getitem__(self, rows: NDArray[np.intp]) -> Inputs:
        chosen = Inputs(self.space, [self.architectures[row] for row in rows])
        for known in {"texts", "names"} & self.__dict__.keys():
            chosen.__dict__[known] = [self.__dict__[known][row] for row in rows]
        return chosen

    @cached_property
    def texts(self) -> list[str]:
        """Their ONNX texts."""
        return [self.space.onnx_text(architecture) for architecture in self.architectures]

    @cached_property
    def names(self) -> list[str]:
        """Them in the notation of the space."""
        return [self.space.format(architecture) for architecture in self.architectures]


class Predictor(ABC):
    """Learns k numbers of an architecture from labelled examples.

    Args:
        objectives: Names of the k numbers, accuracy first.
        seed: Seeds every random choice: the same seed gives the same predictor.
    """

    def __init__(self, objectives: Sequence[str], *, seed: int = 0) -> None:
        if not objectives or len(set(objectives)) != len(objectives):
            raise ValueError(f"objectives must be distinct names, at least one; got {objectives}")
        self.objectives = tuple(objectives)
        self.seed = seed

    @abstractmethod
    def fit(self, inputs: Inputs, values: ArrayLike, *, progress: bool = False) -> Self:
        """Learn from labelled architectures, forgetting what was learnt before.

        Args:
            inputs: n architectures.
            values: Labels, (n, k); NaN where an architecture was not measured.
            progress: Show a progress bar where it takes more than seconds.

        Raises:
            ValueError: The labels cannot be learnt from, see `check_labels`.
        """

    @abstractmethod
    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        """Expected numbers of n architectures, (n, k)."""

    @abstractmethod
    def sample(self, inputs: Inputs, samples: int, *, seed: int = 0) -> NDArray[np.float64]:
        """Plausible numbers, (n, samples, k): their spread is what the predictor does not know."""

    def draw(
        self,
        inputs: Inputs,
        draws: int,
        *,
        spread: float = 1.0,
        seed: int = 0,
        quickly: bool = False,
    ) -> NDArray[np.float64]:
        """Plausible numbers for a comparison of many inputs, (n, draws, k).

        Where it can be had, they are cheaper than samples, each number is on its own, and all
        inputs have the same, evenly spread noise, so that none of them is lucky.

        Args:
            inputs: n architectures.
            draws: Of each.
            spread: Factor on how far they are from what is expected.
            seed: Of the noise.
            quickly: Rather soon than well, for a first choice among thousands; most predictors
                know no quicker way.
        """
        samples = self.sample(inputs, draws, seed=seed)
        mean = samples.mean(axis=1, keepdims=True)
        return mean + spread * (samples - mean)

    def go_on_from(self, earlier: Predictor, promising: Inputs | None = None) -> bool:
        """Let the next `fit` go on from what another predictor learnt from some of the labels.

        Args:
            earlier: That predictor.
            promising: What it found best, and what is to be known best, if anything is.

        Returns:
            Whether it will, in less time than from scratch; most predictors know no way to.
        """
        return False

    def check_labels(self, inputs: Inputs, values: ArrayLike) -> NDArray[np.float64]:
        """Labels as an array, see `surrogate.labels.check_labels`."""
        examples = [tuple(architecture.items()) for architecture in inputs.architectures]
        return check_labels(self.objectives, examples, values)
