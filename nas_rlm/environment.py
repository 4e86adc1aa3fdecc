"""What latencies depend on besides the model: the machine, its state and its software."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import onnxruntime
import psutil

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_CPUINFO = Path("/proc/cpuinfo")


def environment(provider: str) -> dict[str, Any]:
    """What a record of measurements says of this machine, ready for JSON; None where unknown.

    Args:
        provider: Of ONNX Runtime; with ``cuda`` the graphics processor is named too.
    """
    described = {
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=False),
        "hardware threads": psutil.cpu_count(),
        "hardware threads allowed": (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        ),
        "frequency governor": _governor(),
        "operating system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }
    if provider == "cuda":
        described["graphics processor"] = _graphics_processor()
    return described


def _processor() -> str | None:
    try:
        lines = _CPUINFO.read_text("utf-8").splitlines()
    except OSError:  # it is Linux's
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if not names and platform.system() == "Darwin":
        names = [_said("sysctl", "-n", "machdep.cpu.brand_string") or ""]
    return next(filter(None, names), None) or platform.processor() or platform.machine() or None


def _governor() -> str | None:
    try:
        return _GOVERNOR.read_text("utf-8").strip()
    except OSError:  # virtual machines have none
        return None


def _graphics_processor() -> str | None:
    return _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def _said(*command: str) -> str | None:
    """The first line that a program prints, None if it is not there or fails."""
    if shutil.which(command[0]) is None:
        return None
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.splitlines()[0] if result.returncode == 0 and result.stdout else None
