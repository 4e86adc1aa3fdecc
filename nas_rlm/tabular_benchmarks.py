"""Benchmarks of those architectures of a space that a published table has.

The tables are the user's, each a CSV file under the name that is given here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from nas_rlm.benchmark import Benchmark, versions
from nas_rlm.config import DATA_VARIABLE
from nas_rlm.devices import get_device, unknown
from nas_rlm.objectives import Direction, Objective
from nas_rlm.tables import TableError, read_columns, read_table, table_path
from search_spaces import (
    FBNet,
    Listed,
    MnasNet,
    NASBench101,
    OFAMobileNetV3,
    SearchSpace,
)


@dataclass(frozen=True)
class PublishedTable:
    """What a table holds.

    Attributes:
        table: Its name in a folder of tables, without the ending; an imported one has the name of
            the benchmark.
        space: Makes the architectures' search space.
        architecture_columns: See `nas_rlm.tables.read_table`.
        datasets: Columns of accuracies (%), the default first; may be none.
        devices: Names of the devices that are taken unless others are named.
        worst: The accuracy (%) at which the loss reaches 1; it is 0 at 100 %.
        source: Who measured.
    """

    table: str
    space: Callable[[], SearchSpace]
    architecture_columns: tuple[str, ...]
    datasets: tuple[str, ...]
    devices: tuple[str, ...]
    worst: float
    source: str


_HELP = "measured by HELP (Lee et al. 2021)"

TABLES: Mapping[str, PublishedTable] = MappingProxyType(
    {
        "nasbench101": PublishedTable(
            table="nasbench101_2500",
            space=NASBench101,
            architecture_columns=("adjacency", "operations"),
            datasets=("cifar10_valid_acc",),
            devices=(),
            worst=80,
            source="NAS-Bench-101 (Ying et al. 2019)",
        ),
        "fbnet": PublishedTable(
            table="fbnet_latency",
            space=lambda: FBNet(images="cifar100"),
            architecture_columns=("op_indices",),
            datasets=(),
            devices=("pixel3", "eyeriss", "cpu", "gpu"),
            worst=0,
            source=_HELP,
        ),
        "ofa_mobilenetv3": PublishedTable(
            table="ofa_mbv3_accuracy",
            space=lambda: OFAMobileNetV3(width=1.0),
            architecture_columns=("arch_json",),
            datasets=("imagenet_top1",),
            devices=("peak_activation_elements",),
            worst=40,
            source="Once-for-All (Cai et al. 2020), measured by M. Girard",
        ),
        "ofa_mobilenetv3_latency": PublishedTable(
            table="ofa_mbv3_latency",
            space=lambda: OFAMobileNetV3(width=1.2),
            architecture_columns=("arch_json",),
            datasets=(),
            devices=("titan_rtx_1", "titan_xp_1", "v100_1"),
            worst=0,
            source=_HELP,
        ),
        "accel_nasbench": PublishedTable(
            table="accel_nasbench",
            space=MnasNet,
            architecture_columns=("arch",),
            datasets=("imagenet_top1", "imagenet_top5"),
            devices=("zcu102",),
            worst=40,
            source="Accel-NASBench (Ahmad et al. 2024)",
        ),
    }
)
"""Name of the benchmark to its table."""

_ACCURACIES = {
    "cifar10_valid_acc": "CIFAR-10 validation accuracy",
    "imagenet_top1": "ImageNet top-1 accuracy",
    "imagenet_top5": "ImageNet top-5 accuracy",
}
"""Titles by column."""
_OTHERS = {"_throughput_img_s": "images/s", "_elements": "elements"}
"""Figures that are no latencies: end of the column's name, and unit."""


