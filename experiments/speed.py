"""Seconds for the whole of NAS-Bench-201: ONNX text emitted, and five objectives predicted.

Run ``python -m experiments.speed``. The reference, a fixed load of matrix products in the same
process, makes the figures comparable between machines. Writes ``speed.json`` and ``speed.md`` in
``experiments/results``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from experiments.records import RESULTS, Record, provenance, run_cells
from nas_rlm.benchmarks import nasbench201
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table
from surrogate import RLM, TrainingConfig

REPEATS = 3


def seconds(work: Callable[[], object]) -> float:
    """Median over `REPEATS` runs."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


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
    work: dict[str, Callable[[], object]] = {
        "ONNX text of 15,625 architectures": lambda: [
            benchmark.space.onnx_text(a) for a in benchmark.architectures
        ],
        "15,625 architectures x 5 objectives predicted": lambda: rlm.predict(texts),
        "reference: 100 products of 1024 x 1024 matrices": lambda: [
            matrix @ matrix for _ in range(100)
        ],
    }

    def measure(what: str) -> Record:
        return {"seconds": seconds(work[what]), "threads": torch.get_num_threads()}

    about = provenance("python -m experiments.speed", benchmark.provenance)
    records = run_cells("speed", about, [{"what": what} for what in work], measure)
    table = markdown_table(
        ["what", "seconds", "threads"],
        ([r["what"], f"{r['seconds']:.2f}", str(r["threads"])] for r in records),
    )
    write_text(RESULTS / "speed.md", f"Median of {REPEATS} runs.\n\n" + table)
    print(table)


if __name__ == "__main__":
    main()
