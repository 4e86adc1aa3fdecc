"""A compact text must compute what the model computed, once it is given the weights."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import onnxruntime
import pytest
import torch
from torch import nn

from search_spaces import InvalidModelError, compact, export, get_space
from surrogate import Tokenizer


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1)
        self.normalisation = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(x + self.normalisation(self.convolution(x)))
        return y.reshape(y.shape[0], -1, 4, 16) * 0.5


def network(width: int = 8, kernel: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, kernel, padding=kernel // 2),
        Residual(width),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(8 * width * 2, 10),
        nn.Hardtanh(-0.5, 0.5),
    )


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, feeds)[0]


def test_with_its_weights_it_computes_the_same() -> None:
    torch.manual_seed(0)
    model = export(network(), (2, 1, 8, 8))
    short = onnx.parser.parse_model(compact(model))
    x = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    read = [name for node in model.graph.node for name in node.input if name in tensors]
    weights = [onnx.numpy_helper.to_array(tensors[name]) for name in dict.fromkeys(read)]
    weights = [weight for weight in weights if weight.size > 1 and weight.dtype == np.float32]
    names = [value.name for value in short.graph.input]
    assert names == ["x1", *(f"w{i + 1}" for i in range(len(weights)))]
    ours = run(short, dict(zip(names, [x, *weights], strict=True)))
    theirs = run(model, {model.graph.input[0].name: x})
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_it_is_its_own_compact_text() -> None:
    text = compact(export(network(), (2, 1, 8, 8)))
    assert compact(text) == text
    assert compact(onnx.parser.parse_model(text)) == text


def test_the_space_of_a_benchmark_is_read_as_well() -> None:
    space = get_space("nasbench201")
    architecture = next(iter(space))
    text = compact(space.onnx_model(architecture))
    assert text == compact(space.onnx_text(architecture))
    assert "w1" not in text  # its weights are made in the graph


def test_weights_are_told_apart_by_their_shapes() -> None:
    texts = [compact(export(network(w, k), (2, 1, 8, 8))) for w, k in ((8, 3), (4, 3), (8, 1))]
    programs = Tokenizer.fit(texts).programs(texts)
    first = [programs.signatures[row[0]] for row in programs.signature]
    assert len(set(first)) == 3
    assert first[0].endswith("(float[2,1,8,8],float[8,1,3,3],float[8])")
    assert programs.reads[0, 0].tolist() == [1] + [0] * programs.signature.shape[1]
    product = programs.signatures.index("Mul")
    assert not programs.linear[programs.signature == product].any()


def test_a_sum_with_a_weight_is_not_a_sum_of_values() -> None:
    text = compact(
        """<ir_version: 10, opset_import: ["":21]>
        biased (float[1,4] x, float[4] w7) => (float[1,4] y) { y = Add (x, w7) }"""
    )
    assert not Tokenizer.fit([text]).programs([text]).linear.any()


def test_external_data_need_not_be_there(tmp_path) -> None:
    model = export(network(64), (2, 1, 8, 8))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights")
    expected = compact(export(network(64), (2, 1, 8, 8)))
    (tmp_path / "weights").unlink()
    assert compact(tmp_path / "m.onnx") == expected


MODEL = """<ir_version: 10, opset_import: ["":21{imports}]>
net (float[1,4] x) => (float[{dimension},4] y) {{ y = {operator} (x) }}"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODEL.format(imports=', "me":1', dimension=1, operator="me.Magic"), "y.*Magic.*'me'"),
        (MODEL.format(imports="", dimension=1, operator="Relux"), "Relux.*not an operator"),
        (MODEL.format(imports="", dimension="N", operator="Relu"), "shape of 'y' is not fixed"),
        (MODEL.format(imports="", dimension=1, operator="Relu")[:-9], "not ONNX text"),
        (MODEL.format(imports="", dimension=3, operator="Relu"), "dim"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidModelError, match=message):
        compact(text)


def test_control_flow_is_refused() -> None:
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["c"], value_float=1.0)],
        "branch",
        [],
        [onnx.helper.make_tensor_value_info("c", 1, [])],
    )
    node = onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    values = [onnx.helper.make_tensor_value_info(n, k, []) for n, k in (("x", 9), ("y", 1))]
    graph = onnx.helper.make_graph([node], "net", values[:1], values[1:])
    with pytest.raises(InvalidModelError, match=r"\(If\) is control flow"):
        compact(onnx.helper.make_model(graph))


def test_a_file_that_is_no_model(tmp_path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x0bnot a model")
    with pytest.raises(InvalidModelError, match=r"m\.onnx"):
        compact(tmp_path / "m.onnx")
    with pytest.raises(FileNotFoundError):
        compact(tmp_path / "none.onnx")
