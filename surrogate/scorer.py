"""Scorers: encoders with plain heads, which learn from labels what digits are then taught.

Where numbers depend on the function alone (an accuracy), a scorer learns to rank them: squared
errors, and digits as well, learn the noise of the few bad ones at the cost of the order of the
many good ones. Costs are learnt by squared errors. Scores never reach the decoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surrogate.model import TYPICAL_NODES, Batch, ModelConfig, Reader
from surrogate.training import TrainingConfig, draw_rows

BATCH_SIZE = 64
MOST_RANKED, MOST_REGRESSED = 13, 5
"""Batches of a pass at most, so that many labels do not take long."""


class Scorer(nn.Module):
    """A score for each of the numbers that read one view.

    Args:
        config: Its numbers are simplified all, or none of them is.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.reader = Reader(config)
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(3 * config.dim, config.dim), nn.ReLU(), nn.Linear(config.dim, 1)
            )
            for _ in range(config.objectives)
        )

    def forward(self, batch: Batch) -> Tensor:
        """Scores of n programs, (n, k)."""
        ((memory, real, _),) = self.reader(batch)
        nodes = (memory[:, 2:] * real[:, 2:, None]).sum(1) / TYPICAL_NODES
        pooled = torch.cat([memory[:, 0], memory[:, 1], nodes], -1)
        return torch.cat([head(pooled) for head in self.heads], -1)


class ScoreLosses:
    """`Losses` of a scorer that learns from labels, and from guesses for other texts.

    Args:
        scorer: What learns.
        batch: m programs.
        guesses: Guessed coordinates of each, (m, k).
        rows: Which of them have labels, (n,).
        labels: Coordinates of the labels, (n, k), NaN where missing.
        weight: Of the loss on the guesses, beside that on the labels.
        ranked: Learn to rank, rather than the values.
        batch_size: Labels in each step, at most half of them, and guesses.
    """

    def __init__(
        self,
        scorer: Scorer,
        batch: Batch,
        guesses: np.ndarray,
        rows: np.ndarray,
        labels: np.ndarray,
        *,
        weight: float,
        ranked: bool,
        batch_size: int,
    ) -> None:
        self.scorer = scorer
        self.batch = batch
        device = batch.known.device
        self.guesses = torch.from_numpy(guesses).float().to(device)
        self.rows = torch.from_numpy(rows)
        self.labels = torch.from_numpy(labels).float().to(device)
        self.weight = weight
        self.ranked = ranked
        self.batch_size = batch_size

    def __call__(self, steps: int) -> Iterator[Tensor]:
        size = max(1, min(self.batch_size, len(self.rows) // 2))
        labelled = torch.from_numpy(draw_rows(len(self.rows), size, steps))
        guessed = torch.randint(len(self.guesses), (steps, self.batch_size))
        for some, others in zip(labelled, guessed, strict=True):
            scores = self.scorer(self.batch[torch.cat([self.rows[some], others])])
            loss = self._loss(scores[:size], self.labels[some])
            yield loss + self.weight * self._loss(scores[size:], self.guesses[others])

    def _loss(self, scores: Tensor, wanted: Tensor) -> Tensor:
        of_number = pairwise_loss if self.ranked else regression_loss
        losses = [of_number(scores[:, k], wanted[:, k]) for k in range(scores.shape[1])]
        return torch.stack(losses).sum()


def hinge(difference: Tensor) -> Tensor:
    """Penalty of a difference of scores that should be positive, with a margin of 0.1."""
    return F.relu(0.1 - difference)


def pairwise_loss(
    scores: Tensor, labels: Tensor, penalty: Callable[[Tensor], Tensor] = hinge
) -> Tensor:
    """Mean penalty over the pairs of different labels among n, NaN where one is missing."""
    better = labels[:, None] > labels[None]  # never so where one is NaN
    differences = (scores[:, None] - scores[None])[better]
    return penalty(differences).sum() / max(1, len(differences))


def regression_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error over the labels that are not NaN."""
    known = ~labels.isnan()
    return ((scores - labels)[known] ** 2).sum() / known.sum().clamp(min=1)


def scorer_training(labels: int, passes: int, ranked: bool) -> TrainingConfig:
    """How scorers are trained: passes over the labels, but neither very few steps nor many.

    Costs take fewer steps: they are learnt sooner, and their noise later.
    """
    batches = max(2, math.ceil(labels / BATCH_SIZE))
    batches = min(batches, MOST_RANKED if ranked else MOST_REGRESSED)
    return TrainingConfig(steps=passes * batches, batch_size=BATCH_SIZE, learning_rate=4e-3)


@torch.inference_mode()
def scores(scorer: Scorer, batch: Batch, chunk: int = 1024) -> np.ndarray:
    """Of n programs, (n, k) float64."""
    parts = [scorer(batch[slice(i, i + chunk)]) for i in range(0, len(batch), chunk)]
    return torch.cat(parts).double().cpu().numpy()


def curve(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots and heights of the curve through sorted scores and sorted labels, (n,) each.

    It turns scores into what they mean and keeps the ranking. Beyond the labels it goes on as
    steeply as between their quartiles, so that what is ranked above all of them is expected above
    all of them. Labels that are NaN do not count.
    """
    known = ~np.isnan(labels)
    # Equal programs have the same score, and share the mean of their labels.
    score, first, count = np.unique(np.sort(scores[known]), return_index=True, return_counts=True)
    label = np.add.reduceat(np.sort(labels[known]), first) / count
    span = np.ptp(score)
    quartiles = [np.ptp(np.quantile(numbers, [0.25, 0.75])) for numbers in (label, score)]
    rise = span * quartiles[0] / max(quartiles[1], 1e-12)
    return (
        np.concatenate([[score[0] - span], score, [score[-1] + span]]),
        np.concatenate([[label[0] - rise], label, [label[-1] + rise]]),
    )
