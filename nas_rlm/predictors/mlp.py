"""A small neural network on a table of features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import trange

from nas_rlm.predictors.base import Inputs
from nas_rlm.predictors.features import Table, choices, paths
from nas_rlm.predictors.point import PointPredictor, fit_scale
from surrogate.scale import to_values

_HIDDEN = 128
_BATCH = 32
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 0.1
_LEAST_STEPS = 800
_EPOCHS = 80


class MLPPredictor(PointPredictor):
    """An ensemble of networks with two hidden layers, on choices and paths.

    The columns are centred but not scaled: a feature that few training examples have would
    otherwise weigh most on all other architectures. Labels are learnt on `Scale`. The settings
    were chosen on NAS-Bench-201, splits of seeds 100 and above.

    Args:
        objectives: Names of the k numbers, accuracy first.
        seed: Seeds every random choice.
        folds: See `PointPredictor`.
        members: Networks in the ensemble.
        steps: Training steps; by default 800, or 80 epochs where that is more.
    """

    def __init__(
        self,
        objectives: Sequence[str],
        *,
        seed: int = 0,
        folds: int = 5,
        members: int = 8,
        steps: int | None = None,
    ) -> None:
        super().__init__(objectives, seed=seed, folds=folds)
        if members < 1 or (steps is not None and steps < 1):
            raise ValueError(f"members and steps must be at least 1, got {members} and {steps}")
        self.members = members
        self.steps = steps

    def _fit(self, inputs: Inputs, values: NDArray[np.float64], progress: bool) -> None:
        self._table = Table(choices, paths)
        table = self._table.fit(inputs)
        self._centre = table.mean(axis=0)
        self._scales = [fit_scale(column[~np.isnan(column)]) for column in values.T]
        labels = np.stack([s(values[:, k]) for k, s in enumerate(self._scales)], axis=1)
        self._mean = np.nanmean(labels, axis=0)
        deviation = np.nanstd(labels, axis=0)
        self._deviation = np.where(deviation > 0, deviation, 1)
        self._networks = _Networks(
            [table.shape[1], _HIDDEN, _HIDDEN, values.shape[1]], self.members, self.seed
        )
        steps = self.steps or max(_LEAST_STEPS, math.ceil(_EPOCHS * len(table) / _BATCH))
        self._networks.train(
            torch.from_numpy(table - self._centre).float(),
            torch.from_numpy((labels - self._mean) / self._deviation).float(),
            steps,
            progress,
        )

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        self.check_fitted()
        table = torch.from_numpy(self._table(inputs) - self._centre).float()
        with torch.no_grad():
            outputs = self._networks(table[None]).mean(0).double().numpy()
        coordinates = outputs * self._deviation + self._mean
        return to_values(self._scales, coordinates)


class _Networks:
    """Networks of the same shape, computed at once.

    Args:
        widths: Of the input, the hidden layers and the output.
        members: How many networks.
        seed: Of weights and batches.
    """

    def __init__(self, widths: Sequence[int], members: int, seed: int) -> None:
        self.members = members
        self._generator = torch.Generator().manual_seed(seed)
        self._weights = []
        for fan_in, fan_out in pairwise(widths):
            weights = torch.randn(members, fan_in, fan_out, generator=self._generator)
            self._weights.append(weights * math.sqrt(2 / fan_in))
        self._weights[-1] *= 0.1  # the networks start near the mean of the labels
        for weights in self._weights:
            weights.requires_grad_()
        self._biases = [torch.zeros(members, 1, width, requires_grad=True) for width in widths[1:]]

    def __call__(self, x: Tensor) -> Tensor:
        """From (members or 1, n, columns) to (members, n, k)."""
        x = x.expand(self.members, -1, -1)
        for layer, (weights, biases) in enumerate(zip(self._weights, self._biases, strict=True)):
            x = torch.baddbmm(biases, F.silu(x) if layer else x, weights)
        return x

    def train(self, x: Tensor, y: Tensor, steps: int, progress: bool) -> None:
        """Minimise the squared error of y, (n, k), NaN where missing, given x, (n, columns)."""
        known = (~y.isnan()).float()
        weight = known / known.mean(0)  # objectives with few labels count as much as others
        y = y.nan_to_num()
        groups = [
            {"params": self._weights, "weight_decay": _WEIGHT_DECAY},
            {"params": self._biases, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=_LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.1
        )
        shape = self.members, min(_BATCH, len(x))
        for _ in trange(steps, disable=not progress, desc="mlp", leave=False):
            rows = torch.randint(len(x), shape, generator=self._generator)
            errors = (self(x[rows]) - y[rows]).square() * weight[rows]
            # The members do not share weights: a sum trains each as if it were alone.
            loss = errors.mean((1, 2)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