def tabular(
    name: str,
    dataset: str | None = None,
    devices: Sequence[str] | None = None,
    data: str | Path | None = None,
) -> Benchmark:
    """A benchmark of the architectures of a table that have all the figures asked for.

    The loss of an accuracy goes from 0 at 100 % to 1 at the table's ``worst``; that of another
    figure from its best to its 99.9th percentile, which for throughputs is their first thousandth.

    Args:
        name: A key of `TABLES`.
        dataset: The column of the accuracy; the table's first if left out.
        devices: What comes after it: devices such as ``zcu102`` for their latencies, or columns
            such as ``a100_throughput_img_s``; the table's own choice if left out.
        data: The table, or a folder that holds it under its name; the environment variable
            ``NAS_RLM_DATA`` if left out.

    Raises:
        TableError: The table is not given or cannot be used.
        ValueError: It has no such dataset or device.
    """
    published = TABLES[name]
    path = table_path(name, published.table, data=data)
    if path is None:
        raise TableError(
            f"the benchmark {name} needs the table {published.table}.csv.gz, or an imported "
            f"{name}.npz: name its folder with data (--data) or {DATA_VARIABLE}"
        )
    if dataset is not None and dataset not in published.datasets:
        raise unknown("dataset", dataset, published.datasets)
    accuracies = published.datasets[:1] if dataset is None else (dataset,)
    named = published.devices if devices is None else devices
    objectives = {column: _accuracy(column) for column in accuracies}
    costs = _costs(read_columns(path))
    for device in (named,) if isinstance(named, str) else named:
        if device not in costs:
            raise unknown(f"device of {path.name}", device, costs)
        column, objective = costs[device]
        if column in objectives:
            raise ValueError(f"a device is named twice in {', '.join(named)}")
        objectives[column] = objective
    if not objectives:
        raise ValueError(f"the benchmark {name} needs a device")
    space = published.space()
    table = read_table(
        path,
        space,
        list(objectives),
        architecture_columns=published.architecture_columns,
        complete=False,
        missing=True,
        repeated=True,
    )
    rows = np.flatnonzero(~np.isnan(table.values).any(axis=1))
    architectures = [table.architectures[row] for row in rows]
    values = table.values[rows]
    origin = f"{table.file}: {published.source}"
    return Benchmark(
        name=f"{name}-{'-'.join(accuracies) or 'latency'}",
        space=Listed(space, architectures),
        objectives=tuple(objectives.values()),
        architectures=tuple(architectures),
        values=values,
        loss_range=np.array(
            [
                _loss_range(objective, column, published.worst)
                for objective, column in zip(objectives.values(), values.T, strict=True)
            ]
        ),
        provenance={
            "figures": {objective.name: origin for objective in objectives.values()},
            "sha256": {table.file: table.sha256},
            "versions": versions(),
        },
    )


def _accuracy(column: str) -> Objective:
    return Objective(column, "maximize", "%", "measured", _ACCURACIES[column])


def _costs(columns: Sequence[str]) -> dict[str, tuple[str, Objective]]:
    """Names of devices, and of figures that are no latencies, to columns and what they are."""
    costs: dict[str, tuple[str, Objective]] = {}
    for column in columns:
        name = column.removesuffix("_latency_ms")
        if name != column:
            device = get_device(name, columns)
            objective = Objective(
                f"{device.name}_latency_ms",
                "minimize",
                "ms",
                "measured",
                f"{device.title} latency",
            )
            costs |= dict.fromkeys((device.name, name), (column, objective))
        for end, unit in _OTHERS.items():
            if column.endswith(end):
                title = column.removesuffix("_img_s").removesuffix(end).replace("_", " ")
                direction: Direction = "maximize" if unit == "images/s" else "minimize"
                costs[column] = column, Objective(column, direction, unit, "measured", title)
    return costs


def _loss_range(objective: Objective, figures: np.ndarray, worst: float) -> tuple[float, float]:
    """The figures whose losses are 0 and 1."""
    if objective.unit == "%":
        return 100.0, worst
    if objective.direction == "maximize":
        return float(figures.max()), float(np.quantile(figures, 0.001))
    return float(figures.min()), float(np.quantile(figures, 0.999))
