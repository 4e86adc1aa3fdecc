"""Workers that share a storage, some of which are killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from nas_rlm.benchmarks import nasbench201
from nas_rlm.cli import main
from nas_rlm.predictors import get_predictor
from nas_rlm.sampler import RLMSampler
from nas_rlm.workers import WorkerError, join_study, open_storage, work
from search_spaces import get_space
from surrogate import RLM, TrainingConfig

SPACE = get_space("nasbench201")

WORKER = """
import sys, time
from pathlib import Path
import optuna
from nas_rlm.predictors import get_predictor
from nas_rlm.sampler import RLMSampler
from nas_rlm.workers import open_storage, work
from search_spaces import get_space

where, log, budget, seed = sys.argv[1:]
space = get_space("nasbench201")
study = optuna.load_study(study_name="shared", storage=open_storage(where, heartbeat_seconds=1))
study.sampler = RLMSampler(
    space, n_startup_trials=8, retrain_every=4, n_candidates=200, seed=int(seed),
    surrogate=lambda names, seed: get_predictor("ridge", names, seed=seed, folds=2),
)

def evaluate(params):
    with open(log, "a") as file:
        file.write(f"begin {space.format(params)}\\n")
    time.sleep(0.5)
    with open(log, "a") as file:
        file.write(f"end {space.format(params)}\\n")
    return float(sum(c == "none" for c in params.values())), float(len(set(params.values())))

