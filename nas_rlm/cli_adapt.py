"""``nas-rlm adapt``: its options, what it runs and what it says."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nas_rlm.cli_arguments import Commands, add_command, add_model, add_quiet, add_space

if TYPE_CHECKING:
    from search_spaces.base import SearchSpace
    from surrogate import RLM


def add_commands(commands: Commands) -> None:
    """Add what is in this file to the command line."""
    command = add_command(
        commands,
        "adapt",
        "learn a new device from ten measurements",
        "Learn the latencies of a new device from a few measurements and a model of devices that\n"
        "are known. Where there are no measurements yet, the architectures are chosen that tell\n"
        "most of all others, and written into the table to be filled in.",
        "nas-rlm train --devices pixel3,eyeriss,cpu,gpu --labels 900 --out known\n"
        "  nas-rlm adapt known phone.csv --out phone",
    )
    command.set_defaults(run=_run)
    add_quiet(command)
    add_space(command)
    add_model(command)
    command.add_argument(
        "model", type=Path, metavar="MODEL", help="of devices that are known, see `nas-rlm train`"
    )
    command.add_argument(
        "table",
        type=Path,
        metavar="CSV",
        help="what was measured; where there is no such file yet, what to measure goes there",
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the device's model goes"
    )
    command.add_argument(
        "--device",
        metavar="NAME",
        help="of the column NAME_latency_ms (default: the table's name without its ending)",
    )
    command.add_argument(
        "--count", type=int, default=10, metavar="N", help="architectures to choose"
    )
    command.add_argument("--seed", type=int, default=0, help="of every random choice")


def _run(arguments: argparse.Namespace) -> None:
    """Say what to measure, or learn from what was measured."""
    from search_spaces import get_space
    from surrogate import RLM

    space = get_space(arguments.space)
    known = RLM.load(arguments.model)
    device = arguments.device or arguments.table.stem
    column = f"{device}_latency_ms"
    if arguments.table.exists():
        _adapt(arguments, space, known, column)
    else:
        _choose(arguments, space, known, column)


def _choose(arguments: argparse.Namespace, space: SearchSpace, known: RLM, column: str) -> None:
    from nas_rlm.adaptation import choose
    from nas_rlm.files import write_csv

    chosen = choose(space, known, arguments.count, seed=arguments.seed)
    write_csv(arguments.table, ["arch", column], [[space.format(a), ""] for a in chosen])
    print(
        f"{arguments.table}: the {len(chosen)} architectures of {space.name} that tell most of "
        f"the others\nMeasure them, write their latencies (ms) into the column {column}, and give "
        "the same command again; or have\nthem measured on this machine: nas-rlm measure "
        f"--table {arguments.table} --device ... --out ..."
    )


def _adapt(arguments: argparse.Namespace, space: SearchSpace, known: RLM, column: str) -> None:
    import numpy as np

    from nas_rlm.adaptation import adapt
    from nas_rlm.files import check_model_folder
    from nas_rlm.methods import rlm_options
    from nas_rlm.tables import read_table

    check_model_folder(arguments.out)
    table = read_table(arguments.table, space, [column], complete=False, missing=True)
    measured = np.flatnonzero(~np.isnan(table.values[:, 0]))
    predictor = adapt(
        space,
        known,
        column,
        [table.architectures[row] for row in measured],
        table.values[measured, 0],
        seed=arguments.seed,
        progress=not arguments.quiet,
        **rlm_options(arguments.members, arguments.training_steps),
    )
    predictor.rlm.save(arguments.out)
    print(
        f"{arguments.out}: {column} from {len(measured)} measurements\n"
        f"nas-rlm predict {arguments.out} --all --out predictions.csv has it for every "
        "architecture, with standard deviations"
    )
