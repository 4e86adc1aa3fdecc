"""Zero-cost scores: by hand on tiny networks, and against what is known of NAS-Bench-201."""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from scipy.stats import kendalltau

from experiments import zero_cost as experiment
from nas_rlm import nasbench201, zero_cost
from nas_rlm.onnx_torch import OnnxNetwork, UnsupportedOperatorError, live
from nas_rlm.predictors import Inputs, get_predictor
from nas_rlm.zero_cost import (
    SCORES,
    Settings,
    format_table,
    read_table,
    score,
    scores,
    table_name,
    tabulated,
)
from search_spaces import SPACES, get_space
from search_spaces.costs import count
from search_spaces.nasbench101 import NASBench101

SPACE = get_space("nasbench201")
CONVOLUTION = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|"


def model(body: str, batch: int = 4) -> onnx.ModelProto:
    """A network of 3 x 3 images with one channel."""
    return onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["":21]>
        tiny (float[{batch},1,3,3] x) => (float[{batch},2] y) {{
          w = Constant <value=float[3,1,1,1] {{1.0, -2.0, 0.5}}> ()
          m = Constant <value=float[2,3] {{1.0, 2.0, 3.0, -1.0, 0.5, 2.5}}> ()
          {body}
        }}""")


PLAIN = """
    a = Conv (x, w)
    b = Relu (a)
    c = GlobalAveragePool (b)
    d = Flatten (c)
    y = Gemm <transB=1> (d, m)
