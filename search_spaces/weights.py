"""Weights for networks that are to be run, where the texts make do with constants."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper
import onnx.inliner
import onnx.numpy_helper
import onnx.shape_inference
from numpy.typing import NDArray

from search_spaces.onnx_graph import InvalidModelError


def with_weights(model: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    """A space's network with weights as initializers, different ones in every layer.

    The texts of spaces make all weights of a shape the same, in the graph. ONNX Runtime sees that
    two such layers that read the same value compute the same, and runs but one of them, which no
    trained network lets it do. So each number is multiplied by a factor drawn from 0.5 to 1.5:
    convolutions still average, variances stay positive and nothing overflows.

    Args:
        model: What ``onnx_model`` of a search space returns.
        seed: Of the factors.

    Returns:
        The model, its functions inlined.

    Raises:
        InvalidModelError: The shape of a weight does not follow from the model.
    """
    rng = np.random.default_rng(seed)
    flat = _flatten(model)
    graph, shapes = flat.graph, _Shapes(flat.graph)
    nodes = []
    for node in graph.node:
        fill = _fill(node)
        if fill is None:
            nodes.append(node)
        else:
            shape = shapes[node.output[0]]
            graph.initializer.append(_drawn(rng, node.output[0], fill, shape))
    del graph.node[:]
    graph.node.extend(nodes)
    return flat


def _fill(node: onnx.NodeProto) -> NDArray[np.floating] | None:
    """The number that a weight consists of, if the node makes one."""
    if node.op_type != "ConstantOfShape" or not node.attribute:
        return None
    number = onnx.numpy_helper.to_array(node.attribute[0].t)
    return number if np.issubdtype(number.dtype, np.floating) else None


def _drawn(
    rng: np.random.Generator, name: str, mean: NDArray[np.floating], shape: tuple[int, ...]
) -> onnx.TensorProto:
    factors = rng.uniform(0.5, 1.5, shape)
    return onnx.numpy_helper.from_array((mean * factors).astype(mean.dtype), name)


def _flatten(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without local functions, and with the shapes that can be inferred."""
    return onnx.shape_inference.infer_shapes(
        onnx.inliner.inline_local_functions(model),
        check_type=True,
        strict_mode=True,
        data_prop=True,
    )


class _Shapes(dict[str, tuple[int, ...]]):
    """Value name to shape, for the values whose shape is known."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__({tensor.name: tuple(tensor.dims) for tensor in graph.initializer})
        for value in (*graph.input, *graph.value_info, *graph.output):
            dimensions = value.type.tensor_type.shape.dim
            if all(dimension.HasField("dim_value") for dimension in dimensions):
                self[value.name] = tuple(dimension.dim_value for dimension in dimensions)

    def __missing__(self, name: str) -> tuple[int, ...]:
        raise InvalidModelError(f"the shape of {name!r} is unknown")
