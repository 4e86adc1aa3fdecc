from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx.parser
import pytest
from scipy.stats import spearmanr

from nas_rlm.latency_models import (
    AMOUNTS,
    LatencyModel,
    amounts,
    fitted_model,
    model_amounts,
    modelled_devices,
)
from nas_rlm.tables import read_table
from search_spaces import ArchitectureError, FBNet, get_space, space_names

SPACE = get_space("nasbench201")
COLUMNS = modelled_devices()["devices"]

NETWORK = """\
<ir_version: 10, opset_import: ["":21]>
main (float[1,4,8,8] x) => (float[1,4,8,8] y) {
  n = Constant <value_ints=[4,4,3,3]> ()
  w = ConstantOfShape <value=float[1] {0.5}> (n)
  a = Relu (x)
  b = Conv <pads=[1,1,1,1]> (a, w)
  dead = Conv <pads=[1,1,1,1]> (b, w)
  c = AveragePool <kernel_shape=[3,3], pads=[1,1,1,1]> (b)
  d = Identity (c)
  y = Sum (a, b, d)
}
"""


def test_what_a_network_amounts_to() -> None:
    unused, used = model_amounts(onnx.parser.parse_model(NETWORK))
    mega_macs, values = 256 * 36 / 1e6, 256 * 4 / 1e6
    np.testing.assert_allclose(unused[0], [1, 1, mega_macs, 144e-6, 0, 2 * values])
    np.testing.assert_allclose(unused[1], 0)
    pool = 256 * 9 / 1e6
    np.testing.assert_allclose(used[0], [4, 1, mega_macs, 144e-6, pool, 8 * values])
    np.testing.assert_allclose(used[1], [1, 0, 0, 0, 0, 2 * values])


MODEL = LatencyModel(
    constant=1,
    kernel=2,
    convolution=3,
    mega_mac=5,
    mega_tap=0,
    megabyte=0,
    batch_size=1,
    overlaps=False,
    fuses=False,
    skips_unused=False,
)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 1 + 2 * 5 + 3 * 2 + 5 * 8),
        ({"fuses": True}, 1 + 2 * 4 + 3 * 2 + 5 * 8),
        ({"skips_unused": True}, 1 + 2 * 3 + 3 + 5 * 5),
        ({"overlaps": True}, 5 * 8),
        ({"overlaps": True, "kernel": 9}, 1 + 9 * 5 + 3 * 2),
        ({"batch_size": 4}, 1 + 2 * 5 + 3 * 2 + 4 * 5 * 8),
        ({"mega_tap": 1.5, "megabyte": 1}, 1 + 2 * 5 + 3 * 2 + 5 * 8 + 1.5 * 7 + 6),
        (dict.fromkeys(("constant", "kernel", "convolution", "mega_mac"), 0), 1e-3),
    ],
    ids=str,
)
def test_latency_is_a_sum_over_what_is_charged(changed: dict, expected: float) -> None:
    work = np.zeros((1, 2, 2, len(AMOUNTS)))
    work[0, 1, 0] = [2, 1, 5, 0, 7, 4]
    work[0, 1, 1] = [1, 0, 0, 0, 0, 1]
    work[0, 0, 0] = [2, 1, 3, 0, 0, 1]
    assert replace(MODEL, **changed).of_amounts(work) == pytest.approx([expected])


def test_the_table_of_amounts_is_what_the_texts_say() -> None:
    rng = np.random.default_rng(0)
    architectures = [SPACE.sample(rng) for _ in range(30)]
    computed = [model_amounts(SPACE.onnx_model(architecture)) for architecture in architectures]
    np.testing.assert_allclose(amounts(SPACE, architectures), computed)
    with pytest.raises(ArchitectureError, match="lacks edge_0_2"):
        amounts(SPACE, [{"edge_0_1": "none"}])


@pytest.mark.parametrize("name", space_names())
def test_a_device_is_modelled_on_every_space(name: str) -> None:
    space, rng = get_space(name), np.random.default_rng(0)
    architectures = [space.sample(rng) for _ in range(3)]
    for column in ("pixel3_latency_ms", "1080ti_1_latency_ms"):
        latency_ms = fitted_model(column).predict(space, architectures)
        assert latency_ms.shape == (3,)
        assert (latency_ms > 0).all()


def test_no_architectures() -> None:
    for name in ("nasbench201", "fbnet"):
        assert fitted_model("pixel3_latency_ms").predict(get_space(name), []).shape == (0,)


def test_what_was_not_fitted() -> None:
    with pytest.raises(ValueError, match="'toaster_latency_ms', only to 1080ti_1_latency_ms, "):
        fitted_model("toaster_latency_ms")


@pytest.mark.parametrize("column", COLUMNS)
def test_shipped_models_are_plausible(column: str) -> None:
    figures = fitted_model(column).predict(SPACE, list(SPACE))
    assert np.isfinite(figures).all()
    assert figures.min() > 0
    assert all(
        value >= 0 for value in COLUMNS[column]["model"].values() if isinstance(value, float)
    )
    convolutions = fitted_model(column).predict(
        SPACE, [dict.fromkeys(SPACE.choices, "nor_conv_3x3")]
    )
    assert convolutions > np.quantile(figures, 0.99)


@pytest.mark.parametrize(
    ("column", "least"),
    [
        ("pixel3_latency_ms", 0.8),
        ("eyeriss_latency_ms", 0.8),
        ("1080ti_1_latency_ms", 0.6),
        ("gold_6226_latency_ms", 0.6),
    ],
)
def test_a_model_ranks_the_networks_of_another_space(
    column: str, least: float, shared_data
) -> None:
    """Fitted to NAS-Bench-201 and applied to FBNet as it is."""
    space = FBNet(images="cifar100")
    table = read_table(
        shared_data / "fbnet_latency.csv.gz",
        space,
        [column],
        architecture_columns=["op_indices"],
        complete=False,
    )
    some = slice(0, 400)
    predicted = fitted_model(column).predict(space, table.architectures[some])
    rho = spearmanr(predicted, table.column(column)[some])[0]
    assert rho > least
    assert rho == pytest.approx(COLUMNS[column]["fbnet"]["spearman_rho"], abs=0.05)


def test_provenance_of_the_fit() -> None:
    provenance = modelled_devices()["provenance"]
    for table in ("data", "checked_on"):
        assert len(provenance[table]["sha256"]) == 64
    assert {"script", "seed", "rows", "versions"} <= set(provenance)


@pytest.mark.parametrize("column", COLUMNS)
def test_models_predict_the_measured_table(column: str, shared_data) -> None:
    table = read_table(shared_data / "nasbench201.csv.gz", SPACE, [column])
    predicted = fitted_model(column).predict(SPACE, table.architectures)
    claimed, measured = COLUMNS[column]["held_out"], table.column(column)
    assert spearmanr(predicted, measured)[0] == pytest.approx(claimed["spearman_rho"], abs=0.02)
    assert 100 * np.median(np.abs(predicted / measured - 1)) == pytest.approx(
        claimed["median_absolute_percentage_error"], abs=1
    )
