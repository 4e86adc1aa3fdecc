"""What is remembered between texts must agree with what ONNX says of each text as a whole."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import onnx
import onnx.inliner
import onnx.parser
import onnx.shape_inference
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from search_spaces import (
    Costs,
    InvalidModelError,
    SearchSpace,
    compact,
    count,
    export,
    get_space,
    space_names,
    validate,
    work_list,
)

Shape = tuple[int, ...]


def flat_costs(
    model: onnx.ModelProto,
) -> tuple[Costs, Counter[tuple[str, tuple[Shape, ...], tuple[Shape, ...]]]]:
    """The slow way, of the whole model: its costs, and its operators with their shapes."""
    graph = onnx.shape_inference.infer_shapes(
        onnx.inliner.inline_local_functions(model),
        check_type=True,
        strict_mode=True,
        data_prop=True,
    ).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    weights = {tensor.name for tensor in graph.initializer}
    parameters: set[str] = set()
    flops = 0
    operators = Counter()
    for node in graph.node:
        if node.op_type == "Shape" or weights.issuperset(filter(None, node.input)):
            weights.update(node.output)
        else:
            read = tuple(shapes[name] for name in node.input if name and name not in weights)
            operators[node.op_type, read, tuple(shapes[name] for name in node.output)] += 1
        if node.op_type in ("Conv", "Gemm", "BatchNormalization"):
            parameters |= weights.intersection(node.input[1:3])
        if node.op_type in ("Conv", "Gemm"):
            kernel = shapes[node.input[1]]
            transposed = any(item.name == "transB" and item.i for item in node.attribute)
            features = kernel[1] if node.op_type == "Gemm" and not transposed else kernel[0]
            has_bias = len(node.input) > 2 and node.input[2] != ""
            output = math.prod(shapes[node.output[0]])
            flops += output * (math.prod(kernel) // features + has_bias)
    costs = Costs(sum(math.prod(shapes[name]) for name in parameters), flops)
    return costs, operators


def assert_agrees(model: onnx.ModelProto) -> None:
    costs, operators = flat_costs(model)
    assert count(model) == costs
    work = work_list(model)
    found = Counter()
    for operation, times in work.items():
        found[operation.operator, operation.inputs, operation.outputs] += times
    assert found == operators


@pytest.fixture(params=space_names())
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return get_space(request.param)


def test_every_space_and_its_flat_texts(space: SearchSpace) -> None:
    rng = np.random.default_rng(1)
    for _ in range(3):
        architecture = space.sample(rng)
        assert_agrees(space.onnx_model(architecture))
        assert_agrees(space.onnx_model(architecture, batch_size=2, image_size=64))
    assert_agrees(onnx.parser.parse_model(compact(space.onnx_model(architecture))))


class Exported(torch.nn.Module):
    """Shapes that are computed, a shared convolution, groups, a transposed weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(8)
        self.shared = torch.nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.pool = torch.nn.AvgPool2d(2)
        self.head = torch.nn.Linear(8 * 4 * 4, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.norm(self.stem(images)))
        hidden = self.pool(self.shared(self.shared(hidden)))
        n, c, h, w = hidden.shape
        hidden = hidden.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, -1)
        scores = hidden.view(n, c, -1) @ hidden.view(n, c, -1).transpose(1, 2)
        return self.head(hidden) + scores.mean()


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_exported_modules(mode: str) -> None:
    model = export(getattr(Exported(), mode)(), (2, 3, 8, 8))
    assert_agrees(model)
    assert_agrees(onnx.parser.parse_model(compact(model)))
    assert {o.macs for o in work_list(model) if o.operator == "MatMul"} == {2 * 8 * 8 * 16}


CONVOLUTION = """\
<ir_version: 10, opset_import: ["":21]>
main (float[BATCH,4,8,8] x) => (float[BATCH,6,4,4] y) {
  y = Conv <strides=[2,2], pads=[1,1,1,1], group=2> (x, w, b)
}
"""


