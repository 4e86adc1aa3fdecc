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

from surrogate import prior
from surrogate.model import Batch, ModelConfig
from surrogate.scale import Scale
from surrogate.scorer import ScoreLosses, Scorer, curve, scorer_training, scores
from surrogate.training import TrainingConfig, train

GUESSED_LABELS = 16.0
"""What guesses for texts without labels weigh beside the labels, in labels."""
GUESS_SHARE = 0.25
"""Share of the guesses in the lessons; the rest is what the scorers expect."""
LEAST_HELD_OUT = 10
"""Labels that the first scorer keeps back, a tenth of all, tell something from this many on."""


@dataclass(frozen=True)
class Lessons:
    """What there is to learn about m texts and k numbers.

    Attributes:
        expected: Coordinates, (m, k).
        errors: How far labels are from them, root mean squares in coordinates, (k,).
        correlation: Of these errors, (k, k).
        reader: Weights of a `Reader` that has learnt from the labels.
    """

    expected: np.ndarray
    errors: np.ndarray
    correlation: np.ndarray
    reader: dict[str, Tensor]


class Teacher:
    """Makes lessons.

    Args:
        config: Of the model that is to be taught; its simplified numbers are ranked.
        scales: Of the k numbers.
        members: Scorers for each view.
        passes: Of each over the labels.
        seed: Of weights and order.
    """

    def __init__(
        self, config: ModelConfig, scales: list[Scale], members: int, passes: int, seed: int
    ) -> None:
        self.config = config
        self.scales = scales
        self.members = members
        self.passes = passes
        self.seed = seed
        numbers = range(config.objectives)
        ranked = [k for k in numbers if k in config.simplified]
        regressed = [k for k in numbers if k not in config.simplified]
        self._views = [(view, view is ranked) for view in (ranked, regressed) if view]

    def steps(self, labels: int) -> int:
        """Steps that all scorers take together."""
        return sum(
            self.members * self._training(labels, ranked).steps for _, ranked in self._views
        )

    def lessons(
        self,
        features: prior.Features,
        batch: Batch,
        rows: np.ndarray,
        values: np.ndarray,
        *,
        bar: tqdm | None = None,
        checkpoint: Path | None = None,
    ) -> Lessons:
        """Learn from labels.

        Args:
            features: Of the m texts.
            batch: The m texts.
            rows: Which of them have labels, (n,).
            values: Their labels, (n, k), NaN where missing.
            bar: Progress bar, advanced by one per step.
            checkpoint: Folder for resumable state.
        """
        labels = np.stack([s(column) for s, column in zip(self.scales, values.T, strict=True)], 1)
        simplified = [k in self.config.simplified for k in range(self.config.objectives)]
        guesses, residuals = prior.expect(features, rows, labels, simplified)
        learnt = np.zeros_like(guesses)
        unseen = np.full_like(labels, np.nan)
        reader: dict[str, Tensor] = {}
        held_out = np.random.default_rng(self.seed).permutation(len(rows))[: len(rows) // 10]
        for view, ranked in self._views:
            for member in range(self.members):
                shown = labels[:, view].copy()
                if member == 0 and len(held_out) >= LEAST_HELD_OUT:
                    shown[held_out] = np.nan
                file = checkpoint and checkpoint / f"scorer{view[0]}.{member}.pt"
                scorer = self._train(
                    member, ranked, batch, guesses[:, view], rows, shown, bar=bar, checkpoint=file
                )
                reader |= scorer.reader.state_dict()
                mine = scores(scorer, batch)
                if ranked:
                    mine = (mine - mine.mean(0)) / mine.std(0)
                learnt[:, view] += mine / self.members
                if member == 0:
                    made = _meant(mine, rows, shown) if ranked else mine
                    left = np.where(np.isnan(shown), labels[:, view] - made[rows], np.nan)
                    unseen[:, view] = GUESS_SHARE * residuals[:, view] + (1 - GUESS_SHARE) * left
            if ranked:
                learnt[:, view] = _meant(learnt[:, view], rows, labels[:, view])
        return Lessons(
            GUESS_SHARE * guesses + (1 - GUESS_SHARE) * learnt,
            _errors(residuals, unseen),
            _correlation(residuals),
            reader,
        )

    def _training(self, labels: int, ranked: bool) -> TrainingConfig:
        return scorer_training(labels, self.passes, ranked)

    def _train(
        self,
        member: int,
        ranked: bool,
        batch: Batch,
        guesses: np.ndarray,
        rows: np.ndarray,
        labels: np.ndarray,
        *,
        bar: tqdm | None,
        checkpoint: Path | None,
    ) -> Scorer:
        count = labels.shape[1]
        sizes = replace(
            self.config, objectives=count, simplified=tuple(range(count)) if ranked else ()
        )
        config = self._training(len(rows), ranked)
        # The user's own random state is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1_000_003 * self.seed + 1 + member)
            scorer = Scorer(sizes).to(batch.known.device)
            losses = ScoreLosses(
                scorer,
                batch,
                guesses,
                rows,
                labels,
                weight=min(1.0, GUESSED_LABELS / len(rows)),
                ranked=ranked,
                batch_size=config.batch_size,
            )
            train(scorer, losses, config, bar=bar, checkpoint=checkpoint)
        return scorer


def _meant(scored: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Coordinates that scores (m, k) stand for, where some rows have labels (n, k)."""
    columns = zip(scored.T, labels.T, strict=True)
    return np.stack([np.interp(s, *curve(s[rows], label)) for s, label in columns], 1)


def _errors(residuals: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Root mean square errors, (k,).

    Args:
        residuals: Of the guesses, each label left out, (n, k).
        unseen: Of lessons that had not seen the label, (n, k), NaN where there is none; they
            count once there are more of them than `LEAST_HELD_OUT`.
    """
    count = (~np.isnan(unseen)).sum(0)
    squares = LEAST_HELD_OUT * np.nanmean(residuals**2, axis=0) + np.nansum(unseen**2, axis=0)
    return np.sqrt(squares / (LEAST_HELD_OUT + count))


def _correlation(residuals: np.ndarray) -> np.ndarray:
    """Correlation of errors (n, k), NaN where missing; small where few have two of them."""
    known = ~np.isnan(residuals)
    scaled = np.where(known, residuals / np.sqrt(np.nanmean(residuals**2, axis=0)), 0.0)
    together = known.T.astype(float) @ known
    correlation = scaled.T @ scaled / (together + LEAST_HELD_OUT)
    values, vectors = np.linalg.eigh(correlation * ~np.eye(len(correlation), dtype=bool))
    # Pairwise estimates need not be a correlation matrix together: shrink until they are.
    correlation = vectors @ np.diag(values) @ vectors.T / max(1.0, -values.min() / 0.95)
    return correlation + np.eye(len(correlation))
