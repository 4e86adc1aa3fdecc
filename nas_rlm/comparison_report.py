"""The report on a comparison: every cell as CSV, tables to read, and curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nas_rlm.cells import LEVELS, MOST_SAMPLED, SAMPLES, TOP, Record, is_latency, key
from nas_rlm.comparison_plots import Curve, save_curves
from nas_rlm.files import write_csv, write_text
from nas_rlm.grids import Cell
from nas_rlm.markdown import markdown_table, marked_intervals
from nas_rlm.metrics import mean_and_half_width
from nas_rlm.objectives import Objective
from nas_rlm.predictors import PREDICTORS

Records = Mapping[Cell, Record]
_LEGEND = (
    "Mean and 95 % interval (Student's t) over seeds, each an own random choice of the labels; "
    "all other architectures are the test. For each number of labels the best mean is **bold**, "
    "and † marks every other whose interval overlaps the best one's."
)


class Metric(NamedTuple):
    """A column of a table, or the height of a curve."""

    title: str
    figure: Callable[[Record], float | None]
    best: Callable[[Iterable[float]], float] | None = None
    """`max` or `min`; None marks no best."""
    digits: int = 3
    median: bool = False
    """Show the median, without an interval, instead of the mean."""


def write_report(
    folder: Path,
    objectives: Sequence[Objective],
    description: Mapping[str, Any],
    records: Records,
    failures: Mapping[Cell, str],
) -> list[Path]:
    """Write everything that is made from the records.

    Args:
        folder: Where it goes.
        objectives: What was predicted.
        description: Sources, checksums and versions, see `comparison_records.describe`.
        records: The figures of cells, in the order of the tables.
        failures: What went wrong with the others.

    Returns:
        The files: ``summary.md``, ``comparison.csv``, plots.
    """
    table, summary = folder / "comparison.csv", folder / "summary.md"
    _write_table(table, records)
    plots = _save_plots(folder / "plots", objectives, records)
    parts = [
        _head(description),
        _failures(failures),
        _objectives(objectives, description),
        _ranking(objectives, records),
        _harder(objectives, records),
        uncertainty(objectives, records),
        _provenance(description, records),
        _plots([plot.relative_to(folder) for plot in plots]),
    ]
    write_text(summary, "\n".join(part for part in parts if part))
    return [summary, table, *plots]


def accuracy_metric(objectives: Sequence[Objective]) -> Metric:
    """Kendall's tau of the first objective."""
    return Metric(f"tau, {label(objectives[0])}", recorded("tau", key(objectives[0])), max)


def latency_metric(objectives: Sequence[Objective]) -> Metric | None:
    """Spearman's rho, the mean over the latencies if there are some."""
    names = [key(objective) for objective in objectives if is_latency(objective)]
    if not names:
        return None
    which = "latency" if len(names) == 1 else f"mean of {len(names)} latencies"
    modelled = [objective.modelled for objective in objectives if is_latency(objective)]
    note = ", modelled" if all(modelled) else ", some modelled" if any(modelled) else ""

    def mean(record: Record) -> float | None:
        figures = [record["rho"][name] for name in names]
        return None if None in figures else float(np.mean(figures))

    return Metric(f"rho, {which}{note}", mean, max)


def label(objective: Objective) -> str:
    """For readers; a column of a user's table may have no unit."""
    return objective.label if objective.unit else objective.title or objective.name


def comparison_table(records: Records, metrics: Sequence[Metric]) -> str:
    """A Markdown table with a row for each number of labels and predictor.

    Args:
        records: The figures of cells, in the order of the rows.
        metrics: The columns.
    """
    groups = _groups(records)
    columns = [_marked(groups, metric) for metric in metrics]
    rows = [
        [PREDICTORS[predictor].title, f"{labels:,}", str(len(group)), *cells]
        for ((labels, predictor), group), *cells in zip(groups.items(), *columns, strict=True)
    ]
    header = ["predictor", "labels", "seeds", *(metric.title for metric in metrics)]
    return markdown_table(header, rows)


def budget_table(
    records: Records, metric: Metric, further: Mapping[str, Mapping[int, str]] | None = None
) -> str:
    """A Markdown table with a row for each predictor and a column for each number of labels.

    Args:
        records: The figures of cells, in the order of the rows.
        metric: What the cells show.
        further: More rows, title to what stands at some numbers of labels.
    """
    groups = _groups(records)
    cells = dict(zip(groups, _marked(groups, metric), strict=True))
    budgets = sorted({labels for labels, _ in groups})
    rows: dict[str, Mapping[int, str]] = {
        PREDICTORS[predictor].title: {
            n: cells[n, predictor] for n in budgets if (n, predictor) in cells
        }
        for predictor in dict.fromkeys(predictor for _, predictor in groups)
    }
    body = [
        [title, *(row.get(labels, "") for labels in budgets)]
        for title, row in {**rows, **(further or {})}.items()
    ]
    return markdown_table([metric.title, *(f"{labels:,}" for labels in budgets)], body)


