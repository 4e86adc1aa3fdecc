"""How digits are learnt: soft targets, and a ranking loss on the digits' own expectation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import ndtr
from torch import Tensor

from surrogate.model import Batch, RegressionLanguageModel
from surrogate.numbers import NumberFormat
from surrogate.scale import Scale, to_coordinates, to_values
from surrogate.training import Examples, TrainingConfig, draw_rows, step_size


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
    widths: np.ndarray,
    noise: np.ndarray,
) -> Targets:
    """Soften labels over neighbouring numbers.

    The label becomes a normal distribution of some width in its scale's coordinate. The
    path is a draw from it, so that every branch with mass gets trained, and the target of each
    step is the distribution's share of each branch below the path.

    Args:
        values: Labels, (n, k), NaN where missing.
        widths: Standard deviations of the labels in coordinates, (n, k).
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
        tokens[:, k] = number.encode(scale.inverse(center + widths[:, k] * noise[:, k]))
        for j in range(number.length):
            low, high = (scale(bound) for bound in number.children(tokens[:, k, :j]))
            edges = (np.stack([low, high]) - center[:, None]) / widths[:, k, None]
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


class DigitLosses:
    """`Losses` of a model that learns to write the labels of some examples.

    Args:
        model: What learns.
        examples: n programs with labels.
        number: How numbers are written.
        scales: Of the k objectives.
        widths: Of the soft targets in coordinates, (k,).
        config: How it is trained.
        correlation: Of errors of the labels, (k, k), whose deviations are the widths: where
            numbers see one another, they are drawn with their errors. None: labels are as they
            are.
        often: How many times each example is learnt in a pass, (n,); None: once.
    """

    NARROW = 0.3
    """Share of the width that is left to the soft targets of labels with drawn errors."""

    def __init__(
        self,
        model: RegressionLanguageModel,
        examples: Examples,
        number: NumberFormat,
        scales: list[Scale],
        widths: np.ndarray,
        config: TrainingConfig,
        correlation: np.ndarray | None = None,
        often: np.ndarray | None = None,
    ) -> None:
        self.model = model
        self.examples = examples
        self.rows = np.arange(len(examples)).repeat(1 if often is None else often)
        self.number = number
        self.scales = scales
        self.widths = widths
        self.config = config
        self.factor = None if correlation is None else np.linalg.cholesky(correlation)
        self.device = model.logits.weight.device
        self.allowed = torch.from_numpy(number.grammar).to(self.device)

    def __call__(self, steps: int) -> Iterator[Tensor]:
        size = step_size(len(self.rows), self.config)
        order = self.rows[draw_rows(len(self.rows), size, steps)]
        drawn = self.examples[order.flatten()]
        visible = torch.rand(len(drawn)) >= self.config.hidden
        values, widths = self._with_errors(drawn.values, visible.numpy())
        noise = torch.randn(values.shape, dtype=torch.float64).numpy()
        targets = self._targets(values, widths, noise)
        visible = visible.to(self.device)
        for step in range(steps):
            objectives = torch.randperm(len(self.scales)).to(self.device)
            rows = torch.arange(step * size, (step + 1) * size)
            yield self._loss(
                drawn.batch[rows], targets[rows].write(objectives), visible[rows], objectives
            )

    @torch.inference_mode()
    def held_out(self, held: Examples) -> float:
        """Loss on other examples, whose numbers do not see one another."""
        widths = np.full(held.values.shape, self.config.softness)
        targets = self._targets(held.values, widths, np.zeros(held.values.shape))
        visible = torch.zeros(len(held), dtype=torch.bool, device=self.device)
        everything = torch.arange(len(self.scales), device=self.device)
        return self._loss(held.batch, targets, visible, everything).item()

    def _with_errors(
        self, values: np.ndarray, visible: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels (n, k) and their widths; those that are visible (n,) are drawn with errors."""
        widths = np.broadcast_to(self.widths, values.shape)
        if self.factor is None:
            return values, widths
        noise = torch.randn(values.shape, dtype=torch.float64).numpy() @ self.factor.T
        errors = noise * widths * (1 - self.NARROW**2) ** 0.5
        drawn = to_values(self.scales, to_coordinates(self.scales, values) + errors)
        seen = visible[:, None]
        return np.where(seen, drawn, values), np.where(seen, self.NARROW * widths, widths)

    def _targets(self, values: np.ndarray, widths: np.ndarray, noise: np.ndarray) -> Targets:
        targets = make_targets(values, self.number, self.scales, widths, noise)
        return targets.to(self.device)

    def _loss(self, batch: Batch, targets: Targets, visible: Tensor, objectives: Tensor) -> Tensor:
        """Cross-entropy per number with the soft digits, plus the weighted ranking loss.

        Args:
            batch: n programs.
            targets: Of the m numbers, in the order of writing.
            visible: Texts whose numbers see those before them, (n,) bool.
            objectives: Which numbers they are, (m,).
        """
        known = targets.known
        logits = self.model(batch, targets.tokens, visible[:, None] & known, objectives)
        log_p = logits.masked_fill(~self.allowed, -1e9).log_softmax(-1)
        cross_entropy = -(targets.soft * log_p.clamp(min=-50)).sum() / known.sum().clamp(min=1)
        expected = expectation(log_p, targets)
        # Given other numbers a number has another expectation, which is not what is ranked.
        alone = known & ~visible[:, None]
        ranking = ranking_loss(expected, targets.coordinates, alone, self.config.margin)
        return cross_entropy + self.config.ranking * ranking
