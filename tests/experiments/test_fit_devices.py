from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest

from experiments.fit_devices import main
from nas_rlm.devices import modelled_devices


def test_the_shipped_coefficients_are_those_of_the_script(shared_data: Path) -> None:
    refitted = main(shared_data / "nasbench201.csv.gz")
    shipped = deepcopy(modelled_devices())
    assert refitted["provenance"]["data"] == shipped["provenance"]["data"]
    assert refitted["devices"].keys() == shipped["devices"].keys()
    for name, entry in shipped["devices"].items():
        again = refitted["devices"][name]
        assert again["held_out"] == pytest.approx(entry["held_out"], abs=0.01)
        for edge, cost_ms in entry["model"].pop("cost_ms").items():
            assert again["model"]["cost_ms"][edge] == pytest.approx(cost_ms, abs=1e-4)
        del again["model"]["cost_ms"]
        assert again["model"] == pytest.approx(entry["model"], abs=1e-4)
