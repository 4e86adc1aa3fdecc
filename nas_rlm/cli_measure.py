"""``nas-rlm measure``: its options, what it runs and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nas_rlm.cli_arguments import Commands, add_command, add_quiet, add_space
from nas_rlm.measure_settings import Settings

if TYPE_CHECKING:
    from nas_rlm.campaign import Campaign, Candidate

_DEFAULTS = Settings()


def add_commands(commands: Commands) -> None:
    """Add what is in this file to the command line."""
    command = add_command(
        commands,
        "measure",
        "measure latencies on this machine",
        "Measure latencies on this machine with ONNX Runtime: of architectures of a space, given\n"
        "or drawn, or of ONNX files. What comes of it is a table for `nas-rlm compare` and\n"
        "`nas-rlm train`. A measurement that was stopped goes on where it was when the same\n"
        "command is given again; a larger --count adds to it.",
        "nas-rlm measure --count 200 --device laptop --out laptop.csv",
    )
    command.set_defaults(run=_run, resumable=True)
    add_quiet(command)
    add_space(command)
    command.add_argument(
        "architectures", nargs="*", metavar="ARCH", help="in the space's notation, quoted"
    )
    command.add_argument(
        "--onnx", nargs="+", type=Path, metavar="FILE", help="ONNX files instead of architectures"
    )
    command.add_argument(
        "--table", type=Path, metavar="CSV", help="architectures in the column arch of a table"
    )
    command.add_argument(
        "--count", type=int, metavar="N", help="architectures of the space to draw"
    )
    command.add_argument(
        "--seed", type=int, default=_DEFAULTS.seed, help="of that, the order, inputs and weights"
    )
    command.add_argument(
        "--device", required=True, metavar="NAME", help="what to call this machine in the table"
    )
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="CSV",
        help="the table; the machine and the settings go into a .json beside it",
    )
    group = command.add_argument_group("measurement")
    group.add_argument(
        "--provider", default=_DEFAULTS.provider, help="of ONNX Runtime: cpu, or cuda if it has it"
    )
    group.add_argument(
        "--threads", type=int, default=_DEFAULTS.threads, metavar="N", help="threads to run in"
    )
    group.add_argument(
        "--batch-size", type=int, default=_DEFAULTS.batch_size, metavar="N", help="images at once"
    )
    group.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="height and width in pixels (default: the benchmark's)",
    )
    group.add_argument(
        "--warm-up",
        type=int,
        default=_DEFAULTS.warm_up,
        metavar="N",
        help="runs before those that count",
    )
    group.add_argument(
        "--repeats",
        type=int,
        default=_DEFAULTS.repeats,
        metavar="N",
        help="runs at least, time permitting",
    )
    group.add_argument(
        "--half-width",
        type=float,
        default=_DEFAULTS.half_width,
        metavar="SHARE",
        help="of the 95 %% interval of the median at which to stop, relative to the median",
    )
    group.add_argument(
        "--min-seconds",
        type=float,
        default=_DEFAULTS.min_seconds,
        metavar="S",
        help="to repeat at least",
    )
    group.add_argument(
        "--max-seconds",
        type=float,
        default=_DEFAULTS.max_seconds,
        metavar="S",
        help="to repeat at most",
    )
    group.add_argument(
        "--reference-every",
        type=int,
        default=_DEFAULTS.reference_every,
        metavar="N",
        help="architectures between two measurements of a reference model",
    )
    group.add_argument(
        "--drift",
        type=float,
        default=_DEFAULTS.drift,
        metavar="SHARE",
        help="of the reference model's latency that is tolerated",
    )
    group.add_argument(
        "--patience",
        type=float,
        default=_DEFAULTS.patience_seconds,
        dest="patience_seconds",
        metavar="S",
        help="to wait at most while it drifts by more; 0 only marks the rows",
    )


def _run(arguments: argparse.Namespace) -> None:
    """Measure, and say what came of it."""
    from nas_rlm.campaign import measure_all
    from nas_rlm.measure import MeasureError

    settings = Settings(
        **{name: getattr(arguments, name) for name in Settings.__dataclass_fields__}
    )
    campaign = measure_all(
        _candidates(arguments, settings),
        arguments.out,
        arguments.device,
        settings,
        models="models" if arguments.onnx else arguments.space,
        progress=not arguments.quiet,
    )
    if campaign.rows:
        print(_summary(arguments, settings, campaign))
    if campaign.failures:
        name, failure = next(iter(campaign.failures.items()))
        raise MeasureError(
            f"{len(campaign.failures)} of {len(campaign.failures) + len(campaign.rows)} could not "
            f"be measured, the first was {name}: {failure}"
        )


def _candidates(arguments: argparse.Namespace, settings: Settings) -> Mapping[str, Candidate]:
    from nas_rlm.campaign import of_files, of_space, sample_distinct
    from nas_rlm.tables import read_table
    from search_spaces import get_space

    ways = arguments.architectures, arguments.count, arguments.table, arguments.onnx
    if sum(map(bool, ways)) != 1:
        raise ValueError(
            "name the architectures to measure, or pass one of --count, --table and --onnx"
        )
    if arguments.onnx:
        if arguments.image_size is not None:
            raise ValueError(
                "--image-size is for architectures: an ONNX file has a size of its own"
            )
        return of_files(arguments.onnx)
    space = get_space(arguments.space)
    if arguments.count:
        return of_space(space, sample_distinct(space, arguments.count, arguments.seed), settings)
    if arguments.table:
        table = read_table(arguments.table, space, [], complete=False)
        return of_space(space, table.architectures, settings)
    return of_space(space, map(space.parse, arguments.architectures), settings)


def _summary(arguments: argparse.Namespace, settings: Settings, campaign: Campaign) -> str:
    import numpy as np

    latencies = [row.measurement.median_ms for row in campaign.rows]
    reached = sum(row.measurement.reached for row in campaign.rows)
    drifted = sum(not row.reference.tolerated for row in campaign.rows)
    drifts = [row.reference.drift for row in campaign.rows]
    lines = [
        f"{arguments.out}: {len(latencies):,} measured on {arguments.device}, "
        f"{min(latencies):.3g} to {max(latencies):.3g} ms, median {np.median(latencies):.3g} ms",
        f"  {reached:,} are known to ±{settings.half_width:.1%}",
        f"  the reference model drifted by {min(drifts):+.1%} to {max(drifts):+.1%}; "
        f"{drifted:,} are marked as drifted by more than {settings.drift:.1%}",
    ]
    if campaign.no_energy is not None:
        lines.append(f"  no energy: {campaign.no_energy}")
    return "\n".join(lines)
