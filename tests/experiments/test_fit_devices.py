from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.fit_devices import Column, comparison, fit, main, read, split
from nas_rlm.latency_models import LatencyModel, amounts, modelled_devices
from search_spaces import FBNet, get_space

SPACE = get_space("nasbench201")


def test_the_shipped_coefficients_are_those_of_the_script(shared_data: Path) -> None:
    whole = read(shared_data, "fbnet")
    some = replace(whole, architectures=whole.architectures[:100], values=whole.values[:100])
    fbnet = split(some, amounts(FBNet(images="cifar100"), some.architectures))
    table = read(shared_data, "nasbench201")
    nasbench201 = split(table, amounts(SPACE, table.architectures))
    refitted, shipped = main(nasbench201, fbnet), modelled_devices()
    for key in ("data", "checked_on"):
        assert refitted["provenance"][key] == shipped["provenance"][key]
    assert refitted["devices"].keys() == shipped["devices"].keys()
    for column, entry in shipped["devices"].items():
        again = refitted["devices"][column]
        assert again["held_out"] == pytest.approx(entry["held_out"], abs=0.01)
        assert again["model"] == pytest.approx(entry["model"], rel=1e-3, abs=1e-6)
    lines = list(comparison(nasbench201, fbnet))
    assert len({line.count("|") for line in lines}) == 1
    in_both = set(table.columns) & set(fbnet.table.columns)
    assert len(lines) == 2 + len(table.columns) + len(in_both)


@pytest.mark.parametrize("skips_unused", [False, True])
def test_a_device_is_found_again(skips_unused: bool) -> None:
    true = LatencyModel(0.5, 0.02, 0.1, 0.03, 0.2, 0, 1, False, True, skips_unused)
    work = amounts(SPACE, list(SPACE)[::20])
    (fitted,) = fit([Column("it", "", False, True)], work, true.of_amounts(work)[:, None])
    assert fitted.skips_unused == skips_unused
    assert fitted.of_amounts(work) == pytest.approx(true.of_amounts(work), rel=1e-3)


def test_a_device_that_overlaps_is_found_again() -> None:
    true = LatencyModel(0.5, 0.02, 0.1, 1e-3, 0.01, 2e-3, 1, True, False, False)
    columns = [Column(f"{n}", "", True, False, n) for n in (1, 256)]
    work = amounts(SPACE, list(SPACE)[::20])
    measured = np.column_stack(
        [replace(true, batch_size=column.batch_size).of_amounts(work) for column in columns]
    )
    for model, values in zip(fit(columns, work, measured), measured.T, strict=True):
        assert model.of_amounts(work) == pytest.approx(values, rel=0.01)
