"""How well predictors learn other spaces than NAS-Bench-201.

Run ``python -m experiments.other_spaces [FOLDER]``, where FOLDER holds the tables, or
set ``NAS_RLM_DATA``. Each cell trains on some random rows of a table and is tested on all the
others; reported are seeds from 0 on, settings were chosen on seeds from 100 on. Cells are kept in
``--work`` as they are measured. Writes ``other_spaces.json`` and ``other_spaces.md`` in
``experiments/results``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.records import RESULTS, provenance
from nas_rlm.cells import is_latency, key
from nas_rlm.compare import compare
from nas_rlm.comparison_report import Metric, budget_table, recorded
from nas_rlm.files import write_json, write_text
from nas_rlm.predictors import PREDICTORS
from nas_rlm.tabular_benchmarks import tabular

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
    "accel_nasbench": Task("accel_nasbench", (200, 4098), ("zcu102",)),
    "ofa": Task("ofa_mobilenetv3", (500,)),
    "fbnet": Task("fbnet", (200,), ("pixel3", "eyeriss", "cpu", "gpu")),
}
"""4,098 rows are four fifths of those with a latency."""


def main(arguments: argparse.Namespace) -> None:
    """Measure what is missing and write the tables."""
    tables, cells, sources = [], [], {}
    for name in arguments.tasks:
        task = TASKS[name]
        benchmark = tabular(task.benchmark, None, task.devices, arguments.folder)
        grid = task.predictors, task.labels, range(arguments.seeds)
        result = compare(benchmark, *grid, arguments.work / name, jobs=arguments.jobs)
        if result.failures:
            failed = len(result.failures)
            raise SystemExit(f"{failed} cells failed, see {arguments.work / name / 'summary.md'}")
        sources[name] = benchmark.provenance
        cells += [
            {"task": name, **cell._asdict(), **figures} for cell, figures in result.records.items()
        ]
        tables += [
            budget_table(
                result.records,
                Metric(f"{metric}, {objective.label}", recorded(metric, key(objective)), max),
            )
            for objective in benchmark.objectives
            for metric in (["rho"] if is_latency(objective) else ["tau", "rho"])
        ]
    about = provenance("python -m experiments.other_spaces", sources)
    write_json(RESULTS / "other_spaces.json", {"about": about, "records": cells})
    note = (
        f"By number of labels, mean and 95 % interval over {arguments.seeds} seeds; test: all "
        "other rows of the table. Best in bold, † where the interval overlaps that of the best.\n"
    )
    text = "\n".join([note, *tables])
    write_text(RESULTS / "other_spaces.md", text)
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path("runs/other_spaces"))
    parser.add_argument("--jobs", type=int, default=None)
    main(parser.parse_args())
