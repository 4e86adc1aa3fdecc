"""The main job: measure, train, propose, repeat; then the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from optuna.samplers import BaseSampler
from tqdm import tqdm

from nas_rlm.config import SearchConfig
from nas_rlm.methods import (
    METHODS,
    Evaluations,
    evaluations,
    load_warm_start,
    make_sampler,
    rlm_options,
    search_distinct,
)
from nas_rlm.pareto import hypervolume_over_time
from nas_rlm.report import write_report
from nas_rlm.runs import Run, RunError, load_run, open_run

if TYPE_CHECKING:
    from surrogate import RLM

__all__ = ["Run", "RunError", "SearchConfig", "load_run", "run_search"]


def run_search(
    config: SearchConfig,
    folder: str | Path,
    *,
    progress: bool = True,
    baseline_seeds: int | None = None,
) -> list[Path]:
    """Search, or go on with a search, and report on it.

    The trials are an Optuna study in the folder. Whenever the process ends, even by force, the
    same call goes on where it stopped: no architecture is lost or evaluated twice. A run that
    has reached its budget is only reported on again.

    Args:
        config: What to search and how.
        folder: Where the run lies; a new or empty folder, or one with the same run in it.
        progress: Show progress bars and what is going on.
        baseline_seeds: Searches with each other method to compare with, see `write_report`.

    Returns:
        The files of the report, the front as CSV first.

    Raises:
        RunError: The folder holds something else or another run.
        OSError: The folder cannot be made or written to.
        CheckpointError: The warm start is no model.
        TableError, ValueError: The benchmark cannot be built.
    """
    warm_start = load_warm_start(config.method, config.warm_start)
    with open_run(config, Path(folder)) as run:
        found = _search(run, warm_start, progress)
        model = _train(run, found, warm_start, progress) if config.method == "rlm" else None
        return write_report(run, model, progress=progress, baseline_seeds=baseline_seeds)


def _search(run: Run, warm_start: RLM | None, progress: bool) -> Evaluations:
    config, benchmark = run.config, run.benchmark
    found = evaluations(benchmark, run.study)
    if progress and len(found.rows) >= config.budget:
        tqdm.write(f"{run.folder} is finished: all {config.budget} architectures are evaluated")
    with tqdm(
        desc="searching",
        total=config.budget,
        initial=len(found.rows),
        unit="arch",
        dynamic_ncols=True,
        disable=not progress or len(found.rows) >= config.budget,
    ) as bar:

        def show_training(labels: int) -> None:
            bar.set_description(f"training on {labels}")

        def show_evaluation(found: Evaluations) -> None:
            share = hypervolume_over_time(benchmark, found.values)[-1]
            bar.set_description("searching", refresh=False)
            bar.set_postfix({"hypervolume": f"{share:.1%}"}, refresh=False)
            bar.update()

        run.study.sampler = _sampler(run, found.trials, warm_start, show_training)
        run.finish_interrupted_trials()
        bar.update(len(run.evaluations().rows) - bar.n)
        return search_distinct(
            benchmark,
            run.study.sampler,
            config.budget,
            trials=METHODS[config.method].trials,
            study=run.study,
            after_evaluation=show_evaluation,
        )


def _sampler(
    run: Run, trials: int, warm_start: RLM | None, on_training: Callable[[int], None]
) -> BaseSampler:
    config = run.config
    if config.method == "rlm":
        # It draws from the seed and the trial's number, so a resumed search repeats nothing.
        return make_sampler(
            "rlm",
            run.benchmark,
            config.budget,
            config.seed,
            n_startup_trials=config.n_startup_trials,
            retrain_every=config.retrain_every,
            members=config.members,
            training_steps=config.training_steps,
            warm_start=warm_start,
            on_training=on_training,
        )
    # The others draw from a stream, which must not start again with the same numbers.
    seed = int(np.random.SeedSequence([config.seed, trials]).generate_state(1)[0])
    return make_sampler(
        config.method, run.benchmark, config.budget, seed if trials else config.seed
    )


def _train(run: Run, found: Evaluations, warm_start: RLM | None, progress: bool) -> RLM:
    """The final RLM, trained on everything that was evaluated, unless it is there already."""
    model = run.load_model()
    if model is not None:
        return model
    # Imported here: a search without it must not pay for torch.
    from nas_rlm.predictors import Inputs
    from nas_rlm.predictors.rlm import RLMPredictor

    config, benchmark = run.config, run.benchmark
    predictor = RLMPredictor(
        [objective.column for objective in benchmark.objectives],
        seed=config.seed,
        **rlm_options(config.members, config.training_steps, warm_start),
    )
    inputs = Inputs(benchmark.space, [benchmark.architectures[row] for row in found.rows])
    # Named by its labels: training that was cut off must not go on with more of them.
    checkpoint = run.folder / f"model-{len(inputs)}.unfinished"
    predictor.fit(inputs, found.values, progress=progress, checkpoint=checkpoint)
    run.save_model(predictor.rlm)
    return predictor.rlm
