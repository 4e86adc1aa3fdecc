from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nas_rlm.runs import RunError, SearchConfig, load_run
from nas_rlm.search import run_search
from search_spaces import get_space

SPACE = get_space("nasbench201")
TINY = SearchConfig(devices=("pixel3",), budget=12, method="random", seed=3)


@pytest.fixture(scope="module", autouse=True)
def _without_plots() -> Iterator[None]:
    """Plots have tests of their own, and take longer than a tiny search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas_rlm.plots.save_plots", lambda *_: [])
        yield


def search(config: SearchConfig, folder: Path) -> list[Path]:
    return run_search(config, folder, progress=False, baseline_seeds=0)


def notations(folder: Path) -> list[str]:
    """The architectures evaluated, by trial."""
    return [SPACE.format(trial.params) for trial in load_run(folder).finished_trials()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def open_study(folder: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.load_study(study_name="search", storage=storage)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    search(TINY, folder)
    return folder


def test_leaves_a_complete_folder(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names == {
        *("run.json", "study.journal", "front.csv", "trials.csv"),
        *("summary.md", "summary.json"),
    }
    run = json.loads((finished / "run.json").read_text())
    assert run["config"]["budget"] == 12
    assert all(len(checksum) == 64 for checksum in run["sha256"].values())
    assert run["versions"]["optuna"] == optuna.__version__


def test_finished_run_is_only_reported_on_again(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = notations(finished)
    journal = (finished / "study.journal").read_bytes()
    (finished / "front.csv").unlink()
    run_search(TINY, finished, progress=True, baseline_seeds=0)
    assert "is finished: all 12 architectures" in "".join(capsys.readouterr())
    assert (finished / "front.csv").exists()
    assert notations(finished) == before
    assert (finished / "study.journal").read_bytes() == journal


def test_budget_can_be_raised_but_not_lowered(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    search(TINY, folder)
    first = notations(folder)
    search(replace(TINY, budget=20), folder)
    assert notations(folder)[:12] == first
    assert len(set(notations(folder))) == 20
    assert load_run(folder).config.budget == 20
    before = contents(folder)
    with pytest.raises(RunError, match="budget of 20, which can be raised but not lowered to 12"):
        search(TINY, folder)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"dataset": "cifar100"}, "dataset is the default there and cifar100 here"),
        ({"devices": ("eyeriss", "gpu")}, "devices is pixel3 there and eyeriss,gpu here"),
        ({"seed": 4}, "seed is 3 there and 4 here"),
        ({"method": "tpe"}, "method is random there and tpe here"),
    ],
)
def test_refuses_another_run(finished: Path, change: dict, difference: str) -> None:
    before = contents(finished)
    with pytest.raises(RunError, match=f"holds another run: {difference}.*Name another folder"):
        search(replace(TINY, **change), finished)
    assert contents(finished) == before


def test_refuses_other_data(finished: Path, tmp_path: Path) -> None:
    table = tmp_path / "nasbench201.csv"
    rows = [f"{SPACE.format(a)},{1 + number % 7}" for number, a in enumerate(SPACE)]
    table.write_text("\n".join(["arch,pixel3_latency_ms", *rows]))
    before = contents(finished)
    with pytest.raises(RunError, match=r"another run: it did not use nasbench201\.csv"):
        search(replace(TINY, data=str(table)), finished)
    assert contents(finished) == before

    folder = tmp_path / "measured"
    search(replace(TINY, data=str(table)), folder)
    with pytest.raises(
        RunError, match=r"it used nasbench201\.csv, which neither --data nor NAS_RLM_DATA"
    ):
        search(TINY, folder)
    table.write_text(table.read_text() + "\n")
    with pytest.raises(RunError, match=r"the checksum of nasbench201\.csv differs"):
        search(replace(TINY, data=str(table)), folder)


def test_refuses_a_warm_start_that_cannot_be(tmp_path: Path) -> None:
    for method, message in (("rlm", "not a saved model"), ("random", "for the method rlm")):
        config = replace(TINY, method=method, warm_start=str(tmp_path / "nowhere"))
        with pytest.raises(ValueError, match=message):
            search(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"is not empty and holds no run \(it has 'thesis.tex'\)"):
        search(TINY, tmp_path)
    with pytest.raises(RunError, match="is a file: name a folder"):
        search(TINY, tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 1}', '{"version": 1, "config": {"colour": 1}}']
)
def test_refuses_a_damaged_description(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json is damaged .*; search into another folder"):
        search(TINY, tmp_path)
    assert contents(tmp_path) == {str(tmp_path / "run.json"): text.encode()}


def test_refuses_another_version(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"version": 99}')
    with pytest.raises(RunError, match="has version 99, this program reads version 1"):
        search(TINY, tmp_path)


def _with_study(finished: Path, folder: Path, study: optuna.Study | None = None) -> optuna.Study:
    """A folder with the description of a run and a study of ours."""
    folder.mkdir()
    (folder / "run.json").write_bytes((finished / "run.json").read_bytes())
    return study or optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))),
        study_name="search",
        directions=["maximize", "minimize"],
    )


def test_refuses_a_study_that_does_not_match(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parameters"
    study = _with_study(finished, folder)
    study.tell(study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}), (1.0, 2.0))
    before = contents(folder)
    with pytest.raises(RunError, match="the parameters of trial 0 are not those of nasbench201"):
        search(TINY, folder)
    assert contents(folder) == before

    folder = tmp_path / "values"
    study = _with_study(finished, folder)
    study.tell(study.ask(dict(SPACE.distributions)), (1.0, 2.0))
    with pytest.raises(RunError, match="the values of trial 0 are not those of nasbench201-cifar"):
        search(TINY, folder)

    folder = tmp_path / "directions"
    folder.mkdir()
    (folder / "run.json").write_bytes((finished / "run.json").read_bytes())
    optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))),
        study_name="search",
        directions=["minimize"] * 2,
    )
    with pytest.raises(RunError, match="directions are minimize, minimize, the benchmark's max"):
        search(TINY, folder)

    folder = tmp_path / "garbage"
    folder.mkdir()
    (folder / "run.json").write_bytes((finished / "run.json").read_bytes())
    (folder / "study.journal").write_text("not a journal\nat all\n")
    with pytest.raises(RunError, match="is damaged or holds another study"):
        search(TINY, folder)


def test_refuses_while_another_search_is_at_work(finished: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    handle = os.open(finished, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="a search is at work in"):
            search(TINY, finished)
    finally:
        os.close(handle)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do all")
def test_no_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        search(TINY, tmp_path / "run")


def test_settles_what_a_killed_process_left(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    search(TINY, folder)
    study = open_study(folder)
    chosen = study.ask(dict(SPACE.distributions))
    half = study.ask()
    half.suggest_categorical(*next(iter(SPACE.choices.items())))
    journal = folder / "study.journal"
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    (folder / "study.journal.lock").symlink_to(journal)  # Optuna would wait for it

    started = time.monotonic()
    search(replace(TINY, budget=16), folder)
    assert time.monotonic() - started < 20
    trials = open_study(folder).trials
    assert [t.state for t in trials].count(TrialState.FAIL) == 1
    assert not [t for t in trials if t.state == TrialState.RUNNING]
    assert trials[half.number].state == TrialState.FAIL
    assert trials[chosen.number].params == chosen.params
    assert trials[chosen.number].values == list(load_run(folder).benchmark(chosen.params))
    assert len(set(notations(folder))) == len(load_run(folder).evaluations().rows) == 16


@pytest.mark.parametrize("method", ["tpe", "rlm"])
def test_killed_search_resumes(method: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    budget = 40
    options = ["--devices", "pixel3,gpu", "--budget", str(budget), "--seed", "5"]
    options += ["--method", method, "--n-startup-trials", str(budget + 1), "--out", str(folder)]
    options += ["--members", "1", "--training-steps", "2", "--baseline-seeds", "0", "--quiet"]
    command = [sys.executable, "-m", "nas_rlm", "search", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    stored: list[str] = []
    for enough in (6, 22):
        process = subprocess.Popen(command, env=environment)
        while process.poll() is None and _finished(folder) < enough:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
        before, stored = stored, notations(folder)
        assert stored[: len(before)] == before
        assert len(stored) >= enough
    subprocess.run(command, env=environment, check=True)
    whole = notations(folder)
    assert whole[: len(stored)] == stored
    assert len(set(whole)) == budget
    if method == "rlm":
        assert len(whole) == budget, "the RLM never proposes an architecture twice"
        assert (folder / "model").is_dir()
    states = {trial.state for trial in open_study(folder).trials}
    assert states <= {TrialState.COMPLETE, TrialState.FAIL}


def _finished(folder: Path) -> int:
    journal = folder / "study.journal"
    return journal.read_bytes().count(b'"values":[') if journal.exists() else 0
