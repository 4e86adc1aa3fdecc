"""Latencies measured here. No test depends on how long anything takes: clocks are invented."""

from __future__ import annotations

import csv
import gc
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx.parser
import psutil
import pytest
import torch
from onnx import TensorProto, helper

from nas_rlm import campaign
from nas_rlm.campaign import measure_all, of_files, of_space, sample_distinct
from nas_rlm.cli import main
from nas_rlm.drift import Reference
from nas_rlm.energy import EnergyCounter, NoEnergyError
from nas_rlm.environment import environment
from nas_rlm.measure import (
    MeasureError,
    RefusedModelError,
    Runner,
    Settings,
    measure,
    median_interval,
    time_runs,
)
from nas_rlm.tables import read_table
from search_spaces import export, get_space

SPACE = get_space("nasbench201")
TINY = Settings(
    warm_up=1, repeats=6, min_seconds=0, max_seconds=0.01, drift=1000, patience_seconds=0
)
"""Measures nothing of worth within milliseconds."""
OPTIONS = [
    *("--warm-up", "1", "--repeats", "6", "--min-seconds", "0", "--max-seconds", "0.01"),
    *("--drift", "1000", "--patience", "0", "--quiet"),
]
ARCHITECTURES = [SPACE.format(a) for a in sample_distinct(SPACE, 8, seed=1)]


def tiny_model(
    shape: Iterable[int | str] = (1, 4), kind: int = TensorProto.FLOAT, operator: str = "Identity"
) -> onnx.ModelProto:
    shape = list(shape)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    opset = helper.make_opsetid("", 21)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


TINY_MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    f"m{number}": lambda size=number: tiny_model((1, size)) for number in range(1, 8)
}


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


class Machine:
    """A clock, and work that takes the given times by it."""

    def __init__(self, seconds: Iterable[float]) -> None:
        self.now = 0.0
        self.seconds = iter(seconds)
        self.runs = 0

    def clock(self) -> float:
        return self.now

    def run(self) -> None:
        self.now += next(self.seconds)
        self.runs += 1


def timed(seconds: Iterable[float], **settings: Any) -> tuple[Any, Machine]:
    machine = Machine(seconds)
    wanted = Settings(**{"warm_up": 1, "min_seconds": 0, "max_seconds": 1000, **settings})
    return time_runs(machine.run, wanted, clock=machine.clock), machine


def noise(spread: float, seed: int = 0) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    return (float(seconds) for seconds in iter(lambda: rng.lognormal(0, spread), None))


def test_steady_work_is_repeated_as_often_as_asked() -> None:
    made, machine = timed(itertools.repeat(0.25), warm_up=3, repeats=20)
    assert machine.runs == 23
    assert (made.runs, made.reached, made.energy_mj) == (20, True, None)
    assert (made.median_ms, made.low_ms, made.high_ms, made.spread_ms) == (250, 250, 250, 0)


def test_warm_up_does_not_count() -> None:
    made, _ = timed([9, 7, 5, *[1] * 20], warm_up=3, repeats=20)
    assert made.median_ms == made.high_ms == 1000


def test_warm_up_ends_in_time() -> None:
    _, machine = timed(itertools.repeat(1), warm_up=100, repeats=6, max_seconds=10)
    assert machine.runs == 10 + 6


def test_median_and_spread() -> None:
    made, _ = timed([1, *range(1, 22)], repeats=21, half_width=1)
    assert (made.runs, made.median_ms, made.spread_ms) == (21, 11_000, 10_000)
    assert (made.low_ms, made.high_ms) == (6000, 16_000)


def test_repeats_end_when_the_interval_is_narrow() -> None:
    runs = {}
    for width in (0.05, 0.02):
        made, _ = timed(noise(0.2), half_width=width)
        assert made.reached
        assert (made.high_ms - made.low_ms) / 2 <= width * made.median_ms
        runs[width] = made.runs
    assert 20 < runs[0.05] < runs[0.02] < 2000


