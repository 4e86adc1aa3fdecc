from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from nas_rlm.benchmarks import get_benchmark
from nas_rlm.tables import TableError
from nas_rlm.tabular_benchmarks import TABLES
from search_spaces import ArchitectureError, MnasNet

SPACE = MnasNet()
HEADER = "arch,imagenet_top1,imagenet_top5,macs_m,zcu102_latency_ms,a100_throughput_img_s"
ROWS = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of invented figures: one architecture twice, and one without a latency."""
    rng = np.random.default_rng(0)
    names = [SPACE.format(SPACE.sample(rng)) for _ in range(ROWS)]
    lines = [
        f"{name},{60 + i / 10},{80 + i / 10},1,{5 + i},{900 - i}" for i, name in enumerate(names)
    ]
    lines += [f"{names[0]},62,82,1,7,904", f"{SPACE.format(SPACE.sample(rng))},70,90,1,,800"]
    path = tmp_path_factory.mktemp("tables") / "accel_nasbench.csv.gz"
    path.write_bytes(gzip.compress("\n".join([HEADER, *lines, ""]).encode()))
    return path.parent


def test_has_the_architectures_with_all_figures(folder: Path) -> None:
    benchmark = get_benchmark("accel_nasbench", data=folder)
    assert [o.name for o in benchmark.objectives] == ["imagenet_top1", "zcu102_latency_ms"]
    assert len(benchmark.architectures) == benchmark.space.size == ROWS
    np.testing.assert_array_equal(benchmark.values[0], [61, 6])  # means of two rows
    assert benchmark.values[-1].tolist() == [60 + (ROWS - 1) / 10, 5 + ROWS - 1]
    accuracy = get_benchmark("accel_nasbench", dataset="imagenet_top5", devices=(), data=folder)
    assert accuracy.values.shape == (ROWS + 1, 1)


def test_throughput_is_to_be_maximised(folder: Path) -> None:
    benchmark = get_benchmark("accel_nasbench", devices="a100_throughput_img_s", data=folder)
    assert benchmark.directions == ("maximize", "maximize")
    assert benchmark.objectives[1].column == "a100_throughput_img_s"
    losses = benchmark.normalise(benchmark.values)[:, 1]
    np.testing.assert_array_equal(np.argsort(losses), np.argsort(-benchmark.values[:, 1]))
    assert losses.min() == 0


def test_nearest_is_one_that_has_figures(folder: Path) -> None:
    benchmark = get_benchmark("accel_nasbench", data=folder)
    rng = np.random.default_rng(1)
    other = SPACE.sample(rng)
    with pytest.raises(ArchitectureError, match="is not one of the 40 listed"):
        benchmark.evaluate(other)
    assert benchmark.evaluate(benchmark.nearest(other))
    known = benchmark.architectures[3]
    assert benchmark.nearest(known) == known


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "imagenet_top2"}, "unknown dataset 'imagenet_top2'; did you mean"),
        (
            {"devices": ("zcu10",)},
            r"unknown device of accel_nasbench.csv.gz 'zcu10'; did you mean",
        ),
        ({"devices": ("macs_m",)}, r"allowed: zcu102, a100_throughput_img_s\)"),
        ({"devices": ("zcu102", "zcu102")}, "named twice"),
    ],
)
def test_unknown_names(folder: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_benchmark("accel_nasbench", data=folder, **options)


def test_needs_its_table_and_something_to_minimise(folder: Path) -> None:
    with pytest.raises(TableError, match=r"the table fbnet_latency.csv.gz, .*NAS_RLM_DATA"):
        get_benchmark("fbnet")
    with pytest.raises(TableError, match=r"fbnet_latency.csv.gz: cannot be read"):
        get_benchmark("fbnet", data=folder)
    file = folder / "accel_nasbench.csv.gz"
    with pytest.raises(TableError, match="no column 'op_indices'"):
        get_benchmark("fbnet", devices=("zcu102",), data=file)
    with pytest.raises(ValueError, match="needs a device"):
        get_benchmark("fbnet", devices=(), data=file)


@pytest.mark.parametrize("name", TABLES)
def test_published_tables(name: str, shared_data: Path) -> None:
    rows = {
        "nasbench101": 2500,
        "fbnet": 5000,
        "ofa_mobilenetv3": 2610,
        "ofa_mobilenetv3_latency": 5000,
        "accel_nasbench": 5123,  # 13 of 5,138 are repeated, and two lack the latency
    }
    benchmark = get_benchmark(name, data=shared_data)
    assert len(benchmark.architectures) == rows[name]
    assert np.isfinite(benchmark.values).all()
