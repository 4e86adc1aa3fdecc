"""One device by table, one by model and one by measurement, side by side.

Run ``python -m experiments.devices LATENCIES.csv [FOLDER]``, where the file holds what
``nas-rlm measure --count 200 --device this_machine --out LATENCIES.csv`` or
``python -m experiments.measured`` measured here, and FOLDER, or ``NAS_RLM_DATA``, the table of
NAS-Bench-201. Writes ``devices.json``, ``devices.md`` and ``devices.png`` in
``experiments/results``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.records import RESULTS, Record, provenance
from nas_rlm.benchmark import Benchmark
from nas_rlm.benchmarks import nasbench201
from nas_rlm.files import write_csv, write_json, write_text
from nas_rlm.markdown import markdown_table
from nas_rlm.metrics import spearman_rho
from nas_rlm.pareto import non_dominated
from nas_rlm.plots import STYLE, save_figure
from nas_rlm.tables import read_table, table_path
from search_spaces import get_space

ACCURACY = "cifar10_test_acc"
TABLE, MODEL, HERE = "pixel3", "cpu", "this_machine"
TITLES = ("by table", "by model", "measured here")
COLOURS = ("#D55E00", "#0072B2", "#009E73")


def main(latencies: Path, data: str | Path | None, results: Path = RESULTS) -> None:
    """Put the three together, and write what they say.

    Args:
        latencies: What was measured here.
        data: The table of NAS-Bench-201, or its folder.
        results: Folder of what is written.
    """
    benchmark, sources = _together(latencies, data)
    fronts = [_front(benchmark, k) for k in range(1, 4)]
    records = [
        {
            "device": objective.label,
            "origin": benchmark.provenance["figures"][objective.name],
            "median_ms": float(np.median(column)),
            "on_front": len(front),
            "rho": [spearman_rho(column, other) for other in benchmark.values[:, 1:].T],
            "shared": [len(np.intersect1d(front, other)) for other in fronts],
        }
        for objective, column, front in zip(
            benchmark.objectives[1:], benchmark.values[:, 1:].T, fronts, strict=True
        )
    ]
    about = provenance("python -m experiments.devices LATENCIES.csv", sources)
    write_json(results / "devices.json", {"about": about, "records": records})
    names = [str(record["device"]) for record in records]
    rows = [
        [r["device"], f"{r['median_ms']:.2f}", *(f"{rho:.3f}" for rho in r["rho"])]
        + [f"{shared} of {r['on_front']}" for shared in r["shared"]]
        for r in records
    ]
    text = (
        f"The same {len(benchmark.architectures)} random architectures of NAS-Bench-201: median, "
        "rank correlation with each device, and how much of the device's front with the CIFAR-10 "
        "test accuracy is on the others' fronts.\n\n"
    )
    header = ["device", "median", *(f"rho, {n}" for n in names), *(f"front, {n}" for n in names)]
    write_text(results / "devices.md", text + markdown_table(header, rows))
    with matplotlib.rc_context(STYLE):
        save_figure(_figure(benchmark, fronts), results / "devices.png")


def _together(latencies: Path, data: str | Path | None) -> tuple[Benchmark, Record]:
    """What was measured here, with a table's and a model's latencies; and the files of both."""
    space = get_space("nasbench201")
    path = table_path("nasbench201", data=data)
    if path is None:
        raise SystemExit("the table of NAS-Bench-201 is missing: name its folder")
    columns = [ACCURACY, f"{TABLE}_latency_ms"]
    table = read_table(path, space, columns)
    column = f"{HERE}_latency_ms"
    here = read_table(latencies, space, [column], complete=False)
    names = map(space.format, here.architectures)
    measured = dict(zip(names, here.column(column).tolist(), strict=True))
    with TemporaryDirectory() as scratch:
        joined = Path(scratch) / "joined.csv"
        rows = zip(map(space.format, table.architectures), table.values.tolist(), strict=True)
        write_csv(
            joined,
            ["arch", *columns, column],
            ([name, *figures, measured.get(name)] for name, figures in rows),
        )
        benchmark = nasbench201(ACCURACY, (TABLE, MODEL, HERE), joined)
    read = {"table": table, "latencies": here}
    sources = {kind: {"file": t.file, "sha256": t.sha256} for kind, t in read.items()}
    return benchmark, sources


def _front(benchmark: Benchmark, k: int) -> NDArray[np.intp]:
    """Rows on the front of accuracy and the k-th objective, the fastest first."""
    directions = [benchmark.directions[0], benchmark.directions[k]]
    rows = np.flatnonzero(non_dominated(benchmark.values[:, [0, k]], directions))
    return rows[np.argsort(benchmark.values[rows, k])]


def _figure(benchmark: Benchmark, fronts: list[NDArray[np.intp]]) -> Figure:
    """A panel for each device, with the fronts of all in each."""
    figure = Figure(figsize=(10.5, 3.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for k, axes in enumerate(panels, start=1):
        _draw(axes, benchmark, fronts, k)
    panels[0].set_ylabel(benchmark.objectives[0].label)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def _draw(axes: Axes, benchmark: Benchmark, fronts: list[NDArray[np.intp]], k: int) -> None:
    accuracy, latency = benchmark.values[:, 0], benchmark.values[:, k]
    axes.plot(latency, accuracy, ".", color="#BBBBBB", markersize=4, label="Architectures")
    for number, (front, colour) in enumerate(zip(fronts, COLOURS, strict=True), start=1):
        label = f"Front: {benchmark.objectives[number].label}"
        size, line, above = (5.0, "-", 3) if number == k else (3.0, "none", 4)
        axes.plot(
            latency[front],
            accuracy[front],
            marker="o",
            markersize=size,
            linestyle=line,
            color=colour,
            zorder=above,
            label=label,
        )
    axes.set(xlabel=benchmark.objectives[k].label, ylim=(80, 95), title=TITLES[k - 1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("latencies", type=Path)
    parser.add_argument("folder", nargs="?")
    chosen = parser.parse_args()
    main(chosen.latencies, chosen.folder)
