"""One RLM that reads many spaces, against one for each and against classical predictors.

Run ``python -m experiments.union [FOLDER] [--jobs N]``, where FOLDER holds the tables, or set
``NAS_RLM_DATA``. Each space gives the same labels to all; a latency on a device that several
spaces have is one number for the model of all spaces. Tested on all other rows of the tables;
reported are seeds from 0 on, settings were chosen on seeds from 100 on. Writes ``union.json`` and
``union.md`` in ``experiments/results`` and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.records import RESULTS, Record, provenance, run_cells
from nas_rlm.benchmark import Benchmark
from nas_rlm.benchmarks import get_benchmark
from nas_rlm.cells import is_latency
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table, marked_intervals
from nas_rlm.metrics import kendall_tau, spearman_rho
from nas_rlm.predictors import PREDICTORS, Inputs, get_predictor
from nas_rlm.predictors.rlm import best_with_pool, parameters_and_flops
from surrogate import RLM, Pool, TrainingConfig

LABELS = 100
POOL = 1024
"""Texts of each space that are read without labels."""
CLASSICAL = ("ridge", "ridge_pairs", "trees", "lightgbm")
TASKS: Mapping[str, Mapping[str, object]] = {
    "nasbench201": {"dataset": "cifar10_test_acc", "devices": ("pixel3", "gpu")},
    "nasbench101": {"devices": ()},
    "fbnet": {"devices": ("pixel3", "gpu")},
    "ofa_mobilenetv3": {"devices": ()},
    "accel_nasbench": {"devices": ("zcu102",)},
}
"""Benchmark to its options."""


@dataclass(frozen=True, eq=False)
class Part:
    """A space and its labels.

    Attributes:
        benchmark: Its table.
        seed: Of the rows that have labels.
    """

    benchmark: Benchmark
    seed: int

    @property
    def _order(self) -> NDArray[np.intp]:
        rows = len(self.benchmark.architectures)
        return np.random.default_rng(self.seed).permutation(rows)

    @property
    def shown(self) -> NDArray[np.intp]:
        """Rows with labels."""
        return self._order[:LABELS]

    @property
    def pooled(self) -> NDArray[np.intp]:
        """Rows whose texts are read, the first of them with labels."""
        return self._order[:POOL]

    @property
    def rest(self) -> NDArray[np.intp]:
        """Rows to be tested on."""
        return self._order[LABELS:]

    @property
    def names(self) -> list[str]:
        """Of its numbers; devices have the same in every space, accuracies of their own."""
        return [
            objective.name if is_latency(objective) else f"{self.benchmark.name}_{objective.name}"
            for objective in self.benchmark.objectives
        ]

    def inputs(self, rows: NDArray[np.intp]) -> Inputs:
        """Some of its architectures."""
        architectures = [self.benchmark.architectures[row] for row in rows]
        return Inputs(self.benchmark.space, architectures)

    def figures(self, predicted: NDArray[np.float64]) -> Record:
        """How well the rest is predicted, (rows, numbers)."""
        figures: Record = {}
        actual = self.benchmark.values[self.rest]
        for k, objective in enumerate(self.benchmark.objectives):
            rank = spearman_rho if is_latency(objective) else kendall_tau
            figures[objective.name] = rank(predicted[:, k], actual[:, k])
        return figures


def main(arguments: argparse.Namespace) -> None:
    """Measure what is missing and write the table."""
    folder = arguments.folder
    benchmarks = {task: get_benchmark(task, **TASKS[task], data=folder) for task in TASKS}

    def measure(predictor: str, spaces: str, seed: int) -> Record:
        parts = [
            Part(get_benchmark(task, **TASKS[task], data=folder), seed) for task in spaces.split()
        ]
        start = time.perf_counter()
        if predictor == "rlm":
            predicted = _read_by_one(parts, seed)
        else:
            (part,) = parts
            model = get_predictor(predictor, part.names, seed=seed)
            model.fit(part.inputs(part.shown), part.benchmark.values[part.shown])
            predicted = [model.predict(part.inputs(part.rest))]
        figures = {
            task: part.figures(numbers)
            for task, part, numbers in zip(spaces.split(), parts, predicted, strict=True)
        }
        return {"figures": figures, "seconds": time.perf_counter() - start}

    cells = [
        {"predictor": predictor, "spaces": spaces, "seed": seed}
        for seed in range(arguments.seeds[0], arguments.seeds[1] + 1)
        for predictor, spaces in [
            ("rlm", " ".join(TASKS)),
            *(("rlm", task) for task in TASKS),
            *((predictor, task) for task in TASKS for predictor in CLASSICAL),
        ]
    ]
    sources = {task: benchmark.provenance for task, benchmark in benchmarks.items()}
    about = provenance("python -m experiments.union", sources)
    records = run_cells(arguments.name, about, cells, measure, jobs=arguments.jobs)
    rows = []
    for task, benchmark in benchmarks.items():
        for objective in benchmark.objectives:
            columns: dict[str, list[float]] = {}
            for record in records:
                if task in record["figures"]:
                    union = " " in record["spaces"]
                    column = "all spaces" if union else record["predictor"]
                    figure = record["figures"][task][objective.name]
                    columns.setdefault(column, []).append(figure)
            best = max(CLASSICAL, key=lambda name: float(np.mean(columns[name])))
            rivals = [columns[name] for name in ("all spaces", "rlm", best)]
            metric = "rho" if is_latency(objective) else "tau"
            number = f"{metric}, {objective.label}"
            rows.append([task, number, *marked_intervals(rivals, max), PREDICTORS[best].title])
    header = ["table", "number", "one RLM", "an RLM each", "best classical", ""]
    seeds = len({record["seed"] for record in records})
    text = (
        f"{LABELS} labels of each space, mean and 95 % interval over {seeds} seeds; test: all "
        "other rows of the tables. Best in bold, † where the interval overlaps that of the best."
        "\n\n"
        f"{markdown_table(header, rows)}"
    )
    write_text(RESULTS / f"{arguments.name}.md", text)
    print(text)


def _read_by_one(parts: Sequence[Part], seed: int) -> list[NDArray[np.float64]]:
    """What a single RLM that learns from all parts expects of the rest of each."""
    named = [
        (name, is_latency(o))
        for p in parts
        for name, o in zip(p.names, p.benchmark.objectives, strict=True)
    ]
    # Accuracies first: a latency may depend on one, not the other way round.
    names = sorted(dict.fromkeys(name for name, _ in named), key=dict(named).__getitem__)
    texts, asked, hints, values = [], [], [], []
    for part in parts:
        mine = [names.index(name) for name in part.names]
        inputs = part.inputs(part.pooled)
        texts.append(inputs.texts)
        asked.append(np.isin(np.arange(len(names)), mine)[None].repeat(len(inputs), axis=0))
        space = part.benchmark.space
        hints.append([parameters_and_flops(space, a) for a in inputs.architectures])
        labels = np.full((LABELS, len(names)), np.nan)
        labels[:, mine] = part.benchmark.values[part.shown]
        values.append(labels)
    pool = Pool(
        [text for some in texts for text in some],
        np.concatenate(hints),
        trend=(0, 1),
        asked=np.concatenate(asked),
    )
    labelled = [text for some in texts for text in some[:LABELS]]
    choices = max(len(part.benchmark.architectures[0]) for part in parts)
    training = TrainingConfig(**best_with_pool(len(labelled), choices))
    simplified = [name for name in names if not dict(named)[name]]
    rlm = RLM(names, simplified=simplified, seed=seed, training=training)
    rlm.fit(labelled, np.concatenate(values), pool=pool, progress=False)
    rests = [(part.inputs(part.rest).texts, part.names) for part in parts]
    return [np.asarray(rlm.predict(texts, objectives=names)) for texts, names in rests]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 4))
    parser.add_argument("--name", default="union", help="of the results files")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    main(parser.parse_args())
