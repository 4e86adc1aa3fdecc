from __future__ import annotations

import pytest

from nas_rlm.devices import DEVICES, get_device, latency_model


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
    toaster = get_device("toaster", ["toaster_latency_ms"])
    with pytest.raises(ValueError, match=r"no latency model; .* pixel3, edgegpu, eyeriss$"):
        latency_model(toaster)


def test_devices_with_a_model_need_no_table() -> None:
    device = get_device("titanx_256")
    assert latency_model(device).batch_size == 256
    assert latency_model(DEVICES["gpu"]).batch_size == 1
