"""How well predictors learn NAS-Bench-201 from few labels.

Run ``python -m experiments.comparison [TABLE]``, where TABLE is ``nasbench201.csv.gz``, or set
``NAS_RLM_DATA``. Each cell trains on n random architectures and is tested on all the others, whose
labels nothing else sees; reported are seeds from 0 on, settings were chosen on seeds from 100 on.
Cells are kept in ``--work`` as they are measured. Writes ``comparison.json``, ``comparison.md``
and ``comparison_latencies.md`` in ``experiments/results``; with ``--name`` those of that name,
and with ``--uncertainty`` one more, on samples.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.records import RESULTS, provenance
from nas_rlm.benchmarks import nasbench201
from nas_rlm.cells import key
from nas_rlm.compare import compare
from nas_rlm.comparison_report import Metric, accuracy_metric, budget_table, recorded, uncertainty
from nas_rlm.files import write_json, write_text

DATASET = "cifar10_test_acc"
DEVICES = ("pixel3", "eyeriss", "cpu", "gpu")
PREDICTORS = ("rlm", "flan", "flan_zero_cost", "gates", "lightgbm", "ridge")
LABELS = (16, 32, 78, 156, 256, 512, 781)
SEEDS = 10
PUBLISHED = {
    "best published": {
        16: "0.676 (a)",
        32: "0.717 (a)",
        78: "0.793 (b)",
        156: "0.731 (b)",
        256: "0.849 (a)",
        512: "0.877 (a)",
        781: "0.833 (b)",
        1563: "0.890 (c)",
    }
}
"""Tau on CIFAR-10's test accuracy, from other random choices of labels than ours."""
SOURCES = (
    "Best published: (a) FLAN, results of abdelfattah-lab/flan_nas; (b) the best run of ParZC and "
    "PicoNAS; (c) NN-Former."
)


def main(arguments: argparse.Namespace) -> None:
    """Measure what is missing and write the tables."""
    benchmark = nasbench201(arguments.dataset, DEVICES, arguments.table)
    grid = arguments.predictors, arguments.labels, range(arguments.seeds)
    options = {"jobs": arguments.jobs, "uncertainty": arguments.uncertainty}
    result = compare(benchmark, *grid, arguments.work, **options)
    if result.failures:
        failed = len(result.failures)
        raise SystemExit(f"{failed} cells failed, see {arguments.work / 'summary.md'}")
    name = arguments.name
    about = provenance("python -m experiments.comparison", benchmark.provenance)
    cells = [{**cell._asdict(), **record} for cell, record in result.records.items()]
    write_json(RESULTS / f"{name}.json", {"about": about, "records": cells})
    accuracy = benchmark.objectives[0]
    metrics = [
        Metric("tau without twins", recorded("tau_without_twins"), max),
        Metric("tau in the top tenth", recorded("tau_top_tenth"), max),
        Metric("regret of the best of ten", recorded("regret", key(accuracy)), min, digits=2),
        Metric("seconds of training", recorded("training_seconds"), digits=0),
    ]
    note = (
        f"{accuracy.label}: Kendall's tau by number of labels, mean and 95 % interval over "
        f"{arguments.seeds} seeds; test: all other architectures. Best in bold, † where the "
        "interval overlaps that of the best."
    )
    published = PUBLISHED if arguments.dataset == DATASET else {}
    if published:
        note += f" {SOURCES}"
    tables = [budget_table(result.records, accuracy_metric(benchmark.objectives), published)]
    tables += [budget_table(result.records, metric) for metric in metrics]
    text = "\n".join([note + "\n", *tables])
    write_text(RESULTS / f"{name}.md", text)
    print(text)
    latencies = [
        budget_table(result.records, Metric(f"rho, {o.label}", recorded("rho", key(o)), max))
        for o in benchmark.objectives[1:]
    ]
    write_text(RESULTS / f"{name}_latencies.md", "\n".join(latencies))
    if arguments.uncertainty:
        text = uncertainty(benchmark.objectives, result.records)
        write_text(RESULTS / f"{name}_uncertainty.md", text.replace("## ", "### "))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?")
    parser.add_argument("--dataset", default=DATASET)
    parser.add_argument("--predictors", nargs="+", default=PREDICTORS)
    parser.add_argument("--labels", type=int, nargs="+", default=LABELS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--work", type=Path, default=Path("runs/comparison"))
    parser.add_argument("--name", default="comparison", help="of the results files")
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--uncertainty", action="store_true", help="judge samples too")
    main(parser.parse_args())
