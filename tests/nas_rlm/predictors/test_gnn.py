import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from nas_rlm.predictors import Inputs, get_predictor
from nas_rlm.predictors.gnn import (
    FIRST_KNOWN,
    UNKNOWN,
    BRPNASPredictor,
    GATESPredictor,
    Reader,
    read_graphs,
)
from nas_rlm.predictors.gnn_encoders import FLAN, GATES, GCN, GraphTransformer
from search_spaces import get_space
from surrogate.graphs import INPUT, LIVE, OUTPUT, USED, Graphs
from surrogate.scorer import pairwise_loss, regression_loss
from surrogate.text import Tokenizer

SPACE = get_space("nasbench201")
RNG = np.random.default_rng(0)
ARCHITECTURES = [SPACE.sample(RNG) for _ in range(40)]
INPUTS = Inputs(SPACE, ARCHITECTURES)
TOKENIZER = Tokenizer.fit(INPUTS.texts)
COST = {"nor_conv_3x3": 4.0, "nor_conv_1x1": 2.0, "avg_pool_3x3": 1.0}
# Equal functions have equal accuracies, random ones; latency counts operations, dead ones too.
ACCURACY = {SPACE.key(a): 90 + RNG.normal() for a in ARCHITECTURES}
VALUES = np.array(
    [
        (ACCURACY[SPACE.key(a)], 1 + sum(COST.get(choice, 0.0) for choice in a.values()))
        for a in ARCHITECTURES
    ]
)
ENCODERS = (GATES, FLAN, GCN, GraphTransformer)
NAMES = ("gates", "flan", "brpnas", "graph_transformer")
CONV3 = FIRST_KNOWN + TOKENIZER.signatures.index("nas.Conv3x3<c: ints=@c>")
CONV1 = FIRST_KNOWN + TOKENIZER.signatures.index("nas.Conv1x1<c: ints=@c>")


def _graphs(*cells):
    return read_graphs([SPACE.onnx_text(SPACE.parse(cell)) for cell in cells], TOKENIZER)


def _reader(encoder):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Reader(encoder, FIRST_KNOWN + len(TOKENIZER.signatures), 16).eval()


def _permuted(graphs, order):
    return Graphs(
        graphs.operator[:, order],
        graphs.status[:, order],
        graphs.reads[:, order][:, :, order],
        graphs.depth[:, order],
    )


def _padded(graphs, nodes):
    pad = torch.nn.functional.pad
    return Graphs(
        pad(graphs.operator, (0, nodes)),
        pad(graphs.status, (0, nodes)),
        pad(graphs.reads, (0, nodes, 0, nodes)),
        pad(graphs.depth, (0, 0, 0, nodes)),
    )


def test_the_function_holds_what_is_computed_and_nothing_else():
    function, _ = _graphs(
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
    )
    assert function.operator.tolist() == [[INPUT, CONV3, CONV1, OUTPUT]]
    expected = torch.zeros(4, 4)
    expected[1, 0] = expected[2, 1] = expected[3, 2] = 1
    torch.testing.assert_close(function.reads[0], expected)
    assert function.depth[0].tolist() == [[0, 3], [1, 2], [2, 1], [3, 0]]


def test_the_program_holds_every_statement():
    _, program = _graphs("|none~0|+|none~0|nor_conv_3x3~1|+|nor_conv_1x1~0|none~1|none~2|")
    operators, status = program.operator[0].tolist(), program.status[0].tolist()
    assert len(operators) == 10
    # The 3x3 convolution of zero reaches nothing, the 1x1 convolution is the output's only term.
    assert status[operators.index(CONV3)] == 0
    assert status[operators.index(CONV1)] == USED | LIVE
    assert status[-1] == USED | LIVE


def test_a_sum_of_equal_terms_is_an_edge_of_weight_two():
    function, _ = _graphs(
        "|none~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|skip_connect~2|"
    )
    assert function.operator.tolist() == [[INPUT, OUTPUT]]
    assert function.reads[0, 1, 0] == 2


