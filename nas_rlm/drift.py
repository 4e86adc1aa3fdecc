"""A guard against machines that grow slower or faster while one measures on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from nas_rlm.measure_settings import Settings

_STEADY_TRIES = 5

_T = TypeVar("_T")


@dataclass(frozen=True)
class Reading:
    """The reference model's latency at some time.

    Attributes:
        latency_ms: As measured.
        drift: How far that is from what it was at first, relative to that.
        tolerated: Whether that is little enough.
    """

    latency_ms: float
    drift: float
    tolerated: bool


class Reference:
    """A model that is measured now and then, to see what the machine is up to.

    Args:
        latency_ms: Measures it.
        settings: What is tolerated, and how long to wait.
        first_ms: Its latency when the measurements began; None: they begin now.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        latency_ms: Callable[[], float],
        settings: Settings,
        first_ms: float | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._latency_ms = latency_ms
        self._settings = settings
        self._sleep = sleep
        self.first_ms = self._steady() if first_ms is None else first_ms
        self.last = self.read()

    def read(self) -> Reading:
        """Measure it now."""
        latency_ms = self._latency_ms()
        drift = latency_ms / self.first_ms - 1
        self.last = Reading(latency_ms, drift, abs(drift) <= self._settings.drift)
        return self.last

    def bracket(self, work: Callable[[], _T]) -> tuple[_T, Reading]:
        """Do some work between two readings; once more if the machine drifted meanwhile.

        Returns:
            What the work returned, and that of the two readings which is farther off. It is not
            tolerable if the machine did not come back in time, or drifted again.
        """
        before = self._settled()
        result, after = work(), self.read()
        if before.tolerated and not after.tolerated and self._settled().tolerated:
            before = self.last
            result, after = work(), self.read()
        return result, max(before, after, key=lambda reading: abs(reading.drift))

    def _settled(self) -> Reading:
        """The last reading, or another after waiting."""
        waited, pause = 0.0, 1.0
        while not self.last.tolerated and waited < self._settings.patience_seconds:
            pause = min(pause, self._settings.patience_seconds - waited)
            self._sleep(pause)
            waited += pause
            pause *= 2
            self.read()
        return self.last

    def _steady(self) -> float:
        """The latency once two in a row agree: a cold machine may be faster at first."""
        latencies = [self._latency_ms()]
        for _ in range(_STEADY_TRIES):
            latencies.append(self._latency_ms())
            if abs(latencies[-1] / latencies[-2] - 1) <= self._settings.drift:
                return float(np.mean(latencies[-2:]))
        return float(np.median(latencies))
