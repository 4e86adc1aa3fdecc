"""Figures of a comparison: how good each predictor is with how many labels."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from nas_rlm.files import write_bytes
from nas_rlm.plots import STYLE
from nas_rlm.predictors import PREDICTORS

# Neighbours on the axis are this share of a doubling apart, so that their bars can be told apart.
_STEP = 0.035


class Curve(NamedTuple):
    """One predictor's figures, each array of shape (budgets,)."""

    labels: NDArray[np.intp]
    mean: NDArray[np.float64]
    half_width: NDArray[np.float64]
    """Of the interval around the mean; NaN where there is none."""


def save_curves(
    folder: Path, name: str, curves: Mapping[str, Curve], metric: str, subject: str
) -> list[Path]:
    """Draw a figure and save it, for the screen as PNG and for print as PDF.

    Args:
        folder: Where it goes.
        name: Of the files, without suffix.
        curves: Predictor name to curve.
        metric: What the figures are.
        subject: Of what, such as an objective.

    Returns:
        The files, the PNG first.
    """
    paths = []
    with matplotlib.rc_context(STYLE):
        figure = curves_figure(curves, metric, subject)
        for suffix in ("png", "pdf"):
            image = io.BytesIO()
            # The same figures make the same file: no date in it.
            metadata = {"CreationDate": None} if suffix == "pdf" else None
            figure.savefig(image, format=suffix, metadata=metadata)
            paths.append(folder / f"{name}.{suffix}")
            write_bytes(paths[-1], image.getvalue())
    return paths


def curves_figure(curves: Mapping[str, Curve], metric: str, subject: str) -> Figure:
    """Figures over the number of labels, with intervals; the legend has the best on top.

    Args:
        curves: Predictor name to curve.
        metric: What the figures are.
        subject: Of what, such as an objective.
    """
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    # By what they reach with most labels, as they lie above each other at the right edge.
    order = sorted(curves, key=lambda name: -curves[name].mean[-1])
    for position, name in enumerate(order):
        curve, entry = curves[name], PREDICTORS[name]
        shift = 2.0 ** (_STEP * (position - (len(order) - 1) / 2))
        axes.errorbar(
            curve.labels * shift,
            curve.mean,
            yerr=np.nan_to_num(curve.half_width),
            color=entry.colour,
            label=entry.title,
            marker="o",
            markersize=3.5,
            linewidth=1.4,
            elinewidth=0.8,
            capsize=1.5,
            capthick=0.8,
        )
    budgets = sorted({int(labels) for curve in curves.values() for labels in curve.labels})
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(budgets))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda labels, _: f"{labels:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    axes.set(
        xlim=(budgets[0] * 2**-0.3, budgets[-1] * 2**0.3),
        ylim=_limits(list(curves.values())),
        xlabel="Architectures measured to train on",
        ylabel=metric,
    )
    axes.set_title(textwrap.fill(subject, 60), loc="left")
    figure.legend(loc="outside right upper")
    return figure


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Limits that show all means, and as much of the intervals as does not squeeze them.

    There are no correlations above 1, and two seeds can give an interval many times wider than
    all that the means tell apart.
    """
    mean = np.concatenate([curve.mean for curve in curves])
    half_width = np.nan_to_num(np.concatenate([curve.half_width for curve in curves]))
    most = max(np.ptp(mean), 0.05) / 2
    low = max((mean - half_width).min(), mean.min() - most)
    high = min((mean + half_width).max(), mean.max() + most, 1.0)
    margin = 0.04 * (high - low) or 0.05
    return float(low - margin), float(high + margin)
