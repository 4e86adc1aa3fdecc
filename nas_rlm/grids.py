"""What a comparison of predictors measures. Imports nothing heavy, for the sake of ``--help``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

LEAST_LABELS = 4
"""Fewer labels than this teach no predictor anything."""


class Cell(NamedTuple):
    """One predictor, trained once."""

    predictor: str
    labels: int
    """How many architectures it is trained on."""
    seed: int
    """Which ones they are, and what the predictor draws at random."""

    def __str__(self) -> str:
        return f"{self.predictor}, {self.labels} labels, seed {self.seed}"


@dataclass(frozen=True)
class Grid:
    """Every predictor with every number of labels and every seed.

    Attributes:
        predictors: Keys of `nas_rlm.predictors.PREDICTORS`.
        labels: Numbers of architectures to train on.
        seeds: Of the choice of those architectures and of the predictors.
    """

    predictors: tuple[str, ...]
    labels: tuple[int, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            ValueError: A list is empty or names something twice, or a number is too small.
        """
        for field in fields(self):
            values = tuple(getattr(self, field.name))
            object.__setattr__(self, field.name, values)
            if not values:
                raise ValueError(f"{field.name} is empty: give at least one")
            if twice := [value for value in values if values.count(value) > 1]:
                raise ValueError(f"{field.name} has {twice[0]} twice: give each once")
        if min(self.labels) < LEAST_LABELS:
            raise ValueError(f"labels must be at least {LEAST_LABELS}, not {min(self.labels)}")
        if min(self.seeds) < 0:
            raise ValueError(f"seeds must be at least 0, not {min(self.seeds)}")

    def cells(self) -> list[Cell]:
        """All cells, seed by seed, so that a comparison cut short is fair to all predictors."""
        return [
            Cell(predictor, labels, seed)
            for seed in self.seeds
            for labels in self.labels
            for predictor in self.predictors
        ]


GRIDS: Mapping[str, Grid] = {
    # 16 and 32 are what few can afford; the others are 0.5, 1, 2.5, 5 and 10 % of NAS-Bench-201.
    "full": Grid(
        ("rlm", "gates", "flan", "forest", "trees", "ridge"),
        (16, 32, 78, 156, 390, 781, 1563),
        tuple(range(10)),
    ),
    "quick": Grid(("rlm", "gates", "forest", "ridge"), (16, 78), tuple(range(2))),
}
"""Preset name to what it measures; ``quick`` ends in five minutes on two cores."""
