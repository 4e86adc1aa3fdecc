from __future__ import annotations

import csv

import numpy as np
import pytest

from nas_rlm import adaptation, nasbench201
from nas_rlm.adaptation import LEAST, adapt, choose
from nas_rlm.cli import main
from nas_rlm.metrics import spearman_rho
from search_spaces import get_space
from surrogate import RLM, TrainingConfig

SPACE = get_space("nasbench201")
QUICK = {"pool": 200, "members": 1, "training": {"steps": 150, "passes": 40}}


@pytest.fixture(scope="module")
def benchmark():
    return nasbench201("cifar10", ("eyeriss", "cpu", "gpu"))


@pytest.fixture(scope="module")
def known(benchmark):
    """A model of two modelled devices, trained for a moment."""
    rows = np.random.default_rng(0).permutation(len(benchmark.architectures))[:100]
    texts = [SPACE.onnx_text(benchmark.architectures[row]) for row in rows]
    model = RLM(["eyeriss_latency_ms", "cpu_latency_ms"], training=TrainingConfig(steps=150))
    return model.fit(texts, benchmark.values[rows, 1:3], progress=False)


def test_chosen_architectures_teach_a_new_device(benchmark, known):
    chosen = choose(SPACE, known, 10)
    assert len({SPACE.format(architecture) for architecture in chosen}) == 10
    latencies = [benchmark.evaluate(architecture)[3] for architecture in chosen]
    model = adapt(SPACE, known, "gpu_latency_ms", chosen, latencies, **QUICK)
    scale = model.rlm._scales[0]
    slopes = np.diff(scale.coordinates[1:-1]) / np.diff(scale.knots[1:-1])
    assert np.allclose(slopes, 1 / np.ptp(latencies)), "ten ranks are noise"
    assert model.rlm.training.trusting, "amplitudes fitted to ten labels are noise"
    rest = np.random.default_rng(1).permutation(len(benchmark.architectures))[:300]
    texts = [SPACE.onnx_text(benchmark.architectures[row]) for row in rest]
    assert spearman_rho(model.rlm.predict(texts)[:, 0], benchmark.values[rest, 3]) > 0.8


def test_what_is_measured_is_not_chosen_again(known):
    measured = choose(SPACE, known, 3)
    more = choose(SPACE, known, 3, measured=measured)
    assert not {*map(SPACE.format, measured)} & {*map(SPACE.format, more)}


@pytest.mark.parametrize(
    ("latencies", "problem"),
    [
        ([1.0] * (LEAST - 1), "at least"),
        ([1.0, 2.0, 3.0, 4.0, 0.0], "latency of 0"),
        ([1.0, 2.0, 3.0, 4.0, np.nan], "latency of nan"),
    ],
)
def test_measurements_that_cannot_be_learnt_from_are_refused(known, latencies, problem):
    architectures = choose(SPACE, known, len(latencies))
    with pytest.raises(ValueError, match=problem):
        adapt(SPACE, known, "phone_latency_ms", architectures, latencies)


def test_a_model_of_another_space_is_refused(known):
    with pytest.raises(ValueError, match="other texts"):
        choose(get_space("mnasnet"), known, 5)


def test_the_command_says_what_to_measure_and_learns_it(
    tmp_path, known, benchmark, capsys, monkeypatch
):
    monkeypatch.setattr(adaptation, "POOL", 200)
    model, table, out = tmp_path / "known", tmp_path / "phone.csv", tmp_path / "phone"
    known.save(model)
    command = ["adapt", str(model), str(table), "--out", str(out), "--quiet"]
    quick = ["--members", "1", "--training-steps", "40"]
    assert main([*command, "--count", "6"]) == 0
    assert "write their latencies (ms) into the column phone_latency_ms" in capsys.readouterr().out
    header, *rows = csv.reader(table.read_text().splitlines())
    assert header == ["arch", "phone_latency_ms"]
    assert len(rows) == 6
    assert main(command) == 2
    assert "there are 0" in capsys.readouterr().err
    measured = [[name, benchmark.evaluate(SPACE.parse(name))[3]] for name, _ in rows]
    table.write_text("\n".join(",".join(map(str, row)) for row in [header, *measured]) + "\n")
    assert main([*command, *quick]) == 0
    assert RLM.load(out).objectives == ("phone_latency_ms",)
