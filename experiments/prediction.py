"""How well the RLM predicts NAS-Bench-201 from few labels.

Run ``python -m experiments.prediction [TABLE] [--labels N ...]``, where TABLE is
``nasbench201.csv.gz``, or set ``NAS_RLM_DATA``. Each cell trains on n random architectures
(seeds 0 to 4; settings were chosen on seeds 100 and above) and is tested on all the others, whose
labels nothing else sees. Writes ``prediction.json`` and ``prediction.md`` in
``experiments/results``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from experiments.records import RESULTS, Record, provenance, run_cells
from nas_rlm.benchmarks import Benchmark, nasbench201
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table, mean_interval
from surrogate import RLM

DATASET = "cifar10_test_acc"
DEVICES = ("pixel3", "eyeriss", "cpu", "gpu")
LABELS = (78, 781)
SEEDS = range(5)
TITLES = {"rlm": "RLM", "ridge": "Ridge on one-hot edges and operation counts"}


def features(benchmark: Benchmark) -> NDArray[np.float64]:
    """One-hot operation of each edge, and how often each operation occurs, (n, 35)."""
    choices = benchmark.space.distributions
    onehot = np.array(
        [
            [[a[edge] == choice for choice in choices[edge].choices] for edge in choices]
            for a in benchmark.architectures
        ],
        dtype=float,
    )
    return np.concatenate([onehot.reshape(len(onehot), -1), onehot.sum(1)], axis=1)


def ridge(
    x: NDArray[np.float64], values: NDArray[np.float64], train: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Predictions of a ridge with the penalty that leave-one-out picks on training labels."""
    center = values[train].mean(0)
    u, s, vt = np.linalg.svd(x[train] - x[train].mean(0), full_matrices=False)
    predicted = np.empty_like(values)
    for k in range(values.shape[1]):
        target = values[train, k] - center[k]

        def error(penalty: float, target: NDArray[np.float64] = target) -> float:
            shrink = s**2 / (s**2 + penalty)
            left = 1 - (u**2 * shrink).sum(1) - 1 / len(target)
            return float((((target - u @ (shrink * (u.T @ target))) / left) ** 2).mean())

        best = min(np.logspace(-2, 3, 11), key=error)
        weights = vt.T @ (s / (s**2 + best) * (u.T @ target))
        predicted[:, k] = (x - x[train].mean(0)) @ weights + center[k]
    return predicted


def main(data: str | None, budgets: Sequence[int], name: str) -> None:
    """Measure what is missing and write the table."""
    benchmark = nasbench201(DATASET, DEVICES, data)
    texts = [benchmark.space.onnx_text(a) for a in benchmark.architectures]
    names = [objective.name for objective in benchmark.objectives]
    x = features(benchmark)

    def measure(method: str, labels: int, seed: int) -> Record:
        order = np.random.default_rng(seed).permutation(len(texts))
        train, test = order[:labels], order[labels:]
        start = time.perf_counter()
        if method == "rlm":
            rlm = RLM(names, seed=seed)
            rlm.fit([texts[i] for i in train], benchmark.values[train], progress=False)
            trained = time.perf_counter()
            predicted = np.asarray(rlm.predict(texts))
        else:
            predicted = ridge(x, benchmark.values, train)
            trained = time.perf_counter()
        end = time.perf_counter()
        by_name = {n: (predicted[test, k], benchmark.values[test, k]) for k, n in enumerate(names)}
        return {
            "tau": {n: kendalltau(*pair)[0] for n, pair in by_name.items()},
            "rho": {n: spearmanr(*pair)[0] for n, pair in by_name.items()},
            "training_seconds": trained - start,
            "prediction_seconds": end - trained,
        }

    cells = [
        {"method": method, "labels": labels, "seed": seed}
        for labels in budgets
        for method in TITLES
        for seed in SEEDS
    ]
    about = provenance("python -m experiments.prediction", benchmark.provenance)
    records = run_cells(name, about, cells, measure)
    rows = []
    for labels in budgets:
        for method, title in TITLES.items():
            mine = [r for r in records if (r["method"], r["labels"]) == (method, labels)]
            rows.append(
                [
                    title,
                    str(labels),
                    mean_interval(r["tau"][names[0]] for r in mine),
                    *(mean_interval(r["rho"][n] for r in mine) for n in names[1:]),
                    f"{np.mean([r['training_seconds'] for r in mine]):.0f}",
                    f"{np.mean([r['prediction_seconds'] for r in mine]):.1f}",
                ]
            )
    titles = [objective.label for objective in benchmark.objectives]
    header = ["predictor", "labels", f"tau, {titles[0]}", *(f"rho, {t}" for t in titles[1:])]
    table = markdown_table([*header, "training (s)", "all 15,625 (s)"], rows)
    note = f"Mean and 95 % interval over {len(SEEDS)} seeds; test: all other architectures.\n\n"
    write_text(RESULTS / f"{name}.md", note + table)
    print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?")
    parser.add_argument("--labels", type=int, nargs="+", default=LABELS)
    parser.add_argument("--name", default="prediction", help="of the results files")
    arguments = parser.parse_args()
    main(arguments.table, arguments.labels, arguments.name)
