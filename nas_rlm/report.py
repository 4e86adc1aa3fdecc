"""The report on a run: tables as CSV, figures as JSON, a summary to read, and plots."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr
from tqdm import tqdm

from nas_rlm import pareto
from nas_rlm.benchmarks import Benchmark
from nas_rlm.files import write_csv, write_json, write_text
from nas_rlm.methods import BASELINES, METHODS, Evaluations, make_sampler, search_distinct
from nas_rlm.objectives import Objective
from nas_rlm.runs import Run, RunError

if TYPE_CHECKING:
    from surrogate import RLM

FRONT_ROWS_SHOWN = 15
BASELINE_SEEDS = 5


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says about architectures, beside the truth.

    Attributes:
        rows: Shape (m,), positions in ``benchmark.architectures``.
        predicted: Shape (m, k), in the objectives' own units.
        actual: Shape (m, k).
    """

    rows: NDArray[np.intp]
    predicted: NDArray[np.float64]
    actual: NDArray[np.float64]

    def kendall_tau(self) -> list[float]:
        """Rank correlation of each objective, by pairs."""
        return [
            float(kendalltau(*pair).statistic)
            for pair in zip(self.predicted.T, self.actual.T, strict=True)
        ]

    def spearman_rho(self) -> list[float]:
        """Rank correlation of each objective, by squared differences of ranks."""
        return [
            float(spearmanr(*pair).statistic)
            for pair in zip(self.predicted.T, self.actual.T, strict=True)
        ]


def predict_unseen(
    benchmark: Benchmark, model: RLM, seen: NDArray[np.intp] | Sequence[int]
) -> Predictions:
    """Predict every architecture of the space except those in ``seen``."""
    rows = np.setdiff1d(np.arange(len(benchmark.architectures)), seen)
    texts = [benchmark.space.onnx_text(benchmark.architectures[row]) for row in rows]
    predicted = np.asarray(model.predict(texts))
    return Predictions(rows, predicted, benchmark.values[rows])


def write_report(
    run: Run, model: RLM | None, *, progress: bool = True, baseline_seeds: int | None = None
) -> list[Path]:
    """Write everything that is made from a run's trials and its model.

    Args:
        run: The run.
        model: The RLM trained on all that was evaluated; None leaves predictions out.
        progress: Show a bar over the baselines.
        baseline_seeds: Searches with each other method to compare with; 0 leaves that out,
            None is as many as in the last report, else `BASELINE_SEEDS`.

    Returns:
        The files: the front as CSV first, then the other texts, then the plots.

    Raises:
        RunError: Nothing has been evaluated yet.
        OSError: A file cannot be written.
    """
    # matplotlib takes a second to import, and only a report needs it.
    from nas_rlm import plots

    started = time.monotonic()
    benchmark, found = run.benchmark, run.evaluations()
    if not len(found.rows):
        raise RunError(f"{run.folder}: nothing has been evaluated yet; run the search again")
    predictions = predict_unseen(benchmark, model, found.rows) if model else None
    others = _baselines(run, len(found.rows), baseline_seeds, progress)
    own = pareto.hypervolume_over_time(benchmark, found.values)
    shares = {run.config.method: own[None], **others}
    summary = _summary(run, found, predictions, shares)

    files = [run.folder / name for name in ("front.csv", "trials.csv", "summary.md")]
    _write_front(files[0], benchmark, found)
    _write_trials(files[1], run)
    drawn = plots.save_plots(run.plots_folder, benchmark, found, predictions, shares)
    summary["seconds"]["report"] = round(time.monotonic() - started, 1)
    write_json(run.folder / "summary.json", summary)
    write_text(files[2], format_summary(summary, [p.relative_to(run.folder) for p in drawn]))
    return [*files, run.folder / "summary.json", *drawn]


def front(benchmark: Benchmark, found: Evaluations) -> NDArray[np.intp]:
    """Positions in ``found`` of what nothing else found dominates, highest accuracy first."""
    positions = np.flatnonzero(pareto.non_dominated(found.values, benchmark.directions))
    return positions[np.argsort(-found.values[positions, 0], kind="stable")]


def _write_front(file: Path, benchmark: Benchmark, found: Evaluations) -> None:
    write_csv(
        file,
        ["arch", "evaluation", *(o.column for o in benchmark.objectives)],
        (
            [_notation(benchmark, found.rows[i]), i + 1, *found.values[i].tolist()]
            for i in front(benchmark, found)
        ),
    )