def test_a_cell_without_connection_is_its_input_and_output():
    function, program = _graphs("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    assert function.operator.tolist() == [[INPUT, OUTPUT]]
    assert not function.reads.any()
    assert (program.operator > 0).all()


def test_programs_of_different_lengths_stand_in_one_batch():
    main = "main (float[1] x) => (float[1] y) {\n  y = nas.Cell (x)\n}\n"
    short = main + "Cell (v0) => (v1) {\n  v1 = Relu (v0)\n}"
    long = main + "Cell (v0) => (v2) {\n  v1 = Tanh (v0)\n  v2 = Add (v1, v1)\n}"
    tokenizer = Tokenizer.fit([short, long])
    for view, twice in enumerate((2, 1)):
        both = read_graphs([short, long], tokenizer)[view]
        alone = read_graphs([short], tokenizer)[view]
        missing = both.operator.shape[1] - alone.operator.shape[1]
        for name, tensor in vars(_padded(alone, missing)).items():
            torch.testing.assert_close(vars(both)[name][:1], tensor)
        assert both.operator[1, -1] == OUTPUT
        assert both.reads[1, -1].sum() == twice


def test_an_operator_that_training_did_not_have_is_unknown_and_gets_a_prediction():
    def has(architecture):
        return "avg_pool_3x3" in architecture.values()

    rows = np.flatnonzero([not has(a) for a in ARCHITECTURES])
    others = np.flatnonzero([has(a) for a in ARCHITECTURES])
    _, program = read_graphs(INPUTS[others].texts, Tokenizer.fit(INPUTS[rows].texts))
    assert (program.operator == UNKNOWN).any(1).all()
    predictor = get_predictor("gates", ["accuracy", "latency_ms"], epochs=2, width=8)
    predictor.fit(INPUTS[rows], VALUES[rows])
    assert np.isfinite(predictor.predict(INPUTS[others])).all()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("view", [0, 1])
def test_neither_padding_nor_the_order_of_what_does_not_read_one_another_matters(encoder, view):
    # Each node of this cell has company that it does not read.
    cell = (
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
    )
    graphs = read_graphs([SPACE.onnx_text(SPACE.parse(cell))], TOKENIZER)[view]
    reader = _reader(encoder)
    with torch.inference_mode():
        expected = reader(graphs)
        turns = torch.arange(graphs.operator.shape[1]).split(graphs.turns())
        order = torch.cat([turn.flip(0) for turn in turns])
        assert (order != torch.arange(len(order))).any()
        torch.testing.assert_close(reader(_permuted(graphs, order)), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(reader(_padded(graphs, 3)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("penalty", [GATESPredictor.penalty, BRPNASPredictor.penalty])
def test_a_missing_label_is_masked(penalty):
    labels = torch.tensor([0.1, float("nan"), 0.7, 0.4])
    rest = torch.tensor([0, 2, 3])
    for loss in (regression_loss, lambda s, y: pairwise_loss(s, y, penalty)):
        scores = torch.tensor([0.5, 0.3, 0.2, 0.9], requires_grad=True)
        value = loss(scores, labels)
        assert value.item() == pytest.approx(loss(scores[rest], labels[rest]).item())
        value.backward()
        assert scores.grad[1] == 0
        assert scores.grad[rest].any()
        assert loss(scores, torch.full((4,), torch.nan)).item() == 0


@pytest.mark.parametrize("name", NAMES)
def test_sixteen_architectures_can_be_learnt_by_heart(name):
    rows = np.arange(16)
    predictor = get_predictor(
        name, ["accuracy", "latency_ms"], epochs=80, width=32, learning_rate=6e-3
    )
    predicted = predictor.fit(INPUTS[rows], VALUES[rows]).predict(INPUTS[rows])
    assert kendalltau(predicted[:, 0], VALUES[rows, 0])[0] > 0.9
    for k in range(2):
        assert np.corrcoef(predicted[:, k], VALUES[rows, k])[0, 1] > 0.9
        assert np.abs(predicted - VALUES[rows])[:, k].mean() < 0.2 * np.ptp(VALUES[rows, k])


def test_equal_functions_get_one_accuracy_and_their_own_latencies():
    cells = (
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
        "|none~0|+|nor_conv_1x1~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
    )
    twins = Inputs(SPACE, [SPACE.parse(cell) for cell in cells])
    predictor = get_predictor("gates", ["accuracy", "latency_ms"], epochs=10, width=16)
    predicted = predictor.fit(INPUTS, VALUES).predict(twins)
    assert predicted[0, 0] == pytest.approx(predicted[1, 0], abs=1e-4)
    assert abs(predicted[0, 1] - predicted[1, 1]) > 1e-3
