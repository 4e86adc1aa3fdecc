"""Run folders: what a search was asked to do, its trials, and what came of it.

``run.json`` says what the folder holds and is written first. The trials are an Optuna study in
``study.journal``. Everything else is made from these two and can be made again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from nas_rlm.benchmarks import Benchmark, get_benchmark
from nas_rlm.config import SearchConfig
from nas_rlm.devices import unknown
from nas_rlm.files import UNFINISHED, alone, drop_half_line, write_json
from nas_rlm.methods import METHODS, Evaluations, evaluations

if TYPE_CHECKING:
    from surrogate import RLM

RUN_VERSION = 1
_JOURNAL = "study.journal"
_STUDY_NAME = "search"
_LABELS = "labels of the model"
_INTERRUPTED = "interrupted"


class RunError(ValueError):
    """A run folder cannot be used for what was asked; nothing in it was changed."""


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder that was opened.

    Attributes:
        folder: Where it lies.
        config: What was asked.
        benchmark: What is searched.
        study: The stored trials.
    """

    folder: Path
    config: SearchConfig
    benchmark: Benchmark = field(repr=False)
    study: optuna.Study = field(repr=False)

    @property
    def model_folder(self) -> Path:
        """Where the final RLM lies."""
        return self.folder / "model"

    @property
    def plots_folder(self) -> Path:
        """Where the figures lie."""
        return self.folder / "plots"

    def evaluations(self) -> Evaluations:
        """What has been evaluated so far."""
        return evaluations(self.benchmark, self.study)

    def finished_trials(self) -> list[FrozenTrial]:
        """The trials that evaluated an architecture, by number."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def finish_interrupted_trials(self) -> None:
        """Settle the trials that a killed process left running.

        An architecture that was chosen is evaluated now, in its own trial. Where the process
        ended before the choice was stored nothing is lost, and the trial counts as failed.
        """
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.params.keys() == self.benchmark.space.distributions.keys():
                # Its times say when the computer was off rather than how long it took.
                self.study._storage.set_trial_user_attr(trial._trial_id, _INTERRUPTED, True)
                self.study.tell(trial.number, self.benchmark.evaluate(trial.params))
            else:
                self.study.tell(trial.number, state=TrialState.FAIL)

    def search_seconds(self) -> float:
        """Time spent in trials, proposals and training included, pauses between sessions not."""
        return sum(
            trial.duration.total_seconds()
            for trial in self.finished_trials()
            if trial.duration is not None and _INTERRUPTED not in trial.user_attrs
        )

    def load_model(self) -> RLM | None:
        """The final RLM; None unless it was trained on all that has been evaluated.

        Raises:
            CheckpointError: The model is damaged or of another version.
        """
        from surrogate import RLM

        labels = len(self.evaluations().rows)
        if not self.model_folder.exists() or self.study.user_attrs.get(_LABELS) != labels:
            return None
        return RLM.load(self.model_folder)

    def save_model(self, model: RLM) -> None:
        """Keep the final RLM, trained on all that has been evaluated."""
        model.save(self.model_folder)
        self.study.set_user_attr(_LABELS, len(self.evaluations().rows))

    def description(self) -> dict[str, Any]:
        """What ``run.json`` says: configuration, objectives, checksums and versions."""
        return _description(self.config, self.benchmark)


@contextmanager
def open_run(config: SearchConfig, folder: Path) -> Iterator[Run]:
    """Make a run folder, or open one to go on with it, and keep other searches out of it.

    The budget may be larger than before; everything else must be the same.

    Raises:
        RunError: The folder holds something else, another run, or a search is at work in it.
        OSError: The folder cannot be made or written to.
        TableError, ValueError: The benchmark cannot be built.
    """
    if config.method not in METHODS:
        raise unknown("method", config.method, METHODS)
    benchmark = _benchmark(config)
    _check_folder(folder, config, benchmark)
    folder.mkdir(parents=True, exist_ok=True)
    busy = RunError(f"a search is at work in {folder}: wait for it to end, or name another folder")
    with alone(folder, busy):
        stored = _check_folder(folder, config, benchmark)
        file = folder / "run.json"
        if stored is None:
            write_json(file, {"version": RUN_VERSION, **_description(config, benchmark)})
        study = _open_study(folder / _JOURNAL, benchmark)
        if stored is not None and stored["config"]["budget"] != config.budget:
            write_json(file, {**stored, "config": _without_data(config)})
        yield Run(folder, config, benchmark, study)


def load_run(folder: Path, data: str | None = None) -> Run:
    """Open a run folder to read it.

    Args:
        folder: What a search wrote.
        data: Where its table of measurements lies now, if it had one and
            ``NAS_RLM_DATA`` does not say.

    Raises:
        RunError: The folder holds no run, or its data differ from those given.
        TableError, ValueError: The benchmark cannot be built.
    """
    stored = _read_description(folder)
    if stored is None:
        raise RunError(f"{folder} holds no run: name a folder that `nas-rlm search` wrote")
    config = replace(SearchConfig(**stored["config"]), data=data)
    benchmark = _benchmark(config)
    _check_folder(folder, config, benchmark)
    if not (folder / _JOURNAL).exists():
        raise RunError(f"{folder / _JOURNAL} is missing: run the search again")
    return Run(folder, config, benchmark, _load_study(folder / _JOURNAL, benchmark))


def _benchmark(config: SearchConfig) -> Benchmark:
    return get_benchmark(
        config.benchmark, dataset=config.dataset, devices=config.devices, data=config.data
    )


def _without_data(config: SearchConfig) -> dict[str, Any]:
    """The configuration for `run.json`: the data are known by their checksum, not their place."""
    return {name: value for name, value in asdict(config).items() if name != "data"}


def _description(config: SearchConfig, benchmark: Benchmark) -> dict[str, Any]:
    return {
        "config": _without_data(config),
        "objectives": [asdict(objective) for objective in benchmark.objectives],
        "figures": dict(benchmark.provenance["figures"]),
        "sha256": {
            **benchmark.provenance["sha256"],
            # Of what the search saw, however it was read or modelled.
            "values": sha256(benchmark.values.tobytes()).hexdigest(),
        },
        "versions": {
            "python": sys.version.split()[0],
            **benchmark.provenance["versions"],
            **{package: version(package) for package in ("optuna", "torch", "onnx", "scipy")},
        },
    }


def _read_description(folder: Path) -> dict[str, Any] | None:
    file = folder / "run.json"
    try:
        stored = json.loads(file.read_text("utf-8"))
        if stored["version"] != RUN_VERSION:
            raise RunError(
                f"{file} has version {stored['version']}, this program reads version "
                f"{RUN_VERSION}; search into another folder"
            )
        SearchConfig(**stored["config"])
        stored["sha256"].items()
    except FileNotFoundError:
        return None
    except RunError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{file} is damaged ({error}); search into another folder") from error
    return stored


def _check_folder(
    folder: Path, config: SearchConfig, benchmark: Benchmark
) -> dict[str, Any] | None:
    """The description of the run in ``folder``, None if the folder is free for a new one."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a folder for the run")
    stored = _read_description(folder)
    if stored is None:
        if found := [p.name for p in _entries(folder) if not p.name.endswith(UNFINISHED)]:
            raise RunError(
                f"{folder} is not empty and holds no run (it has {found[0]!r}): name a new folder"
            )
        return None
    wanted = _description(config, benchmark)
    differences = [
        f"{name} is {_shown(stored['config'].get(name))} there and {_shown(value)} here"
        for name, value in json.loads(json.dumps(wanted["config"])).items()
        if stored["config"].get(name) != value and name != "budget"
    ]
    differences = differences or _data_differences(stored["sha256"], wanted["sha256"])
    if differences:
        raise RunError(
            f"{folder} holds another run: {'; '.join(differences)}. "
            "Name another folder, or ask for the same as before"
        )
    if config.budget < stored["config"]["budget"]:
        raise RunError(
            f"{folder} holds a run with a budget of {stored['config']['budget']}, which can be "
            f"raised but not lowered to {config.budget}: name another folder"
        )
    return stored


