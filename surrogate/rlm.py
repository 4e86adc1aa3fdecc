"""The surrogate as users meet it: fit, predict, sample, save, load."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import ArrayLike
from tqdm import tqdm

from surrogate import decoding
from surrogate.labels import check_labels
from surrogate.model import Batch, ModelConfig, RegressionLanguageModel
from surrogate.numbers import NumberFormat
from surrogate.scale import Scale
from surrogate.text import Programs, Tokenizer
from surrogate.training import TrainingConfig, train

CHECKPOINT_VERSION = 1


class CheckpointError(ValueError):
    """A saved model that is not whole, not ours, or of another version."""


class RLM:
    """A Regression Language Model: ONNX text in, one number per objective out.

    It is a small ensemble. Each member reads the text, writes the objectives in order, digit by
    digit, and keeps another part of the training labels back for early stopping; predictions are
    expectations over the members' digit trees.

    Args:
        objectives: Names of the k numbers, in the order in which they are written; each is
            conditioned on those before it.
        members: Models in the ensemble.
        seed: Seeds weights, order and noise: the same seed gives the same model.
        training: How to train.
        number: How numbers are written.
        sizes: Sizes of the model that differ from `ModelConfig`'s defaults.
        device: Where to compute, such as ``"cpu"`` or ``"cuda"``.

    Example:
        >>> rlm = RLM(["accuracy", "latency_ms"]).fit(texts, values)  # doctest: +SKIP
        >>> rlm.predict(more_texts)  # (n, 2)  # doctest: +SKIP
    """

    def __init__(
        self,
        objectives: Sequence[str],
        *,
        members: int = 3,
        seed: int = 0,
        training: TrainingConfig | None = None,
        number: NumberFormat | None = None,
        sizes: dict[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        if not objectives or len(set(objectives)) != len(objectives):
            raise ValueError(f"objectives must be distinct names, at least one; got {objectives}")
        if members < 1:
            raise ValueError(f"members must be at least 1, got {members}")
        self.objectives = tuple(objectives)
        self.members = members
        self.seed = seed
        self.training = training or TrainingConfig()
        self.number = number or NumberFormat()
        self.sizes = dict(sizes or {})
        self.device = torch.device(device)
        self.history: list[list[dict[str, float]]] = []
        self._tokenizer: Tokenizer | None = None
        self._scales: list[Scale] = []
        self._models: list[RegressionLanguageModel] = []

    def fit(
        self,
        texts: Sequence[str],
        values: ArrayLike,
        *,
        progress: bool = True,
        checkpoint: Path | None = None,
    ) -> RLM:
        """Train from scratch.

        Args:
            texts: n texts.
            values: Labels, (n, k), NaN where one is missing.
            progress: Show a progress bar.
            checkpoint: Folder for resumable state. An interrupted fit called again with the same
                arguments goes on from there; the folder is removed at the end.

        Raises:
            ValueError: The labels cannot be learnt from, see `check_labels`.
            TextError: A text cannot be read.
        """
        values = check_labels(self.objectives, texts, values)
        self._tokenizer = Tokenizer.fit(texts)
        self._scales = [Scale.fit(column[~np.isnan(column)]) for column in values.T]
        batch = self._batch(self._tokenizer.programs(texts))
        folds = _folds(len(texts), self.members, self.training.held_out, self.seed)
        self._models, self.history = [], []
        if checkpoint is not None:
            checkpoint.mkdir(parents=True, exist_ok=True)
        total = self.members * self.training.steps
        with tqdm(total=total, desc="training", unit="step", disable=not progress) as bar:
            for member, held_out in enumerate(folds):
                # The user's own random state is left as it was.
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(1_000_003 * self.seed + member)
                    model = RegressionLanguageModel(self._config()).to(self.device)
                    history = train(
                        model,
                        batch,
                        values,
                        self.number,
                        self._scales,
                        self.training,
                        held_out=held_out,
                        bar=bar,
                        checkpoint=checkpoint and checkpoint / f"member{member}.pt",
                    )
                self._models.append(model)
                self.history.append(history)
        if checkpoint is not None:
            shutil.rmtree(checkpoint)
        return self

    def predict(
        self, texts: Sequence[str], *, return_std: bool = False, batch_size: int = 1024
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Expected numbers.

        Args:
            texts: n texts.
            return_std: Also return a standard deviation, of the digits and between the members.
            batch_size: Texts decoded at once.

        Returns:
            Expectations, (n, k) float64, or these and their standard deviations. Expectations
            are taken on the scale that is half rank and half size, so they lie near the median.
        """
        moments = self._moments(texts, batch_size)
        mean = moments[..., 0].mean(0)
        deviation = np.sqrt(np.maximum(moments[..., 1].mean(0) - mean**2, 0))
        expected = self._columns(mean)
        if not return_std:
            return expected
        return expected, (self._columns(mean + deviation) - self._columns(mean - deviation)) / 2

    def predict_members(self, texts: Sequence[str], *, batch_size: int = 1024) -> np.ndarray:
        """What each member expects, (n, members, k): their spread is the model's own doubt."""
        moments = self._moments(texts, batch_size)
        return np.stack([self._columns(member[..., 0]) for member in moments], axis=1)

    def draw(
        self,
        texts: Sequence[str],
        draws: int,
        *,
        spread: float = 1.0,
        seed: int = 0,
        batch_size: int = 1024,
    ) -> np.ndarray:
        """Plausible numbers without decoding any: far cheaper than `sample`, but not joint.

        Each member's digits give an expectation and a standard deviation; the draws are normal
        on the objective's scale, with the same noise for every text.

        Args:
            texts: n texts.
            draws: Draws from each member.
            spread: Factor on the standard deviations.
            seed: Of the noise.
            batch_size: Texts decoded at once.

        Returns:
            Numbers, (n, members draws, k).
        """
        moments = self._moments(texts, batch_size)
        deviation = np.sqrt(np.maximum(moments[..., 1] - moments[..., 0] ** 2, 0))
        shape = (draws, len(self._models), 1, len(self.objectives))
        noise = np.random.default_rng(seed).standard_normal(shape)
        coordinates = (moments[..., 0] + spread * deviation * noise).reshape(
            -1, *moments.shape[1:3]
        )
        return np.stack([self._columns(draw) for draw in coordinates], axis=1)

    def sample(
        self, texts: Sequence[str], samples: int, *, seed: int = 0, batch_size: int = 1024
    ) -> np.ndarray:
        """Joint samples, (n, samples, k) float64, drawn digit by digit, the members in turn."""
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        batch = self._programs(texts)
        generator = torch.Generator(self.device).manual_seed(seed)
        drawn = np.empty((len(texts), samples, len(self.objectives)))
        size = max(1, batch_size // samples)
        for start in range(0, len(texts), size):
            rows = slice(start, start + size)
            for member, model in enumerate(self._models):
                mine = slice(member, samples, len(self._models))
                count = len(range(samples)[mine])
                if count:
                    tokens = decoding.sample(model, batch[rows], self.number, count, generator)
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
        folder = Path(folder)
        if folder.exists() and not (folder / "rlm.json").exists() and any(folder.iterdir()):
            raise FileExistsError(f"{folder} holds something else; name another folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        description = {
            "version": CHECKPOINT_VERSION,
            "objectives": self.objectives,
            "members": self.members,
            "seed": self.seed,
            "training": asdict(self.training),
            "number": asdict(self.number),
            "sizes": self.sizes,
            "scales": [
                {"knots": s.knots.tolist(), "coordinates": s.coordinates.tolist()}
                for s in self._scales
            ],
            "tokenizer_sha256": tokenizer.sha256(),
        }
        weights = {
            f"{member}.{name}": value.cpu().contiguous()
            for member, model in enumerate(self._models)
            for name, value in model.state_dict().items()
        }
        with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
            new = Path(unfinished) / "model"
            new.mkdir()
            (new / "rlm.json").write_text(json.dumps(description, indent=1))
            (new / "tokenizer.json").write_text(json.dumps(tokenizer.to_dict(), indent=1))
            safetensors.torch.save_file(weights, new / "weights.safetensors")
            if folder.exists():
                os.replace(folder, Path(unfinished) / "old")
            os.replace(new, folder)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu") -> RLM:
        """Read a model that `save` wrote.

        Raises:
            CheckpointError: A file is missing or damaged, or they do not belong together.
        """
        folder = Path(folder)
        try:
            description = json.loads((folder / "rlm.json").read_text())
            vocabulary = json.loads((folder / "tokenizer.json").read_text())
            weights = safetensors.torch.load_file(folder / "weights.safetensors")
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{folder} is not a saved model: {error.filename} is missing"
            ) from error
        except (ValueError, safetensors.SafetensorError) as error:
            raise CheckpointError(
                f"{folder} is damaged ({error}); train the model again"
            ) from error
        version = description.get("version") if isinstance(description, dict) else None
        if version != CHECKPOINT_VERSION:
            raise CheckpointError(
                f"{folder} has version {version}, this program reads version "
                f"{CHECKPOINT_VERSION}; train the model again"
            )
        try:
            tokenizer = Tokenizer(**vocabulary)
            rlm = cls(
                description["objectives"],
                members=description["members"],
                seed=description["seed"],
                training=TrainingConfig(**description["training"]),
                number=NumberFormat(**description["number"]),
                sizes=description["sizes"],
                device=device,
            )
            rlm._scales = [Scale(**scale) for scale in description["scales"]]
            expected_sha256 = description["tokenizer_sha256"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{folder} is damaged ({error}); train the model again"
            ) from error
        if tokenizer.sha256() != expected_sha256:
            raise CheckpointError(
                f"{folder}: tokenizer.json is not the one the weights were trained with; "
                "restore it or train the model again"
            )
        rlm._tokenizer = tokenizer
        for member in range(rlm.members):
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
            **self.sizes,
        )

    def _programs(self, texts: Sequence[str]) -> Batch:
        return self._batch(self._fitted().programs(texts))

    def _batch(self, programs: Programs) -> Batch:
        assert self._tokenizer is not None
        arrays = (
            *self._tokenizer.spell(programs.signatures),
            programs.signature,
            programs.reads,
            programs.linear,
            programs.output,
            programs.used,
        )
        return Batch(*(torch.from_numpy(array).to(self.device) for array in arrays))

    def _moments(self, texts: Sequence[str], batch_size: int) -> np.ndarray:
        """Expected coordinate and expected square, (members, n, k, 2)."""
        batch = self._programs(texts)
        moments = np.empty((len(self._models), len(texts), len(self.objectives), 2))
        for member, model in enumerate(self._models):
            for start in range(0, len(texts), batch_size):
                rows = slice(start, start + batch_size)
                moments[member, rows] = decoding.expect(
                    model, batch[rows], self.number, self._scales
                ).cpu()
        return moments

    def _columns(self, coordinates: np.ndarray) -> np.ndarray:
        return np.stack([s.inverse(coordinates[:, k]) for k, s in enumerate(self._scales)], axis=1)


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
