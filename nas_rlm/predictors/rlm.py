"""The Regression Language Model as a predictor among others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_rlm.predictors.base import Inputs, Predictor
from surrogate import RLM


class RLMPredictor(Predictor):
    """Reads the ONNX text, writes the numbers; see `surrogate.RLM`.

    Args:
        objectives: Names of the k numbers, accuracy first.
        seed: Seeds every random choice.
        options: Other arguments of `surrogate.RLM`.
    """

    def __init__(self, objectives: Sequence[str], *, seed: int = 0, **options: Any) -> None:
        super().__init__(objectives, seed=seed)
        self.rlm = RLM(self.objectives, seed=seed, **options)

    def fit(self, inputs: Inputs, values: ArrayLike, *, progress: bool = False) -> Self:
        values = self.check_labels(inputs, values)
        self.rlm.fit(inputs.texts, values, progress=progress)
        return self

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        return np.asarray(self.rlm.predict(inputs.texts))

    def sample(self, inputs: Inputs, samples: int, *, seed: int = 0) -> NDArray[np.float64]:
        return self.rlm.sample(inputs.texts, samples, seed=seed)
