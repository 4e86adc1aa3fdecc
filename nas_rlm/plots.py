"""Figures of a search: Pareto fronts, predictions beside the truth, hypervolume over time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import moocore
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from nas_rlm.benchmarks import Benchmark
from nas_rlm.files import write_bytes
from nas_rlm.methods import METHODS, Evaluations
from nas_rlm.pareto import non_dominated

if TYPE_CHECKING:
    from nas_rlm.report import Predictions

ORDER_COLOURS = "viridis"
_BACKGROUND = "#CCCCCC"
_FIRST_FEW = 10
_MOST_BANDS = 5
_DASHES = (0, (4, 2))
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "savefig.dpi": 200,
}
"""Of every figure."""


def save_plots(
    folder: Path,
    benchmark: Benchmark,
    found: Evaluations,
    predictions: Predictions | None,
    shares: Mapping[str, NDArray[np.float64]],
) -> list[Path]:
    """Draw and save every figure as PNG, the overview of the fronts first.

    Args:
        folder: Where they go.
        benchmark: What was searched.
        found: What was evaluated.
        predictions: Of unseen architectures; None leaves that figure out.
        shares: Method name to hypervolume shares over evaluations, shape (seeds, m); the first
            is the method that searched.

    Returns:
        The files.
    """
    method = next(iter(shares))
    with matplotlib.rc_context(STYLE):
        figures = {"fronts": fronts_figure(benchmark, found, method=method)}
        if predictions is not None:
            figures["predictions"] = predictions_figure(benchmark, predictions)
        figures["hypervolume"] = hypervolume_figure(shares)
        latencies = list(enumerate(benchmark.objectives))[1:]
        # A single one is on the overview already.
        for k, objective in latencies if len(latencies) > 1 else []:
            name = objective.name.removesuffix("_latency_ms")
            figures[f"front-{name}"] = fronts_figure(benchmark, found, [k], method=method)
        return [save_figure(figure, folder / f"{name}.png") for name, figure in figures.items()]


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, when it is complete."""
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_bytes(path, image.getvalue())
    return path


def fronts_figure(
    benchmark: Benchmark,
    found: Evaluations,
    latencies: list[int] | None = None,
    *,
    method: str = "rlm",
) -> Figure:
    """One panel for each pair of the accuracy and a latency.

    Args:
        benchmark: What was searched.
        found: What was evaluated.
        latencies: Positions of the latencies among the objectives; None: all.
        method: Which method searched; gives the front its colour.
    """
    chosen = latencies or list(range(1, len(benchmark.objectives)))
    figure, panels = _panels(len(chosen), width=3.6, height=3.0)
    for axes, k in zip(panels, chosen, strict=True):
        draw_front(axes, benchmark, found, k, METHODS[method].colour)
    for axes in panels:
        if not axes.get_subplotspec().is_first_col():
            axes.set_ylabel("")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=2 if len(chosen) == 1 else 4,
        markerscale=1.5,
    )
    order = ScalarMappable(Normalize(1, len(found.rows)), ORDER_COLOURS)
    figure.colorbar(order, ax=list(panels), label="Evaluation", fraction=0.04, pad=0.02)
    return figure


def draw_front(axes: Axes, benchmark: Benchmark, found: Evaluations, k: int, colour: str) -> None:
    """Accuracy over the k-th objective: the space, what was evaluated, and both fronts."""
    pair = [0, k]
    everything, evaluated = benchmark.values[:, pair], found.values[:, pair]
    axes.plot(
        everything[:, 1],
        everything[:, 0],
        ".",
        color=_BACKGROUND,
        markersize=2.2,
        markeredgewidth=0,
        label="All architectures",
    )
    axes.scatter(
        evaluated[:, 1],
        evaluated[:, 0],
        c=np.arange(1, len(evaluated) + 1),
        cmap=ORDER_COLOURS,
        s=12,
        linewidths=0.3,
        edgecolors="white",
        zorder=5,
        label="Evaluated",
    )
    # The least accurate and the slowest few would squeeze the rest.
    accuracy_limits = _limits(everything[:, 0], 0.15, 1)
    latency_limits = _limits(everything[:, 1], 0, 0.999)
    directions = [benchmark.directions[i] for i in pair]
    found_style = {"color": colour, "linewidth": 1.4, "label": "Front found"}
    true_style = {"color": "black", "linewidth": 0.8, "linestyle": _DASHES, "label": "True front"}
    styles: list[tuple[NDArray[np.float64], dict[str, Any]]] = [
        (evaluated, found_style),
        (everything, true_style),
    ]
    for points, style in styles:
        steps = points[non_dominated(points, directions)]
        steps = steps[np.argsort(steps[:, 1])]
        # The best accuracy within a latency: it holds until the next step, and to the edge.
        x = np.append(steps[:, 1], latency_limits[1])
        axes.step(x, np.append(steps[:, 0], steps[-1, 0]), where="post", zorder=4, **style)
    axes.set(
        xlim=latency_limits,
        ylim=accuracy_limits,
        xlabel=benchmark.objectives[k].label,
        ylabel=benchmark.objectives[0].label,
    )


