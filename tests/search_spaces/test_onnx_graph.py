"""The validator must refuse each fault that the checker lets pass, and name where it is."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from search_spaces import InvalidModelError, validate

TEXT = """\
<ir_version: 10, opset_import: ["":21, "own":1]>
main (float[1,4] x) => (float[1,4] y) {
  y = own.Outer <a=1> (x)
}
<domain: "own", opset_import: ["":21, "own":1]>
Outer <a> (x) => (y) {
  u = own.Inner <a: int=@a> (x)
  y = Add (u, x)
}
<domain: "own", opset_import: ["":21]>
Inner <a> (x) => (y) {
  y = Softmax <axis: int=@a> (x)
}
"""


def test_valid_text_and_model():
    model = validate(TEXT)
    assert validate(model) is model


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("own.Inner", "own.Missing", "function Outer: u = own.Missing: .*no such operator"),
        ("own.Outer", "own.Missing", "main graph: y = own.Missing: .*no such operator"),
        ("Softmax", "Softmaks", "function Inner: y = Softmaks: .*no such operator"),
        ("Inner <a>", "Inner <a: int = 1>", "function Inner has a default for its attribute a"),
        ("Softmax <axis: int=@a>", "own.Outer <a: int=@a>", "'own' is not imported"),
        ("Add (u, x)", "own.Outer <a=1> (u)", "function Outer calls itself"),
        ("own.Inner <a: int=@a>", "own.Inner", r"the attributes are \[\] .* declares \['a'\]"),
        ("own.Outer <a=1>", "own.Outer <a=1, b=2>", r"the attributes are \['a', 'b'\]"),
        ("own.Outer <a=1> (x)", "own.Outer <a=1> (x, x)", "main graph: .*2 inputs"),
        ("axis: int=@a", "axis: int=@b", "function Inner: y = Softmax: no attribute b"),
        ("Add (u, x)", "Add (u, w)", "function Outer: y = Add: the value 'w' is not defined"),
        ("y = Add (u, x)", "z = Add (u, x)", "function Outer: the output 'y' is not defined"),
        ("y = Add (u, x)", "u = Add (u, x)", "function Outer: u = Add: .* 'u' is defined twice"),
        ("y = own.Outer <a=1> (x)", "y = own.Outer <a=1> (w)", "'w' of node"),
        ("[1,4] y", "[1,5] y", "dimension"),
        ("main (", "main", "not ONNX text"),
        ("Inner <a>", "Outer <a>", "function Outer is defined twice"),
    ],
)
def test_fault_is_named(old, new, message):
    assert old in TEXT
    with pytest.raises(InvalidModelError, match=message):
        validate(TEXT.replace(old, new, 1))


def test_mutual_recursion_in_functions_nobody_calls():
    header = '<domain: "own", opset_import: ["own":1]>\n'
    first = header + "First (x) => (y) {\n  y = own.Second (x)\n}\n"
    second = header + "Second (x) => (y) {\n  y = own.First (x)\n}\n"
    with pytest.raises(InvalidModelError, match="function First calls itself"):
        validate(TEXT + first + second)


def test_a_function_may_not_be_called_like_an_operator():
    """ONNX Runtime crashes on such a model, rather than refuse it."""
    function = '<domain: "", opset_import: ["":21]>\nRelu (x) => (y) {\n  y = Neg (x)\n}\n'
    with pytest.raises(InvalidModelError, match="Relu has the name of an operator"):
        validate(TEXT + function)


def test_missing_function_in_a_nested_graph():
    branch = helper.make_graph(
        [helper.make_node("Missing", ["x"], ["z"], domain="own")],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])],
    )
    node = helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch)
    graph = helper.make_graph(
        [node],
        "main",
        [
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    with pytest.raises(InvalidModelError, match=r"main graph: z = own\.Missing"):
        validate(helper.make_model(graph, opset_imports=opsets))
