from __future__ import annotations

import json
import os

import pytest

from experiments.records import run_cells


def test_cells_are_measured_once_and_kept(tmp_path):
    measured = []

    def measure(seed):
        measured.append(seed)
        if seed == 2:
            raise KeyboardInterrupt
        return {"score": seed * 10}

    cells = [{"seed": seed} for seed in range(4)]
    with pytest.raises(KeyboardInterrupt):
        run_cells("scores", {"data": "a"}, cells, measure, tmp_path)
    kept = json.loads((tmp_path / "scores.json").read_text())["records"]
    assert kept == [{"seed": 0, "score": 0}, {"seed": 1, "score": 10}]
    run_cells("scores", {"data": "a"}, cells[:2] + cells[3:], measure, tmp_path)
    assert measured == [0, 1, 2, 3]


def test_results_of_other_data_are_not_mixed_in(tmp_path):
    run_cells("scores", {"data": "a"}, [{"seed": 0}], lambda seed: {}, tmp_path)
    with pytest.raises(ValueError, match="other data"):
        run_cells("scores", {"data": "b"}, [{"seed": 1}], lambda seed: {}, tmp_path)


def test_cells_are_measured_in_several_processes_and_kept_as_they_are(tmp_path):
    def measure(seed):
        import os

        return {"process": os.getpid(), "score": seed * 10}

    cells = [{"seed": seed} for seed in range(4)]
    kept = run_cells("scores", {"data": "a"}, cells[1:3], measure, tmp_path, jobs=2)
    records = run_cells("scores", {"data": "a"}, cells, measure, tmp_path, jobs=2)
    assert [record["score"] for record in records] == [0, 10, 20, 30]
    assert records[1:3] == kept
    assert os.getpid() not in {record["process"] for record in records}
