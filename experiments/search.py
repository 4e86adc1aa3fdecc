"""The RLM against other search methods, by what they find in so many distinct evaluations.

Run ``python -m experiments.search [FOLDER] [--problems ...] [--methods ...]``, where FOLDER holds
the tables, or set ``NAS_RLM_DATA``. Problems are CIFAR-10 test accuracy of NAS-Bench-201 against
the latency on a device, against all four (``all``), and accuracy alone (``cifar10``,
``cifar100``); and of Accel-NASBench, ImageNet accuracy against the latency on an FPGA
(``accel``). Reported are seeds 0 to 9; settings were chosen on seeds from 100 on. Writes
``search.json`` and, of all that is in it, ``search.md`` and plots in ``experiments/results``; goes
on where it was stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import optuna
from numpy.typing import NDArray

from experiments.records import RESULTS, Record, provenance, read_records, run_cells
from nas_rlm.benchmarks import Benchmark, nasbench201
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table, marked_intervals
from nas_rlm.methods import METHODS, make_sampler, search_distinct
from nas_rlm.pareto import hypervolume_over_time
from nas_rlm.plots import STYLE, attainment_figure, hypervolume_figure, save_figure
from nas_rlm.tabular_benchmarks import tabular

BUDGETS = (50, 100, 200)
EARLY = 64
"""Evaluations in which the best accuracy should be found."""
DEVICES = ("pixel3", "eyeriss", "cpu", "gpu")
PROBLEMS: dict[str, Callable[[str | None], Benchmark]] = {
    **{device: partial(nasbench201, "cifar10_test_acc", (device,)) for device in DEVICES},
    "all": partial(nasbench201, "cifar10_test_acc", DEVICES),
    "cifar10": partial(nasbench201, "cifar10_test_acc", ()),
    "cifar100": partial(nasbench201, "cifar100_test_acc", ()),
    "accel": partial(tabular, "accel_nasbench", "imagenet_top1", ("zcu102",)),
}
"""Problem to what makes it from a folder of tables."""
TITLES = {
    "pixel3": "Pixel3",
    "eyeriss": "Eyeriss",
    "cpu": "Xeon Gold 6226",
    "gpu": "GTX 1080Ti",
    "all": "all four",
    "cifar10": "CIFAR-10 alone",
    "cifar100": "CIFAR-100 alone",
    "accel": "Accel-NASBench",
}
"""Problem to its column where all are side by side."""
EXPENSIVE = ("lightgbm", "flan")
"""Methods that must be asked for."""
LEAST_SEEDS = 5
"""Methods with fewer are not reported yet."""
_FOUND_EARLY = f"best found by {EARLY}"
_SUMMARY = (
    f"Share of the true hypervolume after {BUDGETS[1]} distinct evaluations, mean and 95 % "
    "interval; of accuracies alone, in how many searches the best architecture was among the "
    f"first {EARLY}. Best in bold, † where the interval overlaps that of the best.\n"
)
_LEGEND = (
    "By distinct evaluations: share of the true hypervolume, share of the points of the true "
    "front that were found, and regret, by how much the best accuracy found is below the best "
    "there is (%). Trials are those that it took, repeats included; seconds per evaluation are "
    "the median, with two searches side by side.\n"
)


def main(arguments: argparse.Namespace) -> None:
    """Measure what is missing and write the table."""
    folder = arguments.folder
    benchmarks = {problem: make(folder) for problem, make in PROBLEMS.items()}

    def measure(problem: str, method: str, seed: int) -> Record:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        benchmark = PROBLEMS[problem](folder)  # made again, lest it travels to every process
        start = time.perf_counter()
        sampler = make_sampler(method, benchmark, max(BUDGETS), seed)
        most = METHODS[method].trials
        found = search_distinct(benchmark, sampler, max(BUDGETS), trials=most)
        seconds = time.perf_counter() - start
        return {"rows": " ".join(map(str, found.rows)), "trials": found.trials, "seconds": seconds}

    cells = [
        {"problem": problem, "method": method, "seed": seed}
        for seed in range(arguments.seeds[0], arguments.seeds[1] + 1)
        for problem in arguments.problems
        for method in arguments.methods
    ]
    sources = {problem: benchmark.provenance for problem, benchmark in benchmarks.items()}
    about = provenance("python -m experiments.search", sources)
    run_cells(arguments.name, about, cells, measure, jobs=arguments.jobs)
    # Reported is all that there is, whatever was asked for now.
    records = [
        {**record, "rows": np.array(record["rows"].split(), dtype=np.intp)}
        for record in sorted(read_records(arguments.name), key=lambda record: record["seed"])
    ]
    summary, tables = {}, []
    for problem, benchmark in benchmarks.items():
        here = [record for record in records if record["problem"] == problem]
        methods = _by_method(here)
        if not methods:
            continue
        shares = {}
        if len(benchmark.objectives) > 1:
            shares = {
                name: np.array([_shares(benchmark, record) for record in mine])
                for name, mine in methods.items()
            }
        columns = _columns(benchmark, methods, shares)
        told = columns.get(f"share at {BUDGETS[1]}") or columns[_FOUND_EARLY]
        summary[TITLES[problem]] = dict(zip(methods, told, strict=True))
        objectives = " and ".join(objective.label for objective in benchmark.objectives)
        tables.append(f"{objectives}:\n\n{_table(methods, columns)}")
        if len(benchmark.objectives) == 2:
            _plot(RESULTS / f"{arguments.name}_{problem}.png", benchmark, methods, shares)
    tried = [name for name in METHODS if any(name in told for told in summary.values())]
    by_problem = {title: [told.get(name, "") for name in tried] for title, told in summary.items()}
    text = "\n".join([_SUMMARY, _table(tried, by_problem), _LEGEND, *tables])
    write_text(RESULTS / f"{arguments.name}.md", text)
    print(text)


def _by_method(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each method that there are enough of, in the order of the registry."""
    mine = {name: [r for r in records if r["method"] == name] for name in METHODS}
    return {name: found for name, found in mine.items() if len(found) >= LEAST_SEEDS}