work(study, evaluate, space.distributions, int(budget), poll_seconds=0.2)
"""


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of our own."""
    found = [shutil.which("initdb"), *Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    programs = next((Path(path).resolve().parent for path in found if path), None)
    if programs is None:
        pytest.skip("needs PostgreSQL's initdb and postgres (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg2", reason="needs psycopg2: pip install 'nas-rlm[workers]'")
    folder = tmp_path_factory.mktemp("postgresql")
    user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        folder = Path(
            subprocess.check_output(["mktemp", "-d", "/tmp/pg.XXXXXX"], text=True).strip()
        )
        shutil.chown(folder, "postgres")
        # Which is not in every root's path.
        runuser = shutil.which("runuser", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        user = [str(runuser), "-u", "postgres", "--"]
    port = _free_port()
    data = str(folder / "data")
    subprocess.run(
        [*user, str(programs / "initdb"), "-D", data, "-U", "tester", "-A", "trust"],
        check=True,
        capture_output=True,
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    control = [*user, str(programs / "pg_ctl"), "-D", data, "-w"]
    started = subprocess.run(
        [*control, "-l", str(folder / "log"), "-o", options, "start"],
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert started.returncode == 0, (folder / "log").read_text()
    yield f"postgresql+psycopg2://tester@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True)
    shutil.rmtree(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start(where: str, log: Path, budget: int, seed: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, where, str(log), str(budget), str(seed)],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_of_four_workers_die_and_nothing_is_lost(postgresql: str, tmp_path: Path) -> None:
    budget = 30
    log = tmp_path / "log"
    log.touch()
    storage = open_storage(postgresql, heartbeat_seconds=1)
    study = optuna.create_study(
        study_name="shared", storage=storage, directions=["maximize", "minimize"]
    )
    workers = [_start(postgresql, log, budget, seed) for seed in range(4)]
    while log.read_text().count("begin") < 12:
        time.sleep(0.05)
    for worker in workers[:2]:
        worker.send_signal(signal.SIGKILL)
    for worker in workers[:2]:
        assert worker.wait() == -signal.SIGKILL
        worker.stderr.close()
    for worker in workers[2:]:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors

    trials = study.get_trials()
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    names = [SPACE.format(trial.params) for trial in done]
    assert len(names) == len(set(names)) == budget
    assert not [t for t in trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
    # Evaluated once to the end, but for those of the dead, which were begun again.
    ended = Counter(re.findall("end (.*)", log.read_text()))
    begun = Counter(re.findall("begin (.*)", log.read_text()))
    assert set(ended) == set(begun) == set(names)
    # A worker may die between the end of an evaluation and the storage's knowing of it.
    assert sum(ended.values()) <= budget + 2
    assert sum(begun.values()) <= budget + 2


def test_a_waiting_worker_takes_over_from_the_dead(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}", heartbeat_seconds=1)
    study = optuna.create_study(storage=storage, sampler=RandomSampler(seed=0))
    dead = study.ask()
    dead.suggest_int("x", 3, 3)
    storage.record_heartbeat(dead._trial_id)
    distributions = {"x": optuna.distributions.IntDistribution(3, 3)}
    assert work(study, lambda params: params["x"], distributions, 1, poll_seconds=0.1) == 1
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[1].params == {"x": 3}


def test_two_that_choose_the_same_at_once_give_way(tmp_path: Path) -> None:
    where = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(study_name="a", storage=where)
    chosen: list[str] = []
    barrier = threading.Barrier(4)

    class Meeting(RLMSampler):
        def _random(self, rng, taken):
            # All four see the same free architectures and want the first of them, at once.
            free = (a for a in SPACE if SPACE.format(a) not in taken)
            proposal = next(free)
            if not taken:
                barrier.wait(timeout=30)
            return proposal

    def ask() -> None:
        study = optuna.load_study(study_name="a", storage=where, sampler=Meeting(SPACE, seed=0))
        chosen.append(SPACE.format(study.ask(dict(SPACE.distributions)).params))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(chosen)) == 4


class _Away:
    """A study whose storage is away for some calls."""

    def __init__(self, study: optuna.Study, calls: int) -> None:
        self.study = study
        self.calls = calls
        self.asked = 0

    def __getattr__(self, name: str):
        if name == "get_trials":
            self.asked += 1
            if 3 < self.asked <= 3 + self.calls:
                raise StorageInternalError("connection refused")
        return getattr(self.study, name)


def test_a_storage_that_comes_back_is_waited_for() -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    distributions = {"x": optuna.distributions.IntDistribution(0, 99)}
    away = _Away(study, 5)
    done = work(away, lambda p: p["x"], distributions, 4, poll_seconds=0.01, patience_seconds=60)
    assert done == 4
    assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 4


def test_a_storage_that_stays_away_ends_the_worker() -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    distributions = {"x": optuna.distributions.IntDistribution(0, 99)}
    with pytest.raises(WorkerError, match=r"away for 0 s .*start this worker again"):
        work(
            _Away(study, 10**9),
            lambda p: p["x"],
            distributions,
            4,
            poll_seconds=0.01,
            patience_seconds=0.1,
        )


def test_evaluations_that_fail_do_not_count() -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))

    def evaluate(params):
        if params["x"] % 2:
            raise MemoryError
        return params["x"]

    distributions = {"x": optuna.distributions.IntDistribution(0, 99)}
    assert work(study, evaluate, distributions, 5, catch=(MemoryError,)) == 5
    states = Counter(trial.state for trial in study.trials)
    assert states[TrialState.COMPLETE] == 5
    assert states[TrialState.FAIL] > 0
    with pytest.raises(MemoryError):
        work(study, evaluate, distributions, 50)


def test_the_command_joins_goes_on_and_refuses_another_benchmark(tmp_path, capsys) -> None:
    command = ["worker", "--storage", str(tmp_path / "j.log"), "--study", "first", "--quiet"]
    assert main([*command, "--devices", "gpu", "--budget", "6"]) == 0
    assert "first: 6 evaluations, 6 of them made here" in capsys.readouterr().out
    assert main([*command, "--devices", "gpu", "--budget", "8"]) == 0
    assert "first: 8 evaluations, 2 of them made here" in capsys.readouterr().out
    assert main([*command, "--devices", "pixel3", "--budget", "8"]) == 2
    assert "the study first has other objectives" in capsys.readouterr().err


def test_the_command_begins_with_a_model(tmp_path, capsys, monkeypatch) -> None:
    command = ["worker", "--storage", str(tmp_path / "j.log"), "--study", "first", "--quiet"]
    command += ["--devices", "gpu", "--budget", "7", "--warm-start", str(tmp_path / "model")]
    assert main(command) == 2
    assert "not a saved model" in capsys.readouterr().err
    architectures = [SPACE.sample(np.random.default_rng(seed)) for seed in range(8)]
    known = RLM(["cifar100"], members=1, training=TrainingConfig(steps=5))
    texts = [SPACE.onnx_text(architecture) for architecture in architectures]
    known.fit(texts, np.arange(8.0)[:, None], progress=False)
    known.save(tmp_path / "model")
    assert main([*command, "--method", "random"]) == 2
    assert "for the method rlm" in capsys.readouterr().err
    begun = []

    def surrogate(names, seed, *, warm_start):
        begun.append(warm_start.predict(texts))
        return get_predictor("ridge", names, seed=seed)

    monkeypatch.setattr("nas_rlm.sampler.rlm_surrogate", surrogate)
    assert main(command) == 0
    np.testing.assert_array_equal(begun, [known.predict(texts)])


def test_figures_that_differ_are_refused() -> None:
    storage = optuna.storages.InMemoryStorage()
    benchmark = nasbench201("cifar10", ("gpu",))
    join_study(storage, "a", benchmark)
    join_study(storage, "a", benchmark)
    other = nasbench201("cifar10", ("gpu",))
    other.values[0, 0] += 1
    with pytest.raises(WorkerError, match="other sha256"):
        join_study(storage, "a", other)
    optuna.create_study(storage=storage, study_name="b", directions=["minimize", "minimize"])
    with pytest.raises(WorkerError, match="other directions"):
        join_study(storage, "b", benchmark)
    assert np.isfinite(benchmark.values).all()


@pytest.mark.parametrize(
    "where", ["postgresql+psycopg2://x@127.0.0.1:1/y", "nosuch://a/b", "/no/such/folder/j.log"]
)
def test_a_storage_that_cannot_be_opened(where: str) -> None:
    with pytest.raises(WorkerError, match=re.escape(where)):
        open_storage(where)


def test_a_proxy_in_front_of_the_database_serves_workers(tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="needs grpcio: pip install 'nas-rlm[workers]'")
    server = (
        "import sys, optuna; from nas_rlm.workers import open_storage; "
        "optuna.storages.run_grpc_proxy_server("
        "open_storage(sys.argv[1]), host='127.0.0.1', port=int(sys.argv[2]))"
    )
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", server, f"sqlite:///{tmp_path / 'study.db'}", str(port)],
        stderr=subprocess.DEVNULL,
    )
    try:
        storage = open_storage(f"grpc://127.0.0.1:{port}")
        storage.wait_server_ready(timeout=60)
        command = ["worker", "--storage", f"grpc://127.0.0.1:{port}", "--study", "first"]
        assert main([*command, "--devices", "gpu", "--budget", "5", "--quiet"]) == 0
        study = optuna.load_study(study_name="first", storage=storage)
        assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 5
        storage.remove_session()
    finally:
        process.terminate()
        process.wait()