"""


def nasbench201_model(cell: str, batch: int = 8) -> onnx.ModelProto:
    return SPACE.onnx_model(SPACE.parse(cell), batch_size=batch, image_size=8)


def drawn(network: OnnxNetwork, seed: int = 0) -> list[np.ndarray]:
    network.draw(torch.Generator().manual_seed(seed))
    return [weight.detach().numpy() for weight in network.weights.values()]


@pytest.mark.parametrize(
    "body",
    [
        PLAIN,
        """
        a = MaxPool <kernel_shape=[2,2], strides=[1,1]> (x)
        b = Conv <pads=[1,1,1,1], strides=[2,2]> (a, w)
        c = Relu (b)
        d = Sub (b, c)
        e = Concat <axis=2> (c, d)
        z = Sub (e, e)
        f = Sum (z, e)
        g = GlobalAveragePool (f)
        h = Flatten (g)
        n = Constant <value=float[3,2] {1.0, 2.0, 3.0, -1.0, 0.5, 2.5}> ()
        o = Constant <value=float[2] {0.25, -0.75}> ()
        y = Gemm (h, n, o)
        """,
        """
        a = Conv <pads=[1,2,0,1]> (x, w)
        b = AveragePool <kernel_shape=[2,2], strides=[2,2], pads=[0,1,1,0]> (a)
        c = AveragePool <kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1> (b)
        d = MaxPool <kernel_shape=[2,2], pads=[0,0,1,1]> (c)
        e = AveragePool <kernel_shape=[2,2], strides=[2,2], ceil_mode=1> (d)
        f = HardSigmoid <alpha=0.3> (e)
        g = HardSwish (e)
        low = Constant <value=float {-0.1}> ()
        h = Clip (g, low)
        i = Mul (f, h)
        s = Shape <start=0, end=1> (i)
        t = Constant <value_ints=[1,-1,1]> ()
        u = Concat <axis=0> (s, t)
        j = Reshape (i, u)
        k = Transpose <perm=[0,2,1,3]> (j)
        one = Constant <value_ints=[1]> ()
        three = Constant <value_ints=[-3]> ()
        last = Constant <value_ints=[9]> ()
        l = Slice (k, three, last, one)
        n = Flatten (l)
        y = Gemm <transB=1> (n, m)
        """,
    ],
)
def test_same_as_onnx_runtime(body: str) -> None:
    check_parity(model(body), tolerance=1e-6)


def test_same_as_onnx_runtime_on_nasbench201() -> None:
    # ONNX Runtime divides by the square root of one plus epsilon in each normalisation.
    cell = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|none~0|skip_connect~1|none~2|"
    check_parity(nasbench201_model(cell), tolerance=1e-3)


@pytest.mark.parametrize("name", SPACES)
def test_same_as_onnx_runtime_in_every_space(name: str) -> None:
    space = get_space(name)
    architecture = space.sample(np.random.default_rng(0))
    network = space.onnx_model(architecture, batch_size=2, image_size=space.image_multiple)
    check_parity(network, tolerance=2e-3)
    assert np.isfinite(list(score(network).values())).all()


def check_parity(network_model: onnx.ModelProto, tolerance: float) -> None:
    for version in (network_model, live(network_model)):
        network = OnnxNetwork(version)
        network.normalised = False
        images = np.random.default_rng(0).random(network.input_shape, dtype=np.float32)
        session = onnxruntime.InferenceSession(network_model.SerializeToString())
        (expected,) = session.run(None, {session.get_inputs()[0].name: images})
        actual = network.run(torch.from_numpy(images)).detach().numpy()
        np.testing.assert_allclose(actual, expected, rtol=tolerance)


def test_counts_by_hand() -> None:
    result = score(model(PLAIN))
    assert tuple(result) == SCORES
    assert result["parameters"] == 3 + 6
    assert result["flops"] == 9 * 3 + 6  # nine pixels to three channels, three units to two


def test_synflow_by_hand() -> None:
    # An image of ones gives |w|, and a logit the sum of |m| |w|; every weight of both layers
    # gets all the flow that goes through it.
    w, m = drawn(OnnxNetwork(model(PLAIN)), seed=3)
    flow = (np.abs(m) * np.abs(w.ravel())).sum()
    assert score(model(PLAIN), seed=3, repeats=1)["synflow"] == pytest.approx(
        math.log(2 * flow), rel=1e-6
    )


def test_data_dependent_scores_by_hand() -> None:
    generator = torch.Generator().manual_seed(3)
    network = OnnxNetwork(model(PLAIN))
    network.draw(generator)
    w, m = network.weights.values()
    images = torch.randn(network.input_shape, generator=generator)
    labels = torch.randint(2, (4,), generator=generator)
    result = score(model(PLAIN), seed=3, repeats=1)

    on = (images * w.reshape(3, 1, 1) > 0).numpy()
    agreeing = [[(one == other).sum() for other in on] for one in on]
    assert result["nwot"] == pytest.approx(np.linalg.slogdet(agreeing)[1], rel=1e-5)

    effects = (w.ravel() * m.sum(dim=0) / 9).detach().numpy()
    jacobians = (on * effects[:, None, None]).sum(axis=1).reshape(4, -1)
    norms = np.linalg.norm(jacobians, axis=1)
    assert result["jacobian_norm"] == pytest.approx(np.log(norms).mean(), rel=1e-5)
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(jacobians)) + 1e-5
    jacov = -(np.log(eigenvalues) + 1 / eigenvalues).sum()
    assert result["jacov"] == pytest.approx(jacov, rel=1e-3)

    features = (images * w.reshape(3, 1, 1)).relu().mean(dim=(2, 3))
    loss = torch.nn.functional.cross_entropy(features @ m.T, labels)
    gradients = torch.autograd.grad(loss, [w, m])
    assert result["grad_norm"] == pytest.approx(sum(float(g.norm()) for g in gradients), rel=1e-5)
    saliency = sum(
        float((v.detach() * g).abs().sum()) for v, g in zip((w, m), gradients, strict=True)
    )
    assert result["snip"] == pytest.approx(saliency, rel=1e-5)
    spectrum = np.linalg.eigvalsh(np.corrcoef(features.detach().numpy().T)).clip(1e-12) / 3
    rank = np.exp(-(spectrum * np.log(spectrum)).sum())
    assert result["effective_rank"] == pytest.approx(rank, rel=1e-4)


def test_dead_operations_change_nothing() -> None:
    dead = PLAIN.replace(
        "b = Relu (a)",
        """z = Sub (x, x)
        r = Relu (z)
        v = Conv (r, w)
        u = Conv (x, w)
        k = Add (v, a)
        b = Relu (k)
        """,
    )
    np.testing.assert_equal(score(model(dead)), score(model(PLAIN)))
    cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|none~2|"
    alive = score(nasbench201_model(CONVOLUTION))
    np.testing.assert_equal(score(nasbench201_model(cell)), alive)


def test_nasbench201_counts_only_lack_what_is_dead() -> None:
    alive = nasbench201_model(CONVOLUTION)
    assert score(alive, repeats=1)["parameters"] == count(alive).parameters


@pytest.mark.parametrize("convolution", ["nor_conv_1x1", "nor_conv_3x3"])
def test_more_convolutions_more_parameters_and_flow(convolution: str) -> None:
    one, two, three = (
        scores(SPACE, [{**dict.fromkeys(SPACE.choices, "skip_connect"), **chosen}])[0]
        for chosen in (
            dict.fromkeys(list(SPACE.choices)[:number], convolution) for number in (1, 2, 3)
        )
    )
    for name in ("parameters", "flops", "synflow"):
        column = SCORES.index(name)
        assert one[column] < two[column] < three[column]


def test_a_network_cut_off_from_its_input_has_no_scores() -> None:
    none = dict.fromkeys(SPACE.choices, "none")
    result = dict(zip(SCORES, scores(SPACE, [none])[0], strict=True))
    assert result.pop("parameters") == result.pop("flops") == 0
    assert np.isnan(list(result.values())).all()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (PLAIN.replace("Relu", "Softplus"), "b = Softplus: not among the operators"),
        (PLAIN.replace("Conv", 'Conv <auto_pad="SAME_UPPER">'), "its attribute auto_pad is not"),
        (PLAIN.replace("GlobalAveragePool (b)", "Clip (b, b)"), "c = Clip: its input b is comp"),
        (PLAIN.replace("Relu (a)", "Add (a, w)"), "cannot be run on the constant w"),
        (PLAIN.replace("d, m", "d, d"), "its input d is computed"),
    ],
)
def test_refuses_what_it_cannot_run(body: str, message: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=message):
        score(model(body))


def test_refuses_an_input_of_any_size() -> None:
    flexible = model(PLAIN)
    flexible.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    with pytest.raises(UnsupportedOperatorError, match="x: the shape of the input must be fixed"):
        score(flexible)


def test_refuses_no_repeats() -> None:
    with pytest.raises(ValueError, match="repeats must be at least 1"):
        score(model(PLAIN), repeats=0)


def test_deterministic_and_leaves_global_random_numbers_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    first = score(model(PLAIN), seed=1)
    np.testing.assert_equal(score(model(PLAIN), seed=1), first)
    assert score(model(PLAIN), seed=2)["synflow"] != first["synflow"]
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state(legacy=False)["state"]["key"], before[1])


def test_repeats_are_averaged() -> None:
    generator = torch.Generator().manual_seed(0)
    network = OnnxNetwork(model(PLAIN))
    flows = []
    for _ in range(2):
        network.draw(generator)
        w, m = (weight.detach().numpy() for weight in network.weights.values())
        flows.append(math.log(2 * (np.abs(m) * np.abs(w.ravel())).sum()))
        torch.randn(network.input_shape, generator=generator)
        torch.randint(2, (4,), generator=generator)
    assert score(model(PLAIN), repeats=2)["synflow"] == pytest.approx(np.mean(flows), rel=1e-6)


def test_equal_functions_are_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments: object) -> np.ndarray:
        calls.append(arguments)
        return np.full(len(SCORES), len(calls))

    monkeypatch.setattr(zero_cost, "architecture_scores", counted)
    cells = [
        CONVOLUTION,
        "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    ]
    some = [SPACE.parse(cell) for cell in cells]
    settings = {"image_size": 4, "seed": 987}  # which no table and no other test has
    result = scores(SPACE, some, **settings)
    assert result[:, 0].tolist() == [1, 1, 2]
    np.testing.assert_array_equal(scores(SPACE, some[::-1], **settings), result[::-1])
    assert len(calls) == 2
    assert scores(SPACE, []).shape == (0, len(SCORES))


def test_what_is_tabulated_need_not_be_computed() -> None:
    assert tabulated(SPACE, list(SPACE)[::1000])
    other = get_space("nats_size")
    some = [other.sample(np.random.default_rng(seed)) for seed in range(2)]
    assert not tabulated(other, [])
    scores(other, some[:1])
    assert tabulated(other, some[:1])
    assert not tabulated(other, some)


def test_networks_of_nasbench101_are_scored_narrower() -> None:
    space = get_space("nasbench101")
    cell = space.parse("01/00 input,output")
    [found] = scores(space, [cell], seed=1)
    narrow = NASBench101(channels=16).onnx_model(cell, batch_size=32, image_size=8)
    assert found.tolist() == list(score(narrow, seed=1).values())


Table = tuple[list[str], np.ndarray, dict[str, Any]]


@pytest.fixture(scope="module")
def table() -> Table:
    return read_table(files("nas_rlm").joinpath(table_name("nasbench201")).read_bytes())


class TestTable:
    """The scores that are shipped."""

    def test_has_every_function(self, table: Table) -> None:
        keys, values, about = table
        assert set(keys) == {SPACE.key(architecture) for architecture in SPACE}
        assert values.shape == (len(keys), len(SCORES)) == (5425, 9)
        assert about["scores"] == list(SCORES)
        assert about["settings"] == Settings()._asdict()
        assert [key for key, row in zip(keys, values, strict=True) if np.isnan(row).any()] == ["0"]

    def test_agrees_with_what_is_computed(self, table: Table) -> None:
        keys, values, _ = table
        first = {SPACE.key(a): a for a in reversed(list(SPACE))}
        for row in np.random.default_rng(0).integers(len(keys), size=3):
            computed = zero_cost.architecture_scores(SPACE, first[keys[row]], Settings())
            np.testing.assert_allclose(values[row], computed, rtol=1e-3)

    def test_is_made_from_where_it_was_stopped(self, table: Table, tmp_path: Path) -> None:
        keys, values, _ = table
        unfinished = tmp_path / "table.npz"
        unfinished.write_bytes(
            format_table(keys[:-1], values[:-1], experiment.provenance(SPACE.name))
        )
        made_keys, made, about = read_table(experiment.main(SPACE, unfinished, processes=1))
        assert made_keys == keys
        np.testing.assert_array_equal(made[:-1], values[:-1])
        np.testing.assert_allclose(made[-1], values[-1], rtol=1e-3)
        assert about == experiment.provenance(SPACE.name)

    def test_is_not_made_of_two_settings(self, table: Table, tmp_path: Path) -> None:
        keys, values, about = table
        unfinished = tmp_path / "table.npz"
        unfinished.write_bytes(format_table(keys[:9], values[:9], {**about, "batch_size": 1}))
        with pytest.raises(ValueError, match="with other settings or versions; move it away"):
            experiment.main(SPACE, unfinished)

    def test_orders_accuracies(self) -> None:
        benchmark = nasbench201("cifar10", devices=("gpu",))
        rows = np.random.default_rng(0).permutation(len(benchmark.architectures))[:500]
        columns = scores(SPACE, [benchmark.architectures[row] for row in rows])
        for name, least in (("parameters", 0.5), ("jacov", 0.4), ("nwot", 0.4)):
            column = np.nan_to_num(columns[:, SCORES.index(name)], nan=-np.inf)
            assert kendalltau(column, benchmark.values[rows, 0])[0] > least


class TestPredictor:
    """What `test_contract` does not ask: the order is the score's."""

    @pytest.mark.parametrize("name", ["params", "flops", "synflow", "jacov", "nwot"])
    def test_predictions_are_in_the_order_of_the_score(self, name: str) -> None:
        benchmark = nasbench201("cifar10", devices=("gpu",))
        rows = np.random.default_rng(1).permutation(len(benchmark.architectures))
        inputs = Inputs(benchmark.space, benchmark.architectures)[rows[:1000]]
        predictor = get_predictor(name, ["accuracy", "latency_ms"])
        predictor.fit(inputs[np.arange(50)], benchmark.values[rows[:50]])
        column = scores(SPACE, inputs.architectures)[:, SCORES.index(predictor.score)]
        ranks = np.unique(np.nan_to_num(column, nan=-np.inf), return_inverse=True)[1]
        for predicted in predictor.predict(inputs).T:
            np.testing.assert_array_equal(np.unique(predicted, return_inverse=True)[1], ranks)

    def test_predicts_in_the_unit_of_the_labels(self) -> None:
        inputs = Inputs(SPACE, list(SPACE)[::377])
        labels = np.linspace(50, 94, len(inputs))[:, None]
        predicted = get_predictor("flops", ["accuracy"]).fit(inputs, labels).predict(inputs)
        assert 40 < predicted.min() < predicted.max() < 100

    def test_networks_without_a_score_come_last(self) -> None:
        none = dict.fromkeys(SPACE.choices, "none")
        inputs = Inputs(SPACE, [none, *list(SPACE)[-1::-777]])
        predictor = get_predictor("nwot", ["accuracy"])
        predictor.fit(inputs, np.arange(len(inputs))[::-1, None])
        predicted = predictor.predict(inputs)[:, 0]
        assert predicted[0] < predicted[1:].min()

    def test_refuses_a_score_that_does_not_exist(self) -> None:
        with pytest.raises(ValueError, match="unknown score 'jacob'; did you mean 'jacov'"):
            get_predictor("jacov", ["accuracy"], score="jacob")
