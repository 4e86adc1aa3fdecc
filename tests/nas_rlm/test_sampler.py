from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import TrialState
from torch import nn

from nas_rlm.benchmarks import nasbench201
from nas_rlm.predictors import get_predictor
from nas_rlm.predictors.classical import RidgePredictor
from nas_rlm.predictors.rlm import RLMPredictor
from nas_rlm.sampler import RLMSampler, _ordered_as, rlm_surrogate
from search_spaces import from_builder, get_space
from search_spaces.base import SearchSpace
from surrogate import RLM

SPACE = get_space("nasbench201")


def quick(objectives, seed):
    return rlm_surrogate(objectives, seed, pool=64, training={"passes": 2, "steps": 20})


def ridge(objectives, seed):
    return get_predictor("ridge", objectives, seed=seed)


def new_sampler(**options) -> RLMSampler:
    defaults = {"n_startup_trials": 6, "retrain_every": 4, "surrogate": quick, "seed": 0}
    defaults["n_candidates"] = 100
    return RLMSampler(SPACE, **{**defaults, **options})


class Conforming:
    """Optuna's own tests, on spaces that are not ours."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: RLMSampler(SPACE, seed=0)


class TestBasic(Conforming, BasicSamplerTestCase):
    pass


class TestRelative(Conforming, RelativeSamplerTestCase):
    pass


class TestMultiObjective(Conforming, MultiObjectiveSamplerTestCase):
    pass


@pytest.fixture(scope="module")
def benchmark():
    return nasbench201("cifar10", ("gpu",))


def objective_of(benchmark):
    def objective(trial):
        params = {
            n: trial.suggest_categorical(n, d.choices) for n, d in SPACE.distributions.items()
        }
        return benchmark.evaluate(params)

    return objective


def proposals(study):
    return [SPACE.format(trial.params) for trial in study.trials]


@pytest.mark.parametrize("storage", ["memory", "journal", "sqlite"])
def test_it_searches_with_each_kind_of_storage(benchmark, storage, tmp_path):
    kinds = {
        "memory": lambda: None,
        "journal": lambda: optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.journal"))
        ),
        "sqlite": lambda: f"sqlite:///{tmp_path / 'study.db'}",
    }
    study = optuna.create_study(
        storage=kinds[storage](), directions=list(benchmark.directions), sampler=new_sampler()
    )
    study.optimize(objective_of(benchmark), n_trials=12)
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert len(set(proposals(study))) == 12
    assert study.sampler.model is not None
    assert all(type(v) is str for trial in study.trials for v in trial.params.values())


def test_another_sampler_goes_on_as_the_first_would_have(benchmark):
    whole = optuna.create_study(directions=benchmark.directions)
    whole.sampler = new_sampler(surrogate=ridge)
    whole.optimize(objective_of(benchmark), n_trials=12)
    parts = optuna.create_study(directions=benchmark.directions)
    for _ in range(4):
        parts.sampler = new_sampler(surrogate=ridge)
        parts.optimize(objective_of(benchmark), n_trials=3)
    assert proposals(parts) == proposals(whole)


def test_training_goes_on_within_a_study(benchmark, monkeypatch):
    def surrogate(names, seed):
        training = {"passes": 2, "steps": 20, "again": 0.75}
        return rlm_surrogate(names, seed, pool=64, training=training)

    promising = []
    go_on_from = RLMPredictor.go_on_from

    def going_on(predictor, earlier, best=None):
        promising.append(len(best))
        return go_on_from(predictor, earlier, best)

    monkeypatch.setattr(RLMPredictor, "go_on_from", going_on)
    sampler, steps = new_sampler(surrogate=surrogate), []
    for _ in range(2):
        study = optuna.create_study(directions=benchmark.directions, sampler=sampler)
        for trials in (7, 5):
            study.optimize(objective_of(benchmark), n_trials=trials)
            steps.append(sampler.model.rlm.history[0][-1]["step"])
    # The second study is another one, of which nothing is known.
    assert steps == [20, 6, 20, 6]
    assert promising == [100, 100], "what each study's first training found best"


def test_only_the_best_of_what_is_quickly_known_are_read(benchmark, monkeypatch):
    drawn, read = [], []
    draw, programs = RLMPredictor.draw, RLM._programs

    def drawing(predictor, inputs, draws, **options):
        numbers = draw(predictor, inputs, draws, **options)
        drawn.append((len(inputs), options["quickly"], len(read[-1])))
        return numbers

    def reading(rlm, texts):
        read.append(texts)
        return programs(rlm, texts)

    monkeypatch.setattr("nas_rlm.sampler._READ", 30)
    monkeypatch.setattr("nas_rlm.sampler._FINALISTS", 10)
    monkeypatch.setattr(RLMPredictor, "draw", drawing)
    monkeypatch.setattr(RLM, "_programs", reading)
    study = optuna.create_study(directions=benchmark.directions, sampler=new_sampler())
    study.optimize(objective_of(benchmark), n_trials=7)
    (candidates, *first), second = drawn
    assert 90 < candidates <= 100
    assert (first, second) == ([True, 0], (30, False, 30))
    assert len(read[-1]) == 10, "sampled"


def test_an_interrupted_training_is_made_again(benchmark, monkeypatch):
    sampler = new_sampler()
    study = optuna.create_study(directions=benchmark.directions, sampler=sampler)
    study.optimize(objective_of(benchmark), n_trials=10)
    trained = sampler.model
    fit = RLM.fit

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(RLM, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.ask(dict(SPACE.distributions))
    assert sampler.model is trained
    monkeypatch.setattr(RLM, "fit", fit)
    study.optimize(objective_of(benchmark), n_trials=1)
    assert sampler.model is not trained


def test_proposals_beat_random_ones(benchmark):
    def surrogate(names, seed):
        return rlm_surrogate(names, seed, pool=256, training={"passes": 20, "steps": 60})

    found = []
    for seed in range(2):
        sampler = new_sampler(
            n_startup_trials=20,
            retrain_every=10,
            reference_point=benchmark.loss_range[:, 1].tolist(),
            surrogate=surrogate,
            seed=seed,
        )
        study = optuna.create_study(directions=list(benchmark.directions), sampler=sampler)
        study.optimize(objective_of(benchmark), n_trials=50)
        found.append(benchmark.hypervolume(np.array([trial.values for trial in study.trials])))
    rng = np.random.default_rng(0)
    random = [
        benchmark.hypervolume(benchmark.values[rng.choice(SPACE.size, 50, replace=False)])
        for _ in range(50)
    ]
    assert np.mean(found) > np.quantile(random, 0.9)


def test_running_trials_are_not_proposed_again(benchmark):
    study = optuna.create_study(directions=list(benchmark.directions), sampler=new_sampler())
    study.optimize(objective_of(benchmark), n_trials=6)
    asked = [study.ask(dict(SPACE.distributions)) for _ in range(5)]
    assert len({SPACE.format(trial.params) for trial in asked}) == 5
    assert not {SPACE.format(trial.params) for trial in asked} & set(proposals(study)[:6])


def test_failed_trials_may_be_proposed_again_and_teach_nothing(benchmark):
    study = optuna.create_study(directions=list(benchmark.directions), sampler=new_sampler())

    def failing(trial):
        objective_of(benchmark)(trial)
        raise RuntimeError("out of memory")

    study.optimize(failing, n_trials=8, catch=(RuntimeError,))
    study.optimize(objective_of(benchmark), n_trials=7)
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    assert len(complete) == 7


def test_pruned_trials_are_not_proposed_again_and_teach_nothing(benchmark):
    trained = []
    sampler = new_sampler(surrogate=ridge, on_training=trained.append)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def pruning(trial):
        accuracy, _ = objective_of(benchmark)(trial)
        if trial.number % 2:
            raise optuna.TrialPruned
        return accuracy

    study.optimize(pruning, n_trials=20)
    assert len(set(proposals(study))) == 20
    assert trained == [6, 10], "labels of finished trials alone"


def test_enqueued_trials_come_first_and_are_learnt_from(benchmark):
    wanted = [dict(benchmark.architectures[row]) for row in (1, 2, 3, 4, 5, 6)]
    study = optuna.create_study(directions=benchmark.directions, sampler=new_sampler())
    for architecture in wanted:
        study.enqueue_trial(architecture)
    study.optimize(objective_of(benchmark), n_trials=7)
    assert [trial.params for trial in study.trials[:6]] == wanted
    assert study.sampler.model is not None, "trained on what was enqueued"
    assert study.trials[6].params not in wanted


class Small(SearchSpace):
    """The cells that have one operation on every edge but two: twenty-five of them."""

    name = "small"
    choices = MappingProxyType({n: SPACE.choices[n] for n in ("edge_0_1", "edge_2_3")})

    def _whole(self, architecture):
        return {name: architecture.get(name, "skip_connect") for name in SPACE.choices}

    def parse(self, text):
        whole = SPACE.parse(text)
        return {name: whole[name] for name in self.choices}

    def format(self, architecture):
        return SPACE.format(self._whole(architecture))

    def key(self, architecture):
        return SPACE.key(self._whole(architecture))

    def onnx_text(self, architecture, *, batch_size=1, image_size=32):
        return SPACE.onnx_text(self._whole(architecture))


def test_a_small_space_is_evaluated_whole_and_then_the_study_stops(benchmark):
    space = Small()
    sampler = RLMSampler(space, n_startup_trials=6, surrogate=quick, seed=0)
    study = optuna.create_study(directions=list(benchmark.directions), sampler=sampler)

    def objective(trial):
        params = {
            n: trial.suggest_categorical(n, d.choices) for n, d in space.distributions.items()
        }
        return benchmark.evaluate(space._whole(params))

    study.optimize(objective, n_trials=100)
    assert len(study.trials) == 25
    assert len({space.format(trial.params) for trial in study.trials}) == 25


def test_a_space_too_large_to_enumerate_is_searched_near_the_front(benchmark):
    sampler = new_sampler(n_candidates=200)
    study = optuna.create_study(directions=list(benchmark.directions), sampler=sampler)
    study.optimize(objective_of(benchmark), n_trials=12)
    assert len(set(proposals(study))) == 12


def test_what_a_builder_cannot_build_fails_and_the_study_goes_on(caplog):
    def build(params):
        if params["width"] > 12:
            raise MemoryError("too large")
        layers = [nn.Linear(4, params["width"])]
        layers += [nn.Linear(params["width"], params["width"])] * params["depth"]
        return nn.Sequential(*layers)

    def objective(trial):
        width, depth = trial.suggest_int("width", 1, 16), trial.suggest_int("depth", 0, 9)
        parameters = sum(p.numel() for p in build({"width": width, "depth": depth}).parameters())
        return width + depth, parameters

    optuna.logging.enable_propagation()
    distributions = {"width": IntDistribution(1, 16), "depth": IntDistribution(0, 9)}
    space = from_builder(build, distributions, input_shape=(1, 4))
    sampler = RLMSampler(space, n_startup_trials=8, surrogate=quick, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=20, catch=(MemoryError,))
    states = [trial.state for trial in study.trials]
    assert 1 <= states.count(TrialState.FAIL) <= 8
    assert states[-8:] == [TrialState.COMPLETE] * 8
    assert any("40 of 160 candidates cannot be built" in r.message for r in caplog.records)


def test_one_objective_is_enough(benchmark):
    study = optuna.create_study(direction="maximize", sampler=new_sampler())
    study.optimize(lambda trial: objective_of(benchmark)(trial)[0], n_trials=10)
    assert len(set(proposals(study))) == 10


def test_a_constant_objective_does_no_harm(benchmark):
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=new_sampler())
    study.optimize(lambda trial: (objective_of(benchmark)(trial)[0], 1.0), n_trials=10)
    assert study.sampler.model.objectives == ("objective0",)


@pytest.fixture
def taught(monkeypatch):
    """Texts and labels of every training of a ridge."""
    seen, fit = [], RidgePredictor.fit

    def watch(self, inputs, values, **options):
        seen.append((inputs.texts, values))
        return fit(self, inputs, values, **options)

    monkeypatch.setattr(RidgePredictor, "fit", watch)
    return seen


def test_how_much_worse_than_the_reference_point_is_not_learnt(benchmark, taught):
    sampler = new_sampler(surrogate=ridge, n_startup_trials=20, reference_point=[88.0, 12.0])
    study = optuna.create_study(directions=benchmark.directions, sampler=sampler)
    study.optimize(objective_of(benchmark), n_trials=21)
    ((_, values),) = taught
    measured = np.array([trial.values for trial in study.trials[:20]])
    assert measured[:, 0].min() < 88
    assert measured[:, 1].max() > 12
    expected = np.column_stack([measured[:, 0].clip(88), measured[:, 1].clip(None, 12)])
    np.testing.assert_array_equal(values, expected)


def test_noisy_repeats_of_an_architecture_are_averaged(benchmark, taught):
    sampler = new_sampler(surrogate=ridge)
    study = optuna.create_study(directions=benchmark.directions, sampler=sampler)
    for noise in (-0.5, 0.5):
        for architecture in benchmark.architectures[:2000:400]:
            study.enqueue_trial(dict(architecture))
            trial = study.ask(dict(SPACE.distributions))
            study.tell(trial, [value + noise for value in benchmark.evaluate(architecture)])
    study.ask(dict(SPACE.distributions))
    ((texts, values),) = taught
    assert len(set(texts)) == len(values) == 5
    np.testing.assert_allclose(values, benchmark.values[:2000:400])


def test_draws_are_put_together_as_samples_are():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(5, 64))
    samples = np.stack([first, -first + 0.1 * rng.normal(size=first.shape)], axis=-1)
    draws = rng.normal(size=(5, 64, 2))
    together = _ordered_as(samples, draws)
    np.testing.assert_array_equal(np.sort(together, axis=1), np.sort(draws, axis=1))
    for pair in together:
        assert np.corrcoef(pair.T)[0, 1] < -0.9


def test_any_predictor_can_be_the_surrogate(benchmark):
    sampler = RLMSampler(SPACE, n_startup_trials=20, retrain_every=10, surrogate=ridge, seed=0)
    study = optuna.create_study(directions=benchmark.directions, sampler=sampler)
    study.optimize(objective_of(benchmark), n_trials=50)
    assert len(set(proposals(study))) == 50
    share = benchmark.hypervolume(np.array([trial.values for trial in study.trials]))
    startup = benchmark.hypervolume(np.array([trial.values for trial in study.trials[:20]]))
    assert share > startup


def test_constraints_that_trials_set_are_learnt_and_kept(benchmark):
    def constrained(trial):
        accuracy, latency = objective_of(benchmark)(trial)
        trial.set_constraint("budget", latency - 12.0)
        return accuracy

    sampler = RLMSampler(SPACE, n_startup_trials=20, retrain_every=10, surrogate=ridge, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(constrained, n_trials=50)
    assert sampler.model.objectives == ("objective0", "constraint budget")
    met = [trial.constraints["budget"] <= 0 for trial in study.trials]
    assert np.mean(met[20:]) > 1.5 * np.mean(met[:20]) > 0
    best = max(t.values[0] for t, ok in zip(study.trials[20:], met[20:], strict=True) if ok)
    assert best > max(t.values[0] for t, ok in zip(study.trials, met[:20], strict=False) if ok)


def test_a_constraint_may_come_late(benchmark):
    def constrained(trial):
        accuracy, latency = objective_of(benchmark)(trial)
        if trial.number > 12:
            trial.set_constraint("budget", latency - 12.0)
        return accuracy, latency

    study = optuna.create_study(directions=benchmark.directions, sampler=new_sampler())
    study.optimize(constrained, n_trials=20)
    assert len(set(proposals(study))) == 20
    assert "constraint budget" in study.sampler.model.objectives


def test_trials_that_end_out_of_turn_cause_no_training(benchmark):
    trained = []
    sampler = new_sampler(on_training=trained.append, surrogate=ridge)
    study = optuna.create_study(directions=benchmark.directions, sampler=sampler)
    asked = [study.ask(dict(SPACE.distributions)) for _ in range(12)]
    for trial in reversed(asked):
        study.tell(trial, benchmark.evaluate(trial.params))
        study.ask(dict(SPACE.distributions))
    assert trained == [6, 10]


def test_infinite_values_are_not_learnt_from_and_do_no_harm(benchmark, caplog):
    def objective(trial):
        accuracy, latency = objective_of(benchmark)(trial)
        return accuracy, latency if trial.number % 3 else np.inf

    optuna.logging.enable_propagation()
    study = optuna.create_study(directions=benchmark.directions, sampler=new_sampler())
    study.optimize(objective, n_trials=14)
    assert study.sampler.model is not None
    warned = [r.message for r in caplog.records if "is not learnt from" in r.message]
    assert len(warned) == len(set(warned)) >= 4
    assert "Trial 0 " in warned[0]


def test_without_a_feasible_draw_the_least_violation_comes_next(benchmark):
    def hopeless(trial):
        accuracy, latency = objective_of(benchmark)(trial)
        trial.set_constraint("budget", latency + 100)
        return accuracy, latency

    sampler = RLMSampler(SPACE, n_startup_trials=20, retrain_every=10, surrogate=ridge, seed=0)
    study = optuna.create_study(directions=benchmark.directions, sampler=sampler)
    study.optimize(hopeless, n_trials=40)
    violations = [trial.constraints["budget"] for trial in study.trials]
    assert np.mean(violations[20:]) < np.quantile(violations[:20], 0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objectives": ["accuracy"]}, "1 objectives .* 2 directions"),
        ({"reference_point": [80.0]}, "1 values for 2 objectives"),
    ],
)
def test_a_study_that_does_not_match_is_refused(benchmark, options, message):
    study = optuna.create_study(
        directions=list(benchmark.directions), sampler=new_sampler(**options)
    )
    with pytest.raises(ValueError, match=message):
        study.optimize(objective_of(benchmark), n_trials=1)


def test_a_warm_start_reaches_the_rlm(benchmark, monkeypatch):
    given = []

    def surrogate(names, seed, *, trend, warm_start):
        given.append(warm_start)
        return ridge(names, seed)

    monkeypatch.setattr("nas_rlm.sampler.rlm_surrogate", surrogate)
    model = RLM(["cifar100"])
    sampler = new_sampler(surrogate=None, warm_start=model)
    study = optuna.create_study(directions=benchmark.directions, sampler=sampler)
    study.optimize(objective_of(benchmark), n_trials=7)
    assert given == [model]
    with pytest.raises(ValueError, match="give it to your surrogate"):
        new_sampler(surrogate=ridge, warm_start=model)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="n_startup_trials"):
        RLMSampler(SPACE, n_startup_trials=2)
