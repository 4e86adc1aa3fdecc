"""``nas-rlm search``, ``worker`` and ``plot``."""

from __future__ import annotations

import argparse
from pathlib import Path

from nas_rlm.cli_arguments import (
    DEFAULTS,
    Commands,
    add_benchmark,
    add_command,
    add_data,
    add_model,
    add_quiet,
    benchmark_of,
    name_files,
    quieten_optuna,
)
from nas_rlm.config import SearchConfig


def add_commands(commands: Commands) -> None:
    """Add what is in this file to the command line."""
    _add_search(commands)
    _add_worker(commands)
    _add_plot(commands)


def _add_search(commands: Commands) -> None:
    command = add_command(
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
    add_quiet(command)
    add_benchmark(command)
    group = command.add_argument_group("search")
    group.add_argument(
        "--budget", type=int, default=DEFAULTS.budget, help="distinct architectures to evaluate"
    )
    _add_method(group)
    group.add_argument(
        "--baseline-seeds",
        type=int,
        metavar="N",
        help="searches with each other method to compare with, 0 for none (default: 5)",
    )
    group = add_model(command)
    group.add_argument(
        "--n-startup-trials",
        type=int,
        default=DEFAULTS.n_startup_trials,
        metavar="N",
        help="random architectures before the first training",
    )
    group.add_argument(
        "--retrain-every",
        type=int,
        default=DEFAULTS.retrain_every,
        metavar="N",
        help="evaluations between trainings",
    )
    _add_warm_start(group)


def _add_worker(commands: Commands) -> None:
    command = add_command(
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
    add_quiet(command)
    add_benchmark(command)
    group = command.add_argument_group("search")
    group.add_argument(
        "--budget", type=int, default=DEFAULTS.budget, help="evaluations by all workers"
    )
    _add_method(group)
    _add_warm_start(group)
    group.add_argument(
        "--heartbeat",
        type=int,
        default=30,
        metavar="SECONDS",
        help="between signs of life to a database",
    )


def _add_plot(commands: Commands) -> None:
    command = add_command(
        commands,
        "plot",
        "write the report and plots of a run again",
        "Write the tables, summary and plots of a run again, also while it is going on.",
        "nas-rlm plot runs/first",
    )
    command.set_defaults(run=_plot)
    command.add_argument("folder", type=Path, metavar="RUN", help="the folder of a search")
    add_data(command)
    add_quiet(command)


def _search(arguments: argparse.Namespace) -> None:
    quieten_optuna()
    from nas_rlm.search import run_search

    fields = SearchConfig.__dataclass_fields__
    config = SearchConfig(**{name: getattr(arguments, name) for name in fields})
    files = run_search(
        config,
        arguments.out,
        progress=not arguments.quiet,
        baseline_seeds=arguments.baseline_seeds,
    )
    name_files(files)


def _worker(arguments: argparse.Namespace) -> None:
    quieten_optuna()
    from tqdm import tqdm

    from nas_rlm.methods import load_warm_start, make_sampler
    from nas_rlm.workers import join_study, open_storage, work

    method = arguments.method
    warm_start = load_warm_start(method, arguments.warm_start)
    options = {} if warm_start is None else {"warm_start": warm_start}
    benchmark = benchmark_of(arguments)
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
    quieten_optuna()
    from nas_rlm.report import write_report
    from nas_rlm.runs import load_run

    run = load_run(arguments.folder, arguments.data)
    files = write_report(run, run.load_model(), progress=not arguments.quiet)
    name_files(files)


def _add_method(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--seed", type=int, default=DEFAULTS.seed, help="of every random choice")
    group.add_argument(
        "--method",
        default=DEFAULTS.method,
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