def test_repeats_end_when_the_time_is_up() -> None:
    made, _ = timed(noise(1), half_width=0.001, max_seconds=100)
    assert not made.reached
    assert made.low_ms < made.median_ms < made.high_ms
    made, _ = timed(itertools.repeat(7), max_seconds=10)
    assert (made.runs, made.reached) == (2, False)
    assert math.isnan(made.low_ms)
    assert made.median_ms == 7000


def test_repeats_go_on_until_the_least_time_is_up() -> None:
    made, _ = timed(itertools.repeat(1), repeats=6, min_seconds=50)
    assert 50 <= made.runs <= 55


def test_median_interval_holds_what_it_promises() -> None:
    assert median_interval(np.arange(1.0, 21.0)) == (6, 15)
    assert all(map(math.isnan, median_interval([1.0] * 5)))
    rng = np.random.default_rng(0)
    bounds = [median_interval(rng.exponential(size=30)) for _ in range(300)]
    inside = np.mean([low <= math.log(2) <= high for low, high in bounds])
    assert 0.93 <= inside <= 0.99


def test_no_garbage_is_collected_meanwhile() -> None:
    enabled = []
    timed(itertools.repeat(1))
    time_runs(lambda: enabled.append(gc.isenabled()), replace(TINY, warm_up=1))
    assert enabled[0]
    assert not any(enabled[1:])
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threads": 0}, "threads must be at least 1, not 0"),
        ({"warm_up": 0}, "warm_up must be at least 1"),
        ({"half_width": 0}, "half_width must be more than 0"),
        ({"max_seconds": math.nan}, "max_seconds must be more than 0, not nan"),
        ({"min_seconds": 6}, r"min_seconds \(6\) must not be more than max_seconds \(5.0\)"),
        ({"patience_seconds": -1}, "patience_seconds must be at least 0"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)


@pytest.mark.parametrize(
    "kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL]
)
def test_measures_models_and_files(kind: int, tmp_path: Path) -> None:
    model = tiny_model(kind=kind)
    onnx.save(model, tmp_path / "tiny.onnx")
    for source in (model, tmp_path / "tiny.onnx"):
        made = measure(source, TINY)
        assert made.runs >= 1
        assert made.median_ms > 0


def test_an_open_batch_takes_the_batch_size() -> None:
    flat = tiny_model(("n", 4), operator="Flatten")
    measure(flat, replace(TINY, batch_size=3))
    measure(tiny_model(()), TINY)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tiny_model(operator="Frobnicate"), "ONNX Runtime refuses it: .*Frobnicate"),
        (tiny_model((2, 4)), "input 'x' is for a batch of 2, not 1: export"),
        (tiny_model((1, "width")), "the size 'width' of its input 'x' is open"),
        (tiny_model(kind=TensorProto.STRING), r"input 'x' is a tensor\(string\)"),
        (Path("absent.onnx"), "ONNX Runtime refuses it: .*absent.onnx"),
    ],
)
def test_models_that_cannot_be_measured(model: onnx.ModelProto | Path, message: str) -> None:
    with pytest.raises(RefusedModelError, match=message) as caught:
        measure(model, TINY)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    file = tmp_path / "thesis.onnx"
    file.write_text("years of work")
    with pytest.raises(RefusedModelError, match=r"ONNX Runtime refuses it: .*thesis\.onnx"):
        measure(file, TINY)


def test_providers_that_are_not_there() -> None:
    with pytest.raises(MeasureError, match="no provider 'gpu' here; it has cpu"):
        measure(tiny_model(), replace(TINY, provider="gpu"))


def reference(latencies: Iterable[float], **settings: Any) -> tuple[Reference, list[float]]:
    slept: list[float] = []
    readings = iter(latencies)
    wanted = Settings(**{"drift": 0.1, "patience_seconds": 10, **settings})
    return Reference(lambda: next(readings), wanted, sleep=slept.append), slept


