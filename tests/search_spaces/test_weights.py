from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnx.parser
import onnxruntime
import pytest

from search_spaces import compact, count, get_space, space_names, with_weights

SPACE = get_space("nasbench201")
# Nodes 1 and 2 are the same convolution of node 0; so are both edges from node 1.
TWINS = SPACE.parse(
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
)


def operators(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """What ONNX Runtime makes of a model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def run(model: onnx.ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (value,) = session.get_inputs()
    image = np.random.default_rng(0).standard_normal(value.shape, np.float32)
    return session.run(None, {value.name: image})[0]


def test_onnx_runtime_merges_equal_layers_but_not_those_with_weights(tmp_path: Path) -> None:
    model = SPACE.onnx_model(TWINS)
    inlined = onnx.inliner.inline_local_functions(model)
    convolutions = sum(node.op_type == "Conv" for node in inlined.graph.node)
    assert operators(model, tmp_path)["Conv"] < convolutions, "it does so no longer"
    made = operators(with_weights(model), tmp_path)
    assert made["Conv"] == convolutions
    assert not made.keys() & {"ConstantOfShape", "Concat", "Div"}, "nothing is made at run time"


@pytest.mark.parametrize("name", space_names())
def test_all_spaces(name: str) -> None:
    space = get_space(name)
    model = space.onnx_model(space.sample(np.random.default_rng(0)))
    weighted = with_weights(model)
    onnx.checker.check_model(weighted, full_check=True)
    fills = [
        onnx.numpy_helper.to_array(node.attribute[0].t).dtype
        for node in weighted.graph.node
        if node.op_type == "ConstantOfShape"
    ]
    assert np.float32 not in fills
    assert [value.name for value in weighted.graph.input] == ["image"]
    assert count(weighted) == count(model)


def test_weights_differ_and_nothing_overflows() -> None:
    model = SPACE.onnx_model(SPACE.sample(np.random.default_rng(1)))
    first, again, other = (run(with_weights(model, seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert np.isfinite(first).all()
    assert np.ptp(first) > 0, "all outputs had the same weights"


def test_compact_texts_have_weights_too(tmp_path: Path) -> None:
    text = compact(with_weights(SPACE.onnx_model(TWINS, image_size=8)))
    weighted = with_weights(onnx.parser.parse_model(text))
    assert np.isfinite(run(weighted)).all()
    assert (
        operators(weighted, tmp_path)["Conv"]
        > operators(onnx.parser.parse_model(text), tmp_path)["Conv"]
    )
