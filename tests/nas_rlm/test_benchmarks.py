from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from nas_rlm.benchmark import Benchmark
from nas_rlm.benchmarks import BENCHMARKS, get_benchmark, nasbench201
from nas_rlm.pareto import hypervolume_over_time
from nas_rlm.tables import TableError, table_path
from search_spaces import get_space
from search_spaces.base import ArchitectureError

SPACE = get_space("nasbench201")


@pytest.fixture(scope="module")
def offline() -> Benchmark:
    """What a machine without any table gets."""
    return nasbench201()


@pytest.fixture(scope="module")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete table of invented figures, in an order of its own."""
    rows = [
        f"{SPACE.format(architecture)},{number % 90},{1 + number % 7},{2 + number % 11}"
        for number, architecture in enumerate(SPACE)
    ]
    header = "arch,cifar10_test_acc,pixel3_latency_ms,toaster_latency_ms"
    path = tmp_path_factory.mktemp("data") / "nasbench201.csv.gz"
    path.write_bytes(gzip.compress("\n".join([header, *reversed(rows), ""]).encode(), 1))
    return path


@pytest.mark.parametrize("name", BENCHMARKS)
def test_contract(name: str, request: pytest.FixtureRequest) -> None:
    data = None if name == "nasbench201" else request.getfixturevalue("shared_data")
    benchmark = get_benchmark(name, data=data)
    n, k = len(benchmark.architectures), len(benchmark.objectives)
    assert benchmark.name.startswith(name)
    assert list(benchmark.architectures) == list(benchmark.space)
    assert benchmark.values.shape == (n, k)
    assert benchmark.values.dtype == np.float64
    assert np.isfinite(benchmark.values).all()
    costs = [objective for objective in benchmark.objectives if objective.unit != "%"]
    assert benchmark.objectives[k - len(costs) :] == tuple(costs), "accuracy comes first"
    assert all(objective.direction == "minimize" for objective in costs)
    assert len({objective.name for objective in benchmark.objectives}) == k
    assert set(benchmark.provenance["figures"]) == {o.name for o in benchmark.objectives}
    assert all(len(checksum) == 64 for checksum in benchmark.provenance["sha256"].values())
    assert benchmark.provenance["versions"]["moocore"]

    assert benchmark.directions == tuple(o.direction for o in benchmark.objectives)
    assert len(repr(benchmark)) < 2000, "a failing test prints it"

    row = n // 3
    answer = benchmark.evaluate(benchmark.architectures[row])
    assert answer == benchmark(benchmark.architectures[row]) == tuple(benchmark.values[row])
    assert all(type(number) is float for number in answer)
    with pytest.raises(ArchitectureError):
        benchmark.evaluate({})

    losses = benchmark.normalise(benchmark.values)
    assert losses.shape == (n, k)
    assert losses.min() >= 0
    assert losses.max() <= 1
    better = np.where([o.direction == "maximize" for o in benchmark.objectives], 1, -1)
    assert (benchmark.normalise(benchmark.values + better) <= losses).all()
    np.testing.assert_array_equal(benchmark.reference_point, np.ones(k))

    front = benchmark.values[benchmark.true_front]
    assert min(k, 2) <= len(front) < n
    assert benchmark.hypervolume_share(benchmark.values) == pytest.approx(1)
    assert benchmark.hypervolume_share(front) == pytest.approx(1)
    others = np.delete(benchmark.values, benchmark.true_front, axis=0)
    assert 0 < benchmark.hypervolume_share(others[:50]) < 1
    assert benchmark.hypervolume([]) == 0


def test_without_a_table_every_source_is_named(offline: Benchmark) -> None:
    sources = {objective.name: objective.source for objective in offline.objectives}
    assert sources == {
        "cifar10_valid_acc": "published",
        "pixel3_latency_ms": "modelled",
        "eyeriss_latency_ms": "modelled",
        "cpu_latency_ms": "modelled",
        "gpu_latency_ms": "published",
    }
    assert "rho" in offline.provenance["figures"]["pixel3_latency_ms"]
    assert offline.values[:, 0].max() == pytest.approx(91.607, abs=1e-3)


@pytest.mark.parametrize(
    ("dataset", "accuracy", "best", "loss"),
    [
        ("cifar10", "cifar10_valid_acc", 91.607, 0.4197),
        ("cifar100", "cifar100_valid_acc", 73.493, 0.4418),
        ("imagenet16-120", "imagenet16_120_valid_acc", 46.733, 0.5327),
    ],
)
def test_datasets(dataset: str, accuracy: str, best: float, loss: float) -> None:
    benchmark = nasbench201(dataset, devices="gpu")
    assert [objective.name for objective in benchmark.objectives] == [accuracy, "gpu_latency_ms"]
    assert benchmark.values[:, 0].max() == pytest.approx(best, abs=1e-3)
    losses = benchmark.normalise(benchmark.values)
    assert losses[:, 0].min() == pytest.approx(loss, abs=1e-3)
    assert losses[:, 1].min() == 0
    assert (losses[:, 1] == 1).sum() == 16  # a thousandth of the space
    assert nasbench201(accuracy, devices=["gpu"]).name == benchmark.name


def test_accuracy_alone() -> None:
    benchmark = nasbench201(devices=())
    assert len(benchmark.true_front) == 1
    assert benchmark.true_hypervolume == pytest.approx(1 - 0.4197, abs=1e-3)


def test_hypervolume_over_time(offline: Benchmark) -> None:
    rows = np.random.default_rng(0).permutation(len(offline.values))[:60]
    shares = hypervolume_over_time(offline, offline.values[rows])
    assert (np.diff(shares) >= 0).all()
    for count in (1, 20, 60):
        expected = offline.hypervolume_share(offline.values[rows[:count]])
        assert shares[count - 1] == pytest.approx(expected)


def test_a_users_table_is_preferred(small_table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = nasbench201("cifar10_test_acc", ["pixel3", "toaster", "cpu"], small_table)
    number = np.arange(SPACE.size)
    np.testing.assert_array_equal(benchmark.values[:, 0], number % 90)
    np.testing.assert_array_equal(benchmark.values[:, 1], 1 + number % 7)
    np.testing.assert_array_equal(benchmark.values[:, 2], 2 + number % 11)
    sources = [objective.source for objective in benchmark.objectives]
    assert sources == ["measured", "measured", "measured", "modelled"]
    for data in (small_table, small_table.parent):
        monkeypatch.setenv("NAS_RLM_DATA", str(data))
        assert table_path("nasbench201") == small_table
    assert nasbench201(devices=["toaster"]).objectives[1].source == "measured"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "cifar"}, r"unknown dataset 'cifar'; did you mean 'cifar10'\?"),
        ({"dataset": "mnist"}, r"allowed: cifar10, cifar100, imagenet16-120, "),
        ({"dataset": "cifar10_test_acc"}, "needs a table"),
        ({"devices": ["pixel4"]}, "did you mean 'pixel3'"),
        ({"devices": ["toaster"]}, "unknown device 'toaster'"),
        ({"devices": ["cpu", "gold_6226"]}, "named twice"),
    ],
)
def test_what_does_not_exist_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_benchmark("nasbench201", **options)


def test_unknown_benchmark_and_option() -> None:
    with pytest.raises(ValueError, match="did you mean 'nasbench201'"):
        get_benchmark("nasbench202")
    with pytest.raises(TypeError, match="device"):
        get_benchmark("nasbench201", device="cpu")


def test_a_table_that_does_not_exist(tmp_path: Path) -> None:
    for data in (tmp_path, tmp_path / "nothing.csv"):
        with pytest.raises(TableError, match="cannot be read"):
            nasbench201(data=data)


@pytest.mark.parametrize(
    ("device", "expected"),
    [("pixel3", 0.910), ("eyeriss", 0.880), ("cpu", 0.838), ("gpu", 0.830)],
)
def test_random_search_on_measured_latencies(
    device: str, expected: float, shared_data: Path
) -> None:
    """Fifty random architectures reach the share that an independent calculation gave."""
    benchmark = nasbench201("cifar10_test_acc", [device], shared_data)
    shares = [
        benchmark.hypervolume_share(
            benchmark.values[np.random.default_rng(seed).permutation(SPACE.size)[:50]]
        )
        for seed in range(100)
    ]
    assert np.mean(shares) == pytest.approx(expected, abs=0.02)
    assert all(objective.source == "measured" for objective in benchmark.objectives)
