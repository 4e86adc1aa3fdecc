from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from nas_rlm import comparison_report
from nas_rlm.cells import Bench, Measurements, Record
from nas_rlm.cli import main
from nas_rlm.compare import Comparison, ComparisonError, compare
from nas_rlm.comparison_plots import Curve, curves_figure
from nas_rlm.comparison_report import Metric, budget_table, comparison_table
from nas_rlm.grids import Cell, Grid
from nas_rlm.metrics import kendall_tau
from nas_rlm.objectives import Objective
from nas_rlm.predictors import PREDICTORS, Entry, Inputs, Predictor
from nas_rlm.tables import Table
from search_spaces import get_space

SPACE = get_space("nasbench201")
OBJECTIVES = (
    Objective("acc", "maximize", "%", "measured", "Accuracy"),
    Objective("pixel3_latency_ms", "minimize", "ms", "modelled", "Pixel3 latency"),
    Objective("gpu_latency_ms", "minimize", "ms", "measured", "GPU latency"),
)
SOME = [a for number, a in enumerate(SPACE) if number % 200 == 0]


def convolutions(inputs: Inputs) -> np.ndarray:
    """How many there are, and a little more to tell most architectures apart, (n,)."""
    names = [list(architecture.values()) for architecture in inputs.architectures]
    return np.array(
        [
            3 * n.count("nor_conv_3x3") + n.count("nor_conv_1x1") - 0.1 * n.count("none")
            for n in names
        ]
    )


def measurements(values: np.ndarray | None = None, rows: int = 79) -> Measurements:
    """Invented figures that the operations say much of."""
    counts = convolutions(Inputs(SPACE, SOME))
    noise = np.random.default_rng(0).normal(size=(len(SOME), 3))
    invented = np.stack([70 + counts, 2 + counts, 3 + 2 * counts], axis=1) + noise * [
        0.5,
        0.1,
        0.1,
    ]
    return Measurements(
        "invented",
        SPACE,
        OBJECTIVES,
        SOME[:rows],
        (invented if values is None else values)[:rows],
        {"figures": {o.name: "dice" for o in OBJECTIVES}, "sha256": {"a": "b"}, "versions": {}},
    )


class Counts(Predictor):
    """A straight line over `convolutions`."""

    fitted: list[tuple[int, int]]
    """Labels and seed of every training, of all its kind."""

    def fit(self, inputs, values, *, progress=False):
        values = self.check_labels(inputs, values)
        self.fitted.append((len(inputs), self.seed))
        x = convolutions(inputs)
        self.lines = [
            np.polyfit(x[known], column[known], 1)
            for column in values.T
            for known in [~np.isnan(column)]
        ]
        return self

    def predict(self, inputs):
        return np.stack([np.polyval(line, convolutions(inputs)) for line in self.lines], axis=1)

    def sample(self, inputs, samples, *, seed=0):
        noise = np.random.default_rng(seed).normal(size=(len(inputs), samples, 1))
        return self.predict(inputs)[:, None] + noise * [0.5, 0.1, 0.1]


class Constant(Counts):
    """Says the same of all, surely."""

    def predict(self, inputs):
        return np.tile([80.0, 5.0, 7.0], (len(inputs), 1))

    def sample(self, inputs, samples, *, seed=0):
        return self.predict(inputs)[:, None].repeat(samples, axis=1)


class Faulty(Counts):
    """Fails with seed 1."""

    def predict(self, inputs):
        if self.seed == 1:
            raise RuntimeError("no\nidea")
        return super().predict(inputs)


class Strange(Counts):
    """Predicts what is no number."""

    def predict(self, inputs):
        return super().predict(inputs) * np.nan


class Interrupted(Counts):
    """Is interrupted at seed 1."""

    interrupt = True

    def predict(self, inputs):
        if self.seed == 1 and self.interrupt:
            raise KeyboardInterrupt
        return super().predict(inputs)


