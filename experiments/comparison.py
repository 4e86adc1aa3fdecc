"""How well predictors learn NAS-Bench-201 from few labels.

Run ``python -m experiments.comparison [TABLE]``, where TABLE is ``nasbench201.csv.gz``, or set
``NAS_RLM_DATA``. Each cell trains on n random architectures and is tested on all the others, whose
labels nothing else sees; reported are seeds from 0 on, settings were chosen on seeds from 100 on.
Cells are kept in ``--work`` as they are measured. Writes ``comparison.json`` and
``comparison.md`` in ``experiments/results``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.records import RESULTS, provenance
from nas_rlm.benchmarks import nasbench201
from nas_rlm.cells import key
from nas_rlm.compare import compare
from nas_rlm.comparison_report import Metric, accuracy_metric, comparison_table, recorded
from nas_rlm.files import write_json, write_text

DATASET = "cifar10_test_acc"
DEVICES = ("pixel3", "eyeriss", "cpu", "gpu")
PREDICTORS = ("rlm", "flan", "gates", "lightgbm", "ridge")
LABELS = (16, 78, 781)
SEEDS = 5


def main(table: str | None, labels: list[int], seeds: int, work: Path, jobs: int | None) -> None:
    """Measure what is missing and write the table."""
    benchmark = nasbench201(DATASET, DEVICES, table)
    result = compare(benchmark, PREDICTORS, labels, range(seeds), work, jobs=jobs)
    if result.failures:
        raise SystemExit(f"{len(result.failures)} cells failed, see {work / 'summary.md'}")
    about = provenance("python -m experiments.comparison", benchmark.provenance)
    cells = [{**cell._asdict(), **record} for cell, record in result.records.items()]
    write_json(RESULTS / "comparison.json", {"about": about, "records": cells})
    metrics = [accuracy_metric(benchmark.objectives)]
    for objective in benchmark.objectives[1:]:
        metrics.append(Metric(f"rho, {objective.label}", recorded("rho", key(objective)), max))
    metrics.append(Metric("training (s)", recorded("training_seconds"), digits=0))
    note = (
        f"Mean and 95 % interval over {seeds} seeds; test: all other architectures. Best in bold, "
        "† where the interval overlaps that of the best.\n\n"
    )
    text = note + comparison_table(result.records, metrics)
    write_text(RESULTS / "comparison.md", text)
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?")
    parser.add_argument("--labels", type=int, nargs="+", default=LABELS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--work", type=Path, default=Path("runs/comparison"))
    parser.add_argument("--jobs", type=int, default=None)
    arguments = parser.parse_args()
    main(arguments.table, arguments.labels, arguments.seeds, arguments.work, arguments.jobs)
