import json
from hashlib import sha256

import numpy as np

from experiments.devices import main
from search_spaces import get_space


def test_a_table_a_model_and_a_measurement_side_by_side(tmp_path):
    space = get_space("nasbench201")
    names = [space.format(architecture) for architecture in space]
    rng = np.random.default_rng(0)
    table, measured = tmp_path / "table.csv", tmp_path / "measured.csv"
    rows = [f"{name},{rng.uniform(10, 95)},{rng.uniform(1, 30)}" for name in names]
    table.write_text("\n".join(["arch,cifar10_test_acc,pixel3_latency_ms", *rows]))
    some = rng.choice(len(names), 20, replace=False)
    # Measured here is twice what the table says of the other device.
    here = [f"{names[i]},{2 * float(rows[i].split(',')[2])}" for i in some]
    measured.write_text("\n".join(["arch,this_machine_latency_ms", *here]))
    main(measured, table, tmp_path)

    written = json.loads((tmp_path / "devices.json").read_text())
    sums = [written["about"]["data"][kind]["sha256"] for kind in ("table", "latencies")]
    assert sums == [sha256(file.read_bytes()).hexdigest() for file in (table, measured)]
    records = written["records"]
    by_table, by_model, by_measurement = records
    assert [len(r["rho"]) for r in records] == [3, 3, 3]
    assert by_measurement["rho"][0] == 1 > abs(by_measurement["rho"][1])
    assert by_measurement["median_ms"] == 2 * by_table["median_ms"]
    assert by_measurement["shared"][0] == by_table["on_front"] == by_measurement["on_front"]
    assert "modelled" in by_model["device"]
    assert "modelled" in by_model["origin"]
    assert "modelled" not in by_table["device"] + by_measurement["device"]
    assert (tmp_path / "devices.md").read_text().count("\n|") == 5
    assert (tmp_path / "devices.png").stat().st_size > 10_000
