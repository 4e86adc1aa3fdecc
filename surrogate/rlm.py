"""The surrogate as users meet it: fit, predict, sample, save, load."""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats.qmc import MultivariateNormalQMC
from tqdm import tqdm

from surrogate import decoding, prior
from surrogate.checkpoints import CheckpointError, damaged, read_checkpoint, write_checkpoint
from surrogate.digits import DigitLosses
from surrogate.labels import check_labels
from surrogate.model import Batch, ModelConfig, RegressionLanguageModel
from surrogate.numbers import NumberFormat
from surrogate.prior import Guesses, Pool
from surrogate.scale import Scale, to_coordinates, to_values
from surrogate.teacher import Earlier, Lessons, Teacher
from surrogate.text import Tokenizer
from surrogate.training import Examples, TrainingConfig, train

CALIBRATED = 256
"""Texts that the spread of digits is set by."""
_CALIBRATING = 8
"""Samples of each of them that the spread of samples is set by."""
TAILS = 4
"""Degrees of freedom of Student's t distribution, which draws follow: where labels come from a
search, one error in thirty is beyond three standard deviations, not one in four hundred."""


class RLM:
    """A Regression Language Model: ONNX text in, one number per objective out.

    The model reads the text and writes the objectives in order, digit by digit; predictions are
    expectations over its digit trees. It learns best from labels and a pool of texts without
    labels, see `fit`; from labels alone it is a small ensemble, of which each member keeps another
    part of the labels back for early stopping.

    Args:
        objectives: Names of the k numbers, in the order in which they are written; each is
            conditioned on those before it.
        simplified: Which of them depend on what the program computes alone, so that dead
            statements need not be read for them: an accuracy, but no latency.
        members: Models in the ensemble, or scorers in that which teaches one model.
        seed: Seeds weights, order and noise: the same seed gives the same model.
        training: How to train.
        number: How numbers are written.
        sizes: Sizes of the model that differ from `ModelConfig`'s defaults.
        tokenizer: What reads the texts; None to learn it from the texts that `fit` gets.
        device: Where to compute, such as ``"cpu"`` or ``"cuda"``.

    Example:
        >>> rlm = RLM(["accuracy", "latency_ms"]).fit(texts, values)  # doctest: +SKIP
        >>> rlm.predict(more_texts)  # (n, 2)  # doctest: +SKIP
    """

    def __init__(
        self,
        objectives: Sequence[str],
        *,
        simplified: Collection[str] = (),
        members: int = 3,
        seed: int = 0,
        training: TrainingConfig | None = None,
        number: NumberFormat | None = None,
        sizes: dict[str, Any] | None = None,
        tokenizer: Tokenizer | None = None,
        device: str = "cpu",
    ) -> None:
        if not objectives or len(set(objectives)) != len(objectives):
            raise ValueError(f"objectives must be distinct names, at least one; got {objectives}")
        if members < 1:
            raise ValueError(f"members must be at least 1, got {members}")
        self.objectives = tuple(objectives)
        if unknown := [name for name in simplified if name not in objectives]:
            raise ValueError(f"simplified: {unknown[0]!r} is not one of {', '.join(objectives)}")
        self.simplified = tuple(name for name in objectives if name in simplified)
        self.members = members
        self.seed = seed
        self.training = training or TrainingConfig()
        self.number = number or NumberFormat()
        self.sizes = dict(sizes or {})
        self.device = torch.device(device)
        self.history: list[list[dict[str, float]]] = []
        self.tokenizer = tokenizer
        self._tokenizer: Tokenizer | None = None
        self._scales: list[Scale] = []
        self._models: list[RegressionLanguageModel] = []
        self._taught: Earlier | None = None
        self._lessons: tuple[dict[str, int], np.ndarray, np.ndarray] | None = None
        self._read: tuple[dict[str, int], Batch] | None = None
        # What standard deviations of digits, and those of samples, which lack what is unlikely,
        # must be multiplied by to be those of the errors.
        self._spread = np.ones(len(self.objectives))
        self._sample_spread = np.ones(len(self.objectives))

    def fit(
        self,
        texts: Sequence[str],
        values: ArrayLike,
        *,
        pool: Pool | None = None,
        often: np.ndarray | None = None,
        start: RLM | None = None,
        afresh: bool = False,
        progress: bool = True,
        checkpoint: Path | None = None,
    ) -> RLM:
        """Train from scratch, or go on from an earlier model.

        With a pool of texts without labels, a teacher learns first (`surrogate.teacher`): a
        Gaussian process and ``members`` scorers say what to expect of every text of the pool, and
        one model learns to write that. Without a pool, ``members`` models learn to write the
        labels.

        Args:
            texts: n texts.
            values: Labels, (n, k), NaN where one is missing.
            pool: Texts like those that will be predicted, the n labelled ones among them.
            often: How many times the digits of each text of the pool are learnt in a pass, (m,)
                integers, 0 for never; None: once.
            start: A model of the same kind, trained in this process with a pool, to go on from:
                new labels are learnt in fewer steps, see ``training.again``.
            afresh: Take from ``start`` what it has read, but not what it has learnt.
            progress: Show a progress bar.
            checkpoint: Folder for resumable state. An interrupted fit called again with the same
                arguments goes on from there; the folder is removed at the end.

        Raises:
            ValueError: The labels cannot be learnt from, see `check_labels`, or a labelled text
                is not in the pool, or has a label that is not asked of it, or ``start`` cannot be
                gone on from.
            TextError: A text cannot be read.
        """
        values = check_labels(self.objectives, texts, values)
        read = texts if pool is None else pool.texts
        if start is not None and (pool is None or start._taught is None):
            raise ValueError(
                "training goes on only with a pool, from a model trained with one in this process"
            )
        self._tokenizer = self.tokenizer or (start and start._tokenizer) or Tokenizer.fit(read)
        if start is not None and start._kind() != self._kind():
            raise ValueError("training goes on only from a model of the same kind and size")
        rank_share, beyond = self.training.rank_share, self.training.beyond
        self._scales = [
            Scale.fit(column[~np.isnan(column)], rank_share=rank_share, beyond=beyond)
            for column in values.T
        ]
        self._models, self.history, self._taught, self._lessons = [], [], None, None
        self._read = start._read if start and start._tokenizer is self._tokenizer else None
        self._spread = np.ones(len(self.objectives))
        self._sample_spread = np.ones(len(self.objectives))
        place = {text: row for row, text in enumerate(read)}
        rows = _rows(texts, place)
        if pool is not None and pool.asked is not None:
            _check_asked(pool.asked, rows, values, self.objectives)
        batch = self._reading(read)
        if checkpoint is not None:
            checkpoint.mkdir(parents=True, exist_ok=True)
        if pool is None:
            self._fit_labels(Examples(batch, values), progress, checkpoint)
        else:
            labels = self._coordinates(values)
            simplified = [name in self.simplified for name in self.objectives]
            # With no share of the rank the scale is straight: values would be learnt twice.
            scales = self._scales if self.training.sums and rank_share > 0 else None
            expected = self.training.typical, self.training.trusting
            guessed = prior.guess(pool, rows, labels, scales, simplified, *expected)
            earlier = None if afresh else start
            lessons = self._fit_lessons(
                guessed, batch, rows, labels, often, earlier, progress, checkpoint
            )
            self._lessons = place, lessons.expected, lessons.errors
        if checkpoint is not None:
            shutil.rmtree(checkpoint)
        return self

    def _fit_labels(self, examples: Examples, progress: bool, checkpoint: Path | None) -> None:
        """Train the members on the labels alone."""
        n, objectives = examples.values.shape
        widths = np.full(objectives, self.training.softness)
        with _bar(self.members * self.training.steps, progress) as bar:
            for held_out in _folds(n, self.members, self.training.held_out, self.seed):
                held = examples[np.flatnonzero(held_out)]
                shown = examples[np.flatnonzero(~held_out)]
                model = self._new_model()
                losses = DigitLosses(
                    model,
                    shown,
                    self.number,
                    self._scales,
                    widths,
                    self.training,
                )
                self._train(model, losses, self.training, held, bar, checkpoint)

    def _fit_lessons(
        self,
        guessed: Guesses,
        batch: Batch,
        rows: np.ndarray,
        labels: np.ndarray,
        often: np.ndarray | None,
        start: RLM | None,
        progress: bool,
        checkpoint: Path | None,
    ) -> Lessons:
        """Train one model on lessons, and set its spread to what they say of their errors."""
        teacher = Teacher(
            self._config(),
            self.members,
            self.training,
            self.seed,
            None if start is None else start._taught,
        )
        training = self.training
        if teacher.earlier is not None:
            training = training.going_on(teacher.earlier.labels, len(rows))
        with _bar(teacher.steps(len(rows)) + training.steps, progress) as bar:
            lessons = teacher.lessons(guessed, batch, rows, labels, bar=bar, checkpoint=checkpoint)
            self._taught = Earlier(lessons.scorers, len(rows))
            model = self._new_model()
            if start is None:
                model.reader.load_state_dict(lessons.reader)
                model.reader.start_from(batch, torch.from_numpy(lessons.expected).to(self.device))
            else:
                model.load_state_dict(start._models[0].state_dict())
            losses = DigitLosses(
                model,
                Examples(batch, self._columns(lessons.expected)),
                self.number,
                self._scales,
                np.minimum(lessons.errors, training.widest),
                training,
                lessons.correlation,
                often,
            )
            self._train(model, losses, training, None, bar, checkpoint)
        # Of a pool in some order, such as one space after the other, these are from everywhere.
        step = math.ceil(len(batch) / CALIBRATED)
        self._calibrate(batch, np.arange(len(batch))[::step], lessons)
        return lessons

    def _calibrate(self, batch: Batch, rows: np.ndarray, lessons: Lessons) -> None:
        """Make deviations of digits and spreads of samples those of the errors.

        The errors are those of the lessons and of the model, which has not learnt them to the
        last digit. Samples are compared by the width that holds four of five of them: a few far
        ones would make it too narrow.
        """
        batch = batch[torch.from_numpy(rows)]
        moments = self._moments(batch)[0]
        expected = lessons.expected[rows]
        mean = np.where(np.isnan(expected), np.nan, moments[..., 0])
        errors = np.sqrt(lessons.errors**2 + np.nanmean((mean - expected) ** 2, axis=0))
        self._spread = errors / np.nanmean(_deviation(mean, moments[..., 1]), axis=0)
        drawn = self._drawn(batch, _CALIBRATING, list(range(len(errors))), self.seed)
        off = np.abs(self._coordinates(drawn) - mean[:, None])
        self._sample_spread = errors * ndtri(0.9) / np.nanquantile(off, 0.8, axis=(0, 1))

    def _new_model(self) -> RegressionLanguageModel:
        # The user's own random state is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1_000_003 * self.seed + len(self._models))
            return RegressionLanguageModel(self._config()).to(self.device)

    def _train(
        self,
        model: RegressionLanguageModel,
        losses: DigitLosses,
        training: TrainingConfig,
        held: Examples | None,
        bar: tqdm,
        checkpoint: Path | None,
    ) -> None:
        """Train the next member."""
        member = len(self._models)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1_000_003 * self.seed + member)
            history = train(
                model,
                losses,
                training,
                held_out_loss=(lambda: losses.held_out(held)) if held else None,
                bar=bar,
                checkpoint=checkpoint and checkpoint / f"member{member}.pt",
            )
        self._models.append(model)
        self.history.append(history)

    def predict(
        self,
        texts: Sequence[str],
        *,
        objectives: Sequence[str] | None = None,
        return_std: bool = False,
        batch_size: int = 1024,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Expected numbers.

        Args:
            texts: n texts.
            objectives: Which k of the numbers, in that order; None for all of them.
            return_std: Also return a standard deviation, of the digits and between the members.
            batch_size: Texts decoded at once.

        Returns:
            Expectations, (n, k) float64, or these and their standard deviations. Expectations
            are taken on the scale that is half rank and half size, so they lie near the median.

        Raises:
            ValueError: The model was not trained on one of the objectives.
        """
        chosen = self._indices(objectives)
        mean, deviation = self._normals(texts, batch_size, chosen)
        expected = self._columns(mean, chosen)
        if not return_std:
            return expected
        ends = [self._columns(mean + sign * deviation, chosen) for sign in (1, -1)]
        return expected, (ends[0] - ends[1]) / 2

    def quantiles(
        self, texts: Sequence[str], probabilities: Sequence[float], *, batch_size: int = 1024
    ) -> np.ndarray:
        """Quantiles of each number on its own, (n, q, k), as of a normal on its scale.

        Args:
            texts: n texts.
            probabilities: q of them, between 0 and 1 exclusively.
            batch_size: Texts decoded at once.

        Raises:
            ValueError: A probability is not between 0 and 1.
        """
        steps = np.asarray(probabilities, dtype=np.float64)
        if steps.ndim != 1 or not ((steps > 0) & (steps < 1)).all():
            raise ValueError(f"probabilities must lie between 0 and 1, got {probabilities}")
        mean, deviation = self._normals(texts, batch_size, self._indices(None))
        return np.stack([self._columns(mean + step * deviation) for step in ndtri(steps)], axis=1)

    def predict_members(self, texts: Sequence[str], *, batch_size: int = 1024) -> np.ndarray:
        """What each member expects, (n, members, k): their spread is the model's own doubt."""
        moments = self._moments(self._programs(texts), batch_size)
        return np.stack([self._columns(member[..., 0]) for member in moments], axis=1)

    def draw(
        self,
        texts: Sequence[str],
        draws: int,
        *,
        spread: float = 1.0,
        seed: int = 0,
        quickly: bool = False,
        batch_size: int = 1024,
    ) -> np.ndarray:
        """Plausible numbers without decoding any: far cheaper than `sample`, but not joint.

        Each member's digits give an expectation and a standard deviation on the objective's
        scale. Of texts in the pool of this process's training, what was to be learnt is known as
        well: expectations are the mean of both, since the highest of thousands would be those
        that digits have learnt too high, and deviations are those of the lessons. The draws have
        the same evenly spread noise for every text, with heavy tails: of some texts nothing like
        them had a label.

        Args:
            texts: n texts.
            draws: Draws from each member.
            spread: Factor on the standard deviations.
            seed: Of the noise.
            quickly: Expectations are those of the lessons alone where these are known, so that
                only other texts are read.
            batch_size: Texts decoded at once.

        Returns:
            Numbers, (n, members draws, k).
        """
        self._fitted()
        lessons, errors = self._learnt_of(texts)
        unknown = np.isnan(lessons)
        read = np.flatnonzero(unknown.any(1) | (not quickly))
        moments = self._moments(self._programs([texts[row] for row in read.tolist()]), batch_size)
        digits = moments[..., 0]
        mean = np.tile(lessons, (len(self._models), 1, 1))
        deviation = np.tile(errors, (*mean.shape[:2], 1))
        mean[:, read] = np.where(unknown[read], digits, (digits + lessons[read]) / 2)
        doubt = self._spread * _deviation(digits, moments[..., 1])
        deviation[:, read] = np.where(unknown[read], doubt, errors)
        rng = np.random.default_rng(seed)
        normal = MultivariateNormalQMC(np.zeros(len(self.objectives)), rng=rng).random(draws)
        # As wide as the normal distribution where four of five draws are.
        noise = stdtrit(TAILS, ndtr(normal)) * (ndtri(0.9) / stdtrit(TAILS, 0.9))
        coordinates = mean + spread * deviation * noise[:, None, None]
        coordinates = coordinates.reshape(-1, *mean.shape[1:])
        return np.stack([self._columns(draw) for draw in coordinates], axis=1)

    def sample(
        self,
        texts: Sequence[str],
        samples: int,
        *,
        objectives: Sequence[str] | None = None,
        seed: int = 0,
        batch_size: int = 1024,
    ) -> np.ndarray:
        """Joint samples, drawn digit by digit, the members in turn.

        Args:
            texts: n texts.
            samples: Draws per text.
            objectives: Which k numbers to write, in that order, each given those before it; None
                for all of them.
            seed: Of the draws.
            batch_size: Rows decoded at once.

        Returns:
            Numbers, (n, samples, k) float64.

        Raises:
            ValueError: ``samples`` is less than 1, or the model was not trained on an objective.
        """
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        chosen = self._indices(objectives)
        batch = self._programs(texts)
        drawn = self._drawn(batch, samples, chosen, seed, batch_size)
        if (self._sample_spread == 1).all():
            return drawn
        mean = self._moments(batch, batch_size, chosen).mean(0)[:, None, :, 0]
        off = self._coordinates(drawn, chosen) - mean
        return self._columns(mean + self._sample_spread[chosen] * off, chosen)

    def _drawn(
        self, batch: Batch, samples: int, chosen: Sequence[int], seed: int, batch_size: int = 1024
    ) -> np.ndarray:
        """What the members write, (n, samples, k)."""
        generator = torch.Generator(self.device).manual_seed(seed)
        drawn = np.empty((len(batch), samples, len(chosen)))
        size = max(1, batch_size // samples)
        for start in range(0, len(batch), size):
            rows = slice(start, start + size)
            for member, model in enumerate(self._models):
                mine = slice(member, samples, len(self._models))
                count = len(range(samples)[mine])
                if count:
                    tokens = decoding.sample(
                        model, batch[rows], self.number, count, generator, chosen
                    )
                    drawn[rows, mine] = self.number.decode(tokens.cpu().numpy())
        return drawn

    def greedy(self, texts: Sequence[str], *, batch_size: int = 1024) -> np.ndarray:
        """What each member writes if it always takes the likeliest digit, (n, members, k)."""
        batch = self._programs(texts)
        written = np.empty((len(texts), len(self._models), len(self.objectives)))
        for member, model in enumerate(self._models):
            for start in range(0, len(texts), batch_size):
                rows = slice(start, start + batch_size)
                tokens = decoding.sample(model, batch[rows], self.number, 1, None)
                written[rows, member] = self.number.decode(tokens[:, 0].cpu().numpy())
        return written

    def save(self, folder: str | Path) -> None:
        """Write weights, configuration and tokenizer into a folder, which appears when complete.

        Raises:
            FileExistsError: The folder exists and holds something other than a saved model.
        """
        tokenizer = self._fitted()
        description = {
            "objectives": self.objectives,
            "simplified": self.simplified,
            "members": self.members,
            "models": len(self._models),
            "seed": self.seed,
            "training": asdict(self.training),
            "number": asdict(self.number),
            "sizes": self.sizes,
            "spread": self._spread.tolist(),
            "sample_spread": self._sample_spread.tolist(),
            "scales": [
                {
                    "knots": s.knots.tolist(),
                    "coordinates": s.coordinates.tolist(),
                    "beyond": s.beyond,
                }
                for s in self._scales
            ],
        }
        weights = {
            f"{member}.{name}": value.cpu().contiguous()
            for member, model in enumerate(self._models)
            for name, value in model.state_dict().items()
        }
        write_checkpoint(Path(folder), description, tokenizer, weights)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu") -> RLM:
        """Read a model that `save` wrote.

        Raises:
            CheckpointError: A file is missing or damaged, or they do not belong together.
        """
        folder = Path(folder)
        description, tokenizer, weights = read_checkpoint(folder)
        try:
            rlm = cls(
                description["objectives"],
                simplified=description["simplified"],
                members=description["members"],
                seed=description["seed"],
                training=TrainingConfig(**description["training"]),
                number=NumberFormat(**description["number"]),
                sizes=description["sizes"],
                device=device,
            )
            rlm._spread = np.array(description["spread"], dtype=np.float64)
            rlm._sample_spread = np.array(description["sample_spread"], dtype=np.float64)
            rlm._scales = [Scale(**scale) for scale in description["scales"]]
            models = description["models"]
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(folder, error) from error
        rlm._tokenizer = tokenizer
        for member in range(models):
            model = RegressionLanguageModel(rlm._config()).to(rlm.device).eval()
            prefix = f"{member}."
            mine = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
            try:
                model.load_state_dict(mine)
            except RuntimeError as error:
                raise CheckpointError(f"{folder}: the weights do not match rlm.json") from error
            rlm._models.append(model)
        return rlm

    def _fitted(self) -> Tokenizer:
        if self._tokenizer is None or not self._models:
            raise RuntimeError("this RLM is not trained: call fit first, or RLM.load")
        return self._tokenizer

    def _config(self) -> ModelConfig:
        assert self._tokenizer is not None
        return ModelConfig(
            vocabulary=len(self._tokenizer.vocabulary),
            signatures=len(self._tokenizer.signatures),
            number_vocabulary=len(self.number.vocabulary),
            number_length=self.number.length,
            objectives=len(self.objectives),
            simplified=tuple(self.objectives.index(name) for name in self.simplified),
            **self.sizes,
        )

    def _kind(self) -> tuple[Any, ...]:
        """What models must share for training to go on from one to the other."""
        return self.objectives, self.members, self._config()

    def _learnt_of(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Lessons for n texts, (n, k), NaN where there were none, and their errors, (k,)."""
        expected = np.full((len(texts), len(self.objectives)), np.nan)
        if self._lessons is None:
            return expected, np.full(len(self.objectives), np.nan)
        place, lessons, errors = self._lessons
        rows = np.array([place.get(text, -1) for text in texts])
        expected[rows >= 0] = lessons[rows[rows >= 0]]
        return expected, errors

    def _programs(self, texts: Sequence[str]) -> Batch:
        self._fitted()
        return self._reading(texts)

    def _reading(self, texts: Sequence[str]) -> Batch:
        assert self._tokenizer is not None
        place, batch = self._read or ({}, None)
        rows = [place.get(text) for text in texts]
        if batch is not None and None not in rows:
            whole = rows == list(range(len(batch)))
            return batch if whole else batch[torch.tensor(rows, dtype=torch.long)]
        batch = Batch.of(self._tokenizer, self._tokenizer.programs(texts), self.device)
        # Many texts are often asked for again: by a search, those of the whole space.
        if len(texts) >= len(place):
            self._read = {text: row for row, text in enumerate(texts)}, batch
        return batch

    def _indices(self, objectives: Sequence[str] | None) -> list[int]:
        """Places of some objectives, or of all of them."""
        names = self.objectives if objectives is None else objectives
        if unknown := [name for name in names if name not in self.objectives]:
            raise ValueError(
                f"this model was not trained on {unknown[0]!r}, only on "
                f"{', '.join(self.objectives)}"
            )
        return [self.objectives.index(name) for name in names]

    def _moments(
        self, batch: Batch, batch_size: int = 1024, chosen: Sequence[int] | None = None
    ) -> np.ndarray:
        """Expected coordinate and expected square, (members, n, k, 2), of the chosen k."""
        count = len(self.objectives if chosen is None else chosen)
        moments = np.empty((len(self._models), len(batch), count, 2))
        for member, model in enumerate(self._models):
            for start in range(0, len(batch), batch_size):
                rows = slice(start, start + batch_size)
                moments[member, rows] = decoding.expect(
                    model, batch[rows], self.number, self._scales, chosen
                ).cpu()
        return moments

    def _normals(
        self, texts: Sequence[str], batch_size: int, chosen: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each number on its scale, (n, k) each."""
        moments = self._moments(self._programs(texts), batch_size, chosen).mean(0)
        deviation = self._spread[list(chosen)] * _deviation(moments[..., 0], moments[..., 1])
        return moments[..., 0], deviation

    def _coordinates(self, values: np.ndarray, chosen: Sequence[int] | None = None) -> np.ndarray:
        """Coordinates of values, (..., k)."""
        scales = self._scales if chosen is None else [self._scales[k] for k in chosen]
        return to_coordinates(scales, values)

    def _columns(self, coordinates: np.ndarray, chosen: Sequence[int] | None = None) -> np.ndarray:
        """Values of coordinates, (..., k)."""
        scales = self._scales if chosen is None else [self._scales[k] for k in chosen]
        return to_values(scales, coordinates)


def _bar(steps: int, progress: bool) -> tqdm:
    return tqdm(total=steps, desc="training", unit="step", disable=not progress)


def _deviation(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Standard deviations from expectations of numbers and of their squares."""
    return np.sqrt(np.maximum(square - mean**2, 0))


def _rows(texts: Sequence[str], place: Mapping[str, int]) -> np.ndarray:
    """Where texts are in a pool, (n,), of which it is known where each is."""
    if missing := [i for i, text in enumerate(texts) if text not in place]:
        raise ValueError(f"text {missing[0]} is not in the pool; the pool must hold every text")
    return np.array([place[text] for text in texts])


def _check_asked(
    asked: np.ndarray, rows: np.ndarray, values: np.ndarray, objectives: Sequence[str]
) -> None:
    """Refuse labels (n, k) of some rows, (n,), that are not asked of them, (m, k)."""
    if asked.shape[1] != len(objectives):
        raise ValueError(
            f"the pool says of {asked.shape[1]} numbers what is asked; there are {len(objectives)}"
        )
    strange = np.argwhere(~np.isnan(values) & ~asked[rows])
    if len(strange):
        text, number = strange[0]
        raise ValueError(
            f"text {text} has a label of {objectives[number]!r}, which is not asked of it"
        )


def _folds(n: int, members: int, share: float, seed: int) -> list[np.ndarray]:
    """Which labels each member holds out, (n,) bool each; none where labels are too few."""
    order = np.random.default_rng(seed).permutation(n)
    size = math.floor(share * n)
    if size < 10:
        return [np.zeros(n, dtype=bool) for _ in range(members)]
    folds = []
    for member in range(members):
        held_out = np.zeros(n, dtype=bool)
        held_out[np.roll(order, -member * size)[:size]] = True
        folds.append(held_out)
    return folds
