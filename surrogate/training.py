"""Soft digit targets, a ranking loss on the digits' own expectation, and the training loop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import ndtr
from torch import Tensor
from tqdm import tqdm

from surrogate.model import Batch, RegressionLanguageModel
from surrogate.numbers import NumberFormat
from surrogate.scale import Scale


@dataclass(frozen=True)
class TrainingConfig:
    """How the model is trained.

    Args:
        steps: Optimiser steps at most.
        batch_size: Texts per step.
        learning_rate: Peak, after a warm-up over the first tenth and before a cosine to zero.
        weight_decay: Of AdamW.
        softness: Width of the soft digit targets, in coordinates of the objective's scale.
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
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    softness: float = 0.05
    ranking: float = 60.0
    margin: float = 0.05
    hidden: float = 0.7
    held_out: float = 0.1
    evaluations: int = 12
    patience: int = 5


@dataclass
class Targets:
    """What a batch of n texts with k numbers of l tokens, from v, is trained on.

    A missing number has a path as any other, which nothing is to see, but no probability.

    Attributes:
        tokens: The path fed to the decoder, (n, k, l) int64.
        soft: Probability of each token given the path before it, (n, k, l, v).
        middle: Coordinate of the middle of the branch below each token, (n, k, l, v).
        coordinates: Of the labels, (n, k); zero where missing.
        known: Which labels there are, (n, k) bool.
    """

    tokens: Tensor
    soft: Tensor
    middle: Tensor
    coordinates: Tensor
    known: Tensor

    def __getitem__(self, rows: Tensor) -> Targets:
        return Targets(*(tensor[rows] for tensor in vars(self).values()))

    def write(self, objectives: Tensor) -> Targets:
        """Those of some numbers, in that order."""
        return Targets(*(tensor[:, objectives] for tensor in vars(self).values()))

    def to(self, device: torch.device) -> Targets:
        """The same targets on another device."""
        return Targets(*(tensor.to(device) for tensor in vars(self).values()))


def make_targets(
    values: np.ndarray,
    number: NumberFormat,
    scales: list[Scale],
    softness: float,
    noise: np.ndarray,
) -> Targets:
    """Soften labels over neighbouring numbers.

    The label becomes a normal distribution of width ``softness`` in its scale's coordinate. The
    path is a draw from it, so that every branch with mass gets trained, and the target of each
    step is the distribution's share of each branch below the path.

    Args:
        values: Labels, (n, k), NaN where missing.
        noise: Standard normal draws, (n, k); zeros make the path the label itself.
    """
    n, objectives = values.shape
    shape = (n, objectives, number.length, len(number.vocabulary))
    tokens = np.zeros(shape[:-1], dtype=np.int64)
    soft, middle = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    coordinates = np.zeros((n, objectives), dtype=np.float32)
    known = ~np.isnan(values)
    for k, scale in enumerate(scales):
        center = scale(np.where(known[:, k], values[:, k], scale.inverse(np.array(0.5))))
        tokens[:, k] = number.encode(scale.inverse(center + softness * noise[:, k]))
        for j in range(number.length):
            low, high = (scale(bound) for bound in number.children(tokens[:, k, :j]))
            edges = (np.stack([low, high]) - center[:, None]) / softness
            mass = np.diff(ndtr(edges), axis=0)[0]
            total = mass.sum(-1, keepdims=True)
            path = np.eye(shape[-1])[tokens[:, k, j]]
            share = np.where(total > 1e-6, mass / np.maximum(total, 1e-6), path)
            soft[:, k, j] = share * known[:, k, None]
            middle[:, k, j] = scale.middle(number, tokens[:, k, :j])
        coordinates[:, k] = np.where(known[:, k], center, 0)
    return Targets(*map(torch.from_numpy, (tokens, soft, middle, coordinates, known)))


def expectation(log_p: Tensor, targets: Targets) -> Tensor:
    """Expected coordinate of each number, (n, k), differentiable in log_p (n, k, l, v).

    The mass that leaves the path at some digit is placed at the middle of the branch it takes;
    what stays reaches the path's number. No further pass through the decoder is needed.
    """
    on_path = log_p.gather(-1, targets.tokens[..., None])
    reached = F.pad(on_path[..., 0].cumsum(-1), (1, 0)).exp()
    leaving = (log_p.exp() * targets.middle).scatter(-1, targets.tokens[..., None], 0.0).sum(-1)
    end = targets.middle[..., -1, :].gather(-1, targets.tokens[..., -1:])[..., 0]
    return (reached[..., :-1] * leaving).sum(-1) + reached[..., -1] * end


def ranking_loss(expected: Tensor, coordinates: Tensor, known: Tensor, margin: float) -> Tensor:
    """Mean hinge over pairs: expectations must differ as the labels do, up to ``margin``.

    Args:
        expected: (n, k).
        coordinates: Of the labels, (n, k).
        known: Which labels there are, (n, k) bool.
    """
    wanted = coordinates[:, None] - coordinates[None]
    got = expected[:, None] - expected[None]
    missing = F.relu(wanted.abs().clamp(max=margin) - wanted.sign() * got)
    counted = (wanted != 0) & known[:, None] & known[None]
    return (missing * counted).sum() / counted.sum().clamp(min=1)