@pytest.fixture(autouse=True)
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Registers the predictors above; each training of theirs as labels and seed."""
    kinds: Iterable[type] = (Counts, Constant, Faulty, Strange, Interrupted)
    for colour, kind in zip("bgrcm", kinds, strict=True):
        entry = Entry(__name__, kind.__name__, kind.__name__, colour)
        monkeypatch.setitem(PREDICTORS, kind.__name__.lower(), entry)
    monkeypatch.setattr(Counts, "fitted", [], raising=False)
    return Counts.fitted


def small(folder: Path, *predictors: str, seeds: int = 2, **options) -> Comparison:
    names = predictors or ("counts", "constant")
    options = {"jobs": 1, "progress": False, "data": measurements(), **options}
    data = options.pop("data")
    return compare(data, names, [8, 16], range(seeds), folder, **options)


def lines(folder: Path) -> list[Record]:
    return [json.loads(line) for line in (folder / "cells.jsonl").read_text().splitlines()]


def test_grid() -> None:
    grid = Grid(("a", "b"), (4, 8), (0, 1))
    assert grid.cells()[:3] == [Cell("a", 4, 0), Cell("b", 4, 0), Cell("a", 8, 0)]
    assert len(set(grid.cells())) == 8


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (((), (4,), (0,)), "predictors is empty"),
        ((("a",), (), (0,)), "labels is empty"),
        ((("a",), (4,), ()), "seeds is empty"),
        ((("a", "b", "a"), (4,), (0,)), "predictors has a twice"),
        ((("a",), (4, 4), (0,)), "labels has 4 twice"),
        ((("a",), (4, 3), (0,)), "labels must be at least 4, not 3"),
        ((("a",), (4,), (-1,)), "seeds must be at least 0"),
    ],
)
def test_grids_that_make_no_sense(lists, message) -> None:
    with pytest.raises(ValueError, match=message):
        Grid(*lists)


def test_a_cell_is_trained_on_its_labels_and_tested_on_the_others(monkeypatch) -> None:
    data = measurements()
    order = np.random.default_rng(5).permutation(79)
    shown: dict[str, tuple] = {}

    def fit(self, inputs, values, *, progress=False):
        shown["fit"] = inputs.architectures, values
        return self

    def predict(self, inputs):
        shown["predict"] = (inputs.architectures,)
        return np.stack([convolutions(inputs)] * 3, axis=1)

    monkeypatch.setattr(Counts, "fit", fit)
    monkeypatch.setattr(Counts, "predict", predict)
    record = Bench(data, uncertainty=False).measure(Cell("counts", 16, 5))
    assert shown["fit"][0] == [SOME[row] for row in order[:16]]
    np.testing.assert_array_equal(shown["fit"][1], data.values[order[:16]])
    assert shown["predict"][0] == [SOME[row] for row in order[16:]]
    assert record["test_rows"] == 63
    expected = kendall_tau(
        convolutions(Inputs(SPACE, SOME))[order[16:]], data.values[order[16:], 0]
    )
    assert record["tau"]["acc"] == pytest.approx(expected)
    assert list(record["rho"]) == ["acc", "pixel3_latency_ms_modelled", "gpu_latency_ms"]
    assert list(record["within_tenth"]) == ["pixel3_latency_ms_modelled", "gpu_latency_ms"]
    assert "crps" not in record


def test_twins_in_training_do_not_count_as_unseen(monkeypatch) -> None:
    monkeypatch.setattr(type(SPACE), "key", lambda self, a: a["edge_0_1"])
    record = Bench(measurements(), uncertainty=False).measure(Cell("counts", 60, 0))
    assert record["tau_without_twins"] is None, "every first edge is in training"
    assert record["tau"]["acc"] > 0


def test_missing_labels_are_left_out() -> None:
    full, holes = measurements(), measurements()
    order = np.random.default_rng(0).permutation(79)
    holes.values[order[16:40], 0] = np.nan
    holes.values[order[2], 1] = np.nan
    record = Bench(holes, uncertainty=True).measure(Cell("counts", 16, 0))
    fewer = Counts([o.name for o in OBJECTIVES]).fit(
        Inputs(SPACE, [SOME[row] for row in order[:16]]), holes.values[order[:16]]
    )
    predicted = fewer.predict(Inputs(SPACE, [SOME[row] for row in order[40:]]))
    assert record["tau"]["acc"] == pytest.approx(
        kendall_tau(predicted[:, 0], full.values[order[40:], 0])
    )
    assert np.isfinite(record["energy_score"])


def test_uncertainty() -> None:
    bench = Bench(measurements(), uncertainty=True)
    honest = bench.measure(Cell("counts", 40, 0))
    sure = bench.measure(Cell("constant", 40, 0))
    for name in ("crps", "nll", "coverage_50", "coverage_80", "coverage_95", "sharpness"):
        assert set(honest[name]) == {"acc", "pixel3_latency_ms_modelled", "gpu_latency_ms"}
    assert honest["crps"]["acc"] < sure["crps"]["acc"]
    assert honest["nll"]["acc"] < sure["nll"]["acc"]
    assert honest["coverage_95"]["acc"] > honest["coverage_50"]["acc"] > sure["coverage_95"]["acc"]
    assert sure["sharpness"]["acc"] == 0
    assert honest["variogram_score_independent"] != honest["variogram_score"]
    assert sure["energy_score_independent"] == pytest.approx(sure["energy_score"])
    assert bench.measure(Cell("counts", 40, 0))["crps"] == honest["crps"]


def test_a_comparison_and_its_report(tmp_path: Path, fitted) -> None:
    comparison = small(tmp_path / "out", uncertainty=True)
    assert list(comparison.records) == [
        Cell(name, labels, seed)
        for labels in (8, 16)
        for name in ("counts", "constant")
        for seed in (0, 1)
    ]
    assert not comparison.failures
    assert all(file.stat().st_size for file in comparison.files)
    assert [file.name for file in comparison.files] == [
        *("summary.md", "comparison.csv", "tau.png", "tau.pdf", "rho.png", "rho.pdf")
    ]
    with comparison.files[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row, (cell, record) in zip(rows, comparison.records.items(), strict=True):
        assert (row["predictor"], int(row["labels"]), int(row["seed"])) == cell
        assert float(row["tau_acc"]) == record["tau"]["acc"]
        assert float(row["variogram_score"]) == record["variogram_score"]
    summary = comparison.files[0].read_text()
    tau = [comparison.records[Cell("counts", 8, seed)]["tau"]["acc"] for seed in (0, 1)]
    assert f"| Counts | 8 | 2 | **{np.mean(tau):.3f} ± " in summary
    assert "| Constant | 8 | 2 | 0.000 ± 0.000 |" in summary
    for part in (
        "rho, Pixel3 latency (ms, modelled)",
        "rho, mean of 2 latencies, some modelled",
        "regret, Accuracy (%)",
        "is a prediction of a fitted model, never a measurement",
        "### Objectives together",
        "- seeds: 0, 1",
        "sha256 `b`",
        "![tau over labels](plots/tau.png)",
    ):
        assert part in summary

    again = small(tmp_path / "out", uncertainty=True)
    assert again.records == comparison.records
    assert len(fitted) == 8, "nothing was measured again"
    assert again.files[0].read_text() == summary


def test_others_join_a_comparison(tmp_path: Path, fitted) -> None:
    small(tmp_path, "counts", seeds=1)
    more = small(tmp_path, seeds=2)
    assert len(more.records) == 8
    assert sorted(fitted) == sorted([(n, s) for n in (8, 16) for s in (0, 1) for _ in range(2)])


def test_marks() -> None:
    records = {
        Cell(name, 8, seed): {"score": score}
        for name, scores in {
            "counts": (0.80, 0.82),
            "constant": (0.70, 0.72),
            "faulty": (0.1, 0.1),
            "strange": (None, None),
        }.items()
        for seed, score in enumerate(scores)
    }
    records[Cell("counts", 16, 0)] = {"score": 0.5}

    def rows(best) -> list[str]:
        table = comparison_table(records, [Metric("score", lambda r: r["score"], best, 2)])
        return [line.rsplit(" | ", 1)[1].removesuffix(" |") for line in table.splitlines()[2:]]

    # The intervals' half widths are 0.01 t(0.975, 1) = 0.127 and 0; 0.5 alone is no contest.
    high, second, low = "0.81 ± 0.13", "0.71 ± 0.13", "0.10 ± 0.00"
    assert rows(max) == [f"**{high}**", f"{second} †", low, "undefined", "0.50"]
    assert rows(min) == [high, second, f"**{low}**", "undefined", "0.50"]
    assert rows(None) == [high, second, low, "undefined", "0.50"]
    wide = budget_table(
        records, Metric("score", lambda r: r["score"], max, 2), {"paper": {16: "?"}}
    )
    assert wide.splitlines()[0] == "| score | 8 | 16 |"
    assert wide.splitlines()[2] == f"| Counts | **{high}** | 0.50 |"
    assert wide.splitlines()[3] == f"| Constant | {second} † |  |"
    assert wide.splitlines()[-1] == "| paper |  | ? |"
    medians = comparison_table(records, [Metric("s", lambda r: r["score"], digits=2, median=True)])
    assert "| Counts | 8 | 2 | 0.81 |" in medians


def test_curves() -> None:
    curve = Curve(np.array([8, 32]), np.array([0.1, 0.9]), np.array([0.1, np.nan]))
    worse = Curve(np.array([16]), np.array([0.2]), np.array([0.1]))
    figure = curves_figure({"constant": worse, "counts": curve}, "tau", "an objective " * 9)
    axes = figure.axes[0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Counts", "Constant"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["8", "16", "32"]
    assert axes.get_xscale() == "log"
    low, high = axes.get_ylim()
    assert low < 0
    assert high > 0.9


def test_wide_intervals_do_not_squeeze_the_means() -> None:
    curve = Curve(np.array([8, 32]), np.array([0.4, 0.6]), np.array([3.0, 0.01]))
    low, high = curves_figure({"counts": curve}, "tau", "accuracy").axes[0].get_ylim()
    assert 0.2 < low < 0.4
    assert 0.6 < high < 0.8
    alone = Curve(np.array([8]), np.array([0.4]), np.array([np.nan]))
    low, high = curves_figure({"counts": alone}, "tau", "accuracy").axes[0].get_ylim()
    assert low < 0.4 < high


def test_a_failing_predictor_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = small(tmp_path, "faulty", "counts", "strange")
    assert comparison.failures == {
        Cell("faulty", 8, 1): "RuntimeError: no idea",
        Cell("faulty", 16, 1): "RuntimeError: no idea",
        **{
            Cell("strange", labels, seed): "ValueError: predicted something that is not a "
            "finite number"
            for labels in (8, 16)
            for seed in (0, 1)
        },
    }
    assert len(comparison.records) == 6
    assert "failed: faulty, 8 labels, seed 1: RuntimeError: no idea\n" in capsys.readouterr().err
    assert "- faulty, 8 labels, seed 1: RuntimeError: no idea\n" in (
        comparison.files[0].read_text()
    )


def test_what_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(small(tmp_path, "faulty").failures) == 2
    monkeypatch.delattr(Faulty, "predict")
    comparison = small(tmp_path, "faulty")
    assert not comparison.failures
    assert len(comparison.records) == 4


def test_all_may_fail(tmp_path: Path) -> None:
    comparison = small(tmp_path, "strange")
    assert not comparison.records
    assert "What failed" in comparison.files[0].read_text()


def test_an_interrupted_comparison_goes_on(
    tmp_path: Path, fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path, "interrupted")
    assert [(r["labels"], r["seed"]) for r in lines(tmp_path)] == [(8, 0), (16, 0)]
    # As a process that was killed while it wrote leaves it.
    with (tmp_path / "cells.jsonl").open("a") as file:
        file.write('{"predictor": "interru')
    monkeypatch.setattr(Interrupted, "interrupt", False)
    fitted.clear()
    assert len(small(tmp_path, "interrupted").records) == 4
    assert fitted == [(8, 1), (16, 1)]
    assert len(lines(tmp_path)) == 4


def refused(folder: Path, *predictors: str, **options) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the callers look at the message
        small(folder, *predictors, **options)
    return str(caught.value)


def test_nothing_is_begun_that_cannot_be_done(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "out"
    assert "unknown predictor 'conts'; did you mean 'counts'" in refused(folder, "conts")
    assert "predictors has counts twice" in refused(folder, "counts", "counts")
    assert "seeds is empty" in refused(folder, seeds=0)
    assert "jobs must be at least 1" in refused(folder, jobs=0)
    few = measurements(rows=17)
    assert "16 labels leave nothing to test on: there are 17 rows" in refused(folder, data=few)
    same, none = measurements(), measurements()
    same.values[:, 1] = 3
    none.values[:, 2] = np.nan
    assert "pixel3_latency_ms has no two different figures" in refused(folder, data=same)
    assert "gpu_latency_ms has no two different figures" in refused(folder, data=none)
    monkeypatch.setitem(PREDICTORS, "absent", Entry("no_such_package", "X", "X", "r"))
    assert "absent needs the package no_such_package" in refused(folder, "counts", "absent")
    assert not folder.exists()


def test_folders_of_something_else(tmp_path: Path) -> None:
    small(tmp_path / "out")
    before = (tmp_path / "out" / "cells.jsonl").read_bytes()
    changed = measurements()
    changed.values[3, 0] += 1e-9
    assert "the checksum of architectures and values differs" in refused(
        tmp_path / "out", data=changed
    )
    fewer = refused(tmp_path / "out", data=measurements(rows=60))
    assert "rows is 79 there and 60 here" in fewer
    assert "uncertainty is False there and True here" in refused(
        tmp_path / "out", uncertainty=True
    )
    assert (tmp_path / "out" / "cells.jsonl").read_bytes() == before

    (tmp_path / "thesis.tex").write_text("years of work")
    assert "is a file: name a folder" in refused(tmp_path / "thesis.tex")
    assert "holds no comparison (it has 'out')" in refused(tmp_path)
    with pytest.raises(ComparisonError):
        small(tmp_path)


def test_other_versions_are_not_mixed_in(tmp_path: Path) -> None:
    small(tmp_path)
    file = tmp_path / "comparison.json"
    description = json.loads(file.read_text())
    installed = description["versions"].pop("scipy")
    file.write_text(json.dumps(description))
    small(tmp_path)  # a package that was not there before
    assert json.loads(file.read_text())["versions"]["scipy"] == installed
    description["versions"]["numpy"] = "1.0"
    file.write_text(json.dumps(description))
    assert "numpy is 1.0 there and 2." in refused(tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    small(tmp_path)
    cells, about = tmp_path / "cells.jsonl", tmp_path / "comparison.json"
    whole = cells.read_text()
    cells.write_text(re.sub("predictor", "predicter", whole, count=1))
    assert "cells.jsonl, line 1 is damaged" in refused(tmp_path)
    cells.write_text(whole.replace("\n", "\n{\n", 1))
    assert "line 2 is damaged" in refused(tmp_path)
    cells.write_text(whole)
    content = about.read_text()
    about.write_text(content.replace('"version": 1', '"version": 9'))
    assert "has version 9" in refused(tmp_path)
    about.write_text(content[:100])
    assert "comparison.json is damaged" in refused(tmp_path)
    about.write_text(content)
    assert len(small(tmp_path).records) == 8


def test_one_comparison_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = []

    def report(*_):
        messages.append(refused(tmp_path))
        return []

    monkeypatch.setattr(comparison_report, "write_report", report)
    small(tmp_path)
    assert "is at work in" in messages[0]


def test_a_users_table() -> None:
    values = np.array([[1, np.nan, 5], [np.nan, np.nan, np.nan], [2, 3, 6]])
    table = Table("t.csv", "c0ffee", ("acc", "energy", "gpu_latency_ms"), tuple(SOME[:3]), values)
    data = Measurements.from_table(table, SPACE)
    assert data.architectures == [SOME[0], SOME[2]]
    np.testing.assert_array_equal(data.values, values[[0, 2]])
    assert [o.direction for o in data.objectives] == ["maximize", "minimize", "minimize"]
    assert [o.unit for o in data.objectives] == ["", "", "ms"]
    assert data.provenance["sha256"] == {"t.csv": "c0ffee"}
    chosen = Measurements.from_table(table, SPACE, ["acc"])
    assert [o.direction for o in chosen.objectives] == ["minimize", "maximize", "maximize"]
    with pytest.raises(ValueError, match="'mass' is to be minimised but is not an objective"):
        Measurements.from_table(table, SPACE, ["mass"])
    swift = Table("t.csv", "", ("gpu_latency_ms",), tuple(SOME[:3]), values[:, 2:])
    assert Measurements.from_table(swift, SPACE).objectives[0].direction == "minimize"


SCRIPT = """
import sys, time
import numpy as np
from nas_rlm.cli import main
from nas_rlm.predictors import PREDICTORS, Entry, Predictor

