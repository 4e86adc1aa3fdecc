from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from nas_rlm.devices import (
    DEVICES,
    LatencyModel,
    charged_operations,
    get_device,
    latency_model,
    modelled_devices,
)
from nas_rlm.tables import read_table
from search_spaces import get_space

SPACE = get_space("nasbench201")


def cell(**operations: str) -> dict[str, str]:
    return {edge: operations.get(edge, "none") for edge in SPACE.choices}


@pytest.mark.parametrize("name", DEVICES)
def test_devices_are_found_by_name_and_by_column(name: str) -> None:
    device = get_device(name)
    assert device.name == name
    assert get_device(device.column.removesuffix("_latency_ms")) is device
    assert device.title
    assert "20" in device.origin, "an origin names its paper and year"


def test_any_latency_column_of_a_table_is_a_device() -> None:
    device = get_device("silver_4114", ["arch", "silver_4114_latency_ms"])
    assert device.column == "silver_4114_latency_ms"


def test_unknown_device() -> None:
    with pytest.raises(ValueError, match="unknown device 'pixel'; did you mean 'pixel3'"):
        get_device("pixel")
    with pytest.raises(ValueError, match=r"allowed: pixel3, eyeriss, cpu, gpu, edgegpu"):
        get_device("zzz", ["edgegpu_latency_ms", "edgegpu_energy_mj"])
    with pytest.raises(ValueError, match="no latency model"):
        latency_model(DEVICES["gpu"])


def test_unused_operations_are_those_whose_result_the_output_does_not_read() -> None:
    architecture = cell(edge_0_1="nor_conv_3x3", edge_1_2="nor_conv_1x1", edge_0_3="skip_connect")
    assert len(charged_operations(architecture, skips_unused=False)) == 3
    assert charged_operations(architecture, skips_unused=True) == [("edge_0_3", "skip_connect")]
    # Through node 2 to the output, all of them are read.
    architecture["edge_2_3"] = "skip_connect"
    assert len(charged_operations(architecture, skips_unused=True)) == 4
    # An operation on zeros is read, and costs time.
    assert charged_operations(cell(edge_2_3="nor_conv_3x3"), skips_unused=True) == [
        ("edge_2_3", "nor_conv_3x3")
    ]


def test_latency_is_a_sum_that_stays_positive() -> None:
    model = LatencyModel(
        intercept_ms=1.0,
        cost_ms={edge: {"nor_conv_3x3": 2.0, "skip_connect": -3.0} for edge in SPACE.choices},
        minimum_ms=0.5,
        skips_unused=False,
    )
    cells = [cell(), cell(edge_0_1="nor_conv_3x3"), cell(edge_0_3="skip_connect")]
    np.testing.assert_allclose(model.predict(cells), [1.0, 3.0, 0.5])


@pytest.mark.parametrize("name", modelled_devices()["devices"])
def test_shipped_models_are_complete_and_plausible(name: str) -> None:
    entry = modelled_devices()["devices"][name]
    model = latency_model(DEVICES[name])
    for edge, operations in SPACE.choices.items():
        assert set(model.cost_ms[edge]) == set(operations) - {"none"}
    latency_ms = model.predict(list(SPACE))
    assert np.isfinite(latency_ms).all()
    assert latency_ms.min() > 0
    assert entry["held_out"]["spearman_rho"] > 0.9
    assert 0 <= entry["held_out"]["median_absolute_percentage_error"] < 10
    convolutions = model.predict([dict.fromkeys(SPACE.choices, "nor_conv_3x3")])
    assert convolutions > np.quantile(latency_ms, 0.99)


def test_provenance_of_the_fit() -> None:
    provenance = modelled_devices()["provenance"]
    assert len(provenance["data"]["sha256"]) == 64
    assert {"script", "seed", "rows", "versions"} <= set(provenance)


@pytest.mark.parametrize("name", modelled_devices()["devices"])
def test_models_predict_the_measured_table(name: str, shared_data) -> None:
    column = DEVICES[name].column
    table = read_table(shared_data / "nasbench201.csv.gz", SPACE, [column])
    predicted_ms = latency_model(DEVICES[name]).predict(table.architectures)
    claimed = modelled_devices()["devices"][name]["held_out"]
    measured_ms = table.column(column)
    assert spearmanr(predicted_ms, measured_ms)[0] == pytest.approx(
        claimed["spearman_rho"], abs=0.01
    )
    assert 100 * np.median(np.abs(predicted_ms / measured_ms - 1)) == pytest.approx(
        claimed["median_absolute_percentage_error"], abs=0.5
    )