def convolution(batch: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(CONVOLUTION.replace("BATCH", batch))
    for name, shape in {"w": (6, 2, 3, 3), "b": (6,)}.items():
        tensor = numpy_helper.from_array(np.zeros(shape, dtype=np.float32), name)
        model.graph.initializer.append(tensor)
    return model


def test_costs_of_initializers_groups_and_bias():
    assert count(convolution("1")) == Costs(parameters=114, flops=6 * 16 * (18 + 1))
    assert count(convolution("5")) == Costs(parameters=114, flops=5 * 6 * 16 * (18 + 1))


def test_costs_need_known_shapes():
    with pytest.raises(InvalidModelError, match="the shape of 'y' is unknown"):
        count(convolution("N"))


def test_shared_weight_counts_once_but_runs_twice():
    model = onnx.parser.parse_model("""\
        <ir_version: 10, opset_import: ["":21]>
        main (float[1,3] x) => (float[1,3] y) {
          n = Constant <value_ints=[3,3]> ()
          w = ConstantOfShape <value=float[1] {0.5}> (n)
          h = Gemm (x, w)
          y = Gemm <transB=1> (h, w)
        }""")
    assert count(model) == Costs(parameters=9, flops=18)


SHARED = """\
<ir_version: 10, opset_import: ["":21, "own":1]>
main (float[1,4,8,8] x) => (float[1,4,8,8] z) {
  n = Constant <value_ints=[4,4,1,1]> ()
  w = ConstantOfShape <value=float[1] {0.5}> (n)
  a, u = own.Twice <n=4> (x, w)
  b, v = own.Twice <n=4> (a, w)
  z = Conv <auto_pad="SAME_UPPER"> (b, u)
}
<domain: "own", opset_import: ["":21, "own":1]>
Twice <n> (x, w) => (y, u) {
  d = own.Numbers <n: int=@n> ()
  u = ConstantOfShape <value=float[1] {0.5}> (d)
  t = Conv <auto_pad="SAME_UPPER"> (x, u)
  y = Conv (t, w)
}
<domain: "own", opset_import: ["":21]>
Numbers <n> () => (m) {
  a = Constant <value_int: int=@n> ()
  z = Constant <value_ints=[0]> ()
  b = Unsqueeze (a, z)
  one = Constant <value_ints=[1,1]> ()
  m = Concat <axis=0> (b, b, one)
}
"""


def test_weights_cross_functions_and_count_once():
    model = validate(SHARED)
    assert_agrees(model)
    assert count(model) == Costs(parameters=3 * 16, flops=5 * 16 * 64)


def test_functions_of_one_name_are_told_apart():
    """Also where the caller is the same and only what it calls differs."""
    other = validate(SHARED.replace("<value_ints=[1,1]>", "<value_ints=[3,3]>"))
    for model in (validate(SHARED), other, validate(SHARED)):
        assert_agrees(model)
    assert count(other).parameters == 16 + 2 * 9 * 16


def test_what_is_used():
    space = get_space("nasbench201")

    def used(**operations: str) -> Counter[str]:
        architecture = {edge: operations.get(edge, "none") for edge in space.choices}
        work = work_list(space.onnx_model(architecture))
        counts = Counter()
        for operation, times in work.items():
            if operation.operator == "Conv" and operation.kernel == (3, 3):
                counts["used" if operation.used else "unused"] += times
        return counts

    # Five are of the skeleton, fifteen of the cells.
    dead = {"edge_0_1": "nor_conv_3x3", "edge_0_3": "skip_connect"}
    assert used(**dead) == Counter(used=5, unused=15)
    assert used(**dead, edge_1_2="nor_conv_1x1") == Counter(used=5, unused=15)
    assert used(**dead, edge_1_2="skip_connect", edge_2_3="skip_connect") == Counter(used=20)
    zeros = {"edge_2_3": "nor_conv_3x3"}
    assert used(**zeros, edge_0_3="skip_connect") == Counter(used=20), "zeros are read"
    assert used(**zeros) == used(edge_0_1="nor_conv_3x3") == Counter(unused=20), "constant"


def test_control_flow_is_refused():
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])],
    )
    node = helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch)
    values = {
        name: helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (
            ("condition", TensorProto.BOOL, []),
            ("x", TensorProto.FLOAT, [1]),
            ("y", TensorProto.FLOAT, [1]),
        )
    }
    graph = helper.make_graph([node], "main", [values["condition"], values["x"]], [values["y"]])
    with pytest.raises(InvalidModelError, match="If is control flow"):
        count(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


def test_work_needs_all_shapes():
    model = onnx.parser.parse_model("""\
        <ir_version: 10, opset_import: ["":21]>
        main (float[1,3] x) => (int64[2,N] y) {
          y = NonZero (x)
        }""")
    assert count(model) == Costs(parameters=0, flops=0)
    with pytest.raises(InvalidModelError, match="a shape of NonZero is unknown"):
        work_list(model)


def test_what_an_operation_reads_and_writes():
    (operation,) = work_list(convolution("2"))
    assert operation._asdict() == {
        "operator": "Conv",
        "inputs": ((2, 4, 8, 8),),
        "outputs": ((2, 6, 4, 4),),
        "weights": 114,
        "macs": 2 * 6 * 16 * 18,
        "kernel": (3, 3),
        "strides": (2, 2),
        "group": 2,
        "read_bytes": 4 * 2 * 4 * 64,
        "written_bytes": 4 * 2 * 6 * 16,
        "weight_bytes": 4 * 114,
        "used": True,
    }


def test_a_model_that_contradicts_itself():
    model = onnx.parser.parse_model(SHARED.replace("(float[1,4,8,8] z)", "(float[1,4,8,9] z)"))
    with pytest.raises(InvalidModelError, match="differ in dimension 3"):
        count(model)