def _groups(records: Records) -> dict[tuple[int, str], list[Record]]:
    """The records of each number of labels and predictor."""
    groups: dict[tuple[int, str], list[Record]] = {}
    for cell, record in records.items():
        groups.setdefault((cell.labels, cell.predictor), []).append(record)
    return groups


def _marked(groups: Mapping[tuple[int, str], list[Record]], metric: Metric) -> list[str]:
    """A column's cells, marked as `_LEGEND` says."""
    figures = {place: _known(group, metric) for place, group in groups.items()}
    texts: dict[tuple[int, str], str] = {}
    for budget in {labels for labels, _ in groups}:
        rivals = [place for place in groups if place[0] == budget and figures[place]]
        known = [figures[place] for place in rivals]
        if metric.median:
            cells = [f"{np.median(some):.{metric.digits}f}" for some in known]
        else:
            cells = marked_intervals(known, metric.best, metric.digits)
        texts.update(zip(rivals, cells, strict=True))
    return [texts.get(place, "undefined") for place in groups]


def _known(group: Sequence[Record], metric: Metric) -> list[float]:
    return [figure for record in group if (figure := metric.figure(record)) is not None]


def recorded(*path: str) -> Callable[[Record], float | None]:
    """What finds a figure in a record, metric first and then objective."""

    def find(record: Record) -> float | None:
        figure: Any = record
        for name in path:
            figure = figure[name]
        return None if figure is None else float(figure)

    return find


def _write_table(file: Path, records: Records) -> None:
    flat = [{**cell._asdict(), **dict(_flat(record))} for cell, record in records.items()]
    header = list(dict.fromkeys(name for row in flat for name in row))
    write_csv(file, header, ([row.get(name) for name in header] for row in flat))


def _flat(record: Record) -> Iterator[tuple[str, Any]]:
    for name, figure in record.items():
        if isinstance(figure, dict):
            yield from ((f"{name}_{objective}", value) for objective, value in figure.items())
        else:
            yield name, figure


def _save_plots(folder: Path, objectives: Sequence[Objective], records: Records) -> list[Path]:
    accuracy, latencies = accuracy_metric(objectives), latency_metric(objectives)
    plots = [("tau", r"Kendall's $\tau$", label(objectives[0]), accuracy)]
    if latencies is not None:
        subject = latencies.title.removeprefix("rho, ").capitalize()
        plots.append(("rho", r"Spearman's $\rho$", subject, latencies))
    files = []
    for name, symbol, subject, metric in plots:
        if curves := _curves(records, metric):
            files += save_curves(folder, name, curves, symbol, subject)
    return files


def _curves(records: Records, metric: Metric) -> dict[str, Curve]:
    points: dict[str, list[tuple[int, float, float]]] = {}
    for (labels, predictor), group in _groups(records).items():
        if figures := _known(group, metric):
            point = labels, *mean_and_half_width(figures)
            points.setdefault(predictor, []).append(point)
    return {name: Curve(*map(np.array, zip(*own, strict=True))) for name, own in points.items()}


def _head(description: Mapping[str, Any]) -> str:
    config = description["config"]
    return (
        f"# Predictors compared on {config['data']}\n\n"
        f"{config['rows']:,} architectures of {config['space']}. {_LEGEND}\n"
    )


def _failures(failures: Mapping[Cell, str]) -> str:
    if not failures:
        return ""
    lines = [f"- {cell}: {error}" for cell, error in failures.items()]
    return "\n".join(["## What failed", "", "Nothing of it is in the tables.", "", *lines, ""])


def _objectives(objectives: Sequence[Objective], description: Mapping[str, Any]) -> str:
    rows = [
        (label(o), o.direction, o.source, description["figures"].get(o.name, ""))
        for o in objectives
    ]
    table = markdown_table(
        ("objective", "direction", "source", "where the figures come from"), rows
    )
    note = "\nA *modelled* latency is a prediction of a fitted model, never a measurement.\n"
    modelled = any(objective.modelled for objective in objectives)
    return f"## Objectives\n\n{table}{note if modelled else ''}"


