"""How well predictors learn other spaces than NAS-Bench-201.

Run ``python -m experiments.other_spaces [FOLDER] [--tasks ...] [--jobs N]``, where FOLDER holds
the tables, or set ``NAS_RLM_DATA``. Each cell trains on some random rows of a table and is tested
on all the others; reported are seeds from 0 on, settings were chosen on seeds from 100 on. Writes
``other_spaces.json`` and, of all that is in it, ``other_spaces.md`` in ``experiments/results``;
goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.records import RESULTS, Record, provenance, read_records, run_cells
from nas_rlm.benchmark import Benchmark
from nas_rlm.cells import Bench, is_latency, key
from nas_rlm.comparison_report import Metric, budget_table, recorded
from nas_rlm.files import write_text
from nas_rlm.grids import Cell
from nas_rlm.markdown import markdown_table, mean_interval
from nas_rlm.predictors import PREDICTORS
from nas_rlm.tabular_benchmarks import tabular

CLASSICAL = ("ridge", "ridge_pairs", "forest", "trees", "lightgbm", "mlp")
GRAPH = ("gates", "flan", "flan_zero_cost", "brpnas", "graph_transformer")
FEW = ("rlm", "flan", "gates", "ridge", "ridge_pairs", "trees", "lightgbm")
"""Without those that need zero-cost scores, which only NAS-Bench-101 has a table of."""


@dataclass(frozen=True)
class Task:
    """A table to learn.

    Attributes:
        benchmark: A key of `nas_rlm.tabular_benchmarks.TABLES`.
        labels: Numbers of rows to train on.
        devices: See `nas_rlm.tabular_benchmarks.tabular`.
        predictors: Keys of `PREDICTORS`.
    """

    benchmark: str
    labels: tuple[int, ...]
    devices: tuple[str, ...] = ()
    predictors: tuple[str, ...] = FEW


TASKS: Mapping[str, Task] = {
    "nasbench101": Task("nasbench101", (100, 400), predictors=tuple(PREDICTORS)),
    "accel_nasbench": Task("accel_nasbench", (200,), ("zcu102",)),
    "accel_most": Task(
        "accel_nasbench", (4098,), ("zcu102",), ("rlm", "ridge", "ridge_pairs", "lightgbm")
    ),
    "ofa": Task("ofa_mobilenetv3", (500,)),
    "fbnet": Task("fbnet", (200,), ("pixel3", "eyeriss", "cpu", "gpu")),
}
"""4,098 rows are four fifths of those with a latency: graph networks, and trees of scikit-learn's,
learn too slowly of so many."""


def main(arguments: argparse.Namespace) -> None:
    """Measure what is missing and write the tables."""
    folder = arguments.folder
    benchmarks = {name: _benchmark(task, folder) for name, task in TASKS.items()}

    def measure(task: str, **cell: Any) -> Record:
        return Bench(_benchmark(TASKS[task], folder), False).measure(Cell(**cell))

    cells = [
        {"task": name, "predictor": predictor, "labels": labels, "seed": seed}
        for seed in range(arguments.seeds)
        for name in arguments.tasks
        for labels in TASKS[name].labels
        for predictor in TASKS[name].predictors
    ]
    sources = {name: benchmark.provenance for name, benchmark in benchmarks.items()}
    about = provenance("python -m experiments.other_spaces", sources)
    run_cells("other_spaces", about, cells, measure, jobs=arguments.jobs)
    # Reported is all that there is, whatever was asked for now.
    order = list(PREDICTORS)
    records = sorted(read_records("other_spaces"), key=lambda r: order.index(r["predictor"]))
    tasks = {
        name: {_cell(record): record for record in records if record["task"] == name}
        for name in TASKS
    }
    summary = [
        [TASKS[name].benchmark, metric.title, f"{labels:,}", *_best(tasks[name], metric, labels)]
        for name, benchmark in benchmarks.items()
        if tasks[name]
        for metric in _metrics(benchmark)
        for labels in TASKS[name].labels
    ]
    header = ["table", "number", "labels", "RLM", "graph network", "", "classical", ""]
    seeds = len({record["seed"] for record in records})
    parts = [
        "The RLM and the best of each kind on other spaces, mean and 95 % interval over "
        f"{seeds} seeds; test: all other rows of the table.\n",
        markdown_table(header, summary),
        "All of them by number of labels. Best in bold, † where the interval overlaps that of "
        "the best.\n",
    ]
    for name, benchmark in benchmarks.items():
        if tasks[name]:
            parts.append(f"## {name}\n")
            parts += [budget_table(tasks[name], metric) for metric in _metrics(benchmark)]
    text = "\n".join(parts)
    write_text(RESULTS / "other_spaces.md", text)
    print(text)


def _best(cells: Mapping[Cell, Record], metric: Metric, labels: int) -> list[str]:
    """The RLM's figure, and the best of each other kind and which that is."""
    figures: dict[str, list[float]] = {}
    for cell, record in cells.items():
        if cell.labels == labels and (figure := metric.figure(record)) is not None:
            figures.setdefault(cell.predictor, []).append(figure)
    row = [mean_interval(figures["rlm"]) if "rlm" in figures else ""]
    for kind in (GRAPH, CLASSICAL):
        means = {name: float(np.mean(figures[name])) for name in kind if name in figures}
        best = max(means, key=means.__getitem__, default=None)
        row += ["", ""] if best is None else [mean_interval(figures[best]), PREDICTORS[best].title]
    return row


def _metrics(benchmark: Benchmark) -> list[Metric]:
    return [
        Metric(f"{metric}, {objective.label}", recorded(metric, key(objective)), max)
        for objective in benchmark.objectives
        for metric in (["rho"] if is_latency(objective) else ["tau", "rho"])
    ]


def _cell(record: Record) -> Cell:
    return Cell(*(record[field] for field in Cell._fields))


def _benchmark(task: Task, folder: str | None) -> Benchmark:
    return tabular(task.benchmark, None, task.devices, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    main(parser.parse_args())