def test_the_reference_is_what_a_steady_machine_shows() -> None:
    guard, slept = reference([5, 9, 10, 10.2, 10.1])
    assert guard.first_ms == 10.1
    assert guard.last.latency_ms == 10.1
    restless, _ = reference([1, 2, 4, 8, 16, 32, 6])
    assert restless.first_ms == 6, "the median where it does not become steady"
    assert slept == []


def test_work_on_a_steady_machine_is_done_once() -> None:
    guard, slept = reference([10, 10, 10, 10.5, 9.2])
    assert guard.bracket(lambda: "done")[1].drift == pytest.approx(0.05)
    result, reading = guard.bracket(lambda: "done")
    assert (result, reading.tolerated, slept) == ("done", True, [])
    assert reading.drift == pytest.approx(-0.08), "the farther one, of whichever sign"


def test_work_is_done_again_when_the_machine_has_come_back() -> None:
    guard, slept = reference([10, 10, 10, 15, 14, 10.4, 9.8])
    times = itertools.count(1)
    result, reading = guard.bracket(lambda: next(times))
    assert result == 2
    assert slept == [1, 2]
    assert reading.tolerated
    assert reading.drift == pytest.approx(0.04)


def test_work_on_a_machine_that_stays_slow_is_marked() -> None:
    guard, slept = reference([10, 10, 10, *[15] * 8])
    times = itertools.count(1)
    result, reading = guard.bracket(lambda: next(times))
    assert (result, reading.tolerated, slept) == (1, False, [1, 2, 4, 3])
    assert reading.drift == pytest.approx(0.5)
    guard, slept = reference([10, 10, 10, 15, 15], patience_seconds=0)
    assert not guard.bracket(lambda: None)[1].tolerated
    assert slept == []


def test_work_that_begins_on_a_slow_machine_waits() -> None:
    guard, slept = reference([10, 10, 15, 10, 10])
    times = itertools.count(1)
    result, reading = guard.bracket(lambda: next(times))
    assert (result, reading.tolerated, slept) == (1, True, [1])


