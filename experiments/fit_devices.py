"""Fit the per-operator latency models in ``nas_rlm/modelled_devices.json``.

Run ``python -m experiments.fit_devices [TABLE]``, where TABLE is ``nasbench201.csv.gz``, or set
``NAS_RLM_DATA`` to it. Only coefficients and errors are written, no row of the table.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

import nas_rlm
from nas_rlm.devices import DEVICES, LatencyModel, charged_operations
from nas_rlm.tables import read_table, table_path
from search_spaces import get_space
from search_spaces.base import Architecture

DEVICE_NAMES = ("pixel3", "eyeriss", "cpu")  # the GPU has published figures
HELD_OUT_SHARE = 0.2
SEED = 0


def fit(
    architectures: list[Architecture], latency_ms: NDArray[np.float64], *, skips_unused: bool
) -> tuple[LatencyModel, float]:
    """Least squares; returns the model and its mean squared error (ms²) on these figures."""
    edges = list(architectures[0])
    operations = sorted({operation for a in architectures for operation in a.values()} - {"none"})
    terms = [(edge, operation) for edge in edges for operation in operations]
    position = {term: column for column, term in enumerate(terms, start=1)}
    design = np.zeros((len(architectures), 1 + len(terms)))
    design[:, 0] = 1
    for row, architecture in enumerate(architectures):
        for term in charged_operations(architecture, skips_unused=skips_unused):
            design[row, position[term]] = 1
    coefficients, *_ = np.linalg.lstsq(design, latency_ms, rcond=None)
    rounded = [round(float(coefficient), 5) for coefficient in coefficients]
    model = LatencyModel(
        intercept_ms=rounded[0],
        cost_ms={
            edge: {operation: rounded[position[edge, operation]] for operation in operations}
            for edge in edges
        },
        minimum_ms=round(float(latency_ms.min()), 5),
        skips_unused=skips_unused,
    )
    return model, float(np.mean((design @ coefficients - latency_ms) ** 2))


def main(path: Path) -> dict[str, Any]:
    """Fit each device and measure its errors on architectures that the fit did not see."""
    table = read_table(
        path, get_space("nasbench201"), [DEVICES[name].column for name in DEVICE_NAMES]
    )
    shuffled = np.random.default_rng(SEED).permutation(len(table.architectures))
    held_out, fitted = np.split(shuffled, [round(HELD_OUT_SHARE * len(shuffled))])
    devices = {}
    for name in DEVICE_NAMES:
        latency_ms = table.column(DEVICES[name].column)
        # Both variants have the same terms, so the fit itself can choose between them.
        candidates = [
            fit([table.architectures[i] for i in fitted], latency_ms[fitted], skips_unused=skips)
            for skips in (False, True)
        ]
        model, _ = min(candidates, key=lambda candidate: candidate[1])
        predicted_ms = model.predict([table.architectures[i] for i in held_out])
        relative_error = np.abs(predicted_ms / latency_ms[held_out] - 1)
        devices[name] = {
            "held_out": {
                "spearman_rho": round(float(spearmanr(predicted_ms, latency_ms[held_out])[0]), 4),
                "median_absolute_percentage_error": round(
                    100 * float(np.median(relative_error)), 2
                ),
            },
            "fitted_to": f"{DEVICES[name].column}, {DEVICES[name].origin}",
            "model": vars(model),
        }
    return {
        "space": "nasbench201",
        "provenance": {
            "script": "experiments/fit_devices.py",
            "data": {"file": table.file, "sha256": table.sha256},
            "rows": {"fitted": len(fitted), "held_out": len(held_out)},
            "seed": SEED,
            "versions": {package: version(package) for package in ("nas-rlm", "numpy", "scipy")},
        },
        "devices": devices,
    }


if __name__ == "__main__":
    source = table_path("nasbench201", data=sys.argv[1] if len(sys.argv) > 1 else None)
    if source is None:
        sys.exit(f"{__doc__}\nno table given")
    result = main(source)
    target = Path(nas_rlm.__path__[0]) / "modelled_devices.json"
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for device_name, entry in result["devices"].items():
        print(device_name, entry["held_out"], "skips unused:", entry["model"]["skips_unused"])
