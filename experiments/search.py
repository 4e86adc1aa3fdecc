"""Hypervolume over distinct evaluations: the RLM against random search, NSGA-II and TPE.

Run ``python -m experiments.search [TABLE] [--seeds FIRST LAST]``, where TABLE is
``nasbench201.csv.gz``, or set ``NAS_RLM_DATA``. CIFAR-10 test accuracy against Pixel3 latency,
seeds 0 to 9 (settings were chosen on seeds 100 and above). Writes ``search.json`` and
``search.md`` in ``experiments/results``.
"""

from __future__ import annotations

import argparse
import time

from experiments.records import RESULTS, Record, provenance, run_cells
from nas_rlm.benchmarks import nasbench201
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table, mean_interval
from nas_rlm.methods import TITLES, make_sampler, search_distinct
from nas_rlm.pareto import hypervolume_over_time

BUDGETS = (50, 100)
SEEDS = 10
DEVICE = "pixel3"


def main(data: str | None, seeds: range, name: str) -> None:
    """Measure what is missing and write the table."""
    benchmark = nasbench201("cifar10_test_acc", (DEVICE,), data)
    budget = max(BUDGETS)

    def measure(method: str, seed: int) -> Record:
        start = time.perf_counter()
        sampler = make_sampler(method, benchmark, budget, seed)
        found = search_distinct(benchmark, sampler, budget)
        shares = hypervolume_over_time(benchmark, found.values)
        return {
            "share": {str(n): float(shares[n - 1]) for n in BUDGETS},
            "trials": found.trials,
            "seconds": time.perf_counter() - start,
        }

    cells = [{"method": method, "seed": seed} for seed in seeds for method in TITLES]
    about = provenance("python -m experiments.search", benchmark.provenance)
    records = run_cells(name, about, cells, measure)
    rows = []
    for method, title in TITLES.items():
        mine = [record for record in records if record["method"] == method]
        rows.append(
            [
                title,
                *(mean_interval(record["share"][str(n)] for record in mine) for n in BUDGETS),
                f"{sum(record['trials'] for record in mine) / len(mine):.0f}",
                f"{sum(record['seconds'] for record in mine) / len(mine):.0f}",
            ]
        )
    header = ["method", *(f"share at {n}" for n in BUDGETS), "trials", "seconds"]
    table = markdown_table(header, rows)
    objectives = " and ".join(objective.label for objective in benchmark.objectives)
    note = (
        f"Share of the true hypervolume, {objectives}, after so many distinct evaluations; mean "
        f"and 95 % interval over {len(seeds)} seeds.\n\n"
    )
    write_text(RESULTS / f"{name}.md", note + table)
    print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?")
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, SEEDS - 1))
    parser.add_argument("--name", default="search", help="of the results file")
    arguments = parser.parse_args()
    first, last = arguments.seeds
    main(arguments.table, range(first, last + 1), arguments.name)
