"""Latency of one model on this machine, by ONNX Runtime.

A machine's noise has a tail: the median and its interval by order statistics suit it better than
a mean. The interval takes runs to be independent, and knows nothing of a machine that is slower
for minutes: for that see `nas_rlm.campaign`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from scipy import stats

from nas_rlm.energy import EnergyCounter
from nas_rlm.measure_settings import Settings

__all__ = ["MeasureError", "Measurement", "RefusedModelError", "Settings", "measure"]

CONFIDENCE = 0.95
"""Of the interval of the median."""
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_KINDS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}


class MeasureError(ValueError):
    """Nothing can be measured as asked, or not all; what was measured so far is kept."""


class RefusedModelError(MeasureError):
    """ONNX Runtime refuses a model, or it cannot be run with these settings."""


@dataclass(frozen=True)
class Measurement:
    """The latency of a model.

    Attributes:
        median_ms: Over the runs.
        low_ms: Where the 95 % interval of the median begins; NaN with fewer than six runs.
        high_ms: Where it ends.
        spread_ms: Interquartile range of the runs.
        runs: How many were timed.
        reached: Whether the interval is as narrow as was asked for.
        energy_mj: Of one run, by the machine's counter; None without one.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    spread_ms: float
    runs: int
    reached: bool
    energy_mj: float | None = None


def measure(
    model: onnx.ModelProto | Path,
    settings: Settings | None = None,
    *,
    energy: EnergyCounter | None = None,
) -> Measurement:
    """Run a model until its median latency is known well enough, or the time is up.

    Weights should be initializers: see `search_spaces.with_weights` for the networks of a space
    and `search_spaces.export` for a ``torch.nn.Module``.

    Args:
        model: A model or a file. Inputs are random; a first dimension that is open becomes the
            batch size.
        settings: How to measure; None: the defaults.
        energy: The counter to read.

    Raises:
        RefusedModelError: ONNX Runtime refuses it, or an input cannot be made.
        MeasureError: There is no such provider.
    """
    settings = settings or Settings()
    return time_runs(Runner(model, settings), settings, energy=energy)


class Runner:
    """A model in ONNX Runtime with its inputs in place: what a call does is what is timed.

    Raises:
        RefusedModelError: ONNX Runtime refuses it, or an input cannot be made.
        MeasureError: There is no such provider.
    """

    def __init__(self, model: onnx.ModelProto | Path, settings: Settings) -> None:
        name = provider_name(settings.provider)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        options.inter_op_num_threads = 1
        # Constants are folded when the session is made, none of it is left to the runs.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 4
        rng = np.random.default_rng(settings.seed)
        try:
            source = str(model) if isinstance(model, Path) else model.SerializeToString()
            self._session = onnxruntime.InferenceSession(source, options, providers=[name])
            inputs = self._session.get_inputs()
            _check_batch(inputs, settings.batch_size)
            self._binding = self._session.io_binding()
            for item in inputs:
                numbers = _random(rng, item, settings.batch_size)
                value = onnxruntime.OrtValue.ortvalue_from_numpy(numbers, settings.provider, 0)
                self._binding.bind_ortvalue_input(item.name, value)
            for item in self._session.get_outputs():
                self._binding.bind_output(item.name, settings.provider)
            self()
        except MeasureError:
            raise
        except Exception as error:  # ONNX Runtime's have no class in common
            raise RefusedModelError(
                f"ONNX Runtime refuses it: {str(error).strip().splitlines()[0]}"
            ) from error
        if self._session.get_providers()[0] != name:
            raise MeasureError(
                f"ONNX Runtime cannot use {settings.provider} on this machine and fell back to "
                f"{self._session.get_providers()[0]}: are its drivers and libraries installed?"
            )

    def __call__(self) -> None:
        """Run it once."""
        self._session.run_with_iobinding(self._binding)


def provider_name(provider: str) -> str:
    """ONNX Runtime's name of a provider.

    Raises:
        MeasureError: It is not there; the message lists those that are.
    """
    there = onnxruntime.get_available_providers()
    offered = {short: name for short, name in _PROVIDERS.items() if name in there}
    if provider not in offered:
        remedy = "; for cuda install onnxruntime-gpu" if provider == "cuda" else ""
        raise MeasureError(
            f"ONNX Runtime has no provider {provider!r} here; it has {', '.join(offered)}{remedy}"
        )
    return offered[provider]


def time_runs(
    run: Callable[[], object],
    settings: Settings,
    *,
    clock: Callable[[], float] = time.perf_counter,
    energy: EnergyCounter | None = None,
) -> Measurement:
    """Time what is called.

    Args:
        run: What to time.
        settings: When to stop.
        clock: Seconds.
        energy: Read before the first and after the last run that counts.
    """
    begun = clock()
    for _ in range(settings.warm_up):
        run()
        if clock() - begun >= settings.max_seconds:
            break
    seconds: list[float] = []
    due = settings.repeats
    with _garbage_stays():
        counters = None if energy is None else energy.read()
        begun = now = clock()
        while now - begun < settings.max_seconds:
            before = clock()
            run()
            now = clock()
            seconds.append(now - before)
            if len(seconds) >= due and now - begun >= settings.min_seconds:
                if _reached(seconds, settings):
                    break
                due = len(seconds) + len(seconds) // 10 + 1  # sorting takes time too
        joules = None
        if energy is not None and counters is not None:
            joules = energy.joules_since(counters)
    milliseconds = 1000 * np.array(seconds)
    low, high = median_interval(milliseconds)
    first, last = np.quantile(milliseconds, [0.25, 0.75])
    return Measurement(
        median_ms=float(np.median(milliseconds)),
        low_ms=low,
        high_ms=high,
        spread_ms=float(last - first),
        runs=len(seconds),
        reached=_reached(seconds, settings),
        energy_mj=None if joules is None else 1000 * joules / len(seconds),
    )


def median_interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of the median by order statistics; NaN with fewer than six values."""
    # The hypothesis that the test is about does not matter to the interval.
    interval = stats.quantile_test(values, q=0, p=0.5).confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high)


def _reached(seconds: Sequence[float], settings: Settings) -> bool:
    low, high = median_interval(seconds)
    return bool((high - low) / 2 <= settings.half_width * np.median(seconds))


@contextmanager
def _garbage_stays() -> Iterator[None]:
    """A collection in the middle would count as latency."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _check_batch(inputs: Sequence[Any], batch_size: int) -> None:
    fixed = [item.shape[0] for item in inputs[:1] if item.shape and isinstance(item.shape[0], int)]
    if fixed and fixed[0] != batch_size:
        raise RefusedModelError(
            f"its input {inputs[0].name!r} is for a batch of {fixed[0]}, not {batch_size}: export "
            "it for this batch size, or set the batch size to that"
        )


def _random(rng: np.random.Generator, item: Any, batch_size: int) -> NDArray[Any]:
    """Numbers for an input: normal, or 0 and 1 where they are integers."""
    shape = list(item.shape)
    if shape and not isinstance(shape[0], int):
        shape[0] = batch_size
    if strange := [size for size in shape if not isinstance(size, int)]:
        raise RefusedModelError(
            f"the size {strange[0]!r} of its input {item.name!r} is open: export it with a "
            "fixed one"
        )
    if item.type not in _KINDS:
        raise RefusedModelError(
            f"its input {item.name!r} is a {item.type}, not one of {', '.join(_KINDS)}"
        )
    kind = _KINDS[item.type]
    if np.issubdtype(kind, np.floating):
        return rng.standard_normal(shape).astype(kind)
    return rng.integers(0, 2, shape).astype(kind)
