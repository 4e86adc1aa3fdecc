"""A compact text must compute what the model computed, once it is given the weights."""

from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.defs
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import onnx.printer
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from search_spaces import (
    InvalidModelError,
    compact,
    count,
    expand,
    export,
    get_space,
    validate,
    weights_of,
)
from surrogate import Tokenizer
from surrogate.text import split_blocks


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1)
        self.normalisation = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.normalisation(self.convolution(x))) * 0.5


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.normalisation = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        heads = (
            linear(x).view(n, length, 2, width // 2).transpose(1, 2)
            for linear in (self.queries, self.keys, self.values)
        )
        y = nn.functional.scaled_dot_product_attention(*heads)
        return self.normalisation(x + y.transpose(1, 2).reshape(n, length, width))


def network(width: int = 8, kernel: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, kernel, padding=kernel // 2),
        Residual(width),
        nn.PReLU(width),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(width * 16, 10),
        nn.Hardtanh(-0.5, 0.5),
    )


def stages() -> nn.Module:
    """Groups of blocks that are repeated, in two widths."""
    layers: list[nn.Module] = [nn.Conv2d(1, 4, 3, padding=1)]
    for width in (4, 6):
        for _ in range(4):
            layers += [*(Residual(width) for _ in range(4)), nn.Tanh()]
        layers.append(nn.Conv2d(width, 6, 1))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


def transformer() -> nn.Module:
    return nn.Sequential(*(Attention(16) for _ in range(8)), nn.Linear(16, 2))


def run(model: onnx.ModelProto, *inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def check(model: onnx.ModelProto, *inputs: np.ndarray) -> str:
    """What must hold of every text."""
    text = compact(model)
    read = validate(text)
    assert np.isfinite(run(read, *inputs).astype(float)).all()  # with the weights it makes
    np.testing.assert_array_equal(run(expand(text), *inputs), run(read, *inputs))
    expanded = expand(text, weights_of(model))
    onnx.checker.check_model(expanded, full_check=True)
    assert not expanded.functions
    np.testing.assert_allclose(run(expanded, *inputs), run(model, *inputs), rtol=1e-6, atol=1e-6)
    assert compact(text) == text
    assert compact(expanded) == text
    return text


@pytest.mark.parametrize(
    ("build", "shape", "least"),
    [(network, (2, 1, 8, 8), 0), (stages, (1, 1, 8, 8), 5), (transformer, (1, 6, 16), 5)],
)
def test_it_computes_the_same_and_repeats_are_written_once(build, shape, least) -> None:
    torch.manual_seed(0)
    model = export(build(), shape)
    text = check(model, random(*shape))
    assert count(onnx.parser.parse_model(text)) == count(model)
    assert len(onnx.printer.to_text(expand(text))) > least * len(text)


def test_functions_say_what_they_hold() -> None:
    text = compact(export(stages(), (1, 1, 8, 8)))
    heads = re.findall(r"^(\w+)(?: <(.*)>)? \(.*\) => \(", text, flags=re.MULTILINE)
    assert ("ConvAddReluMul", "w, b") in heads  # the widths are what it is given
    assert ("Conv_wbp", "w, b, pads") in heads
    assert any(re.match(r"ConvAddReluMulTanhOf\d+$", name) for name, _ in heads)
    names = [name for name, _ in heads]
    assert len(set(names)) == len(names)


class Turned(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(2, 3)


def test_functions_are_not_called_like_operators() -> None:
    """ONNX Runtime would take them for these, whatever their domain."""
    layers: list[nn.Module] = []
    for width in (4, 6):
        layers += [nn.Conv2d(4, width, 1)]
        for _ in range(5):
            layers += [nn.Conv2d(width, width, 3, padding=1), Turned()]
        layers += [nn.Conv2d(width, 4, 1)]
    text = check(export(nn.Sequential(*layers), (1, 4, 8, 8)), random(1, 4, 8, 8))
    assert "\nConvTranspose2 <w, b> (x1)" in text


def test_a_body_has_the_same_name_in_every_text() -> None:
    def blocks(depth: int) -> dict[str, str]:
        layers = [Residual(4) for _ in range(depth)]
        text = compact(export(nn.Sequential(*layers), (1, 4, 8, 8)))
        return {piece.split("\n")[1].split()[0]: piece for piece in text.split("\n<domain")[1:]}

    few, many = blocks(5), blocks(7)
    assert "ConvAddReluMul_4x4x3x3" in few
    assert few.items() <= many.items()


def test_the_space_of_a_benchmark_is_read_as_well() -> None:
    space = get_space("nasbench201")
    architecture = next(iter(space))
    text = compact(space.onnx_model(architecture))
    assert text == compact(space.onnx_text(architecture))
    assert "Weights" not in text  # its weights are computed in the graph
    image = random(1, 3, 32, 32)
    theirs = run(space.onnx_model(architecture), image)
    np.testing.assert_allclose(run(expand(text, []), image), theirs, rtol=1e-5)


def test_weights_are_told_apart_by_their_shapes() -> None:
    texts = [compact(export(network(w, k), (2, 1, 8, 8))) for w, k in ((8, 3), (4, 3), (8, 1))]
    programs = Tokenizer.fit(texts).programs(texts)
    first = [programs.signatures[row[0]] for row in programs.signature]
    assert len(set(first)) == 3
    assert first[0] == (
        "local.Conv_wbp<w=[8,1,3,3], b=[8], pads=[1,1,1,1]>(float[2,1,8,8])"  # and its input
    )


def test_what_is_repeated_is_read_as_often() -> None:
    deep, deeper = (
        compact(export(nn.Sequential(*(Residual(4) for _ in range(n))), (1, 4, 8, 8)))
        for n in (3, 9)
    )
    assert [len(split_blocks(text)) for text in (deep, deeper)] == [1, 1]
    programs = Tokenizer.fit([deep, deeper]).programs([deep, deeper])
    assert (programs.signature >= 0).sum(1).tolist() == [3 * 5, 9 * 5]
    np.testing.assert_array_equal(programs.reads[1, 1:15, :16], programs.reads[0, 1:15, :16])


def test_a_sum_with_a_weight_is_not_a_sum_of_values() -> None:
    bias = onnx.numpy_helper.from_array(random(4), "b")
    text = compact(proto("y = Add (x, b)", bias))
    assert not Tokenizer.fit([text]).programs([text]).linear.any()


def proto(
    body: str,
    *weights: onnx.TensorProto,
    given: str = "float[2,4] x",
    gives: str = "float[2,4] y",
    version: int = 21,
) -> onnx.ModelProto:
    head = f'<ir_version: 10, opset_import: ["":{version}]>\n'
    model = onnx.parser.parse_model(f"{head}net ({given}) => ({gives}) {{ {body} }}")
    model.graph.initializer.extend(weights)
    return model


def weight(name: str, array: np.ndarray) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(array, name)


@pytest.mark.parametrize(
    "model",
    [
        proto("y = MatMul (w, x)", weight("w", random(2, 2))),
        proto("y = Gemm <alpha=0.5, transB=1> (x, w)", weight("w", random(4, 4))),
        proto("y = Sum (w, x, w)", weight("w", random(2, 4))),
        proto(
            "i = ArgMax <axis=1> (x)\n j = Squeeze (i)\n y = Gather (w, j)",
            weight("w", random(4, 4)),
        ),
        proto(
            "q = QuantizeLinear (x, s, z)\n d = DequantizeLinear (q, s, z)\n"
            "v = DequantizeLinear <axis=0> (w, t, z4)\n y = MatMul (d, v)",
            weight("s", np.float32(0.1)),
            weight("z", np.uint8(3)),
            weight("w", np.arange(16, dtype=np.uint8).reshape(4, 4)),
            weight("t", np.full(4, 0.1, np.float32)),
            weight("z4", np.arange(4, dtype=np.uint8)),
        ),
        proto(
            "h = Cast <to=10> (x)\n g = Mul (h, w)\n y = Cast <to=1> (g)",
            weight("w", random(4).astype(np.float16)),
        ),
        proto(
            "h = Cast <to=16> (x)\n v = Cast <to=1> (w)\n u = Cast <to=1> (h)\n y = Mul (u, v)",
            weight("w", random(4).astype(ml_dtypes.bfloat16)),
        ),
        proto("y = Where (w, x, x)", weight("w", np.array([True, False, True, False]))),
        proto('y = Clip (x, "", m)', weight("m", np.float32(0.5))),
        proto("y = Max (x, m)", weight("m", np.float32(-np.inf))),
        proto("y = Mul (x, m)", weight("m", np.float32(1 / 3))),
        proto(
            "c = Cast <to=6> (x)\n d = Add (c, m)\n y = Cast <to=1> (d)",
            weight("m", np.int32(7)),
        ),
        proto("y = Reshape (x, s)", weight("s", np.array([2, 4])), given="float[4,2] x"),
        proto(
            "y = Resize <mode=\"linear\"> (x, r, s)",
            weight("r", np.zeros(0, np.float32)),
            weight("s", np.array([1, 2], np.float32)),
            given="float[2,2] x",
        ),
        proto(
            '"", h = LSTM <hidden_size=2, direction="bidirectional"> (x, w, r)\n'
            "t = Transpose <perm=[1,0,2]> (h)\n y = Reshape (t, s)",
            weight("w", random(2, 8, 3)),
            weight("r", random(2, 8, 2)),
            weight("s", np.array([2, 4])),
            given="float[5,2,3] x",
        ),
        proto("a, b = Split <num_outputs=2, axis=1> (x)\n y = Concat <axis=1> (b, w, a)",
              weight("w", random(2, 2)), gives="float[2,6] y"),
        proto("a = Identity (w)\n b = Relu (x)\n y = Add (a, b)", weight("w", random(4))),
    ],
)  # fmt: skip
def test_weights_of_any_operator(model: onnx.ModelProto) -> None:
    value = model.graph.input[0].type.tensor_type.shape.dim
    check(model, random(*(dimension.dim_value for dimension in value)))


def test_weights_come_in_the_order_of_reading() -> None:
    first, second = random(4, 4), random(4, 4) + 1
    model = proto(
        "a = MatMul (x, second)\n b = MatMul (a, first)\n y = MatMul (b, second)",
        weight("first", first),
        weight("second", second),
    )
    for ours, theirs in zip(weights_of(model), (second, first, second), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_output_may_be_a_weight() -> None:
    model = proto("y = Relu (x)", weight("w", random(3)), gives="float[2,4] y, float[3] w")
    text = compact(model)
    session = onnxruntime.InferenceSession(expand(text, weights_of(model)).SerializeToString())
    np.testing.assert_array_equal(session.run(None, {"x1": random(2, 4)})[1], random(3))
    with pytest.raises(ValueError, match=r"weight 0, read by no node, is float\[3\]"):
        expand(text, [random(4)])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([random(4, 4)], "has 2 weights, but 1 were given"),
        ([random(4, 4)] * 3, "has 2 weights, but 3 were given"),
        ([random(4, 4), random(4)], r"weight 1, .*Gemm.* is float\[4,4\] .* float\[4\] was given"),
        ([random(4, 4).astype(float), random(4, 4)], r"weight 0, .* but double\[4,4\] was given"),
    ],
)
def test_weights_must_fit(weights: list[np.ndarray], message: str) -> None:
    body = "a = Gemm (x, w)\n y = Gemm (a, w)"
    with pytest.raises(ValueError, match=message):
        expand(compact(proto(body, weight("w", random(4, 4)))), weights)


def test_what_is_no_text_is_not_expanded() -> None:
    with pytest.raises(InvalidModelError, match="not ONNX text"):
        expand("net (")
    with pytest.raises(InvalidModelError, match="no such operator or function"):
        expand(compact(proto("y = Add (x, w)", weight("w", random(4)))).split("\n<domain")[0])


def test_old_models_are_converted() -> None:
    model = proto("y = BatchNormalization (x, s, b, m, v)", version=9)
    model.graph.initializer.extend(weight(name, np.abs(random(4))) for name in "sbmv")
    text = compact(model)
    assert '"":13' in text
    np.testing.assert_allclose(
        run(expand(text, weights_of(model)), random(2, 4)), run(model, random(2, 4)), rtol=1e-6
    )


def test_external_data_need_not_be_there(tmp_path: Path) -> None:
    model = export(network(64), (2, 1, 8, 8))
    expected = weights_of(model)
    text = compact(model)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights")
    for ours, theirs in zip(weights_of(str(tmp_path / "m.onnx")), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    (tmp_path / "weights").unlink()
    assert compact(tmp_path / "m.onnx") == text
    with pytest.raises(InvalidModelError, match=r"numbers of '.*weight' are not there"):
        weights_of(tmp_path / "m.onnx")


def test_what_is_computed_may_not_be_in_external_data_that_is_absent(tmp_path: Path) -> None:
    model = proto("y = Reshape (x, s)", weight("s", np.array([2, 4])))
    text = compact(model)
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    assert compact(tmp_path / "m.onnx") == text
    (tmp_path / "w").unlink()
    with pytest.raises(InvalidModelError, match="the constant 's' says what is computed"):
        compact(tmp_path / "m.onnx")


def test_the_numbers_of_weights_are_not_read() -> None:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2**16, 2**16])  # without any
    model = proto("y = MatMul (x, w)", tensor, given="float[2,65536] x", gives="float[2,65536] y")
    assert "local.MatMul_b <b=[65536,65536]> (x1)" in compact(model)


MODEL = """<ir_version: 10, opset_import: ["":21{imports}]>
net (float[1,4] x) => (float[{dimension},4] y) {{ y = {operator} (x) }}"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODEL.format(imports=', "me":1', dimension=1, operator="me.Magic"), "y.*Magic.*'me'"),
        (MODEL.format(imports="", dimension=1, operator="Relux"), "Relux.*not an operator"),
        (
            MODEL.format(imports="", dimension=1, operator="Relu").replace("1,4] x", "N,4] x"),
            "shape of 'x' is not fixed",
        ),
        (
            MODEL.format(imports="", dimension="N", operator="NonZero").replace(
                "float[N,4] y", "int64[2,N] y"
            ),
            "shape of 'y' is not fixed",
        ),
        (MODEL.format(imports="", dimension=1, operator="Relu")[:-9], "not ONNX text"),
        (MODEL.format(imports="", dimension=3, operator="Relu"), "dim"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidModelError, match=message):
        compact(text)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a = Relu (b)\n b = Relu (a)\n y = Add (x, a)", "(?s)sorted.*'b' of node.*Relu"),
        ("z = Relu (x)", "output 'y' is not an output of any node"),
        ("y = Constant <value=float[2,4] {0,0,0,0,0,0,0,0}> ()", "disconnected.* on x"),
        ("y = Relu <alpha=1.0> (x)", "alpha"),
    ],
)
def test_graphs_that_are_none(body: str, message: str) -> None:
    with pytest.raises(InvalidModelError, match=message):
        compact(proto(body))


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


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x0bnot a model")
    for kind in (Path, str):
        with pytest.raises(InvalidModelError, match=r"m\.onnx is not"):
            compact(kind(tmp_path / "m.onnx"))
        with pytest.raises(FileNotFoundError):
            compact(kind(tmp_path / "none.onnx"))


def test_a_module_is_to_be_exported() -> None:
    with pytest.raises(TypeError, match=r"Linear.*export"):
        compact(nn.Linear(4, 4))  # type: ignore[arg-type]


def test_shapes_of_outputs_are_inferred() -> None:
    model = proto("y = Relu (x)")
    text = compact(model)
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "N"
    assert compact(model) == text
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert compact(model) == text


OPERATIONS = {
    "{0} = Relu ({1})": (),
    "{0} = Add ({1}, {2})": (),
    "{0} = Mul ({1}, h)": (),
    "{0} = MatMul ({1}, w{3})": (4, 4),
    "{0} = Add (w{3}, {1})": (4,),
    "{0} = Gemm <transB=1> ({1}, w{3}, {2})": (4, 4),
    "{0}l, {0}r = Split <axis=1, num_outputs=2> ({1})\n {0} = Concat <axis=1> ({0}r, {0}l)": (),
    "{0}s = Constant <value_ints=[4,2]> ()\n {0}t = Reshape ({1}, {0}s)\n"
    "{0}u = Transpose <perm=[1,0]> ({0}t)\n {0}v = Constant <value_ints=[2,4]> ()\n"
    "{0} = Reshape ({0}u, {0}v)": (),
}


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """Random blocks of random operations, each block several times."""
    values, lines, weights = ["x"], [], [weight("h", np.float32(0.5))]
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.integers(1, 5))
        chosen = draw(st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=size, max_size=size))
        back = st.tuples(st.integers(1, 3), st.integers(1, 3))  # how far
        reads = draw(st.lists(back, min_size=size, max_size=size))
        for _ in range(draw(st.integers(1, 6))):
            for operation, (one, other) in zip(chosen, reads, strict=True):
                name = f"a{len(values)}"
                inputs = (values[-min(far, len(values))] for far in (one, other))
                lines.append(operation.format(name, *inputs, len(values)))
                if shape := OPERATIONS[operation]:
                    array = np.random.default_rng(len(values)).normal(size=shape) / 4
                    weights.append(weight(f"w{len(values)}", array.astype(np.float32)))
                values.append(name)
    return proto("\n".join(lines) + f"\n y = Tanh ({values[-1]})", *weights)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(graphs())
def test_random_graphs(model: onnx.ModelProto) -> None:
    check(model, random(2, 4))