def _write_trials(file: Path, run: Run) -> None:
    space = run.benchmark.space
    write_csv(
        file,
        ["trial", "arch", *(o.column for o in run.benchmark.objectives), "seconds"],
        (
            [
                trial.number,
                space.format(trial.params),
                *trial.values,
                f"{trial.duration.total_seconds():.3f}" if trial.duration else "",
            ]
            for trial in run.finished_trials()
        ),
    )


def _notation(benchmark: Benchmark, row: int) -> str:
    return benchmark.space.format(benchmark.architectures[row])


def _baselines(
    run: Run, budget: int, seeds: int | None, progress: bool
) -> dict[str, NDArray[np.float64]]:
    """Hypervolume shares of each baseline, (seeds, budget), from the last report if it has them.

    All get as many distinct evaluations as the run has. A baseline that ends sooner keeps what
    it reached.
    """
    stored = _stored_summary(run).get("baselines", {})
    if seeds is None:
        seeds = len(stored.get("seeds", range(BASELINE_SEEDS)))
    wanted = {"evaluations": budget, "seeds": list(range(seeds))}
    if {name: stored.get(name) for name in wanted} == wanted:
        return {method: np.array(stored["shares"][method]) for method in stored["shares"]}
    methods = [method for method in BASELINES if method != run.config.method] if seeds else []
    shares: dict[str, NDArray[np.float64]] = {}
    with tqdm(
        total=len(methods) * seeds,
        desc="comparing",
        unit="search",
        dynamic_ncols=True,
        disable=not progress or not methods,
    ) as bar:
        for method in methods:
            curves = []
            for seed in range(seeds):
                bar.set_description(f"comparing with {METHODS[method].title}")
                sampler = make_sampler(method, run.benchmark, budget, seed)
                values = search_distinct(run.benchmark, sampler, budget).values
                curve = pareto.hypervolume_over_time(run.benchmark, values)
                curves.append(np.pad(curve, (0, budget - len(curve)), mode="edge"))
                bar.update()
            shares[method] = np.array(curves)
    return shares


def _stored_summary(run: Run) -> dict[str, Any]:
    """The last report's figures, nothing if there are none for the same data and versions."""
    try:
        summary = json.loads((run.folder / "summary.json").read_text("utf-8"))
        same = all(summary[name] == run.description()[name] for name in ("sha256", "versions"))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return summary if same else {}


def _summary(
    run: Run,
    found: Evaluations,
    predictions: Predictions | None,
    shares: dict[str, NDArray[np.float64]],
) -> dict[str, Any]:
    """All figures of the report, ready for JSON."""
    benchmark = run.benchmark
    description = json.loads(json.dumps(run.description()))
    method = run.config.method
    others = {name: share for name, share in shares.items() if name != method}
    on_front = front(benchmark, found)
    summary = {
        **description,
        "benchmark": benchmark.name,
        "space": {"name": benchmark.space.name, "size": benchmark.space.size},
        "evaluated": len(found.rows),
        "trials": found.trials,
        "front": [
            {
                "arch": _notation(benchmark, found.rows[i]),
                "evaluation": int(i) + 1,
                **dict(
                    zip(
                        (o.name for o in benchmark.objectives),
                        found.values[i].tolist(),
                        strict=True,
                    )
                ),
            }
            for i in on_front
        ],
        "true_front": {
            "size": len(benchmark.true_front),
            "found": int(np.isin(found.rows, benchmark.true_front).sum()),
        },
        "hypervolume_share": _rounded(shares[method][0]),
        "baselines": {
            "evaluations": len(found.rows),
            "seeds": list(range(len(next(iter(others.values()), [])))),
            "shares": {name: _rounded(share) for name, share in others.items()},
        },
        "prediction": None,
        "seconds": {"search": round(run.search_seconds(), 1)},
    }
    if predictions is not None:
        names = [objective.name for objective in benchmark.objectives]
        summary["prediction"] = {
            "labels": len(found.rows),
            "unseen": len(predictions.rows),
            "kendall_tau": dict(zip(names, _rounded(predictions.kendall_tau()), strict=True)),
            "spearman_rho": dict(zip(names, _rounded(predictions.spearman_rho()), strict=True)),
        }
    return summary


def _rounded(numbers: Any) -> Any:
    return np.round(numbers, 5).tolist()


