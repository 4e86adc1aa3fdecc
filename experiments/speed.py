"""Seconds: NAS-Bench-201 as ONNX text, five objectives of it predicted, suggestions of a search.

Run ``python -m experiments.speed``. The reference, a fixed load of matrix products in the same
process, makes the figures comparable between machines. Writes ``speed.json`` and ``speed.md`` in
``experiments/results``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

import numpy as np
import optuna
import torch

from experiments.records import RESULTS, Record, provenance, run_cells
from nas_rlm.benchmarks import nasbench201
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table
from nas_rlm.methods import make_sampler, search_distinct
from surrogate import RLM, TrainingConfig

REPEATS = 3
PARTS = (0, 50, 100, 200, 400)
"""A search's evaluations between which its suggestions are timed."""


def seconds(work: Callable[[], object]) -> float:
    """Median over `REPEATS` runs."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


@cache
def _search_times() -> list[float]:
    """Start of a search for accuracy and GPU latency, and end of each of its evaluations (s)."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    benchmark = nasbench201("cifar10", devices=("gpu",))
    sampler = make_sampler("rlm", benchmark, PARTS[-1], seed=0)
    times = [time.perf_counter()]
    search_distinct(
        benchmark, sampler, PARTS[-1], after_evaluation=lambda _: times.append(time.perf_counter())
    )
    return times


def suggestion_seconds(start: int, end: int) -> float:
    """Of one suggestion, in one part of a search."""
    times = _search_times()
    return (times[end] - times[start]) / (end - start)


def main() -> None:
    """Measure and write the table."""
    benchmark = nasbench201("cifar10")
    texts = [benchmark.space.onnx_text(a) for a in benchmark.architectures]
    names = [objective.name for objective in benchmark.objectives]
    rows = np.random.default_rng(0).permutation(len(texts))[:100]
    # How long it was trained does not change how fast it predicts.
    rlm = RLM(names, training=TrainingConfig(steps=20))
    rlm.fit([texts[row] for row in rows], benchmark.values[rows], progress=False)
    matrix = torch.randn(1024, 1024)
    work: dict[str, Callable[[], float]] = {
        "ONNX text of 15,625 architectures": partial(
            seconds, lambda: [benchmark.space.onnx_text(a) for a in benchmark.architectures]
        ),
        "15,625 architectures x 5 objectives predicted": partial(
            seconds, lambda: rlm.predict(texts)
        ),
        "reference: 100 products of 1024 x 1024 matrices": partial(
            seconds, lambda: [matrix @ matrix for _ in range(100)]
        ),
    }
    for start, end in pairwise(PARTS):
        what = f"a suggestion, training included: evaluations {start + 1} to {end} of a search"
        work[what] = partial(suggestion_seconds, start, end)

    def measure(what: str) -> Record:
        return {"seconds": work[what](), "threads": torch.get_num_threads()}

    about = provenance("python -m experiments.speed", benchmark.provenance)
    records = run_cells("speed", about, [{"what": what} for what in work], measure)
    table = markdown_table(
        ["what", "seconds", "threads"],
        ([r["what"], f"{r['seconds']:.2f}", str(r["threads"])] for r in records),
    )
    write_text(
        RESULTS / "speed.md", f"Median of {REPEATS} runs; suggestions: one search.\n\n" + table
    )
    print(table)


if __name__ == "__main__":
    main()
