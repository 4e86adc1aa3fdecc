"""What a search is asked to do, and how tables are called.

Imports nothing heavy, so that ``--help`` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass

DATA_VARIABLE = "NAS_RLM_DATA"
"""Environment variable that names the table of measurements, or the folder it lies in."""
IMPORTED = ".npz"
"""How the names of imported tables end, see `nas_rlm.columnar`."""

_LEAST = {
    "budget": 4,  # the RLM trains on four labels or more
    "seed": 0,
    "n_startup_trials": 4,
    "retrain_every": 1,
    "members": 1,
    "training_steps": 1,
}


@dataclass(frozen=True)
class SearchConfig:
    """What to search and how.

    Attributes:
        benchmark: A key of `nas_rlm.benchmarks.BENCHMARKS`.
        dataset: The accuracy to maximise, see the benchmark; None: its own choice.
        devices: The devices whose latencies to minimise; None: the benchmark's own choice.
        data: A table of measurements, or the folder it lies in; None: ``NAS_RLM_DATA``, if set.
        budget: Distinct architectures to evaluate.
        seed: Seeds every random choice.
        method: A key of `nas_rlm.methods.METHODS`.
        n_startup_trials: Random architectures before the RLM proposes any.
        retrain_every: Evaluations between two trainings of the RLM, or a tenth of those before.
        members: Models in the RLM's ensemble; None: the RLM's default.
        training_steps: Optimiser steps of each training; None: the RLM's default.
        warm_start: Folder of a model of another dataset or other devices to learn from; or None.
    """

    benchmark: str = "nasbench201"
    dataset: str | None = None
    devices: tuple[str, ...] | None = None
    data: str | None = None
    budget: int = 200
    seed: int = 0
    method: str = "rlm"
    n_startup_trials: int = 6
    retrain_every: int = 3
    members: int | None = None
    training_steps: int | None = None
    warm_start: str | None = None

    def __post_init__(self) -> None:
        """Refuse figures that make no sense.

        Raises:
            ValueError: A figure is too small.
        """
        if self.devices is not None:
            object.__setattr__(self, "devices", tuple(self.devices))
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
