"""One cell of a comparison: a predictor trained on some labels and judged on all the others."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas_rlm import metrics
from nas_rlm.grids import Cell
from nas_rlm.objectives import Objective
from nas_rlm.predictors import Inputs, Predictor, get_predictor
from nas_rlm.tables import Table
from search_spaces.base import Architecture, SearchSpace

SAMPLES = 64
"""Samples of each architecture that uncertainty is judged by."""
MOST_SAMPLED = 2000
"""Test architectures that uncertainty is judged by."""
LEVELS = (0.5, 0.8, 0.95)
"""Of the central intervals."""
TOP = 10
"""How many of the most promising architectures the regret lets one measure."""

Record = dict[str, Any]


class Labelled(Protocol):
    """Architectures with labels: a `Benchmark`, or `Measurements`."""

    @property
    def name(self) -> str:
        """For readers."""

    @property
    def space(self) -> SearchSpace:
        """The search space."""

    @property
    def objectives(self) -> Sequence[Objective]:
        """The k objectives, accuracy first."""

    @property
    def architectures(self) -> Sequence[Architecture]:
        """n architectures."""

    @property
    def values(self) -> NDArray[np.float64]:
        """Their labels, (n, k), NaN where one is missing."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """``figures``, ``sha256`` and ``versions``, see `Benchmark`."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """Some architectures with labels, such as a user's table; attributes as in `Labelled`."""

    name: str
    space: SearchSpace
    objectives: Sequence[Objective]
    architectures: Sequence[Architecture]
    values: NDArray[np.float64]
    provenance: Mapping[str, Any]

    @classmethod
    def from_table(
        cls, table: Table, space: SearchSpace, minimize: Collection[str] | None = None
    ) -> Measurements:
        """The rows of a table that have a figure.

        Args:
            table: Columns are the objectives, accuracy first.
            space: Its architectures' search space.
            minimize: Columns of which less is better; None: all but the first, and the first too
                if it is called a latency. Those that end in ``_ms`` are in milliseconds.

        Raises:
            ValueError: ``minimize`` names no such column, or no row has a figure.
        """
        if minimize is None:
            minimize = [name for name in table.columns[:1] if "latency" in name.lower()]
            minimize += table.columns[1:]
        if strange := [name for name in minimize if name not in table.columns]:
            raise ValueError(
                f"{strange[0]!r} is to be minimised but is not an objective; those are "
                f"{', '.join(table.columns)}"
            )
        known = np.flatnonzero(~np.isnan(table.values).all(axis=1))
        if not len(known):
            raise ValueError(f"{table.file}: no row has a figure of {', '.join(table.columns)}")
        return cls(
            name=table.file,
            space=space,
            objectives=tuple(
                Objective(
                    name,
                    "minimize" if name in minimize else "maximize",
                    "ms" if name.endswith("_ms") else "",
                    "measured",
                )
                for name in table.columns
            ),
            architectures=[table.architectures[row] for row in known],
            values=table.values[known],
            provenance={
                "figures": dict.fromkeys(table.columns, table.file),
                "sha256": {table.file: table.sha256},
                "versions": {},
            },
        )


def key(objective: Objective) -> str:
    """An objective's name in records, which says so if it is modelled."""
    return f"{objective.name}_modelled" if objective.modelled else objective.name


def is_latency(objective: Objective) -> bool:
    """Whether relative errors mean something: a time, which has a true zero."""
    return objective.unit == "ms"


class Bench:
    """Measures cells.

    Args:
        data: What to train and test on.
        uncertainty: Judge the predictors' samples too.
    """

    def __init__(self, data: Labelled, uncertainty: bool) -> None:
        self.data = data
        self.uncertainty = uncertainty
        self.inputs = Inputs(data.space, data.architectures)
        # Written now rather than for the first predictor, whose time would pay for all of them.
        self.inputs.texts  # noqa: B018

    @cached_property
    def _functions(self) -> NDArray[np.str_]:
        return np.array([self.data.space.key(a) for a in self.data.architectures])

    def measure(self, cell: Cell) -> Record:
        """Train, predict, and compare with the labels that the predictor never saw.

        Returns:
            Metric name to figure, or to objective and figure; None where it is not defined.

        Raises:
            Exception: Whatever the predictor raises.
            ValueError: It predicted something other than finite numbers.
        """
        order = np.random.default_rng(cell.seed).permutation(len(self.inputs))
        train, test = order[: cell.labels], order[cell.labels :]
        names = [objective.name for objective in self.data.objectives]
        predictor = get_predictor(cell.predictor, names, seed=cell.seed)
        training, testing = self.inputs[train], self.inputs[test]

        start = time.perf_counter()
        predictor.fit(training, self.data.values[train])
        trained = time.perf_counter()
        predicted = np.asarray(predictor.predict(testing))
        end = time.perf_counter()
        actual = self.data.values[test]
        _check(predicted, actual.shape)

        twins = np.isin(self._functions[test], self._functions[train])
        figures = _scores(predicted, actual, self.data.objectives, twins)
        if self.uncertainty:
            # They are in random order, so the first of them are as good as any.
            some = np.arange(min(len(test), MOST_SAMPLED))
            figures |= _sample_scores(
                predictor, testing[some], actual[some], self.data.objectives, cell.seed
            )
        seconds = {"training_seconds": trained - start, "prediction_seconds": end - trained}
        return {"test_rows": len(test), **seconds, **_without_nan(figures)}


