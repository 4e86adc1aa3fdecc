"""From few labels to lessons: what can be expected of every text of a pool, and how surely.

A Gaussian process guesses the labels of all texts (`surrogate.prior`). An ensemble of scorers
(`surrogate.scorer`) learns from labels and guesses. What both expect together is taught to the
language model: it has an answer for every text, without the noise of the labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from surrogate.model import Batch, ModelConfig
from surrogate.prior import Guesses
from surrogate.scorer import ScoreLosses, Scorer, curve, scorer_training, scores
from surrogate.training import TrainingConfig, train

FEW_LABELS = 256
"""With more labels, guesses usually have a smaller share in the lessons."""
LEAST_HELD_OUT = 10
"""The first scorer keeps a tenth of the labels back, where that is so many."""
SHARE_DEVIATION = 0.2
"""How far the guesses' best share in the lessons is expected to be from the usual one."""
LEAST_ERROR = 0.002
"""In coordinates: about what the digits can tell apart."""

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Lessons:
    """What there is to learn about m texts and k numbers.

    Attributes:
        expected: Coordinates, (m, k), NaN where a number is not asked of a text.
        errors: How far labels are from them, root mean squares in coordinates, (k,).
        correlation: Of these errors, (k, k).
        reader: Weights of a `Reader` that has learnt from the labels.
        scorers: Weights of all scorers.
    """

    expected: np.ndarray
    errors: np.ndarray
    correlation: np.ndarray
    reader: Weights
    scorers: dict[str, Weights]


@dataclass(frozen=True)
class Earlier:
    """What a training left for another one to go on from.

    Attributes:
        scorers: Their weights.
        labels: How many there were.
    """

    scorers: dict[str, Weights]
    labels: int