def loss(
    model: RegressionLanguageModel,
    batch: Batch,
    targets: Targets,
    visible: Tensor,
    objectives: Tensor,
    allowed: Tensor,
    config: TrainingConfig,
) -> Tensor:
    """Cross-entropy per number with the soft digits, plus the weighted ranking loss.

    Args:
        batch: n programs.
        targets: Of the m numbers, in the order of writing.
        visible: Texts whose numbers see those before them, (n,) bool.
        objectives: Which numbers they are, (m,).
        allowed: The grammar, (l, v) bool.
        config: Has the weight and the margin.
    """
    known = targets.known
    logits = model(batch, targets.tokens, visible[:, None] & known, objectives)
    log_p = logits.masked_fill(~allowed, -1e9).log_softmax(-1)
    cross_entropy = -(targets.soft * log_p.clamp(min=-50)).sum() / known.sum().clamp(min=1)
    expected = expectation(log_p, targets)
    ranking = ranking_loss(expected, targets.coordinates, known, config.margin)
    return cross_entropy + config.ranking * ranking


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


@dataclass(frozen=True)
class _Drawn:
    """The examples of some steps, with all that is random about them."""

    examples: Examples
    targets: Targets
    visible: Tensor

    @classmethod
    def of(
        cls,
        examples: Examples,
        rows: np.ndarray,
        number: NumberFormat,
        scales: list[Scale],
        config: TrainingConfig,
        device: torch.device,
    ) -> _Drawn:
        chosen = examples[rows]
        noise = torch.randn(chosen.values.shape, dtype=torch.float64).numpy()
        targets = make_targets(chosen.values, number, scales, config.softness, noise)
        visible = torch.rand(len(rows)) >= config.hidden
        return cls(chosen, targets.to(device), visible.to(device))

    def loss(
        self,
        model: RegressionLanguageModel,
        rows: Tensor,
        objectives: Tensor,
        allowed: Tensor,
        config: TrainingConfig,
    ) -> Tensor:
        return loss(
            model,
            self.examples.batch[rows],
            self.targets[rows].write(objectives),
            self.visible[rows],
            objectives,
            allowed,
            config,
        )


def train(
    model: RegressionLanguageModel,
    examples: Examples,
    number: NumberFormat,
    scales: list[Scale],
    config: TrainingConfig,
    *,
    held_out: np.ndarray,
    pool: Examples | None = None,
    pool_weight: float = 1.0,
    bar: tqdm | None = None,
    checkpoint: Path | None = None,
) -> list[dict[str, float]]:
    """Fit ``model`` in place; randomness comes from torch's global generator.

    Args:
        examples: n labelled programs.
        held_out: Which of them only serve early stopping, (n,) bool; none: train all steps.
        pool: Programs with labels that somebody guessed; as many of them are in every step.
        pool_weight: Weight of their loss, beside that of the labelled ones.
        bar: Progress bar, advanced by one per step.
        checkpoint: File to resume from and to write to at every evaluation.

    Returns:
        One record per evaluation: step, training loss and held-out loss.
    """
    device = model.logits.weight.device
    allowed = torch.from_numpy(number.grammar).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
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
    training, held = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    size = min(config.batch_size, max(8, len(training) // 3), len(training))
    state = _State(model, optimizer, schedule)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
        if bar is not None:
            bar.update(state.step)
    while state.step < config.steps and state.stale < config.patience:
        # Everything random of the steps up to the next evaluation is drawn at once: one round of
        # vectorised targets, and a checkpoint between rounds needs no half-used order.
        rounds = min(max(1, config.steps // config.evaluations), config.steps - state.step)
        passes = [torch.randperm(len(training)) for _ in range(1 + rounds * size // len(training))]
        order = training[torch.cat(passes)[: rounds * size].numpy()]
        labelled = _Drawn.of(examples, order, number, scales, config, device)
        guessed = None
        if pool is not None:
            some = torch.randint(len(pool), (rounds * config.batch_size,)).numpy()
            guessed = _Drawn.of(pool, some, number, scales, config, device)
        model.train()
        for step in range(rounds):
            objectives = torch.randperm(len(scales)).to(device)
            rows = torch.arange(step * size, (step + 1) * size)
            total = labelled.loss(model, rows, objectives, allowed, config)
            if guessed is not None:
                rows = torch.arange(step * config.batch_size, (step + 1) * config.batch_size)
                guess = guessed.loss(model, rows, objectives, allowed, config)
                total = total + pool_weight * guess
            optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            state.step += 1
            if bar is not None:
                bar.update()
        record = {"step": float(state.step), "training_loss": total.item()}
        if len(held):
            record["held_out_loss"] = _held_out_loss(model, examples[held], number, scales, config)
        state.record(record)
        if checkpoint is not None:
            state.save(checkpoint)
    if bar is not None:
        bar.update(config.steps - state.step)
    if state.best is not None:
        model.load_state_dict(state.best)
    model.eval()
    return state.history


def _held_out_loss(
    model: RegressionLanguageModel,
    held: Examples,
    number: NumberFormat,
    scales: list[Scale],
    config: TrainingConfig,
) -> float:
    model.eval()
    device = model.logits.weight.device
    noise = np.zeros(held.values.shape)
    targets = make_targets(held.values, number, scales, config.softness, noise)
    with torch.inference_mode():
        return loss(
            model,
            held.batch,
            targets.to(device),
            torch.zeros(len(held), dtype=torch.bool, device=device),
            torch.arange(len(scales), device=device),
            torch.from_numpy(number.grammar).to(device),
            config,
        ).item()


class _State:
    """What an interrupted training needs to go on: weights, optimiser, randomness."""

    FIELDS = ("step", "stale", "history", "best")

    def __init__(
        self,
        model: RegressionLanguageModel,
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