class Counters:
    """Counters of energy as Linux shows them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for zone, name in (
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:2", "psys"),
        ):
            (folder / zone).mkdir(parents=True)
            (folder / zone / "name").write_text(name + "\n")
            (folder / zone / "max_energy_range_uj").write_text("10000000\n")
        (folder / "intel-rapl").mkdir()
        self.show(0, 0)

    def show(self, *microjoules: int) -> None:
        for zone, number in zip((0, 1), microjoules, strict=True):
            (self.folder / f"intel-rapl:{zone}" / "energy_uj").write_text(f"{number}\n")


def test_energy_of_a_run(tmp_path: Path) -> None:
    counters = Counters(tmp_path)
    used = itertools.count(9_000_000, 500_000)
    machine = Machine(itertools.repeat(1))

    def run() -> None:
        machine.run()
        counters.show(next(used) % 10_000_000, 1000 * machine.runs)

    settings = Settings(warm_up=1, repeats=10, min_seconds=0, max_seconds=100)
    made = time_runs(run, settings, clock=machine.clock, energy=EnergyCounter(tmp_path))
    assert made.runs == 10
    assert made.energy_mj == pytest.approx(501), "the first package's counter started again"


def test_energy_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoEnergyError, match="this machine shows no energy counter"):
        EnergyCounter(tmp_path / "absent")
    folder = tmp_path / "powercap"
    counters = Counters(folder)
    (folder / "intel-rapl:1" / "energy_uj").write_text("many")
    with pytest.raises(NoEnergyError, match="is damaged"):
        EnergyCounter(folder)
    counters.show(1, 2)
    read_text = Path.read_text

    def refuse(path: Path, *arguments: Any, **options: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *arguments, **options)

    # As it is for whoever is not root, who may read everything.
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(NoEnergyError, match="energy_uj may not be read, on most systems by none"):
        EnergyCounter(folder)


def test_the_environment() -> None:
    described = environment("cpu")
    assert json.loads(json.dumps(described)) == described
    assert described["processor"]
    assert described["hardware threads"] >= 1
    assert described["python"] == ".".join(map(str, sys.version_info[:3]))


def test_architectures_drawn() -> None:
    some = [SPACE.format(a) for a in sample_distinct(SPACE, 30, seed=3)]
    assert len(set(some)) == 30
    assert [SPACE.format(a) for a in sample_distinct(SPACE, 10, seed=3)] == some[:10]
    assert [SPACE.format(a) for a in sample_distinct(SPACE, 10, seed=4)] != some[:10]
    with pytest.raises(MeasureError, match="has 15,625 architectures: 15626 cannot be drawn"):
        sample_distinct(SPACE, 15_626, seed=0)


def test_a_campaign_is_a_table(tmp_path: Path) -> None:
    architectures = [SPACE.parse(name) for name in ARCHITECTURES]
    out = tmp_path / "new" / "mine.csv"
    done = measure_all(
        of_space(SPACE, architectures, TINY),
        *(out, "mine", TINY),
        models="nasbench201",
        progress=False,
        powercap=tmp_path,
    )
    assert [row.arch for row in done.rows] == ARCHITECTURES
    assert done.failures == {}
    assert "no energy counter" in str(done.no_energy)
    columns = ["mine_latency_ms", "spread_ms", "runs", "reference_ms", "drift", "drifted"]
    table = read_table(out, SPACE, columns, complete=False)
    assert {SPACE.format(a) for a in table.architectures} == set(ARCHITECTURES)
    assert (table.column("mine_latency_ms") > 0).all()
    latency = {row.arch: row.measurement.median_ms for row in done.rows}
    written = dict(zip(map(SPACE.format, table.architectures), table.values[:, 0], strict=True))
    assert written == pytest.approx(latency, rel=1e-6)
    order = [row["arch"] for row in read(out)]
    assert order != ARCHITECTURES, "their order is random"
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["settings"]["repeats"] == 6
    assert record["environment"]["energy counter"] is None
    first = float(record["reference_ms"])
    for row in read(out):
        assert float(row["drift"]) == pytest.approx(float(row["reference_ms"]) / first - 1, 1e-4)


def test_a_campaign_with_energy(tmp_path: Path) -> None:
    Counters(tmp_path / "powercap")
    out = tmp_path / "mine.csv"
    done = measure_all(
        TINY_MODELS, out, "mine", TINY, progress=False, powercap=tmp_path / "powercap"
    )
    assert done.no_energy is None
    assert [row["mine_energy_mj"] for row in read(out)] == ["0"] * len(TINY_MODELS)
    again = measure_all(
        TINY_MODELS, out, "mine", TINY, progress=False, powercap=tmp_path / "powercap"
    )
    assert [row.measurement.energy_mj for row in again.rows] == [0] * len(TINY_MODELS)
    with pytest.raises(
        MeasureError, match="energy counter is processor packages there and None here"
    ):
        measure_all(TINY_MODELS, out, "mine", TINY, progress=False, powercap=tmp_path)


def test_modules_and_files(tmp_path: Path) -> None:
    file = tmp_path / "tiny.onnx"
    onnx.save(tiny_model(), file)
    module = torch.nn.Conv2d(3, 2, 3)
    candidates = {
        **of_files([file]),
        "module": lambda: export(module, (1, 3, 8, 8)),
        "model": tiny_model(),
    }
    done = measure_all(candidates, tmp_path / "mine.csv", "mine", TINY, progress=False)
    assert [row.arch for row in done.rows] == [str(file), "module", "model"]
    with pytest.raises(MeasureError, match=r"tiny\.onnx is there twice: give each once"):
        of_files([file, file])
    with pytest.raises(MeasureError, match=r"absent\.onnx: there is no such file"):
        of_files([file, tmp_path / "absent.onnx"])


def run_campaign(out: Path, some: Iterable[str] = TINY_MODELS, **settings: Any) -> list[str]:
    """Measure; the names in the file afterwards."""
    candidates = {name: TINY_MODELS[name] for name in some}
    measure_all(candidates, out, "mine", replace(TINY, **settings), progress=False)
    return [row["arch"] for row in read(out)]


def test_what_is_refused_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def build() -> onnx.ModelProto:
        raise ArithmeticError("too wide")

    candidates = {
        "odd": tiny_model(operator="Frobnicate"),
        "broken": build,
        "good": tiny_model(),
    }
    out = tmp_path / "mine.csv"
    done = measure_all(candidates, out, "mine", TINY, progress=False)
    assert [row.arch for row in done.rows] == [row["arch"] for row in read(out)] == ["good"]
    assert set(done.failures) == {"odd", "broken"}
    said = capsys.readouterr().err
    assert "left out: odd: ONNX Runtime refuses it: " in said
    assert "left out: broken: it cannot be made: ArithmeticError('too wide')" in said


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "mine.csv"
    first = run_campaign(out, ["m1", "m2", "m3"])
    before = out.read_bytes()
    with out.open("ab") as file:  # as a process that was killed while it wrote leaves it
        file.write(b"m4,0.00")
    after = run_campaign(out)
    assert sorted(after) == sorted(TINY_MODELS)
    assert after[:3] == first
    assert out.read_bytes().startswith(before)
    finished = out.read_bytes()
    assert run_campaign(out) == after
    assert out.read_bytes() == finished


def test_a_campaign_that_was_killed_before_it_measured(tmp_path: Path) -> None:
    out = tmp_path / "mine.csv"
    out.write_text("")
    run_campaign(out, ["m1"])
    header = out.read_text().splitlines()[0]
    for left in ("", header[:20], header + "\n"):
        out.write_text(left)
        assert run_campaign(out, ["m1"]) == ["m1"]
        assert out.read_text().splitlines()[0] == header


def test_interrupted_while_it_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "mine.csv"
    really, calls = campaign.measure, itertools.count(1)

    def interrupt(*arguments: Any, **options: Any) -> Any:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return really(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(campaign, "measure", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_campaign(out, reference_every=1)
    kept = [row["arch"] for row in read(out)]
    assert len(kept) == 3
    assert run_campaign(out, reference_every=1)[:3] == kept


def test_drifted_rows_are_marked_and_the_first_reference_stays(tmp_path: Path) -> None:
    out = tmp_path / "mine.csv"
    run_campaign(out, ["m1"], drift=0.5)
    record = json.loads(out.with_suffix(".json").read_text())
    # As if the machine had been a thousand times as fast when it began.
    out.with_suffix(".json").write_text(
        json.dumps({**record, "reference_ms": record["reference_ms"] / 1000})
    )
    run_campaign(out, ["m1", "m2"], drift=0.5)
    row = read(out)[1]
    assert row["arch"] == "m2"
    assert row["drifted"] == "1"
    assert float(row["drift"]) > 10


def test_what_a_drifting_machine_measured_is_measured_again_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is slow from the end of the first model to that of the second."""
    steady = run_campaign(tmp_path / "steady.csv", drift=1e9, reference_every=1)
    for put_off, written in ((50, [*steady[2:], *steady[:2]]), (0, steady)):
        latencies = itertools.chain([1.0, 1.0, 1.0, 3.0], itertools.repeat(1.0))
        with monkeypatch.context() as patch:
            patch.setattr(campaign, "_PUT_OFF", put_off)
            patch.setattr(
                campaign, "time_runs", lambda *_, of=latencies: SimpleNamespace(median_ms=next(of))
            )
            out = tmp_path / f"{put_off}.csv"
            assert run_campaign(out, drift=0.5, reference_every=1) == written
        drifted = [row["arch"] for row in read(out) if row["drifted"] == "1"]
        assert drifted == ([] if put_off else steady[:2])