def _data_differences(stored: dict[str, str], wanted: dict[str, str]) -> list[str]:
    files = [name for name in {**stored, **wanted} if name != "values"]
    differences = [
        f"the checksum of {name} differs"
        if name in stored and name in wanted
        else f"it used {name}, which neither --data nor NAS_RLM_DATA gives here"
        if name in stored
        else f"it did not use {name}"
        for name in files
        if stored.get(name) != wanted.get(name)
    ]
    if not differences and stored.get("values") != wanted["values"]:
        differences = ["its objective values are not those that the benchmark gives now"]
    return differences


def _shown(value: Any) -> str:
    if value is None:
        return "the default"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def _mend(journal: Path) -> None:
    """Undo what a killed process may have left: a lock, and half a line at the end.

    Optuna would wait half a minute for the lock, and append its next record to the half line.
    """
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    drop_half_line(journal)


def _open_study(journal: Path, benchmark: Benchmark) -> optuna.Study:
    """The study in a folder whose lock is held, a new one if there is none."""
    if journal.exists() and b"\n" in journal.read_bytes():
        _mend(journal)
        return _load_study(journal, benchmark)
    _mend(journal)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=_STUDY_NAME,
        directions=list(benchmark.directions),
    )


def _load_study(journal: Path, benchmark: Benchmark) -> optuna.Study:
    try:
        storage = JournalStorage(JournalFileBackend(str(journal)))
        study = optuna.load_study(study_name=_STUDY_NAME, storage=storage)
    except (ValueError, KeyError) as error:
        raise RunError(
            f"{journal} is damaged or holds another study ({error}): name another folder"
        ) from error
    _check_study(study, benchmark, journal)
    return study


def _check_study(study: optuna.Study, benchmark: Benchmark, journal: Path) -> None:
    directions = tuple(direction.name.lower() for direction in study.directions)
    if directions != benchmark.directions:
        raise RunError(
            f"{journal}: the study's directions are {', '.join(directions)}, the benchmark's "
            f"{', '.join(benchmark.directions)}; name another folder"
        )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if trial.distributions != benchmark.space.distributions:
            raise RunError(
                f"{journal}: the parameters of trial {trial.number} are not those of "
                f"{benchmark.space.name}; name another folder"
            )
        if tuple(trial.values) != benchmark.evaluate(trial.params):
            raise RunError(
                f"{journal}: the values of trial {trial.number} are not those of "
                f"{benchmark.name}; name another folder"
            )
