import json
from argparse import Namespace

import numpy as np
import pytest

from experiments import adaptation
from nas_rlm import adaptation as adapting
from search_spaces import get_space
from surrogate import RLM

SPACE = get_space("fbnet")


@pytest.fixture
def table(tmp_path):
    """Latencies of 40 architectures on two machines, one of them with two batch sizes."""
    rng = np.random.default_rng(0)
    lines = ["op_indices,1080ti_1_latency_ms,1080ti_32_latency_ms,pixel3_latency_ms"]
    for _ in range(40):
        name = SPACE.format(SPACE.sample(rng))
        work = 1 + sum(map(int, name.split("-"))) / 50
        lines.append(f"{name},{work},{5 * work},{rng.uniform(1, 2)}")
    path = tmp_path / "fbnet_latency.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_machine_is_left_out_in_all_its_settings(table, tmp_path, monkeypatch):
    quick = {"members": 1, "pool": 16, "training": {"steps": 5, "passes": 2}}
    monkeypatch.setattr(adaptation, "SHORTER", quick)
    monkeypatch.setattr(adapting, "POOL", 24)
    monkeypatch.setattr(adaptation, "SPACES", ("fbnet",))
    work = tmp_path / "work"
    arguments = Namespace(folder=str(table.parent), spaces=["fbnet"], draws=2, work=work, jobs=1)
    adaptation.main(arguments, tmp_path)

    folders = sorted(folder.name for folder in (work / "fbnet").iterdir())
    assert folders == ["1080ti", "pixel3_latency_ms"]
    assert RLM.load(work / "fbnet" / "1080ti").objectives == ("pixel3_latency_ms",)
    assert len(RLM.load(work / "fbnet" / "pixel3_latency_ms").objectives) == 2
    made = json.loads((tmp_path / "adaptation.json").read_text())["records"]
    # The second setting of a machine comes when all first ones are trained.
    order = [record["device"].removesuffix("_latency_ms") for record in made]
    assert order == ["gpu", "pixel3", "1080ti_32"] * 2
    assert all(-1 <= record["rho"] <= 1 and 0 <= record["near"] <= 1 for record in made)
    text = (tmp_path / "adaptation.md").read_text()
    assert text.count("\n| ") == 6
