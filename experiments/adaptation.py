"""How well a device is known from ten measurements, given a model of other devices.

Run ``python -m experiments.adaptation [FOLDER] [--spaces ...] [--jobs N]``, where FOLDER holds the
tables, or set ``NAS_RLM_DATA``. Each device of a table is left out in turn, in all its settings: a
model learns the others from 900 architectures, ten are chosen to be measured, and the device's
model is tested on all the rest. Draws differ in what there is to choose from and in the training;
reported are draws from 0 on, settings were chosen on seeds from 100 on. Writes ``adaptation.json``
and, of all that is in it, ``adaptation.md`` in ``experiments/results``; goes on where it was
stopped; models of known devices are kept in ``--work``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.records import RESULTS, Record, provenance, read_records, run_cells
from nas_rlm.adaptation import adapt, choose
from nas_rlm.benchmark import Benchmark
from nas_rlm.benchmarks import nasbench201
from nas_rlm.cells import is_latency
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table, mean_interval
from nas_rlm.metrics import share_within, spearman_rho
from nas_rlm.objectives import Objective
from nas_rlm.predictors import Inputs
from nas_rlm.predictors.rlm import RLMPredictor
from nas_rlm.tables import read_columns, table_path
from nas_rlm.tabular_benchmarks import TABLES, tabular
from surrogate import RLM

KNOWN = 900
"""Architectures that the other devices are known on."""
MEASURED = 10
DRAWS = 10
SPACES = ("nasbench201", "fbnet")
CARDS = ("1080ti", "2080ti", "titanx")
"""Devices with several columns; the first one's with batch size 1 is called ``gpu``."""
NEAR = 0.1
"""Relative error of what counts as predicted."""

FIGURES = ("rho", "near")

SHORTER: dict[str, Any] = {"members": 1, "pool": 2048}
"""Of the RLM's arguments, for hundreds of trainings."""


def main(arguments: argparse.Namespace, results: Path = RESULTS) -> None:
    """Measure what is missing and write the table."""
    folder, work = arguments.folder, arguments.work
    benchmarks = {space: _benchmark(space, folder) for space in SPACES}

    def measure(space: str, device: str, draw: int) -> Record:
        return _adapted(_benchmark(space, folder), device, draw, work / space / _machine(device))

    cells = [
        {"space": space, "device": objective.name, "draw": draw}
        for space in arguments.spaces
        for draw in range(arguments.draws)
        for objective in _settings_apart(_latencies(benchmarks[space]))
    ]
    sources = {space: benchmark.provenance for space, benchmark in benchmarks.items()}
    about = provenance("python -m experiments.adaptation", sources)
    run_cells("adaptation", about, cells, measure, results, jobs=arguments.jobs)
    # Reported is all that there is, whatever was asked for now.
    records = read_records("adaptation", results)
    tables = [
        _table(benchmark, [record for record in records if record["space"] == space])
        for space, benchmark in benchmarks.items()
    ]
    text = (
        f"Rank correlation and share within {NEAR:.0%} of the measured latency, of a device from "
        f"{MEASURED} measurements of architectures that were chosen by a model of all other "
        "devices; mean and 95 % interval over draws.\n\n" + "\n".join(filter(None, tables))
    )
    write_text(results / "adaptation.md", text)
    print(text)


def _table(benchmark: Benchmark, records: Sequence[Record]) -> str:
    """How well each device of a space is known, and all of them on average."""
    if not records:
        return ""
    rows, means = [], []
    for objective in _latencies(benchmark):
        mine = [record for record in records if record["device"] == objective.name]
        if mine:
            figures = [[record[figure] for record in mine] for figure in FIGURES]
            means.append(np.mean(figures, axis=1))
            rows.append([objective.label, str(len(mine)), *map(mean_interval, figures)])
    rows.append(["mean", "", *(f"{mean:.3f}" for mean in np.mean(means, axis=0))])
    return markdown_table([benchmark.space.name, "draws", "rho", f"within {NEAR:.0%}"], rows)


def _adapted(benchmark: Benchmark, device: str, draw: int, folder: Path) -> Record:
    names = [objective.name for objective in benchmark.objectives]
    latencies = benchmark.values[:, names.index(device)]
    known = _known(benchmark, device, folder)
    chosen = choose(benchmark.space, known, MEASURED, seed=draw)
    rows = np.array([benchmark.row(architecture) for architecture in chosen])
    measured = latencies[rows]
    predictor = adapt(benchmark.space, known, device, chosen, measured, seed=draw, **SHORTER)
    rest = np.setdiff1d(np.arange(len(latencies)), rows)
    inputs = Inputs(benchmark.space, [benchmark.architectures[row] for row in rest])
    predicted = predictor.predict(inputs)[:, 0]
    return {
        "rho": spearman_rho(predicted, latencies[rest]),
        "near": share_within(predicted, latencies[rest], NEAR),
    }


def _known(benchmark: Benchmark, device: str, folder: Path) -> RLM:
    """A model of all devices but one, trained once for all settings of that."""
    if not (folder / "rlm.json").exists():
        others = [
            objective.name
            for objective in _latencies(benchmark)
            if _machine(objective.name) != _machine(device)
        ]
        numbers = [o.name in others for o in benchmark.objectives]
        rows = np.random.default_rng(0).permutation(len(benchmark.architectures))[:KNOWN]
        inputs = Inputs(benchmark.space, [benchmark.architectures[row] for row in rows])
        predictor = RLMPredictor(others, **SHORTER)
        predictor.fit(inputs, benchmark.values[rows][:, numbers])
        predictor.rlm.save(folder)
    return RLM.load(folder)


def _machine(name: str) -> str:
    """A device without its setting: the same card with other batch sizes is no other device."""
    if name.startswith("gpu_"):
        return CARDS[0]
    return next((card for card in CARDS if name.startswith(card)), name)


def _settings_apart(objectives: Sequence[Objective]) -> list[Objective]:
    """Each machine's first setting, then each one's second, and so on.

    What one process trains is there when another one needs it.
    """
    settings: Counter[str] = Counter()
    place = {}
    for objective in objectives:
        machine = _machine(objective.name)
        place[objective.name] = settings[machine]
        settings[machine] += 1
    return sorted(objectives, key=lambda objective: place[objective.name])


def _latencies(benchmark: Benchmark) -> Sequence[Objective]:
    return [objective for objective in benchmark.objectives if is_latency(objective)]


def _benchmark(space: str, folder: str | None) -> Benchmark:
    """With every latency of its table."""
    table = space if space == "nasbench201" else TABLES[space].table
    path = table_path(space, table, data=folder)
    if path is None:
        raise SystemExit(f"the table {table} is missing: name its folder")
    ending = "_latency_ms"
    devices = [name.removesuffix(ending) for name in read_columns(path) if name.endswith(ending)]
    if space == "nasbench201":
        return nasbench201("cifar10_test_acc", devices, folder)
    return tabular(space, None, devices, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=list(SPACES))
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--work", type=Path, default=Path("runs/adaptation"))
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    main(parser.parse_args())
