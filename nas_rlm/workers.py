"""Many processes, on one machine or on many, that search together on one storage."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.logging import get_logger
from optuna.storages import (
    BaseStorage,
    JournalStorage,
    RDBStorage,
    RetryHeartbeatStaleTrialCallback,
)
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from nas_rlm.benchmarks import Benchmark

_logger = get_logger(__name__)

_BENCHMARK = "nas_rlm:benchmark"
MOST_RETRIES = 3
"""How often an architecture is begun again whose worker died."""


class WorkerError(ValueError):
    """A worker cannot join, or the storage stayed away."""


class _SurplusError(Exception):
    """Other workers have begun all that the budget allows."""


def open_storage(where: str, *, heartbeat_seconds: int = 30) -> BaseStorage:
    """A storage that many processes can share.

    Args:
        where: ``grpc://host:port`` for a proxy (``optuna.storages.run_grpc_proxy_server``), the
            URL of a database such as ``postgresql+psycopg2://user@host/name``, or the path of a
            journal file on a disk that all processes see.
        heartbeat_seconds: How often workers tell a database that they live. Trials of one that
            has been silent for three times as long are begun again by others. A journal knows no
            heartbeats: what a killed worker had begun stays unfinished there.

    Raises:
        WorkerError: It cannot be opened.
    """
    warnings.simplefilter("ignore", ExperimentalWarning)
    try:
        if where.startswith("grpc://"):
            host, _, port = where.removeprefix("grpc://").partition(":")
            return optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
        if "://" in where:
            return RDBStorage(
                where,
                # A connection that the server has dropped is replaced before it is used.
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=heartbeat_seconds,
                grace_period=3 * heartbeat_seconds,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(
                    max_retry=MOST_RETRIES
                ),
            )
        return JournalStorage(JournalFileBackend(where))
    except Exception as error:  # each kind of storage raises its own
        raise WorkerError(f"the storage {where} cannot be opened: {error}") from error


def join_study(storage: BaseStorage, name: str, benchmark: Benchmark) -> optuna.Study:
    """The study of that name, made if there is none.

    Raises:
        WorkerError: Its objectives or figures are not the benchmark's.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=list(benchmark.directions),
        load_if_exists=True,
    )
    ours = {
        "objectives": [objective.name for objective in benchmark.objectives],
        "directions": list(benchmark.directions),
        "sha256": sha256(benchmark.values.tobytes()).hexdigest(),
    }
    theirs = {
        **study.user_attrs.get(_BENCHMARK, ours),
        "directions": [direction.name.lower() for direction in study.directions],
    }
    if different := [name for name in ours if ours[name] != theirs[name]]:
        raise WorkerError(
            f"the study {name} has other {different[0]} ({theirs[different[0]]}) than this worker "
            f"({ours[different[0]]}): give all workers the same benchmark, or another study"
        )
    study.set_user_attr(_BENCHMARK, ours)
    return study


def work(
    study: optuna.Study,
    evaluate: Callable[[Mapping[str, Any]], Sequence[float]],
    distributions: Mapping[str, BaseDistribution],
    budget: int,
    *,
    catch: tuple[type[Exception], ...] = (),
    poll_seconds: float = 1.0,
    patience_seconds: float = 120.0,
    after_evaluation: Callable[[int], None] | None = None,
) -> int:
    """Evaluate together with other workers until the budget is spent.

    Any worker may be killed and others may join at any time. No more trials than the budget are
    begun, those of dead workers aside. A worker that has nothing to begin waits for the others,
    in case that they die.

    Args:
        study: On a shared storage, see `open_storage`.
        evaluate: From parameters to the objectives' values.
        distributions: Of the parameters.
        budget: Trials of the study that shall be complete.
        catch: What ``evaluate`` may raise; its trial fails and does not count.
        poll_seconds: Between looks at what the others do, and at a storage that is away.
        patience_seconds: How long the storage may be away.
        after_evaluation: Called with the number of complete trials after each of this worker's.

    Returns:
        How many trials this worker completed.

    Raises:
        WorkerError: The storage was away for too long.
    """
    measured: dict[tuple[tuple[str, Any], ...], Sequence[float]] = {}
    mine: set[int] = set()
    away_since: float | None = None

    def objective(trial: Trial) -> Sequence[float]:
        params = suggest(trial, distributions)
        begun = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE))
        if sum(other.number < trial.number for other in begun) >= budget:
            raise _SurplusError
        key = tuple(params.items())
        # What was measured while the storage was away is not measured again.
        if key not in measured:
            measured[key] = evaluate(params)
        mine.add(trial.number)
        return measured[key]

    while True:
        try:
            complete, running = _progress(study)
            if complete >= budget:
                return len(mine & _complete(study))
            if complete + running < budget:
                study.optimize(objective, n_trials=1, catch=(*catch, _SurplusError))
                if after_evaluation is not None:
                    after_evaluation(_progress(study)[0])
            else:
                optuna.storages.fail_stale_trials(study)
                time.sleep(poll_seconds)
            away_since = None
        except (StorageInternalError, ConnectionError) as error:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > patience_seconds:
                raise WorkerError(
                    f"the storage has been away for {patience_seconds:.0f} s ({error}). What is "
                    "finished is kept there: start this worker again when the storage is back"
                ) from error
            _logger.warning(f"The storage does not answer, trying again: {error}")
            time.sleep(poll_seconds)


def suggest(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Values of categorical and integer parameters, as ``trial.suggest_...`` gives them."""
    params: dict[str, Any] = {}
    for name, distribution in distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            params[name] = trial.suggest_categorical(name, distribution.choices)
        else:
            assert isinstance(distribution, IntDistribution)
            low, high, step = distribution.low, distribution.high, distribution.step
            params[name] = trial.suggest_int(name, low, high, step=step, log=distribution.log)
    return params


def _progress(study: optuna.Study) -> tuple[int, int]:
    """How many trials are complete, and how many are running."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    return states.count(TrialState.COMPLETE), states.count(TrialState.RUNNING)


def _complete(study: optuna.Study) -> set[int]:
    trials: list[FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return {trial.number for trial in trials}
