from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
import optunahub

from nas_rlm import nasbench201


class Problem(optunahub.benchmarks.BaseProblem):
    """NAS-Bench-201: accuracy, then one latency for each device.

    Args:
        dataset: ``cifar10``, ``cifar100`` or ``imagenet16-120``, or a column of the table.
        devices: ``pixel3``, ``eyeriss``, ``cpu``, ``gpu``, or others that the table has.
        data: A table of measured latencies; without one they are modelled.
    """

    def __init__(
        self,
        dataset: str = "cifar10",
        devices: Sequence[str] = ("gpu",),
        data: str | None = None,
    ) -> None:
        self.benchmark = nasbench201(dataset, devices, data)

    @property
    def search_space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        return dict(self.benchmark.space.distributions)

    @property
    def directions(self) -> list[optuna.study.StudyDirection]:
        return [optuna.study.StudyDirection[d.upper()] for d in self.benchmark.directions]

    @property
    def metric_names(self) -> list[str]:
        """Of the objectives, each with its unit, and whether a latency is modelled."""
        return [objective.label for objective in self.benchmark.objectives]

    def evaluate(self, params: dict[str, Any]) -> list[float]:
        """Accuracy in percent, then latencies in milliseconds."""
        return list(self.benchmark.evaluate(params))

    def hypervolume_share(self, values: Sequence[Sequence[float]]) -> float:
        """Of what was evaluated, as a share of that of the true front."""
        return self.benchmark.hypervolume_share(values)


__all__ = ["Problem"]