class Slow(Predictor):
    def fit(self, inputs, values, *, progress=False):
        time.sleep(1.5)
        return self

    def predict(self, inputs):
        return np.random.default_rng(self.seed).random((len(inputs), 1))

    def sample(self, inputs, samples, *, seed=0):
        raise NotImplementedError

class Fatal(Slow):
    def predict(self, inputs):
        import os
        os._exit(1)

for kind in (Slow, Fatal):
    PREDICTORS[kind.__name__.lower()] = Entry(__name__, kind.__name__, kind.__name__, "k")
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


class Program:
    """A comparison in processes, which import the predictors with the script."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.script = folder / "script.py"
        self.script.write_text(SCRIPT)
        self.table = folder / "table.csv"
        rows = [f"{SPACE.format(a)},{50 + n % 41}" for n, a in enumerate(SOME)]
        self.table.write_text("\n".join(["arch,acc", *rows]))

    def arguments(self, predictor: str, jobs: int) -> list[str]:
        command = ["compare", str(self.table), "--objectives", "acc", "--out", str(self.out)]
        options = ["--predictors", predictor, "--labels", "8", "--seeds", "10"]
        return [*command, *options, "--jobs", str(jobs)]

    def start(self, predictor: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, self.script, *self.arguments(predictor, jobs=2)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def stop(self, cells: int, number: signal.Signals, *, all_processes: bool) -> tuple[int, str]:
        """End it when so many more cells are measured; its status and what it said.

        One at least: processes that are starting are easily disturbed.
        """
        before = self.measured()
        process = self.start("slow")
        while self.measured() < before + cells and process.poll() is None:
            time.sleep(0.05)
        (os.killpg if all_processes else os.kill)(process.pid, number)
        # Its processes write to the same place: this waits for the last of them.
        _, said = process.communicate(timeout=180)
        return process.returncode, said

    def measured(self) -> int:
        """Cells with a record."""
        file = self.out / "cells.jsonl"
        return file.read_text().count("\n") if file.exists() else 0


INTERRUPTED = """
import os, signal
from nas_rlm.compare import _undisturbed
try:
    with _undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
        print("went on")
    print("was never told")
