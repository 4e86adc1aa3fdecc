"""Latencies measured here twice: do they agree with each other, and with those of a table?

Run ``python -m experiments.measured --run 1`` on a machine that does nothing else, and ``--run 2``
an hour later or more. ``NAS_RLM_DATA`` names the table with the latencies of a Xeon Gold 6226.
Each goes on where it was when it was stopped. Writes ``measured.json`` and ``measured.md`` in
``experiments/results``; the latencies themselves stay in ``runs/measured``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from experiments.records import RESULTS, Record, provenance
from nas_rlm.campaign import measure_all, of_space, sample_distinct
from nas_rlm.files import write_json, write_text
from nas_rlm.markdown import markdown_table
from nas_rlm.measure import Settings
from nas_rlm.measured_file import Row, record_path
from nas_rlm.metrics import share_within, spearman_rho
from nas_rlm.tables import read_table, table_path
from search_spaces import get_space

SPACE = get_space("nasbench201")
GOLD = "gold_6226_latency_ms"
COUNT = 200
SEED = 0
LEAST_HOURS = 1.0
UNFINISHED = Path("runs") / "measured"


def main(
    run: int,
    count: int = COUNT,
    settings: Settings | None = None,
    *,
    results: Path = RESULTS,
    unfinished: Path = UNFINISHED,
    least_hours: float = LEAST_HOURS,
) -> Record:
    """Measure, and report on what has been measured so far.

    Args:
        run: 1 or 2.
        count: Architectures.
        settings: How to measure; None: the defaults.
        results: Folder of the report.
        unfinished: Folder of the latencies.
        least_hours: Between the end of the first run and the beginning of the second.

    Returns:
        What ``measured.json`` says.

    Raises:
        ValueError: There is no table, the second run comes too early, or runs differ.
    """
    settings = settings or Settings()
    path = table_path("nasbench201")
    if path is None:
        raise ValueError("NAS_RLM_DATA must name the table with the latencies to compare with")
    table = read_table(path, SPACE, [GOLD])
    gold = dict(zip(map(SPACE.format, table.architectures), table.column(GOLD), strict=True))
    architectures = sample_distinct(SPACE, count, SEED)
    rows: dict[int, list[Row]] = {}
    files = {number: unfinished / f"run-{number}.csv" for number in (1, 2)}
    if run == 2 and not files[2].exists():
        _check_time(files[1], least_hours)
    # What an earlier run has finished is read and not measured again.
    for number in range(1, run + 1):
        rows[number] = measure_all(
            of_space(SPACE, architectures, settings),
            files[number],
            "this_machine",
            settings,
            models=SPACE.name,
        ).rows
    about = {
        **provenance(
            "python -m experiments.measured --run 1; python -m experiments.measured --run 2",
            {"table": {"file": table.file, "sha256": table.sha256}},
        ),
        "settings": asdict(settings),
        "environment": json.loads(record_path(files[run]).read_text())["environment"],
        "architectures": {"space": SPACE.name, "count": count, "seed": SEED},
    }
    records = [_of_one(number, found, gold) for number, found in rows.items()]
    if run == 2:
        records.append(_of_both(rows[1], rows[2]))
    content = {"about": about, "records": records}
    write_json(results / "measured.json", content)
    write_text(results / "measured.md", _report(content))
    return content


def _check_time(first: Path, least_hours: float) -> None:
    if not first.exists():
        raise ValueError("run 1 comes first")
    ended = first.stat().st_mtime
    hours = (datetime.now(UTC).timestamp() - ended) / 3600
    if hours < least_hours:
        raise ValueError(f"run 1 ended {60 * hours:.0f} minutes ago: wait for {least_hours} hours")


def _of_one(run: int, rows: Sequence[Row], gold: dict[str, float]) -> Record:
    latencies = _latencies(rows)
    widths = [(r.measurement.high_ms - r.measurement.low_ms) / 2 for r in rows]
    return {
        "run": run,
        "architectures": len(rows),
        "began": min(row.time for row in rows),
        "ended": max(row.time for row in rows),
        "median_ms": float(np.median(latencies)),
        "median_half_width": float(np.nanmedian(widths / latencies)),
        "narrow_enough": sum(row.measurement.reached for row in rows),
        "drifted": sum(not row.reference.tolerated for row in rows),
        "largest_drift": max((row.reference.drift for row in rows), key=abs),
        "rho_gold_6226": spearman_rho(latencies, np.array([gold[row.arch] for row in rows])),
    }


def _of_both(first: Sequence[Row], second: Sequence[Row]) -> Record:
    one, two = _latencies(first), _latencies(second)
    pairs = zip(first, second, strict=True)
    steady = np.array([a.reference.tolerated and b.reference.tolerated for a, b in pairs])
    began, ended = (
        datetime.fromisoformat(time)
        for time in (max(r.time for r in first), min(r.time for r in second))
    )
    return {
        "run": "1 and 2",
        "architectures": len(first),
        "hours_apart": (ended - began).total_seconds() / 3600,
        "rho": spearman_rho(one, two),
        "within_10_percent": share_within(two, one),
        "steady": int(steady.sum()),
        "rho_steady": spearman_rho(one[steady], two[steady]),
        "median_ratio": float(np.median(two / one)),
    }


def _latencies(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row.measurement.median_ms for row in rows])


def _report(content: Record) -> str:
    about, records = content["about"], content["records"]
    machine, count = about["environment"], about["architectures"]["count"]
    text = (
        f"{count} architectures of NAS-Bench-201, batch {about['settings']['batch_size']}, "
        f"{about['settings']['threads']} thread, ONNX Runtime {machine['onnxruntime']} on "
        f"{machine['processor']}. rho with the Xeon Gold 6226 is that with the latencies which "
        "HELP measured.\n\n"
    )
    text += markdown_table(
        ["run", "median (ms)", "known to", "drifted", "largest drift", "rho with Gold 6226"],
        (
            [
                str(r["run"]),
                f"{r['median_ms']:.2f}",
                f"± {r['median_half_width']:.1%}",
                str(r["drifted"]),
                f"{r['largest_drift']:+.1%}",
                f"{r['rho_gold_6226']:.3f}",
            ]
            for r in records[:2]
        ),
    )
    for r in records[2:]:
        text += (
            f"\nBetween the runs, {r['hours_apart']:.1f} hours apart: rho {r['rho']:.3f}, "
            f"{r['within_10_percent']:.1%} of latencies within 10 %, median ratio "
            f"{r['median_ratio']:.3f}; rho {r['rho_steady']:.3f} of the {r['steady']} "
            "architectures in whose measurements the machine was steady both times.\n"
        )
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=int, choices=(1, 2), required=True)
    parser.add_argument("--count", type=int, default=COUNT, help="fewer to try it")
    parser.add_argument("--scratch", type=Path, help="a folder for all files, to try it")
    chosen = parser.parse_args()
    folders = {"results": chosen.scratch, "unfinished": chosen.scratch} if chosen.scratch else {}
    try:
        print(_report(main(chosen.run, chosen.count, **folders)))
    except ValueError as error:
        sys.exit(str(error))
