from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from nas_rlm import report
from nas_rlm.pareto import non_dominated
from nas_rlm.runs import Run, RunError, SearchConfig, load_run, open_run
from nas_rlm.search import run_search

CONFIG = SearchConfig(devices=("pixel3", "gpu"), budget=15, method="random", seed=1)


class Oracle:
    """Knows the truth of a benchmark, but for a little noise on the latencies."""

    def __init__(self, run: Run) -> None:
        space, benchmark = run.benchmark.space, run.benchmark
        noise = np.random.default_rng(0).normal(size=benchmark.values.shape) * [0, 1, 1]
        answers = benchmark.values + noise
        self.answers = {
            space.onnx_text(a): v for a, v in zip(benchmark.architectures, answers, strict=True)
        }
        self.asked: list[str] = []

    def predict(self, texts: list[str]) -> np.ndarray:
        self.asked = texts
        return np.array([self.answers[text] for text in texts])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    run_search(CONFIG, folder, progress=False, baseline_seeds=2)
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def test_front(folder: Path) -> None:
    run = load_run(folder)
    rows = read(folder / "front.csv")
    values = run.evaluations().values
    assert list(rows[0]) == [
        *("arch", "evaluation", "cifar10_valid_acc_percent"),
        *("pixel3_latency_ms_modelled", "gpu_latency_ms"),
    ]
    assert len(rows) == non_dominated(values, run.benchmark.directions).sum() < 15
    accuracies = [float(row["cifar10_valid_acc_percent"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    for row in rows:
        figures = [float(figure) for figure in list(row.values())[2:]]
        assert tuple(figures) == run.benchmark(run.benchmark.space.parse(row["arch"]))
        assert figures == values[int(row["evaluation"]) - 1].tolist()


def test_trials(folder: Path) -> None:
    rows = read(folder / "trials.csv")
    assert [int(row["trial"]) for row in rows] == list(range(15))
    assert {len(row) for row in rows} == {6}


def test_summary_figures(folder: Path) -> None:
    run, figures = load_run(folder), summary(folder)
    shares = figures["hypervolume_share"]
    assert len(shares) == figures["evaluated"] == 15
    assert shares[-1] == pytest.approx(
        run.benchmark.hypervolume_share(run.evaluations().values), abs=1e-5
    )
    baselines = figures["baselines"]
    assert baselines["seeds"] == [0, 1]
    assert set(baselines["shares"]) == {"nsga2", "tpe"}, "it is not compared with itself"
    assert np.array(baselines["shares"]["tpe"]).shape == (2, 15)
    assert figures["sha256"] == json.loads((folder / "run.json").read_text())["sha256"]
    assert figures["prediction"] is None


def test_summary_text(folder: Path) -> None:
    text = (folder / "summary.md").read_text()
    assert "| Pixel3 latency | ms | minimize | modelled | modelled: per-operator latency" in text
    assert "median absolute error" in text
    assert "Pixel3 latency (ms, modelled)" in text
    assert "| Random search | 1 |" in text
    assert "| TPE | 2 |" in text
    for line in text.splitlines():
        if line.startswith("!["):
            assert (folder / line.split("(")[1].rstrip(")")).is_file()


def test_predictions_are_of_unseen_architectures(folder: Path) -> None:
    run = load_run(folder)
    found, oracle = run.evaluations(), Oracle(run)
    predictions = report.predict_unseen(run.benchmark, oracle, found.rows)  # type: ignore[arg-type]
    assert len(predictions.rows) == len(oracle.asked) == 15_625 - 15
    assert not set(predictions.rows) & set(found.rows)
    tau, rho = predictions.kendall_tau(), predictions.spearman_rho()
    assert [tau[0], rho[0]] == pytest.approx([1, 1])
    pair = predictions.predicted[:, 1], run.benchmark.values[predictions.rows, 1]
    assert tau[1] == kendalltau(*pair).statistic < 0.95
    assert rho[1] == spearmanr(*pair).statistic


def test_prediction_table_and_cached_baselines(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = summary(folder)["baselines"]
    monkeypatch.setattr(report, "search_distinct", lambda *_: pytest.fail("searched again"))
    run = load_run(folder)
    files = report.write_report(run, Oracle(run), progress=False)  # type: ignore[arg-type]
    assert all(file.is_file() for file in files)
    figures = summary(folder)
    assert figures["baselines"] == before
    assert figures["prediction"]["labels"] == 15
    assert figures["prediction"]["kendall_tau"]["cifar10_valid_acc"] == 1
    text = (folder / "summary.md").read_text()
    assert "trained on the 15 architectures that were evaluated, ranks the 15,610" in text
    assert "| CIFAR-10 validation accuracy (%) | 1.000 | 1.000 |" in text


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}"])
def test_damaged_summary_is_made_again(folder: Path, damage: str) -> None:
    before = summary(folder)["baselines"]
    (folder / "summary.json").write_text(damage)
    report.write_report(load_run(folder), None, progress=False, baseline_seeds=2)
    assert summary(folder)["baselines"] == before


def test_nothing_evaluated_yet(tmp_path: Path) -> None:
    with open_run(CONFIG, tmp_path / "run") as run, pytest.raises(RunError, match="nothing has"):
        report.write_report(run, None)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", "study.journal"}
