"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest

Run = Callable[[onnx.ModelProto], np.ndarray]


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a model with one input on one fixed random batch and returns its one output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def run_model(model: onnx.ModelProto) -> np.ndarray:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        (argument,) = session.get_inputs()
        images = np.random.default_rng(0).random(argument.shape, dtype=np.float32)
        return session.run(None, {argument.name: images})[0]

    return run_model