def _limits(values: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """Limits of an axis from one quantile to another, with a margin."""
    least, most = np.quantile(values, [low, high])
    margin = 0.04 * (most - least)
    return float(least - margin), float(most + margin)


def predictions_figure(benchmark: Benchmark, predictions: Predictions) -> Figure:
    """One panel for each objective: predicted over actual, for architectures not trained on."""
    figure, panels = _panels(len(benchmark.objectives), width=2.7, height=2.6)
    scores = zip(predictions.kendall_tau(), predictions.spearman_rho(), strict=True)
    for k, (axes, objective, (tau, rho)) in enumerate(
        zip(panels, benchmark.objectives, scores, strict=True)
    ):
        actual, predicted = predictions.actual[:, k], predictions.predicted[:, k]
        limits = _limits(actual, 0.05, 1) if k == 0 else _limits(actual, 0, 0.999)
        axes.hexbin(
            actual,
            predicted,
            gridsize=45,
            extent=(*limits, *limits),
            bins="log",
            cmap="Blues",
            mincnt=1,
            linewidths=0.1,
        )
        axes.axline(
            (limits[0], limits[0]), slope=1, color="black", linewidth=0.8, linestyle=_DASHES
        )
        axes.set(
            xlim=limits,
            ylim=limits,
            aspect="equal",
            xlabel=objective.label,
            ylabel="Predicted",
            title=rf"$\tau$ = {tau:.3f}, $\rho$ = {rho:.3f}",
        )
    return figure


def hypervolume_figure(shares: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Share of the true hypervolume over evaluations: the mean, and a band from least to most.

    With many methods there are no bands, which would hide one another.
    """
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for zorder, (method, curves) in zip(_first_on_top(shares), shares.items(), strict=True):
        steps = np.arange(1, curves.shape[1] + 1)
        seeds = f" ({len(curves)} seeds)" if len(curves) > 1 else ""
        title, colour = METHODS[method].title, METHODS[method].colour
        axes.plot(steps, curves.mean(axis=0), color=colour, label=title + seeds, zorder=zorder)
        if len(curves) > 1 and len(shares) <= _MOST_BANDS:
            band = curves.min(axis=0), curves.max(axis=0)
            axes.fill_between(steps, *band, color=colour, alpha=0.15, linewidth=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    axes.set(
        xlim=(1, max(curves.shape[1] for curves in shares.values())),
        ylim=(_floor(shares), 1),
        xlabel="Distinct architectures evaluated",
        ylabel="Share of the true hypervolume",
    )
    axes.legend(loc="lower right")
    return figure


def attainment_figure(
    benchmark: Benchmark, evaluated: Mapping[str, Sequence[NDArray[np.float64]]]
) -> Figure:
    """The front that half of a method's searches attain, accuracy over the first latency.

    Args:
        benchmark: What was searched, two objectives.
        evaluated: Method to the values, (n, 2), that each of its searches evaluated.
    """
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    latency_limits = _limits(benchmark.values[:, 1], 0, 0.999)
    everything = benchmark.values[benchmark.true_front] * [-1, 1]
    curves: dict[str, tuple[NDArray[np.float64], dict[str, Any]]]
    curves = {"True front": (everything, {"color": "black", "linestyle": _DASHES, "zorder": 6})}
    for zorder, (method, runs) in zip(_first_on_top(evaluated), evaluated.items(), strict=True):
        points = np.vstack([values * [-1, 1] for values in runs])
        runs_of_points = np.repeat(np.arange(len(runs)), [len(values) for values in runs])
        title, colour = METHODS[method].title, METHODS[method].colour
        median = moocore.eaf(points, runs_of_points, percentiles=[50])[:, :2]
        curves[title] = median, {"color": colour, "linewidth": 1.2, "zorder": zorder}
    for title, (losses, style) in curves.items():
        losses = losses[np.argsort(losses[:, 1])]
        x = np.append(losses[:, 1], latency_limits[1])
        axes.step(x, -np.append(losses[:, 0], losses[-1, 0]), where="post", label=title, **style)
    best = benchmark.values[:, 0].max()
    axes.set(
        xlim=latency_limits,
        ylim=(best - 6, best + 0.3),
        xlabel=benchmark.objectives[1].label,
        ylabel=benchmark.objectives[0].label,
        title="Attained by half of the searches",
    )
    axes.legend(loc="lower right")
    return figure


def _first_on_top(methods: Sized) -> NDArray[np.float64]:
    """A zorder for each: the first is drawn over those that it is compared with."""
    return np.linspace(4, 3, len(methods))


def _floor(shares: Mapping[str, NDArray[np.float64]]) -> float:
    """Where the axis begins: a tenth below all but the first few evaluations."""
    least = min(float(curves[:, : _FIRST_FEW + 1][:, -1].min()) for curves in shares.values())
    return float(np.floor(10 * least) / 10)


def _panels(count: int, *, width: float, height: float) -> tuple[Figure, NDArray]:
    """A figure with ``count`` panels, at most three in a row."""
    columns = count if count <= 3 else 2 if count == 4 else 3
    rows = -(-count // columns)
    figure = Figure(figsize=(columns * width + 0.6, rows * height + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for empty in grid[count:]:
        empty.set_axis_off()
    return figure, grid[:count]
