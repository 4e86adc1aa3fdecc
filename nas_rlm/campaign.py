"""Many latencies measured on this machine, so that they can be compared with one another."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from tqdm import tqdm

from nas_rlm.drift import Reference
from nas_rlm.energy import POWERCAP, EnergyCounter, NoEnergyError
from nas_rlm.environment import environment
from nas_rlm.measure import (
    MeasureError,
    Measurement,
    RefusedModelError,
    Runner,
    Settings,
    measure,
    time_runs,
)
from nas_rlm.measured_file import MeasuredFile, Row, open_measured, record
from search_spaces import get_space, with_weights
from search_spaces.base import Architecture, SearchSpace

Candidate = onnx.ModelProto | Path | Callable[[], onnx.ModelProto]
"""A model, a file, or what makes a model when its turn comes."""

REFERENCE = (
    "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
)
"""The reference model, whatever is measured: a NAS-Bench-201 cell with every operation."""
_PUT_OFF = 50
"""Of more models than that, what a machine that stays slow measures is kept, and marked."""


@dataclass(frozen=True)
class Campaign:
    """What came of a campaign.

    Attributes:
        rows: Of the candidates that could be measured, in their order.
        failures: Name to what was wrong with the others.
        no_energy: Why there is no energy; None if there is.
    """

    rows: list[Row]
    failures: dict[str, str]
    no_energy: str | None


def sample_distinct(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Different architectures, at random; more of them begin with the same ones.

    Raises:
        MeasureError: There are not so many.
    """
    if not 1 <= count <= space.size:
        raise MeasureError(
            f"{space.name} has {space.size:,} architectures: {count} cannot be drawn"
        )
    rng = np.random.default_rng(seed)
    found: dict[str, Architecture] = {}
    while len(found) < count:
        architecture = space.sample(rng)
        found.setdefault(space.format(architecture), architecture)
    return list(found.values())


def of_space(
    space: SearchSpace, architectures: Iterable[Architecture], settings: Settings
) -> dict[str, Candidate]:
    """Architectures, by their notation.

    Raises:
        MeasureError: One is there twice.
        ValueError: The image size does not fit the space.
    """
    architectures = list(architectures)
    names = _once(map(space.format, architectures))
    for architecture in architectures[:1]:
        _network(space, architecture, settings)
    return {
        name: partial(_network, space, architecture, settings)
        for name, architecture in zip(names, architectures, strict=True)
    }


def of_files(paths: Iterable[Path]) -> dict[str, Candidate]:
    """ONNX files, by their paths.

    Raises:
        MeasureError: One is not there, or is there twice.
    """
    paths = list(paths)
    for path in paths:
        if not path.is_file():
            raise MeasureError(f"{path}: there is no such file")
    return dict(zip(_once(map(str, paths)), paths, strict=True))


def measure_all(
    candidates: Mapping[str, Candidate],
    out: str | Path,
    device: str,
    settings: Settings | None = None,
    *,
    models: str = "models",
    progress: bool = True,
    powercap: Path = POWERCAP,
) -> Campaign:
    """Measure many models, or go on with it.

    They are measured in random order, so that what drift remains has nothing to do with what they
    are. Each few of them lie between two measurements of a reference model, and are measured
    again if that drifted; where the machine does not come back in time, at the end. Whenever the
    process ends, even by force, the same call goes on where it stopped; what is in the file
    already is not measured again.

    Args:
        candidates: Name to model, see `of_space` and `of_files`. For a ``torch.nn.Module``:
            ``{"mine": lambda: search_spaces.export(module, (1, 3, 32, 32))}``.
        out: A CSV file, see `nas_rlm.measured_file`. Its columns are ``arch``,
            ``<device>_latency_ms``, ``<device>_energy_mj`` where there is a counter, the bounds of
            the median's interval, interquartile range, runs, whether the interval is narrow
            enough, the reference model's latency and its drift, whether that is more than is
            tolerated, and the time.
        device: What to call this machine.
        settings: How to measure; None: the defaults.
        models: What they are, so that others are not mixed in: the name of their search space.
        progress: Show a progress bar.
        powercap: Where the counters of energy are.

    Raises:
        MeasureError: There are no candidates, there is no such provider, or the file holds
            something else, was measured otherwise or is being written.
        OSError: The file cannot be made or written to.
    """
    if not candidates:
        raise MeasureError("there is nothing to measure: the list is empty")
    settings = settings or Settings()
    energy, no_energy = _energy(powercap)
    described = {
        **environment(settings.provider),
        "energy counter": None if energy is None else "processor packages",
    }
    wanted = record(device, models, settings, described)
    # Before there is a file: it refuses what no model can be measured with.
    reference = Runner(_reference_model(settings), settings)
    with open_measured(Path(out), wanted) as file:
        names = list(candidates)
        order = np.random.default_rng(settings.seed).permutation(len(names))
        todo = [names[place] for place in order if names[place] not in file.rows]
        with tqdm(
            desc="measuring",
            total=len(names),
            initial=len(names) - len(todo),
            unit="arch",
            dynamic_ncols=True,
            disable=not progress or not todo,
        ) as bar:
            failures = _measure(file, candidates, todo, reference, settings, energy, bar)
    rows = [file.rows[name] for name in names if name in file.rows]
    return Campaign(rows, failures, no_energy)