def format_summary(summary: dict[str, Any], plots: Sequence[Path]) -> str:
    """The summary as Markdown.

    Args:
        summary: What ``summary.json`` holds.
        plots: The plots, relative to the summary.
    """
    parts = [
        _head(summary),
        _objectives(summary),
        _front_table(summary),
        _prediction_table(summary),
        _comparison_table(summary),
        _provenance(summary),
        "\n".join(["## Plots", "", *(f"![{plot.stem}]({plot.as_posix()})\n" for plot in plots)]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(summary: dict[str, Any]) -> str:
    config, space = summary["config"], summary["space"]
    final = summary["hypervolume_share"][-1]
    true_front = summary["true_front"]
    return (
        f"# Search on {summary['benchmark']}\n\n"
        f"{METHODS[config['method']].title} evaluated {summary['evaluated']:,} of "
        f"{space['size']:,} architectures of {space['name']} ({len(summary['objectives'])} "
        f"objectives, seed {config['seed']}) in {_duration(summary['seconds']['search'])}. The "
        f"front it found has {len(summary['front'])} architectures and {final:.1%} of the "
        f"hypervolume of the true front; {true_front['found']} of the {true_front['size']} "
        "architectures on the true "
        "front are among those evaluated."
    )


def _objectives(summary: dict[str, Any]) -> str:
    rows = [
        (
            objective["title"],
            objective["unit"],
            objective["direction"],
            objective["source"],
            summary["figures"][objective["name"]],
        )
        for objective in summary["objectives"]
    ]
    table = _table(
        ("Objective", "Unit", "Direction", "Source", "Where the figures come from"), rows
    )
    note = (
        "\n\nA *modelled* latency is a prediction of a fitted model, never a measurement: good "
        "enough to compare methods, not to choose a network to deploy."
    )
    modelled = any(objective["source"] == "modelled" for objective in summary["objectives"])
    return f"## Objectives\n\n{table}{note if modelled else ''}"


def _front_table(summary: dict[str, Any]) -> str:
    objectives = [Objective(**objective) for objective in summary["objectives"]]
    shown = summary["front"][:FRONT_ROWS_SHOWN]
    rows = [
        (
            f"`{entry['arch']}`".replace("|", "\\|"),
            *(f"{entry[objective.name]:.4g}" for objective in objectives),
            str(entry["evaluation"]),
        )
        for entry in shown
    ]
    table = _table(("Architecture", *(o.label for o in objectives), "Evaluation"), rows)
    total = len(summary["front"])
    which = f"The {len(shown)} most accurate of {total}" if total > len(shown) else f"All {total}"
    return f"## Pareto front\n\n{which}; `front.csv` has them all.\n\n{table}"


def _prediction_table(summary: dict[str, Any]) -> str:
    prediction = summary["prediction"]
    if prediction is None:
        return ""
    rows = [
        (
            Objective(**objective).label,
            f"{prediction['kendall_tau'][objective['name']]:.3f}",
            f"{prediction['spearman_rho'][objective['name']]:.3f}",
        )
        for objective in summary["objectives"]
    ]
    table = _table(("Objective", "Kendall's tau", "Spearman's rho"), rows)
    return (
        f"## Prediction\n\nThe RLM, trained on the {prediction['labels']:,} architectures that "
        f"were evaluated, ranks the {prediction['unseen']:,} that were not:\n\n{table}"
    )


def _comparison_table(summary: dict[str, Any]) -> str:
    baselines = summary["baselines"]
    if not baselines["shares"]:
        return ""
    evaluations = summary["evaluated"]
    steps = [step for step in (50, 100, 200, 500) if step < evaluations] + [evaluations]
    own = {summary["config"]["method"]: [summary["hypervolume_share"]]}
    rows = []
    for method, shares in {**own, **baselines["shares"]}.items():
        at_steps = np.array(shares)[:, np.array(steps) - 1]
        rows.append((METHODS[method].title, str(len(shares)), *map(_mean_and_range, at_steps.T)))
    table = _table(("Method", "Seeds", *(f"{step} evaluations" for step in steps)), rows)
    return (
        "## Hypervolume share\n\nOf the true front's hypervolume, after as many distinct "
        f"evaluations; the mean over seeds and, in brackets, the least and the most.\n\n{table}"
    )


def _provenance(summary: dict[str, Any]) -> str:
    checksums = [f"- {name}: sha256 `{value}`" for name, value in summary["sha256"].items()]
    versions = ", ".join(f"{name} {value}" for name, value in summary["versions"].items())
    seconds = ", ".join(f"{name} {_duration(s)}" for name, s in summary["seconds"].items())
    return "\n".join(
        [
            "## Provenance",
            "",
            f"- wall-clock time: {seconds}",
            f"- versions: {versions}",
            *checksums,
        ]
    )


def _mean_and_range(shares: NDArray[np.float64]) -> str:
    if len(shares) == 1:
        return f"{shares[0]:.1%}"
    return f"{shares.mean():.1%} ({shares.min():.1%} to {shares.max():.1%})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