class Teacher:
    """Makes lessons.

    Args:
        config: Of the model that is to be taught; its simplified numbers are ranked.
        members: Scorers for each view.
        training: How they are trained, and what the guesses count.
        seed: Of weights and order.
        earlier: What to go on from.
    """

    def __init__(
        self,
        config: ModelConfig,
        members: int,
        training: TrainingConfig,
        seed: int,
        earlier: Earlier | None = None,
    ) -> None:
        self.config = config
        self.members = members
        self.training = training
        self.seed = seed
        self.earlier = earlier
        numbers = range(config.objectives)
        function = [k for k in numbers if k in config.simplified]
        program = [k for k in numbers if k not in config.simplified]
        self._views = [view for view in (function, program) if view]

    def steps(self, labels: int) -> int:
        """Steps that all scorers take together."""
        steps = [self._training(labels, view).steps for view in self._views]
        return self.members * sum(steps)

    def lessons(
        self,
        guessed: Guesses,
        batch: Batch,
        rows: np.ndarray,
        labels: np.ndarray,
        *,
        bar: tqdm | None = None,
        checkpoint: Path | None = None,
    ) -> Lessons:
        """Learn from labels.

        Args:
            guessed: What is said of the m texts, NaN where a number is not asked of one.
            batch: The m texts.
            rows: Which of them have labels, (n,).
            labels: Coordinates of these, (n, k), NaN where missing.
            bar: Progress bar, advanced by one per step.
            checkpoint: Folder for resumable state.
        """
        simplified = [k in self.config.simplified for k in range(self.config.objectives)]
        guesses, residuals = guessed.means, guessed.residuals
        learnt = np.zeros_like(guesses)
        left = np.full_like(labels, np.nan)
        reader: Weights = {}
        scorers: dict[str, Weights] = {}
        held_out = np.random.default_rng(self.seed).permutation(len(rows))[: len(rows) // 10]
        usual = np.where(simplified, self.training.guess_share, self.training.cost_share)
        for view in self._views:
            ranked = self._ranked(view)
            known = float((~np.isnan(labels[:, view])).sum(0).mean())
            for member in range(self.members):
                shown = labels[:, view].copy()
                if member == 0:
                    many = (~np.isnan(shown)).sum(0) >= 10 * LEAST_HELD_OUT
                    shown[np.ix_(held_out, many)] = np.nan
                name = f"scorer{view[0]}.{member}"
                scorer = self._train(
                    name,
                    1_000_003 * self.seed + 1 + member,
                    view,
                    batch,
                    guesses[:, view],
                    rows,
                    shown,
                    weight=min(1.0, self.training.guessed_labels / known),
                    bar=bar,
                    checkpoint=checkpoint and checkpoint / f"{name}.pt",
                )
                scorers[name] = scorer.state_dict()
                reader |= scorer.reader.state_dict()
                mine = scores(scorer, batch)
                mine[np.isnan(guesses[:, view])] = np.nan
                if ranked:
                    deviation = np.maximum(np.nanstd(mine, axis=0), 1e-12)
                    mine = (mine - np.nanmean(mine, axis=0)) / deviation
                learnt[:, view] += mine / self.members
                if member == 0:
                    made = _meant(mine, rows, shown) if ranked else mine
                    left[:, view] = np.where(np.isnan(shown), labels[:, view] - made[rows], np.nan)
            if ranked:
                learnt[:, view] = _meant(learnt[:, view], rows, labels[:, view])
        _, kind = np.unique(np.isnan(guesses), axis=0, return_inverse=True)
        shares = np.empty_like(guesses)
        for i in range(kind.max() + 1):
            of_kind = kind[rows] == i
            shares[kind == i] = _shares(usual, residuals[of_kind], left[of_kind])
        of_labels = shares[rows]
        return Lessons(
            shares * guesses + (1 - shares) * learnt,
            _errors(residuals, of_labels * residuals + (1 - of_labels) * left),
            _correlation(residuals),
            reader,
            scorers,
        )

    def _ranked(self, view: list[int]) -> bool:
        return self.training.rank and view[0] in self.config.simplified

    def _training(self, labels: int, view: list[int]) -> TrainingConfig:
        training = scorer_training(labels, self.training.passes, self._ranked(view))
        if self.earlier is None:
            return training
        return replace(training, again=self.training.again).going_on(self.earlier.labels, labels)

    def _train(
        self,
        name: str,
        seed: int,
        view: list[int],
        batch: Batch,
        guesses: np.ndarray,
        rows: np.ndarray,
        labels: np.ndarray,
        *,
        weight: float,
        bar: tqdm | None,
        checkpoint: Path | None,
    ) -> Scorer:
        simplified = tuple(i for i, k in enumerate(view) if k in self.config.simplified)
        sizes = replace(self.config, objectives=len(view), simplified=simplified)
        config = self._training(len(rows), view)
        # The user's own random state is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            scorer = Scorer(sizes).to(batch.known.device)
            if self.earlier is not None:
                scorer.load_state_dict(self.earlier.scorers[name])
            losses = ScoreLosses(
                scorer,
                batch,
                guesses,
                rows,
                labels,
                weight=weight,
                ranked=self._ranked(view),
                batch_size=config.batch_size,
            )
            train(scorer, losses, config, bar=bar, checkpoint=checkpoint)
        return scorer


def _meant(scored: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Coordinates that scores (m, k) stand for, where some rows have labels (n, k)."""
    columns = zip(scored.T, labels.T, strict=True)
    return np.stack([np.interp(s, *curve(s[rows], label)) for s, label in columns], 1)


def _shares(usual: np.ndarray, residuals: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Likeliest shares of the guesses in the lessons for texts of one kind, (k,).

    Lessons are expected to miss labels by a normal distribution of unknown width, and shares to
    be normal around the usual ones.

    Args:
        usual: Shares where nothing else is known and labels are few, (k,).
        residuals: Of the guesses, each label left out, (n, k).
        left: Of a scorer that had not seen the label, (n, k), NaN where there is none.
    """
    labels = (~np.isnan(residuals)).sum(0)
    usual = usual * np.sqrt(FEW_LABELS / labels.clip(min=FEW_LABELS))
    tried = np.linspace(0.0, 1.0, 101)[:, None]
    errors = tried[..., None] * residuals + (1 - tried[..., None]) * left
    count = (~np.isnan(errors[0])).sum(0)
    squares = np.nansum(errors**2, axis=1) + LEAST_ERROR**2
    unlikely = count * np.log(squares) + ((tried - usual) / SHARE_DEVIATION) ** 2
    return tried[unlikely.argmin(0), 0]


def _errors(residuals: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Root mean square errors, (k,).

    Args:
        residuals: Of the guesses, each label left out, (n, k).
        unseen: Of lessons that had not seen the label, (n, k), NaN where there is none. The more
            of them, the more they count; all guesses together count as `LEAST_HELD_OUT`.
    """
    count = (~np.isnan(unseen)).sum(0)
    squares = LEAST_HELD_OUT * np.nanmean(residuals**2, axis=0) + np.nansum(unseen**2, axis=0)
    return np.maximum(np.sqrt(squares / (LEAST_HELD_OUT + count)), LEAST_ERROR)


def _correlation(residuals: np.ndarray) -> np.ndarray:
    """Correlation of errors (n, k), NaN where missing; small where few have two of them."""
    known = ~np.isnan(residuals)
    deviations = np.maximum(np.sqrt(np.nanmean(residuals**2, axis=0)), LEAST_ERROR)
    scaled = np.where(known, residuals / deviations, 0.0)
    together = known.T.astype(float) @ known
    correlation = scaled.T @ scaled / (together + LEAST_HELD_OUT)
    np.fill_diagonal(correlation, 0.0)
    # Pairwise estimates need not be a correlation matrix together: shrink until they are.
    correlation /= max(1.0, -np.linalg.eigvalsh(correlation).min() / 0.95)
    return correlation + np.eye(len(correlation))