def _regret(benchmark: Benchmark, rows: NDArray[np.intp], budget: int) -> float:
    """Of the best accuracy among the first evaluations."""
    accuracy = benchmark.values[:, 0]
    return float(accuracy.max() - accuracy[rows[:budget]].max())


def _shares(benchmark: Benchmark, record: Record) -> NDArray[np.float64]:
    """Share of the true hypervolume after each evaluation; the last counts for those not made."""
    shares = hypervolume_over_time(benchmark, benchmark.values[record["rows"]])
    return np.pad(shares, (0, max(BUDGETS) - len(shares)), mode="edge")


def _columns(
    benchmark: Benchmark,
    methods: Mapping[str, Sequence[Record]],
    shares: Mapping[str, NDArray[np.float64]],
) -> dict[str, list[str]]:
    """What was found, an entry for each method."""
    columns = {"seeds": [str(len(mine)) for mine in methods.values()]}

    def regrets(budget: int) -> list[list[float]]:
        return [[_regret(benchmark, r["rows"], budget) for r in mine] for mine in methods.values()]

    if len(benchmark.objectives) == 1:
        for n in BUDGETS:
            columns[f"regret at {n}"] = marked_intervals(regrets(n), min)
        columns[_FOUND_EARLY] = [f"{found.count(0)} of {len(found)}" for found in regrets(EARLY)]
    else:
        for n in BUDGETS:
            columns[f"share at {n}"] = marked_intervals(
                [curves[:, n - 1] for curves in shares.values()], max
            )
        fronts = [
            [np.isin(benchmark.true_front, r["rows"]).mean() for r in mine]
            for mine in methods.values()
        ]
        columns[f"front at {BUDGETS[-1]}"] = marked_intervals(fronts, max, 2)
        columns[f"regret at {BUDGETS[-1]}"] = marked_intervals(regrets(BUDGETS[-1]), min, 2)
    trials = [np.mean([r["trials"] for r in mine]) for mine in methods.values()]
    columns["trials"] = [f"{mean:.0f}" for mean in trials]
    # A search that was stopped for a while took longer than it takes.
    seconds = [
        np.median([r["seconds"] / len(r["rows"]) for r in mine]) for mine in methods.values()
    ]
    columns["seconds"] = [f"{median:.2f}" for median in seconds]
    return columns


def _table(methods: Iterable[str], columns: Mapping[str, Sequence[str]]) -> str:
    """A row for each method."""
    titles = [METHODS[name].title for name in methods]
    return markdown_table(["method", *columns], zip(titles, *columns.values(), strict=True))


def _plot(
    path: Path,
    benchmark: Benchmark,
    methods: Mapping[str, Sequence[Record]],
    shares: Mapping[str, NDArray[np.float64]],
) -> None:
    """Hypervolume over evaluations, and the median front after half of the budget."""
    evaluated = {
        name: [benchmark.values[record["rows"][: BUDGETS[1]]] for record in mine]
        for name, mine in methods.items()
    }
    with matplotlib.rc_context(STYLE):
        save_figure(hypervolume_figure(shares), path)
        figure = attainment_figure(benchmark, evaluated)
        save_figure(figure, path.with_name(f"{path.stem}_attainment.png"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    cheap = [name for name in METHODS if name not in EXPENSIVE]
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=cheap)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 9))
    parser.add_argument("--name", default="search", help="of the results files")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    main(parser.parse_args())
