"""A new device from a few measurements, given a model of devices that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nas_rlm.predictors import Inputs
from nas_rlm.predictors.rlm import (
    FEW_CHOICES,
    RLMPredictor,
    best_with_pool,
    expectations,
    sample_space,
)
from search_spaces.base import Architecture, SearchSpace
from surrogate import RLM, Pool
from surrogate.choice import most_telling

POOL = 4096
"""Architectures that are to be predicted well."""
LEAST = 5
"""Measurements that a device can be learnt from."""

TRAINING = {
    "rank_share": 0.0,
    "beyond": 0.5,
    "trusting": True,
    "cost_share": 1.0,
    "widest": 0.05,
    "ranking": 5.0,
}
"""Fields of `surrogate.TrainingConfig`: latencies are learnt as they are, and expected to be much
like those of other devices; scorers learn nothing from so few. Lessons are learnt to the last
digit, however far the measurements may be from them."""


def choose(
    space: SearchSpace,
    known: RLM,
    count: int,
    *,
    measured: Sequence[Architecture] = (),
    seed: int = 0,
) -> list[Architecture]:
    """The architectures to measure on a new device, the most telling first.

    Args:
        space: Their search space.
        known: A model of other devices, trained on texts of this space.
        count: How many.
        measured: Those that are measured already.
        seed: Of the architectures that are considered.

    Raises:
        ValueError: The model cannot read them, or there are not as many.
    """
    others = sample_space(space, POOL, np.random.default_rng(seed))
    inputs = Inputs.buildable(space, [*measured, *others])
    by_text = dict(zip(inputs.texts, inputs.architectures, strict=True))
    labelled = len({space.onnx_text(architecture) for architecture in measured})
    texts = list(by_text)
    pool = Pool(texts, np.empty((len(texts), 0)), earlier=expectations(known, texts))
    rows = most_telling(pool, count, labelled=range(labelled), seed=seed)
    architectures = list(by_text.values())
    return [architectures[row] for row in rows]


def adapt(
    space: SearchSpace,
    known: RLM,
    name: str,
    architectures: Sequence[Architecture],
    latencies: ArrayLike,
    *,
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> RLMPredictor:
    """An RLM of a new device.

    What the known devices' model expects of each text is one of the things that guesses for
    others are made from, see `surrogate.prior`; the new model learns to write these guesses.
    Latencies are mostly sums, so they are learnt as they are, not by their ranks.

    Args:
        space: The architectures' search space.
        known: A model of other devices, trained on texts of this space.
        name: Of the number, such as ``phone_latency_ms``.
        architectures: n that were measured, at least `LEAST`.
        latencies: Their latencies, (n,), in any unit, positive.
        seed: Of the training.
        progress: Show a progress bar.
        options: Other arguments of `RLMPredictor`.

    Raises:
        ValueError: These are too few, or not all positive and finite, or the model cannot read
            the architectures.
    """
    values = np.asarray(latencies, dtype=np.float64).reshape(-1, 1)
    if len(values) < LEAST:
        raise ValueError(f"a device takes at least {LEAST} measurements, there are {len(values)}")
    usable = np.isfinite(values) & (values > 0)
    if not usable.all():
        wrong = int(usable.argmin())
        raise ValueError(
            f"{space.format(architectures[wrong])}: a latency of {values[wrong, 0]:g}; leave out "
            "what did not run"
        )
    # However much there is to choose: what measurements leave open is more than digits miss.
    usual = best_with_pool(len(values), FEW_CHOICES)
    training = {**usual, **TRAINING, **options.pop("training", {})}
    options = {"pool": POOL, "training": training, **options}
    predictor = RLMPredictor([name], seed=seed, warm_start=known, **options)
    return predictor.fit(Inputs(space, architectures), values, progress=progress)