def test_other_settings_or_another_machine(tmp_path: Path) -> None:
    out = tmp_path / "mine.csv"
    run_campaign(out, ["m1"])
    before = out.read_bytes()
    with pytest.raises(MeasureError) as caught:
        run_campaign(out, threads=2, warm_up=3)
    message = str(caught.value)
    assert "measured otherwise: threads is 1 there and 2 here; warm_up is 1 there and 3" in message
    beside = out.with_suffix(".json")
    record = json.loads(beside.read_text())
    record["environment"]["processor"] = "Abacus"
    del record["environment"]["onnxruntime"]
    beside.write_text(json.dumps(record))
    with pytest.raises(MeasureError, match=r"processor is Abacus there and .* here; onnxruntime"):
        run_campaign(out)
    with pytest.raises(MeasureError, match="device is mine there and yours here"):
        measure_all(TINY_MODELS, out, "yours", TINY, progress=False)
    assert out.read_bytes() == before


def test_files_of_something_else(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.csv"
    thesis.write_text("years,of,work\n")
    with pytest.raises(MeasureError, match=r"holds something else, there is no thesis\.json"):
        run_campaign(thesis)
    assert thesis.read_text() == "years,of,work\n"
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(MeasureError, match="is a folder: name a file"):
        run_campaign(tmp_path / "folder.csv")
    with pytest.raises(MeasureError, match=r"name a file that ends in \.csv"):
        run_campaign(tmp_path / "mine.csv.gz")
    out = tmp_path / "mine.csv"
    run_campaign(out, ["m1"])
    record, rows = out.with_suffix(".json"), out.read_text()
    for content in ("{", "[]", '{"version": 1}'):
        kept = record.read_text()
        record.write_text(content)
        with pytest.raises(MeasureError, match=r"mine\.json is damaged"):
            run_campaign(out)
        record.write_text(kept)
    record.write_text(kept.replace('"version": 1', '"version": 7'))
    with pytest.raises(MeasureError, match="has version 7, this program reads version 1"):
        run_campaign(out)
    record.write_text(kept)
    out.write_text(rows + "m2,quick\n")
    with pytest.raises(MeasureError, match=r"mine\.csv, line 3 is damaged"):
        run_campaign(out)
    out.write_text(rows.replace("spread_ms", "iqr_ms"))
    with pytest.raises(MeasureError, match="its columns are not arch, mine_latency_ms"):
        run_campaign(out)


def test_devices_names(tmp_path: Path) -> None:
    for name, message in (
        ("", "cannot be the device's name"),
        ("a,b", "cannot be the device's name"),
        ("cpu", "cpu is Xeon Gold 6226 already"),
    ):
        with pytest.raises(MeasureError, match=message):
            measure_all(TINY_MODELS, tmp_path / "mine.csv", name, TINY, progress=False)
    with pytest.raises(MeasureError, match="nothing to measure: the list is empty"):
        measure_all({}, tmp_path / "mine.csv", "mine", TINY)
    assert list(tmp_path.iterdir()) == []


def test_models_are_let_go(tmp_path: Path) -> None:
    """Each has so many megabytes of weights."""
    megabytes = 40
    weight = np.zeros((1, megabytes * 2**18), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["z"]), helper.make_node("ReduceSum", ["z"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    process = psutil.Process()
    used = []
    for _ in range(5):
        measure(model, TINY)
        used.append(process.memory_info().rss / 2**20)
    assert used[-1] - used[0] < 2 * megabytes, used


def test_what_the_runs_leave_to_the_session(tmp_path: Path) -> None:
    runner = Runner(tiny_model(), TINY)
    runner()
    (value,) = runner._binding.copy_outputs_to_cpu()
    assert value.shape == (1, 4)
    assert np.ptp(value) > 0, "inputs are random"
    other = Runner(tiny_model(), replace(TINY, seed=1))
    other()
    assert not np.allclose(other._binding.copy_outputs_to_cpu()[0], value)


def command(out: Path, *options: object) -> list[str]:
    return [*map(str, ["measure", "--device", "laptop", "--out", out, *OPTIONS, *options])]


def error(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    assert main(words) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("nas-rlm: error: ")
    return message


def test_measure_and_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.csv"
    assert main(command(out, "--count", 12)) == 0
    printed = capsys.readouterr().out
    assert re.search(r"mine\.csv: 12 measured on laptop, .* to .* ms, median .* ms", printed)
    assert "0 are marked as drifted by more than 100000.0%" in printed
    assert main(command(out, "--count", 14)) == 0, "more are added"
    assert len({row["arch"] for row in read(out)}) == len(read(out)) == 14
    compare = ["compare", str(out), "--objectives", "laptop_latency_ms", "--predictors", "ridge"]
    grid = ["--labels", "5,8", "--seeds", "1", "--jobs", "1", "--quiet"]
    assert main([*compare, *grid, "--out", str(tmp_path / "F")]) == 0
    assert "laptop_latency_ms" in (tmp_path / "F" / "summary.md").read_text()


def test_measure_given_architectures_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.csv"
    assert main(command(out, *ARCHITECTURES[:2], "--batch-size", 2, "--image-size", 8)) == 0
    assert {row["arch"] for row in read(out)} == set(ARCHITECTURES[:2])
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    onnx.save(tiny_model(operator="Frobnicate"), tmp_path / "odd.onnx")
    files = ("--onnx", tmp_path / "odd.onnx", tmp_path / "tiny.onnx")
    other = tmp_path / "files.csv"
    capsys.readouterr()
    assert main(command(other, *files)) == 2
    printed, said = capsys.readouterr()
    assert "1 measured on laptop" in printed
    assert f"left out: {tmp_path / 'odd.onnx'}: ONNX Runtime refuses it" in said
    assert "error: 1 of 2 could not be measured, the first was" in said
    assert [row["arch"] for row in read(other)] == [str(tmp_path / "tiny.onnx")]


def test_measure_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.csv"

    def message(*options: object) -> str:
        return error(capsys, command(out, *options))

    one = ARCHITECTURES[0]
    assert (
        "name the architectures to measure, or pass one of --count, --table and --onnx"
        in message()
    )
    assert "name the architectures" in message(one, "--count", 3)
    assert f"{one} is there twice" in message(one, ARCHITECTURES[1], one)
    assert "is not a nasbench201 cell" in message("|conv|")
    assert "architectures: -1 cannot be drawn" in message("--count", -1)
    assert "no provider 'tpu' here; it has cpu" in message("--count", 2, "--provider", "tpu")
    assert "threads must be at least 1" in message("--count", 2, "--threads", 0)
    assert "image_size must be at least 1, not 0" in message(one, "--image-size", 0)
    assert "must be a positive multiple of 4, not 30" in message(one, "--image-size", 30)
    assert "absent.onnx: there is no such file" in message("--onnx", tmp_path / "absent.onnx")
    assert "--image-size is for architectures" in message("--onnx", "a.onnx", "--image-size", 8)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "mine.csv"
    assert str(tmp_path / "file") in message("--count", 2)


def test_a_place_that_may_not_be_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    # As it is for whoever is not root, who may write everywhere.
    monkeypatch.setattr(Path, "mkdir", refuse)
    message = error(capsys, command(tmp_path / "mine.csv", "--count", 2))
    assert "Permission denied; name a place that you may write to" in message


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_killed_and_not_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.csv"
    words = command(out, "--count", 60, "--reference-every", 1)
    process = subprocess.Popen(
        [sys.executable, "-m", "nas_rlm", *words], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    while process.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < 4):
        time.sleep(0.02)
    busy = error(capsys, words)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert "a measurement is at work on" in busy
    with out.open("rb") as file:
        before = file.read().rpartition(b"\n")[0]
    few = command(out, "--count", 12, "--reference-every", 1)
    assert main(few) == 0
    assert out.read_bytes().startswith(before)
    names = [row["arch"] for row in read(out)]
    assert len(set(names)) == len(names)
    assert {SPACE.format(a) for a in sample_distinct(SPACE, 12, seed=0)} <= set(names)
