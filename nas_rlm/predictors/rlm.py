"""The Regression Language Model as a predictor among others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_rlm import zero_cost
from nas_rlm.predictors.base import Inputs, Predictor
from search_spaces.base import Architecture, SearchSpace
from search_spaces.costs import count
from search_spaces.onnx_graph import InvalidModelError
from surrogate import RLM, Pool, TrainingConfig
from surrogate.text import TextError

TREND = ("parameters", "synflow", "jacov", "nwot")
"""The zero-cost scores that accuracy is expected to grow with, as their authors say."""
OFTEN = 3
"""Times that what has a label or is promising is learnt where others are learnt once."""
AFRESH = 100
"""Labels from which on training does not go on from the weights of an earlier one: it is rare by
then, and what those weights get wrong they would get wrong again."""
FEW_CHOICES, MOST_STEPS = 6, 2
"""Parameters of an architecture beyond which training takes more steps, and how many times as many
it takes at most."""


class RLMPredictor(Predictor):
    """Reads the ONNX text, writes the numbers; see `surrogate.RLM`.

    Accuracy depends on what the network computes, so that dead operations are not read for it; a
    first objective that is called a latency is read as one. Architectures of the space without
    labels, with their zero-cost scores, help training.

    Args:
        objectives: Names of the k numbers, accuracy first.
        seed: Seeds every random choice.
        pool: Architectures without labels that training uses, fewer where their texts take long
            to write; 0 for none.
        whole: Where the texts of all of the space are written in seconds, something is learnt of
            each of them, and ``pool`` of them, those with labels and promising ones are read.
        training: Fields of `surrogate.TrainingConfig` that differ from what is best for the
            number of labels.
        zero_cost: Let training see zero-cost scores of the pool; False: none; None: parameters
            and FLOPs, and the others where they need not be computed first, which takes a while.
        trend: Expect the first objective to grow with them; not if it is a latency.
        warm_start: An RLM of other numbers, such as another dataset's or other devices': training
            knows what it expects of the pool.
        options: Other arguments of `surrogate.RLM`.
    """

    def __init__(
        self,
        objectives: Sequence[str],
        *,
        seed: int = 0,
        pool: int = 4096,
        whole: bool = False,
        training: Mapping[str, Any] = MappingProxyType({}),
        zero_cost: bool | None = None,
        trend: bool = True,
        warm_start: RLM | None = None,
        **options: Any,
    ) -> None:
        super().__init__(objectives, seed=seed)
        if warm_start is not None and not pool:
            raise ValueError("a warm start needs a pool: it is known what is expected of that")
        self.pool = pool
        self.whole = whole
        self.training = dict(training)
        self.zero_cost = zero_cost
        self.trend = trend and not self._costs_only()
        self.warm_start = warm_start
        self.options = {"simplified": () if self._costs_only() else self.objectives[:1], **options}
        self.rlm = RLM(self.objectives, seed=seed, **self.options)
        self._pooled: Inputs | None = None
        self._made: Pool | None = None
        self._promising: list[str] = []
        self._earlier: RLMPredictor | None = None
        self._expected: dict[str, NDArray[np.float64]] = {}
        self._counted: dict[str, NDArray[np.float64]] = {}

    def go_on_from(self, earlier: Predictor, promising: Inputs | None = None) -> bool:
        if not isinstance(earlier, RLMPredictor) or earlier.objectives != self.objectives:
            return False
        if not self.pool or earlier._pooled is None:
            return False
        self._earlier, self._counted = earlier, earlier._counted
        self._promising = [] if promising is None else promising.texts
        if earlier.warm_start is self.warm_start:
            self._expected = earlier._expected
        return True

    def fit(
        self,
        inputs: Inputs,
        values: ArrayLike,
        *,
        progress: bool = False,
        checkpoint: Path | None = None,
    ) -> Self:
        """As every predictor; with a folder as ``checkpoint``, interrupted training resumes."""
        values = self.check_labels(inputs, values)
        best: dict[str, Any] = {"steps": 300 + len(inputs) // 3}
        if self.pool:
            best = best_with_pool(len(inputs), max(map(len, inputs.architectures)))
        training = TrainingConfig(**{**best, **self.training})
        self.rlm = RLM(self.objectives, seed=self.seed, training=training, **self.options)
        pool = self._make_pool(inputs) if self.pool else None
        start = None if self._earlier is None else self._earlier.rlm
        self.rlm.fit(
            inputs.texts,
            values,
            pool=pool,
            often=self._often(pool, inputs.texts) if pool and self.whole else None,
            start=start,
            afresh=len(inputs) >= AFRESH,
            progress=progress,
            checkpoint=checkpoint,
        )
        self._earlier = None
        return self

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        return np.asarray(self.rlm.predict(inputs.texts))

    def sample(self, inputs: Inputs, samples: int, *, seed: int = 0) -> NDArray[np.float64]:
        return self.rlm.sample(inputs.texts, samples, seed=seed)

    def draw(
        self,
        inputs: Inputs,
        draws: int,
        *,
        spread: float = 1.0,
        seed: int = 0,
        quickly: bool = False,
    ) -> NDArray[np.float64]:
        return self.rlm.draw(inputs.texts, draws, spread=spread, seed=seed, quickly=quickly)

    def _costs_only(self) -> bool:
        return "latency" in self.objectives[0].lower()

    def _make_pool(self, inputs: Inputs) -> Pool:
        space = inputs.space
        pooled, made = None, None
        if self._earlier is not None:
            pooled, made = self._earlier._pooled, self._earlier._made
        if made is not None and set(inputs.texts) <= set(made.texts):
            # What is read of it need not be read again.
            self._pooled, self._made = pooled, made
            return made
        if pooled is None:
            count = min(self.pool, space.affordable)
            if self.whole and space.size <= space.affordable:
                count = space.size
            others = sample_space(space, count, np.random.default_rng(self.seed))
            pooled = Inputs.buildable(space, others)
        self._pooled = pooled
        by_text = dict(zip(pooled.texts, pooled.architectures, strict=True))
        if not set(inputs.texts) <= set(by_text):
            by_text = dict(zip(inputs.texts, inputs.architectures, strict=True)) | by_text
        texts = list(by_text)
        earlier = self._expectations(texts)
        hints, growing = self._hints(space, by_text)
        self._made = Pool(texts, hints, growing if self.trend else [], earlier)
        return self._made

    def _often(self, pool: Pool, labelled: Sequence[str]) -> NDArray[np.intp]:
        """How many times each text of a pool is learnt in a pass, (m,)."""
        wanted = {*labelled, *self._promising}
        often = np.array([OFTEN if text in wanted else 0 for text in pool.texts])
        some = np.random.default_rng(self.seed).permutation(len(often))[: self.pool]
        often[some] = np.maximum(often[some], 1)
        return often

    def _hints(
        self, space: SearchSpace, by_text: Mapping[str, Architecture]
    ) -> tuple[NDArray[np.float64], list[int]]:
        """What costs nothing, (m, h), and which of it accuracy is expected to grow with."""
        if self.zero_cost is False:
            return np.empty((len(by_text), 0)), []
        architectures = list(by_text.values())
        if self.zero_cost or zero_cost.tabulated(space, architectures):
            scores = zero_cost.scores(space, architectures)
            return scores, [zero_cost.SCORES.index(name) for name in TREND]
        for text, architecture in by_text.items():
            if text not in self._counted:
                self._counted[text] = parameters_and_flops(space, architecture)
        return np.array([self._counted[text] for text in by_text]), [0, 1]

    def _expectations(self, texts: Sequence[str]) -> NDArray[np.float64] | None:
        """What the model of the warm start expects of each text, (m, e)."""
        if self.warm_start is None:
            return None
        if new := [text for text in texts if text not in self._expected]:
            self._expected |= dict(zip(new, expectations(self.warm_start, new), strict=True))
        return np.array([self._expected[text] for text in texts])


def best_with_pool(labels: int, choices: int) -> dict[str, Any]:
    """Fields of `surrogate.TrainingConfig` that are best with a pool and so many labels.

    Lessons have no noise, so they bear fast learning from few at a time, and need less ranking
    than labels. The more an architecture has to choose, the more there is to tell apart.

    Args:
        labels: How many there are.
        choices: Parameters of an architecture.
    """
    return {
        "ranking": 15.0,
        "learning_rate": 4e-3,
        "batch_size": 32,
        "steps": int((800 + labels // 2) * min(max(1.0, choices / FEW_CHOICES), MOST_STEPS)),
    }


def expectations(model: RLM, texts: Sequence[str]) -> NDArray[np.float64]:
    """What a model of other numbers expects of n texts, (n, k).

    Raises:
        ValueError: It cannot read them.
    """
    try:
        return np.asarray(model.predict(texts))
    except TextError as error:
        raise ValueError(
            f"the model of other numbers was trained on other texts than these: {error}"
        ) from error


def parameters_and_flops(space: SearchSpace, architecture: Architecture) -> NDArray[np.float64]:
    """What costs nothing to know, (2,), NaN where it cannot be counted."""
    try:
        costs = count(space.onnx_model(architecture))
    except InvalidModelError:
        return np.full(2, np.nan)
    return np.array([costs.parameters, costs.flops], dtype=np.float64)


def sample_space(
    space: SearchSpace, count: int, rng: np.random.Generator
) -> Sequence[Architecture]:
    """About ``count`` random architectures, or all of a space that has no more."""
    if space.size <= count:
        return list(space)
    return [space.sample(rng) for _ in range(count)]