def _measure(
    file: MeasuredFile,
    candidates: Mapping[str, Candidate],
    todo: Sequence[str],
    runner: Runner,
    settings: Settings,
    energy: EnergyCounter | None,
    bar: tqdm,
) -> dict[str, str]:
    """Add the rows of ``todo`` to the file; names of those that cannot be measured to why."""
    failures: dict[str, str] = {}
    if not todo:
        return failures

    def wait(seconds: float) -> None:
        bar.set_description("waiting for the machine")
        time.sleep(seconds)
        bar.set_description("measuring")

    def measure_batch(batch: Sequence[str]) -> dict[str, tuple[Measurement, str]]:
        measured = {}
        for name in batch:
            try:
                figures = measure(_model(candidates[name]), settings, energy=energy)
                measured[name] = figures, datetime.now(UTC).isoformat(timespec="seconds")
                failures.pop(name, None)  # what failed may go well the second time
            except RefusedModelError as error:
                if name not in failures:
                    tqdm.write(f"left out: {name}: {error}", file=sys.stderr)
                failures[name] = str(error)
        return measured

    reference = Reference(
        lambda: time_runs(runner, settings).median_ms, settings, file.first_ms, wait
    )
    file.begin(reference.first_ms)
    put_off: list[str] = []

    def measure_each(names: Sequence[str], may_put_off: int) -> None:
        for start in range(0, len(names), settings.reference_every):
            batch = names[start : start + settings.reference_every]
            measured, reading = reference.bracket(partial(measure_batch, batch))
            bar.set_postfix_str(f"drift {reading.drift:+.1%}", refresh=False)
            if not reading.tolerated and len(put_off) < may_put_off:
                put_off.extend(measured)
                bar.update(len(batch) - len(measured))
            else:
                file.append(Row(n, made, reading, when) for n, (made, when) in measured.items())
                bar.update(len(batch))

    measure_each(todo, _PUT_OFF)
    measure_each(put_off, 0)
    return failures


def _model(candidate: Candidate) -> onnx.ModelProto | Path:
    if not callable(candidate):
        return candidate
    try:
        return candidate()
    except Exception as error:  # a user's own code, or torch's exporter, may raise anything
        raise RefusedModelError(f"it cannot be made: {error!r}") from error


def _network(
    space: SearchSpace, architecture: Architecture, settings: Settings
) -> onnx.ModelProto:
    model = space.onnx_model(
        architecture, batch_size=settings.batch_size, image_size=settings.image_size
    )
    return with_weights(model, settings.seed)


def _reference_model(settings: Settings) -> onnx.ModelProto:
    space = get_space("nasbench201")
    return _network(space, space.parse(REFERENCE), replace(settings, image_size=None))


def _energy(powercap: Path) -> tuple[EnergyCounter | None, str | None]:
    try:
        return EnergyCounter(powercap), None
    except NoEnergyError as error:
        return None, str(error)


def _once(names: Iterable[str]) -> list[str]:
    names = list(names)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise MeasureError(f"{twice[0]} is there twice: give each once")
    return names
