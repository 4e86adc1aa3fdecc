"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from nas_rlm.config import SearchConfig

if TYPE_CHECKING:
    from nas_rlm.benchmarks import Benchmark
    from nas_rlm.tables import Table
    from search_spaces.base import SearchSpace

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
DEFAULTS = SearchConfig()


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps examples as they are, and shows defaults where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if isinstance(action.default, tuple):
            return f"{text} (default: {','.join(action.default)})"
        shown = type(action.default) in (int, float, str) and action.default != argparse.SUPPRESS
        return f"{text} (default: %(default)s)" if shown else text


def add_command(
    commands: Commands,
    name: str,
    summary: str,
    details: str,
    example: str,
) -> argparse.ArgumentParser:
    """A new subcommand, with an example of its use."""
    command = commands.add_parser(
        name,
        help=summary,
        description=details,
        epilog=f"example:\n  {example}",
        formatter_class=Formatter,
    )
    command.set_defaults(resumable=False)
    return command


def add_quiet(command: argparse.ArgumentParser) -> None:
    """Add ``--quiet``."""
    command.add_argument("--quiet", action="store_true", help="show no progress")


def add_columns(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what says how to read a ``TABLE``."""
    group = command.add_argument_group("with a TABLE")
    group.add_argument(
        "--objectives", type=name_list, metavar="A,B", help="columns to learn, accuracy first"
    )
    add_space(group)
    group.add_argument(
        "--arch-column",
        type=name_list,
        default=("arch",),
        metavar="NAMES",
        help="the column of architectures, or those that hold its parts",
    )
    return group


def add_space(group: argparse._ActionsContainer) -> None:
    """Add ``--space``."""
    group.add_argument("--space", default="nasbench201", help="the search space")


def add_data(group: argparse._ActionsContainer) -> None:
    """Add ``--data``."""
    group.add_argument(
        "--data",
        metavar="PATH",
        help="a table of measurements, or a folder of tables (default: the environment variable "
        "NAS_RLM_DATA, if set)",
    )


def add_benchmark(command: argparse.ArgumentParser, title: str = "benchmark") -> None:
    """Add what chooses a benchmark."""
    group = command.add_argument_group(title)
    group.add_argument(
        "--benchmark",
        default=DEFAULTS.benchmark,
        help="nasbench201; or with its table in --data: nasbench101, fbnet, ofa_mobilenetv3, "
        "ofa_mobilenetv3_latency, accel_nasbench",
    )
    group.add_argument(
        "--dataset",
        help="the accuracy; of nasbench201: cifar10, cifar100, imagenet16-120, or a column of its "
        "table such as cifar10_test_acc (default: the benchmark's first)",
    )
    group.add_argument(
        "--devices",
        type=name_list,
        metavar="A,B",
        help="of nasbench201: pixel3, eyeriss, cpu, gpu, or others that the table has (default: "
        "the benchmark's own choice)",
    )
    add_data(group)


def add_model(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add how an RLM is trained."""
    group = command.add_argument_group("RLM")
    group.add_argument(
        "--members", type=int, metavar="N", help="models in the ensemble (default: the RLM's own)"
    )
    group.add_argument(
        "--training-steps",
        type=int,
        metavar="N",
        help="optimiser steps of a training (default: the RLM's own)",
    )
    return group


def name_list(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def benchmark_of(arguments: argparse.Namespace) -> Benchmark:
    """What `add_benchmark` asked for."""
    from nas_rlm.benchmarks import get_benchmark

    return get_benchmark(
        arguments.benchmark,
        dataset=arguments.dataset,
        devices=arguments.devices,
        data=arguments.data,
    )


def benchmark_without_table(arguments: argparse.Namespace) -> Benchmark:
    """The benchmark that stands in for a ``TABLE`` that was not given."""
    if arguments.objectives:
        raise ValueError("--objectives names columns of a TABLE: give one, or use --devices")
    return benchmark_of(arguments)


def table_of(arguments: argparse.Namespace) -> tuple[SearchSpace, Table]:
    """The ``TABLE`` that was given, of which cells may be empty, and its search space."""
    from nas_rlm.tables import read_columns, read_table
    from search_spaces import get_space

    space = get_space(arguments.space)
    offered = read_columns(arguments.table)
    if not arguments.objectives:
        raise ValueError(
            f"name the columns to learn with --objectives; the table has {', '.join(offered)}"
        )
    if absent := [name for name in arguments.arch_column if name not in offered]:
        raise ValueError(
            f"{arguments.table}: no column {absent[0]!r}; name that of the architectures, or "
            f"those of their parts, with --arch-column; the table has {', '.join(offered)}"
        )
    table = read_table(
        arguments.table,
        space,
        arguments.objectives,
        architecture_columns=arguments.arch_column,
        complete=False,
        missing=True,
    )
    return space, table


def quieten_optuna() -> None:
    """Keep it from telling of every trial."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def name_files(files: Sequence[Path]) -> None:
    """Say what was written."""
    print("wrote")
    for file in files:
        print(f"  {file}")