def _check(predicted: NDArray[np.float64], shape: tuple[int, ...]) -> None:
    if predicted.shape != shape:
        raise ValueError(f"predicted an array of shape {predicted.shape} instead of {shape}")
    if not np.isfinite(predicted).all():
        raise ValueError("predicted something that is not a finite number")


def _scores(
    predicted: NDArray[np.float64],
    actual: NDArray[np.float64],
    objectives: Sequence[Objective],
    twins: NDArray[np.bool_],
) -> Record:
    """Metrics of expected numbers; ``predicted`` and ``actual`` have shape (n, k)."""
    figures: Record = {"tau": {}, "rho": {}, "regret": {}, "within_tenth": {}}
    for k, objective in enumerate(objectives):
        known = ~np.isnan(actual[:, k])
        pair = predicted[known, k], actual[known, k]
        name = key(objective)
        figures["tau"][name] = metrics.kendall_tau(*pair)
        figures["rho"][name] = metrics.spearman_rho(*pair)
        figures["regret"][name] = metrics.top_regret(*pair, objective.direction, TOP)
        if is_latency(objective):
            figures["within_tenth"][name] = metrics.share_within(*pair)
        if k == 0:
            alone = ~twins[known]
            figures["tau_top_tenth"] = metrics.top_tau(*pair, objective.direction)
            figures["tau_without_twins"] = metrics.kendall_tau(*(side[alone] for side in pair))
    return figures


def _sample_scores(
    predictor: Predictor,
    inputs: Inputs,
    actual: NDArray[np.float64],
    objectives: Sequence[Objective],
    seed: int,
) -> Record:
    """Metrics of samples; ``actual`` has shape (n, k)."""
    start = time.perf_counter()
    samples = np.asarray(predictor.sample(inputs, SAMPLES, seed=seed))
    figures: Record = {"sampling_seconds": time.perf_counter() - start}
    _check(samples, (len(actual), SAMPLES, len(objectives)))
    for k, objective in enumerate(objectives):
        known = ~np.isnan(actual[:, k])
        pair = samples[known, :, k], actual[known, k]
        deviation = pair[1].std()
        if not deviation > 0:
            raise ValueError(f"too few test labels of {objective.name} to judge samples by")
        marginal = {
            "crps": metrics.crps(*pair),
            "nll": metrics.negative_log_likelihood(*pair),
            **{f"coverage_{level:.0%}"[:-1]: metrics.coverage(*pair, level) for level in LEVELS},
            "sharpness": metrics.sharpness(pair[0], deviation),
        }
        for metric, figure in marginal.items():
            figures.setdefault(metric, {})[key(objective)] = figure
    if len(objectives) > 1 and not np.isnan(actual).any(axis=1).all():
        figures |= _joint_scores(samples, actual, seed)
    return figures


def _joint_scores(samples: NDArray[np.float64], actual: NDArray[np.float64], seed: int) -> Record:
    """Scores of the samples as they are, and with the dependence of objectives taken out."""
    center, deviation = np.nanmean(actual, axis=0), np.nanstd(actual, axis=0)
    complete = ~np.isnan(actual).any(axis=1)
    samples = (samples[complete] - center) / deviation
    actual = (actual[complete] - center) / deviation
    alone = metrics.independent(samples, seed)
    return {
        "energy_score": metrics.energy_score(samples, actual),
        "energy_score_independent": metrics.energy_score(alone, actual),
        "variogram_score": metrics.variogram_score(samples, actual),
        "variogram_score_independent": metrics.variogram_score(alone, actual),
    }


def _without_nan(figures: Record) -> Record:
    """The same with None for NaN, which JSON does not have."""
    return {
        name: _without_nan(figure)
        if isinstance(figure, dict)
        else None
        if np.isnan(figure)
        else float(figure)
        for name, figure in figures.items()
    }
