"""Compares predictors: each with several numbers of labels and several random choices of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nas_rlm.cells import Bench, Labelled, Measurements, Record
from nas_rlm.comparison_records import ComparisonError, describe, open_records
from nas_rlm.devices import unknown
from nas_rlm.grids import Cell, Grid
from nas_rlm.predictors import PREDICTORS, get_predictor

__all__ = ["Comparison", "ComparisonError", "Measurements", "compare"]

_THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came of a comparison.

    Attributes:
        folder: Where it lies.
        records: Cell to its figures, see `cells.Bench.measure`, by number of labels, predictor
            and seed.
        failures: Cell to what its predictor failed with.
        files: The report, ``summary.md`` first.
    """

    folder: Path
    records: dict[Cell, Record] = field(repr=False)
    failures: dict[Cell, str]
    files: list[Path]


def compare(
    data: Labelled,
    predictors: Sequence[str],
    labels: Sequence[int],
    seeds: Sequence[int],
    folder: str | Path,
    *,
    jobs: int | None = None,
    uncertainty: bool = False,
    progress: bool = True,
) -> Comparison:
    """Compare predictors, or go on with it, and report on it.

    Every cell trains a predictor on as many rows as it has labels, chosen at random by its seed,
    and tests it on all the others. Whenever the process ends, even by force, the same call goes
    on where it stopped. Cells that are in the folder already are not measured again, whichever
    call they are from, but for those that failed. The report is on the cells asked for.

    Args:
        data: A `Benchmark`, or `Measurements`.
        predictors: Keys of `nas_rlm.predictors.PREDICTORS`.
        labels: Numbers of rows to train on.
        seeds: Of the choice of rows and of the predictors.
        folder: A new or empty folder, or one with a comparison on the same data.
        jobs: Processes to work in, each with one thread; None: as many as there are cores. 1 is
            this process. With more, a script needs its ``if __name__ == "__main__"``, since each
            of them imports it.
        uncertainty: Judge the predictors' samples too.
        progress: Show a progress bar.

    Returns:
        The figures, what failed, and the files of the report.

    Raises:
        ComparisonError: A predictor cannot be used, the numbers of labels do not fit the data,
            the data cannot be learnt from, or the folder holds something else.
        ValueError: A list is empty or has something twice, or there is no such predictor.
        OSError: The folder cannot be made or written to.
    """
    # matplotlib takes a second to import, and the processes that measure do without.
    from nas_rlm.comparison_report import write_report

    grid = Grid(tuple(predictors), tuple(labels), tuple(seeds))
    jobs = _cores() if jobs is None else jobs
    if jobs < 1:
        raise ComparisonError(f"jobs must be at least 1, not {jobs}")
    _check_predictors(grid, data)
    _check_data(grid, data)
    folder = Path(folder)
    with open_records(folder, describe(data, uncertainty)) as records:
        cells = grid.cells()
        todo = [cell for cell in cells if records.get(cell) is None]
        with (
            tqdm(
                desc="comparing",
                total=len(cells),
                initial=len(cells) - len(todo),
                unit="cell",
                dynamic_ncols=True,
                disable=not progress or not todo,
            ) as bar,
            # Closed whatever happens, lest processes go on measuring for nobody.
            closing(_measure(data, uncertainty, todo, jobs)) as measured,
        ):
            for cell, record in measured:
                records.add(cell, record)
                if "error" in record:
                    tqdm.write(f"failed: {cell}: {record['error']}", file=sys.stderr)
                bar.set_postfix_str(str(cell), refresh=False)
                bar.update()
        order = sorted(cells, key=lambda c: (c.labels, grid.predictors.index(c.predictor), c.seed))
        found = {cell: figures for cell in order if (figures := records.get(cell)) is not None}
        failed = {cell: error for cell in order if (error := records.error(cell)) is not None}
        files = write_report(folder, data.objectives, records.description, found, failed)
        return Comparison(folder, found, failed, files)


def _check_predictors(grid: Grid, data: Labelled) -> None:
    for name in grid.predictors:
        if name not in PREDICTORS:
            raise unknown("predictor", name, PREDICTORS)
    for name in grid.predictors:
        try:
            get_predictor(name, [objective.name for objective in data.objectives])
        except ImportError as error:
            raise ComparisonError(str(error)) from error


def _check_data(grid: Grid, data: Labelled) -> None:
    rows = len(data.architectures)
    if max(grid.labels) > rows - 2:
        raise ComparisonError(
            f"{max(grid.labels)} labels leave nothing to test on: there are {rows:,} rows, of "
            f"which at most {max(rows - 2, 0):,} can be trained on"
        )
    for objective, column in zip(data.objectives, data.values.T, strict=True):
        if not np.nanmin(column, initial=np.inf) < np.nanmax(column, initial=-np.inf):
            raise ComparisonError(
                f"{objective.name} has no two different figures: nothing can be learnt from it; "
                "leave it out"
            )


def _measure(
    data: Labelled, uncertainty: bool, cells: Sequence[Cell], jobs: int
) -> Generator[tuple[Cell, Record], None, None]:
    """Each cell with its figures, or with the ``error`` that its predictor raised."""
    plain = Measurements(
        data.name, data.space, data.objectives, data.architectures, data.values, data.provenance
    )
    jobs = min(jobs, len(cells))
    if jobs > 1:
        yield from _in_processes(plain, uncertainty, cells, jobs)
    elif jobs == 1:
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            bench = Bench(plain, uncertainty)
            for cell in cells:
                yield cell, _attempt(bench, cell)
        finally:
            torch.set_num_threads(threads)


def _attempt(bench: Bench, cell: Cell) -> Record:
    # Whatever a predictor raises, the others can go on.
    try:
        return bench.measure(cell)
    except Exception as error:
        message = " ".join(str(error).split())
        return {"error": f"{type(error).__name__}: {message}"}


def _in_processes(
    data: Measurements, uncertainty: bool, cells: Sequence[Cell], jobs: int
) -> Generator[tuple[Cell, Record], None, None]:
    others = set(active_children())
    # Not forked: torch's threads do not survive that.
    executor = ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=_start, initargs=(data, uncertainty)
    )
    try:
        with _one_thread_each(), _undisturbed():
            # Submitting is what starts the processes.
            futures = {executor.submit(_attempt_here, cell): cell for cell in cells}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException as error:
        for process in set(active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise ComparisonError(
                "a process that was measuring was killed, perhaps for want of memory: fewer jobs "
                "need less; the same command goes on where it stopped"
            ) from error
        raise
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started in here use one thread, since libraries read these when loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes started in here are deaf to Ctrl-C from the first, which they inherit.

    It reaches every process of a terminal, and it is for the parent to end the others. The parent
    hears of it when they are started, which may take seconds on a busy machine.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set this
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)  # to whom it would have reached


_bench: Bench
"""Of a worker process, which measures cell after cell on the same data."""


def _start(data: Measurements, uncertainty: bool) -> None:
    """Prepare a worker process."""
    global _bench
    # Where it was not inherited, see `_undisturbed`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _bench = Bench(data, uncertainty)


def _end_with_parent() -> None:
    """End this process when the parent does, even if it was killed and could not say so."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt_here(cell: Cell) -> Record:
    return _attempt(_bench, cell)


def _cores() -> int:
    """Those that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
