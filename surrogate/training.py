"""The training loop: steps of AdamW that can be interrupted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from surrogate.model import Batch
from surrogate.scale import BEYOND, RANK_SHARE


@dataclass(frozen=True)
class TrainingConfig:
    """How the model is trained.

    Args:
        steps: Optimiser steps at most.
        passes: Of each scorer over the labels. This and the next three matter where there is a
            pool, see `surrogate.teacher`.
        rank: Scorers learn the order of simplified numbers rather than their values.
        guessed_labels: What the guesses for texts without labels weigh beside the labels in the
            scorers' training, in labels.
        again: Where training goes on from an earlier model it takes this times the share of
            labels that are new of the steps, at most all of them.
        guess_share: Share of the guesses in the lessons for simplified numbers, while labels are
            few; the rest is what the scorers expect.
        cost_share: The same for the other numbers.
        typical: Logarithm of what each part of the guesses is expected to explain. Little of it
            guesses best, much of it leaves more open.
        trusting: What other models say of a pool is expected to explain most: they are of numbers
            like these. With few labels much is learnt so, or much lost.
        sums: Guesses are of values as they are, where those come nearer to labels left out than
            guesses on the scale do. They know the many better then, but not the few best.
        rank_share: Share of the rank among the labels in objectives' scales, the rest being size:
            less if the numbers are sums, which are learnt from fewer labels as they are.
        beyond: How far beyond the labels expectations reach, in coordinates of the objective's
            scale: far, if what is looked for is better than all labels.
        batch_size: Texts per step.
        learning_rate: Peak, after a warm-up over the first tenth and before a cosine to zero.
        weight_decay: Of AdamW.
        softness: Width of the soft digit targets, in coordinates of the objective's scale.
        widest: Width of these at most where there is a pool: else they are as wide as labels are
            expected to miss the lessons, and of lessons from very few labels little is learnt.
        ranking: Weight of the pairwise ranking loss.
        hidden: Share of texts, drawn anew each step, whose numbers do not see one another; in
            the others each number sees those before it, in an order drawn anew each step.
        margin: Largest difference in coordinates that the ranking loss asks for.
        held_out: Share of the training labels kept for early stopping, where that is at least
            ten of them; with fewer labels all are trained on, for all the steps.
        evaluations: Times the held-out labels are looked at.
        patience: Evaluations without improvement before training stops.
    """

    steps: int = 500
    passes: int = 100
    rank: bool = True
    guessed_labels: float = 16.0
    again: float = 3.0
    guess_share: float = 0.25
    cost_share: float = 0.5
    typical: float = -4.0
    trusting: bool = False
    sums: bool = True
    rank_share: float = RANK_SHARE
    beyond: float = BEYOND
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    softness: float = 0.05
    widest: float = 1.0
    ranking: float = 60.0
    margin: float = 0.05
    hidden: float = 0.7
    held_out: float = 0.1
    evaluations: int = 12
    patience: int = 5

    def going_on(self, before: int, now: int) -> TrainingConfig:
        """The same with as many of the steps as so many labels take, some of them known before."""
        new = max(1, now - before) / now
        return replace(self, steps=max(1, round(min(1.0, self.again * new) * self.steps)))


@dataclass(frozen=True)
class Examples:
    """Programs with labels.

    Attributes:
        batch: n programs.
        values: Labels, (n, k), NaN where missing.
    """

    batch: Batch
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: np.ndarray) -> Examples:
        return Examples(self.batch[torch.from_numpy(rows)], self.values[rows])


Losses = Callable[[int], Iterator[Tensor]]
"""Draws all that is random about some steps, and gives the loss of each of them in turn."""


def draw_rows(rows: int, size: int, steps: int) -> np.ndarray:
    """Which rows are in each of some steps, (steps, size): passes over all, in random orders."""
    passes = [torch.randperm(rows) for _ in range(1 + steps * size // rows)]
    return torch.cat(passes)[: steps * size].view(steps, size).numpy()


def step_size(rows: int, config: TrainingConfig) -> int:
    """Labelled examples per step: few of them are not seen all at once."""
    return min(config.batch_size, max(8, rows // 3), rows)


def train(
    model: nn.Module,
    losses: Losses,
    config: TrainingConfig,
    *,
    held_out_loss: Callable[[], float] | None = None,
    bar: tqdm | None = None,
    checkpoint: Path | None = None,
) -> list[dict[str, float]]:
    """Fit ``model`` in place; randomness comes from torch's global generator.

    Args:
        losses: Of the model.
        held_out_loss: For early stopping; None: train all steps.
        bar: Progress bar, advanced by one per step.
        checkpoint: File to resume from and to write to at every evaluation.

    Returns:
        One record per evaluation: step, training loss and held-out loss.
    """
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        parameters,
        config.learning_rate,
        (0.9, 0.98),
        weight_decay=config.weight_decay,
        fused=True,
    )
    warm_up = max(1, config.steps // 10)

    def rate(step: int) -> float:
        done = max(0, step - warm_up) / max(1, config.steps - warm_up)
        return min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    state = _State(model, optimizer, schedule)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
        if bar is not None:
            bar.update(state.step)
    while state.step < config.steps and state.stale < config.patience:
        # Everything random of the steps up to the next evaluation is drawn at once: a checkpoint
        # between rounds needs no half-used order.
        count = min(max(1, config.steps // config.evaluations), config.steps - state.step)
        model.train()
        for loss in losses(count):
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            state.step += 1
            if bar is not None:
                bar.update()
        model.eval()
        record = {"step": float(state.step), "training_loss": loss.item()}
        if held_out_loss is not None:
            record["held_out_loss"] = held_out_loss()
        state.record(record)
        if checkpoint is not None:
            state.save(checkpoint)
    if bar is not None:
        bar.update(config.steps - state.step)
    if state.best is not None:
        model.load_state_dict(state.best)
    model.eval()
    return state.history


class _State:
    """What an interrupted training needs to go on: weights, optimiser, randomness."""

    FIELDS = ("step", "stale", "history", "best")

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
    ) -> None:
        self.parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
        self.model = model
        self.step = 0
        self.stale = 0
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] | None = None

    def record(self, record: dict[str, float]) -> None:
        """Note an evaluation; keep the weights if the held-out loss is the lowest so far."""
        earlier = [past["held_out_loss"] for past in self.history if "held_out_loss" in past]
        self.history.append(record)
        if "held_out_loss" not in record:
            return
        if record["held_out_loss"] < min(earlier, default=math.inf):
            self.stale = 0
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        else:
            self.stale += 1

    def save(self, file: Path) -> None:
        """Write everything, replacing the file only when it is complete."""
        content = {
            **{name: part.state_dict() for name, part in self.parts.items()},
            **{name: getattr(self, name) for name in self.FIELDS},
            "random": torch.get_rng_state(),
        }
        unfinished = file.with_suffix(".unfinished")
        torch.save(content, unfinished)
        unfinished.replace(file)

    def load(self, file: Path) -> None:
        """Go on from `save`."""
        content = torch.load(file, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(content[name])
        for name in self.FIELDS:
            setattr(self, name, content[name])
        torch.set_rng_state(content["random"])
