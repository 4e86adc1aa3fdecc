"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx.inliner
import onnx.shape_inference
import onnxruntime
import pytest

from search_spaces import validate

Run = Callable[[onnx.ModelProto], np.ndarray]
Shape = tuple[int, ...]
Nodes = Callable[[str], list[tuple[str, list[Shape], Shape]]]


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


@pytest.fixture(scope="session")
def nodes() -> Nodes:
    """Reads a text: the operators of its flat graph, and the shapes of their inputs and output.

    For published figures that are counted in another way than `count` does.
    """

    def read(text: str) -> list[tuple[str, list[Shape], Shape]]:
        flat = onnx.inliner.inline_local_functions(validate(text))
        graph = onnx.shape_inference.infer_shapes(flat, data_prop=True).graph
        shapes = {
            value.name: tuple(
                dimension.dim_value for dimension in value.type.tensor_type.shape.dim
            )
            for value in (*graph.input, *graph.value_info, *graph.output)
        }
        return [
            (node.op_type, [shapes[name] for name in node.input], shapes[node.output[0]])
            for node in graph.node
        ]

    return read
