"""The RLM against other search methods, by what they find in so many distinct evaluations.

Run ``python -m experiments.search [TABLE] [--problems ...] [--methods ...] [--seeds FIRST LAST]``,
where TABLE is ``nasbench201.csv.gz``, or set ``NAS_RLM_DATA``. Problems are CIFAR-10 test accuracy
against the latency on a device, against all four (``all``), and accuracy alone (``cifar10``,
``cifar100``). Reported are seeds 0 to 9; settings were chosen on seeds from 100 on. Writes
``search.json`` and ``search.md`` in ``experiments/results`` and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import cache

import numpy as np
import optuna

from experiments.records import RESULTS, Record, provenance, run_cells
from nas_rlm.benchmarks import Benchmark, nasbench201
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table, mean_interval
from nas_rlm.methods import METHODS, make_sampler, search_distinct
from nas_rlm.pareto import hypervolume_over_time

BUDGETS = (50, 100, 200)
DEVICES = ("pixel3", "eyeriss", "cpu", "gpu")
PROBLEMS: dict[str, tuple[str, Sequence[str]]] = {
    **{device: ("cifar10_test_acc", (device,)) for device in DEVICES},
    "all": ("cifar10_test_acc", DEVICES),
    "cifar10": ("cifar10_test_acc", ()),
    "cifar100": ("cifar100_test_acc", ()),
}
"""Problem to its accuracy and devices."""
EXPENSIVE = ("lightgbm", "flan")
"""Methods that must be asked for."""


def main(arguments: argparse.Namespace) -> None:
    """Measure what is missing and write the table."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    build = cache(lambda problem: nasbench201(*PROBLEMS[problem], arguments.table))

    def measure(problem: str, method: str, seed: int) -> Record:
        benchmark = build(problem)
        start = time.perf_counter()
        sampler = make_sampler(method, benchmark, max(BUDGETS), seed)
        found = search_distinct(benchmark, sampler, max(BUDGETS))
        seconds = time.perf_counter() - start
        shares = hypervolume_over_time(benchmark, found.values)
        accuracy = np.maximum.accumulate(found.values[:, 0])
        best = benchmark.values[:, 0].max()
        # A method that only repeats itself ends with fewer evaluations than it may make.
        last = [min(n, len(shares)) - 1 for n in BUDGETS]
        return {
            "share": [float(shares[i]) for i in last],
            "front": [_front_share(benchmark, found.rows[: i + 1]) for i in last],
            "regret": [float(best - accuracy[i]) for i in last],
            "evaluations_to_best": int((accuracy < best).sum()) + 1,
            "trials": found.trials,
            "evaluations": len(found.rows),
            "seconds": seconds,
        }

    cells = [
        {"problem": problem, "method": method, "seed": seed}
        for problem in arguments.problems
        for seed in range(arguments.seeds[0], arguments.seeds[1] + 1)
        for method in arguments.methods
    ]
    about = provenance("python -m experiments.search", build(arguments.problems[0]).provenance)
    records = run_cells(arguments.name, about, cells, measure)
    tables = []
    for problem in dict.fromkeys(record["problem"] for record in records):
        here = [record for record in records if record["problem"] == problem]
        tables.append(_table(build(problem), here))
    write_text(RESULTS / f"{arguments.name}.md", "\n".join(tables))
    print("\n".join(tables))


def _front_share(benchmark: Benchmark, rows: np.ndarray) -> float:
    """Share of the true front's points that are among some rows."""
    return float(np.isin(benchmark.true_front, rows).mean())


def _table(benchmark: Benchmark, records: Sequence[Record]) -> str:
    seeds = len({record["seed"] for record in records})
    objectives = " and ".join(objective.label for objective in benchmark.objectives)
    alone = len(benchmark.objectives) == 1
    header = ["method", *((f"regret at {n}" if alone else f"share at {n}") for n in BUDGETS)]
    header += ["best found by 64" if alone else f"front found at {BUDGETS[-1]}"]
    rows = []
    for name, method in METHODS.items():
        mine = [record for record in records if record["method"] == name]
        if not mine:
            continue
        kind = "regret" if alone else "share"
        row = [method.title]
        row += [mean_interval(record[kind][i] for record in mine) for i in range(len(BUDGETS))]
        if alone:
            found = sum(record["evaluations_to_best"] <= 64 for record in mine)
            row.append(f"{found} of {len(mine)}")
        else:
            row.append(mean_interval(record["front"][-1] for record in mine))
        trials, evaluations, seconds = (
            sum(record[name] for record in mine) / len(mine)
            for name in ("trials", "evaluations", "seconds")
        )
        rows.append([*row, f"{trials:.0f}", f"{seconds / evaluations:.2f}"])
    what = "Regret of the best (%)" if alone else "Share of the true hypervolume"
    return (
        f"{what}, {objectives}, by distinct evaluations; mean and 95 % interval over {seeds} "
        "seeds. Trials are those that it took, repeats included; seconds are per evaluation.\n\n"
        f"{markdown_table([*header, 'trials', 'seconds'], rows)}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    cheap = [name for name in METHODS if name not in EXPENSIVE]
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=cheap)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 9))
    parser.add_argument("--name", default="search", help="of the results files")
    main(parser.parse_args())
