"""Fit the models of devices in ``nas_rlm/modelled_devices.json``, and check them on FBNet.

Run ``python -m experiments.fit_devices FOLDER``, or set ``NAS_RLM_DATA`` to it; it holds
``nasbench201.csv.gz`` and ``fbnet_latency.csv.gz``. Only coefficients, errors and what the
networks amount to are written, no row of the tables. It takes some minutes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls
from scipy.stats import spearmanr

import nas_rlm
from nas_rlm.config import DATA_VARIABLE
from nas_rlm.files import write_bytes
from nas_rlm.latency_models import (
    ARITHMETIC,
    HOST,
    TABLE,
    LatencyModel,
    format_table,
    model_amounts,
)
from nas_rlm.tables import Table, read_columns, read_table
from search_spaces import FBNet, NASBench201, SearchSpace

HELD_OUT_SHARE = 0.2
SEED = 0
TABLES: dict[str, tuple[SearchSpace, str, str]] = {
    "nasbench201": (NASBench201(), "nasbench201.csv.gz", "arch"),
    "fbnet": (FBNet(images="cifar100"), "fbnet_latency.csv.gz", "op_indices"),
}
"""Name to the space, its file, and what holds the architectures."""
Numbers = NDArray[np.float64]


class Column(NamedTuple):
    """A column of the table, whose figures it holds, and how its device runs networks.

    Columns of one device have the same coefficients, and differ in the batch alone: so launches,
    which take as long for one image as for many, are told from the arithmetic.
    """

    name: str
    origin: str
    overlaps: bool
    fuses: bool
    batch_size: int = 1


_MEASURED = "measured by HW-NAS-Bench (Li et al. 2021)"
_SIMULATED = "simulated, not run on hardware, by HW-NAS-Bench (Li et al. 2021)"
_HELP = "measured by HELP (Lee et al. 2021)"
DEVICES = (
    # PyTorch launches kernel after kernel: of graphics cards while others run.
    *(
        [Column(f"{name}_{n}_latency_ms", _HELP, True, False, n) for n in (1, 32, 256)]
        for name in ("1080ti", "2080ti", "titanx")
    ),
    *(
        [Column(f"{name}_latency_ms", _HELP, False, False)]
        for name in ("gold_6226", "silver_4114", "silver_4210r")
    ),
    *(
        [Column(f"{name}_latency_ms", _HELP, False, True)]
        for name in ("samsung_a50", "essential_ph_1")
    ),
    [Column("pixel3_latency_ms", _MEASURED, False, True)],
    [Column("edgegpu_latency_ms", _MEASURED, False, True)],
    [Column("edgegpu_energy_mj", _MEASURED, False, True)],
    [Column("eyeriss_latency_ms", _SIMULATED, False, True)],
    [Column("eyeriss_energy_mj", _SIMULATED, False, True)],
)
"""The columns of each device."""


def fit(columns: Sequence[Column], work: Numbers, measured: Numbers) -> list[LatencyModel]:
    """The models with the least squared relative error, one for each column.

    Networks whose output does not depend on the image are left out: some devices run nothing.

    Args:
        columns: The k columns of one device.
        work: What `amounts` gives, shape (n, ...).
        measured: Shape (n, k).
    """
    connected = work[:, 1, :, 0].sum(axis=1) > 0
    fits = [_fit(columns, work[connected], measured[connected], skips) for skips in (False, True)]
    return min(fits, key=lambda fitted: fitted[1])[0]


def _fit(
    columns: Sequence[Column], work: Numbers, measured: Numbers, skips_unused: bool
) -> tuple[list[LatencyModel], float]:
    """The models, and their mean squared relative error."""
    unfitted = [
        LatencyModel(
            0, 0, 0, 0, 0, 0, column.batch_size, column.overlaps, column.fuses, skips_unused
        )
        for column in columns
    ]
    terms = [np.hstack(model.terms(work)) for model in unfitted]
    scale = np.max([part.max(axis=0) for part in terms], axis=0)
    scale[scale == 0] = 1
    # Relative to what was measured, so that all of them aim at one.
    parts = [
        np.split(part / scale / values[:, None], [len(HOST)], axis=1)
        for part, values in zip(terms, measured.T, strict=True)
    ]

    def residuals(coefficients: Numbers) -> Numbers:
        overlap = np.maximum if columns[0].overlaps else np.add
        host, arithmetic = np.split(coefficients, [len(HOST)])
        return np.concatenate([overlap(h @ host, a @ arithmetic) - 1 for h, a in parts])

    if columns[0].overlaps:
        # A small batch waits for the host, and a large one for the arithmetic.
        start = np.concatenate([_nnls(parts[0][0]), _nnls(parts[-1][1])])
        solution = least_squares(residuals, start, bounds=(0, np.inf)).x
    else:
        # With one batch size bytes cannot be told from kernels, which do better elsewhere.
        solution = np.append(_nnls(np.hstack(parts[0])[:, :-1]), 0)
    rounded = [round(coefficient, 8) for coefficient in (solution / scale).tolist()]
    named: dict[str, Any] = dict(zip((*HOST, *ARITHMETIC), rounded, strict=True))
    error = float(np.mean(residuals(solution) ** 2))
    return [replace(model, **named) for model in unfitted], error


def _nnls(design: Numbers) -> Numbers:
    return nnls(design, np.ones(len(design)))[0]


def errors(predicted: Numbers, measured: Numbers) -> dict[str, float]:
    return {
        "spearman_rho": round(float(spearmanr(predicted, measured)[0]), 4),
        "median_absolute_percentage_error": round(
            100 * float(np.median(np.abs(predicted / measured - 1))), 2
        ),
    }


class Measured(NamedTuple):
    """A table, what its networks amount to, and its rows, fitted and held out."""

    table: Table
    work: Numbers
    fitted: NDArray[np.intp]
    held_out: NDArray[np.intp]

    def values(self, columns: Sequence[Column]) -> Numbers:
        return np.column_stack([self.table.column(column.name) for column in columns])

    def fit(self, columns: Sequence[Column]) -> list[LatencyModel]:
        return fit(columns, self.work[self.fitted], self.values(columns)[self.fitted])


def read(folder: Path, space_name: str) -> Table:
    """Those of the columns that the table of a space has."""
    space, file, notation = TABLES[space_name]
    available = read_columns(folder / file)
    names = [column.name for columns in DEVICES for column in columns]
    return read_table(
        folder / file,
        space,
        [name for name in names if name in available],
        architecture_columns=[notation],
        complete=space_name == "nasbench201",
    )


def split(table: Table, work: Numbers) -> Measured:
    """Hold some rows of a table out."""
    shuffled = np.random.default_rng(SEED).permutation(len(work))
    held_out, fitted = np.split(shuffled, [round(HELD_OUT_SHARE * len(work))])
    return Measured(table, work, fitted, held_out)


def main(nasbench201: Measured, fbnet: Measured) -> dict[str, Any]:
    """Fit each device, and measure its errors on networks that the fit did not see."""
    devices = {}
    for columns in DEVICES:
        measured = nasbench201.values(columns)
        for i, (column, model) in enumerate(zip(columns, nasbench201.fit(columns), strict=True)):
            predicted = model.of_amounts(nasbench201.work[nasbench201.held_out])
            devices[column.name] = {
                "held_out": errors(predicted, measured[nasbench201.held_out, i]),
                "fitted_to": f"{column.name}, {column.origin}",
                "model": vars(model),
            }
            if column.name in fbnet.table.columns:
                devices[column.name]["fbnet"] = errors(
                    model.of_amounts(fbnet.work), fbnet.table.column(column.name)
                )
    return {
        "space": "nasbench201",
        "provenance": {
            "script": "experiments/fit_devices.py",
            "data": {
                "file": nasbench201.table.file,
                "sha256": nasbench201.table.sha256,
            },
            "checked_on": {"file": fbnet.table.file, "sha256": fbnet.table.sha256},
            "rows": {
                "fitted": len(nasbench201.fitted),
                "held_out": len(nasbench201.held_out),
                "checked_on": len(fbnet.work),
            },
            "seed": SEED,
            "versions": {package: version(package) for package in ("nas-rlm", "numpy", "scipy")},
        },
        "devices": devices,
    }


def ridge(source: Measured, column: Column, work: Numbers) -> Numbers:
    """Predictions of a linear model of all amounts, for reference."""
    train = source.work.reshape(len(source.work), -1)[source.fitted]
    scale = np.where(train.std(axis=0) > 0, train.std(axis=0), np.inf)
    design = (train - train.mean(axis=0)) / scale
    values = source.table.column(column.name)[source.fitted]
    inner = design.T @ design + np.eye(design.shape[1])
    weights = np.linalg.solve(inner, design.T @ (values - values.mean()))
    return (work.reshape(len(work), -1) - train.mean(axis=0)) / scale @ weights + values.mean()


def comparison(nasbench201: Measured, fbnet: Measured) -> Iterator[str]:
    """Lines of a table: fitted to one space and applied to either, and the same of a ridge."""
    yield "| column | fitted to | held out | the other space | ridge, held out | the other |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for device in DEVICES:
        for source, other in ((nasbench201, fbnet), (fbnet, nasbench201)):
            columns = [column for column in device if column.name in source.table.columns]
            for column, model in zip(columns, source.fit(columns) if columns else [], strict=True):
                cells = []
                for predict in (model.of_amounts, partial(ridge, source, column)):
                    rows = source.held_out
                    measured = source.table.column(column.name)[rows]
                    cells.append(_cell(errors(predict(source.work[rows]), measured)))
                    shared = column.name in other.table.columns
                    cells.append(
                        _cell(errors(predict(other.work), other.table.column(column.name)))
                        if shared
                        else ""
                    )
                yield f"| {column.name} | {source.table.file} | {' | '.join(cells)} |"


def _cell(figures: dict[str, float]) -> str:
    return f"{figures['spearman_rho']:.3f}, {figures['median_absolute_percentage_error']:.1f} %"


if __name__ == "__main__":
    data = sys.argv[1] if len(sys.argv) > 1 else os.environ.get(DATA_VARIABLE)
    if data is None:
        sys.exit(f"{__doc__}\nno folder given")
    spaces = []
    for space_name, (space, *_) in TABLES.items():
        figures = read(Path(data), space_name)
        # Anew, also where `nas_rlm.latency_models.amounts` would read the table made here.
        networks = [model_amounts(space.onnx_model(a)) for a in figures.architectures]
        spaces.append(split(figures, np.array(networks)))
    first, second = spaces
    package = Path(nas_rlm.__path__[0])
    write_bytes(package / TABLE, format_table(first.work))
    fitted_devices = json.dumps(main(first, second), indent=1) + "\n"
    write_bytes(package / "modelled_devices.json", fitted_devices.encode())
    print(*comparison(first, second), sep="\n")