def _ranking(objectives: Sequence[Objective], records: Records) -> str:
    first, others = objectives[0], objectives[1:]
    metrics = [accuracy_metric(objectives)]
    metrics += [Metric(f"rho, {label(o)}", recorded("rho", key(o)), max) for o in others]
    latencies = latency_metric(objectives)
    if latencies and sum(map(is_latency, objectives)) > 1:
        metrics.append(latencies)
    metrics += [
        Metric(f"regret, {label(first)}", recorded("regret", key(first)), min),
        Metric("training (s)", recorded("training_seconds"), digits=1),
        # Not the mean: the first time in a process, a predictor may read texts to remember.
        Metric("prediction (s)", recorded("prediction_seconds"), digits=1, median=True),
    ]
    return (
        f"## Ranking\n\n{comparison_table(records, metrics)}\n"
        "tau: Kendall's tau-b; rho: Spearman's rho. Regret: what is lost by measuring only the "
        f"{TOP} test architectures that look best: the best of all less the best of them. "
        "Seconds are those of one thread; prediction is of the whole test set, "
        "the median.\n"
    )


def _harder(objectives: Sequence[Objective], records: Records) -> str:
    metrics = [
        Metric("tau in the top tenth", recorded("tau_top_tenth"), max),
        Metric("tau without twins", recorded("tau_without_twins"), max),
    ]
    metrics += [
        Metric(f"within 10 %, {label(o)}", recorded("within_tenth", key(o)), max)
        for o in objectives
        if is_latency(o)
    ]
    return (
        f"## Harder questions\n\n{comparison_table(records, metrics)}\n"
        f"tau of {label(objectives[0])} among the truly best tenth of the test architectures, "
        "and among those that no architecture trained on is an algebraic twin of (the same "
        "function, written otherwise). Within 10 %: the share of predictions that are at most a "
        "tenth of the truth off.\n"
    )


def uncertainty(objectives: Sequence[Objective], records: Records) -> str:
    """Tables of how good samples are, empty where a record lacks it."""
    if not all("crps" in record for record in records.values()) or not records:
        return ""
    parts = [
        "## Uncertainty",
        f"By {SAMPLES} samples for each of at most {MOST_SAMPLED:,} test architectures. CRPS "
        "(continuous ranked probability score) in the objective's unit and NLL (negative "
        "log-likelihood, nats) are losses. Coverage: how many truths are inside the central "
        "interval of that probability. Width: of the 80 % interval, in standard deviations of "
        "the labels; narrow is good only if the coverage is right.",
    ]
    for objective in objectives:
        name = key(objective)
        metrics = [
            Metric("CRPS", recorded("crps", name), min, 4),
            Metric("NLL", recorded("nll", name), min),
            *(
                Metric(
                    f"coverage {100 * level:.0f} %", recorded(f"coverage_{100 * level:.0f}", name)
                )
                for level in LEVELS
            ),
            Metric("width", recorded("sharpness", name)),
        ]
        parts += [f"### {label(objective)}", comparison_table(records, metrics).rstrip("\n")]
    if all("energy_score" in record for record in records.values()):
        metrics = [
            Metric("energy score", recorded("energy_score"), min, 4),
            Metric("the same, independent", recorded("energy_score_independent"), digits=4),
            Metric("variogram score", recorded("variogram_score"), min, 4),
            Metric("the same, independent", recorded("variogram_score_independent"), digits=4),
        ]
        parts += [
            "### Objectives together",
            comparison_table(records, metrics).rstrip("\n"),
            "Losses on standardised objectives. *Independent*: the same samples, with those of "
            "each objective put in an order of their own. Samples that know how the objectives "
            "depend on one another are better as they are.",
        ]
    return "\n\n".join(parts) + "\n"


def _provenance(description: Mapping[str, Any], records: Records) -> str:
    seeds = sorted({cell.seed for cell in records})
    versions = ", ".join(f"{name} {v}" for name, v in description["versions"].items())
    checksums = [f"- {name}: sha256 `{v}`" for name, v in description["sha256"].items()]
    return "\n".join(
        [
            "## Provenance",
            "",
            f"- seeds: {', '.join(map(str, seeds))}",
            f"- versions: {versions}",
            *checksums,
            "",
        ]
    )


def _plots(plots: Sequence[Path]) -> str:
    shown = [f"![{p.stem} over labels]({p.as_posix()})\n" for p in plots if p.suffix == ".png"]
    return "\n".join(["## Plots", "", *shown]) if shown else ""
