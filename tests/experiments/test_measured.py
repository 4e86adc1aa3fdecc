from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.measured import main
from nas_rlm.measure import Settings

TINY = Settings(warm_up=1, repeats=6, min_seconds=0, max_seconds=1, drift=1000, patience_seconds=0)


def test_two_runs(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {"results": tmp_path / "results", "unfinished": tmp_path / "runs"}
    with pytest.raises(ValueError, match="NAS_RLM_DATA must name the table"):
        main(1, 3, TINY, **folders)
    monkeypatch.setenv("NAS_RLM_DATA", str(shared_data))
    with pytest.raises(ValueError, match="run 1 comes first"):
        main(2, 3, TINY, **folders)
    first = main(1, 3, TINY, **folders)
    with pytest.raises(ValueError, match="run 1 ended 0 minutes ago: wait for"):
        main(2, 3, TINY, **folders)
    both = main(2, 3, TINY, **folders, least_hours=0)
    assert both["records"][0] == pytest.approx(first["records"][0]), "it was not measured again"
    assert [record["run"] for record in both["records"]] == [1, 2, "1 and 2"]
    assert -1 <= both["records"][2]["rho"] <= 1
    assert json.loads((tmp_path / "results" / "measured.json").read_text()) == both
    assert both["about"]["data"]["table"]["file"] == "nasbench201.csv.gz"
    assert (
        "Between the runs, 0.0 hours apart: rho"
        in (tmp_path / "results" / "measured.md").read_text()
    )