except KeyboardInterrupt:
    print("was told afterwards")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_an_interruption_while_processes_start_is_not_lost() -> None:
    command = [sys.executable, "-c", INTERRUPTED]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["went on", "was told afterwards"], run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_processes_end_with_the_comparison_and_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program(tmp_path)
    status, said = program.stop(1, signal.SIGINT, all_processes=True)
    assert status == 130
    assert "stopped; the same command goes on where it stopped" in said
    assert "Traceback" not in said
    status, _ = program.stop(2, signal.SIGKILL, all_processes=False)
    assert status == -signal.SIGKILL
    before = lines(program.out)
    assert len(before) < 10
    monkeypatch.setitem(PREDICTORS, "slow", PREDICTORS["counts"])  # it may be quick now
    assert main(program.arguments("slow", jobs=1)) == 0
    assert str(program.out / "summary.md") in capsys.readouterr().out
    after = lines(program.out)
    assert after[: len(before)] == before
    assert sorted(record["seed"] for record in after) == list(range(10))


def test_a_process_that_dies_is_an_error(tmp_path: Path) -> None:
    process = Program(tmp_path).start("fatal")
    _, said = process.communicate(timeout=180)
    assert process.returncode == 2
    assert "nas-rlm: error: a process that was measuring was killed" in said
