import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from surrogate import RLM, Pool, TrainingConfig
from surrogate.model import Batch, ModelConfig
from surrogate.prior import Guesses
from surrogate.scorer import ScoreLosses
from surrogate.teacher import Teacher, _correlation, _errors, _shares
from surrogate.text import Tokenizer
from tests.surrogate.conftest import OPERATORS, make_text


@pytest.fixture
def pool(labelled):
    """The texts of the fixture, each once, their labels, and a hint that goes with the first."""
    rows = np.unique(labelled[0], return_index=True)[1]
    values = labelled[1][rows]
    hint = values[:, :1] + np.random.default_rng(0).normal(0, 3, (len(rows), 1))
    return Pool([labelled[0][row] for row in rows], hint, [0]), values


def fit(pool, values, labels, checkpoint=None, **fields):
    rlm = RLM(
        ["first", "second"],
        simplified=["first"],
        members=2,
        training=TrainingConfig(**{"steps": 150, "passes": 40, "learning_rate": 4e-3, **fields}),
    )
    texts = pool.texts[: len(labels)]
    return rlm.fit(texts, labels, pool=pool, progress=False, checkpoint=checkpoint)


def test_ten_labels_and_a_pool_teach_the_rest(pool):
    texts, values = pool[0].texts, pool[1]
    rlm = fit(*pool, values[:10])
    predicted = rlm.predict(texts[10:])
    for k in range(2):
        assert spearmanr(predicted[:, k], values[10:, k])[0] > 0.8
    mean, deviation = rlm.predict(texts, return_std=True)
    drawn = rlm.sample(texts, 64, seed=1)
    inside = np.abs(np.median(drawn, axis=1) - mean) < 2 * deviation
    assert inside.mean() > 0.9
    ratio = drawn.std(1).mean(0) / deviation.mean(0)
    assert (ratio > 0.4).all()
    assert (ratio < 2.5).all()


def test_digits_learn_lessons_that_labels_are_far_from(pool):
    noisy = pool[1][:10] + np.random.default_rng(0).normal(0, 1, (10, 2)) * pool[1].std(0)

    def missed(widest):
        rlm = fit(*pool, noisy, widest=widest)
        _, lessons, errors = rlm._lessons
        mean, deviation = rlm.predict(pool[0].texts, return_std=True)
        off = np.abs(rlm._coordinates(mean) - lessons)
        # What is said of errors is the same.
        assert (errors > 0.1).all()
        assert (deviation.mean(0) > noisy.std(0) * 0.05).all()
        return off.mean()

    assert missed(0.05) < 0.9 * missed(1.0)


def test_missing_labels_are_no_labels(pool):
    values = pool[1][:12].copy()
    values[:6, 1] = np.nan
    rlm = fit(*pool, values, steps=20, passes=3)
    assert np.isfinite(rlm.predict(pool[0].texts)).all()


def test_texts_of_several_kinds_are_read_together(pool, monkeypatch):
    """Every other text has the first number, all have the second; one kind comes first."""
    monkeypatch.setattr("surrogate.rlm.CALIBRATED", 8)
    texts, values = pool
    asked = np.ones(values.shape, dtype=bool)
    asked[::2, 0] = False
    asked[:9, 0] = False
    some = replace(texts, asked=asked)
    labels = np.where(asked, values, np.nan)[:20]
    rlm = fit(some, values, labels)
    predicted, deviations = rlm.predict(texts.texts[20:], return_std=True)
    assert (deviations > 0).all()
    for k in range(2):
        mine = asked[20:, k]
        assert spearmanr(predicted[mine, k], values[20:][mine, k])[0] > 0.7
    with pytest.raises(ValueError, match="text 0 has a label of 'first', which is not asked"):
        fit(some, values, values[:20])
    with pytest.raises(ValueError, match="the pool says of 1 numbers what is asked; there are 2"):
        fit(replace(texts, asked=asked[:, :1]), values, labels)


def test_each_kind_of_texts_has_shares_of_its_own(monkeypatch):
    """Guesses of one kind are right, those of the other noise."""
    weights = []

    class Weighed(ScoreLosses):
        def __init__(self, *arguments, weight, **options):
            super().__init__(*arguments, weight=weight, **options)
            weights.append(weight)

    monkeypatch.setattr("surrogate.teacher.ScoreLosses", Weighed)
    chains = list(itertools.product(OPERATORS, repeat=4))
    texts = [make_text(chain) for chain in chains]
    truth = np.array([chain.count(OPERATORS[2]) for chain in chains]) - 1.0
    right = np.arange(len(texts)) % 2 == 0
    noise = np.random.default_rng(0).normal(size=len(texts))
    guesses = np.stack([np.where(right, truth, noise), np.where(right, truth, np.nan)], 1)
    labels = np.where(np.isnan(guesses), np.nan, truth[:, None])
    tokenizer = Tokenizer.fit(texts)
    batch = Batch.of(tokenizer, tokenizer.programs(texts), torch.device("cpu"))
    sizes = {"vocabulary": len(tokenizer.vocabulary), "signatures": len(tokenizer.signatures)}
    config = ModelConfig(**sizes, number_vocabulary=8, number_length=4, objectives=2)
    teacher = Teacher(config, 1, TrainingConfig(passes=10), seed=0)
    rows = np.arange(len(texts))
    lessons = teacher.lessons(Guesses(guesses, labels - guesses), batch, rows, labels)
    of_right = (lessons.expected - truth[:, None])[right]
    np.testing.assert_allclose(of_right, 0, atol=0.01)
    wrong = lessons.expected[~right, 0] - truth[~right]
    assert np.abs(wrong).mean() < 0.1
    assert np.isnan(lessons.expected[~right, 1]).all()
    # Guesses weigh as much beside the labels as if each kind were learnt alone.
    assert weights == [pytest.approx(TrainingConfig.guessed_labels / (256 + 128) * 2)]


def test_an_interrupted_teacher_goes_on(pool, tmp_path, monkeypatch):
    from surrogate import training

    labels = pool[1][:10]
    sizes = {"steps": 12, "passes": 6, "evaluations": 3}
    whole = fit(*pool, labels, **sizes).predict(pool[0].texts)
    save, saved = training._State.save, []

    def save_then_stop(self, file):
        save(self, file)
        saved.append(file.name)
        if len(saved) == 14:
            raise KeyboardInterrupt

    monkeypatch.setattr(training._State, "save", save_then_stop)
    with pytest.raises(KeyboardInterrupt):
        fit(*pool, labels, tmp_path / "fit", **sizes)
    assert saved[-1] == "scorer0.1.pt"
    monkeypatch.setattr(training._State, "save", save)
    again = fit(*pool, labels, tmp_path / "fit", **sizes).predict(pool[0].texts)
    np.testing.assert_array_equal(whole, again)
    assert not (tmp_path / "fit").exists()


def test_training_goes_on_from_an_earlier_model(pool):
    texts, values = pool[0].texts, pool[1]
    sizes = {"steps": 100, "passes": 30, "learning_rate": 4e-3, "again": 0.5}
    # The process is learnt anew each time.
    sizes |= {"guess_share": 0.0, "cost_share": 0.0, "guessed_labels": 0.0}

    def new(name="second"):
        training = TrainingConfig(**sizes)
        return RLM(["first", name], simplified=["first"], members=1, training=training)

    def rho(rlm):
        return spearmanr(rlm.predict(texts[20:])[:, 1], values[20:, 1])[0]

    earlier = new().fit(texts[:16], values[:16], pool=pool[0], progress=False)
    assert [records[-1]["step"] for records in earlier.history] == [100]
    labels = texts[:20], values[:20]
    later = new().fit(*labels, pool=pool[0], start=earlier, progress=False)
    assert later.history[0][-1]["step"] == 10
    few = TrainingConfig(**{**sizes, "steps": 10, "passes": 3})
    scratch = RLM(["first", "second"], simplified=["first"], members=1, training=few)
    scratch.fit(*labels, pool=pool[0], progress=False)
    assert rho(later) > rho(scratch) + 0.1
    again = new().fit(*labels, pool=pool[0], start=earlier, progress=False)
    np.testing.assert_array_equal(again.predict(texts), later.predict(texts))
    with pytest.raises(ValueError, match="only with a pool"):
        new().fit(*labels, start=earlier, progress=False)
    more = new()
    more.members = 2
    for other in (new("third"), more):
        with pytest.raises(ValueError, match="same kind"):
            other.fit(*labels, pool=pool[0], start=earlier, progress=False)


def test_errors_are_those_of_unseen_labels_where_there_are_many():
    residuals = np.full((400, 2), 0.1)
    nothing = np.full((400, 2), np.nan)
    np.testing.assert_allclose(_errors(residuals, nothing), 0.1)
    unseen = nothing.copy()
    unseen[:40, 0] = 0.03
    first, second = _errors(residuals, unseen)
    assert 0.03 < first < 0.06
    assert second == pytest.approx(0.1)


def test_what_comes_nearer_to_unseen_labels_has_the_larger_share():
    rng = np.random.default_rng(0)
    residuals = rng.normal(0, 0.1, (100, 5))
    left = residuals * [1, 5, 0.2, 1, 5]
    left[10:] = np.nan
    left[:, 4] = np.nan
    residuals[20:] *= 7  # no scorer says how hard these are
    usual = np.array([0.25, 0.25, 0.25, 1.0, 0.5])
    shares = _shares(usual, residuals, left)
    np.testing.assert_allclose(shares[[0, 3, 4]], [0.25, 1.0, 0.5], atol=0.02)
    assert shares[1] > 0.99
    assert shares[2] < 0.01


def test_few_unseen_labels_leave_shares_near_the_usual_ones():
    residuals, left = np.random.default_rng(0).normal(0, 0.1, (2, 4000, 20))
    left *= 2
    usual = np.full(20, 0.25)
    # Independent errors are least with weights that are inverse to their variances.
    np.testing.assert_allclose(_shares(usual, residuals, left), 0.8, atol=0.03)
    left[5:] = np.nan
    assert 0.3 < _shares(usual, residuals, left).mean() < 0.6


def test_correlations_are_found_shrunk_and_always_possible():
    rng = np.random.default_rng(0)
    both = rng.normal(size=(500, 1))
    residuals = 0.1 * np.hstack([both, both + 0.3 * rng.normal(size=(500, 1)), -both])
    found = _correlation(residuals)
    assert 0.85 < found[0, 1] < 1
    assert found[0, 2] < -0.85
    assert abs(_correlation(residuals[:5])[0, 1]) < 0.5
    # Pairs that never meet, and some that contradict one another.
    residuals[:200, 0] = residuals[200:, 2] = np.nan
    found = _correlation(residuals)
    np.testing.assert_allclose(np.diag(found), 1)
    np.linalg.cholesky(found)


def test_the_first_scorer_alone_keeps_labels_back(labelled, monkeypatch):
    """A tenth of them, which the others see, so that errors are those of labels not seen."""
    from surrogate import teacher

    texts, values = labelled
    rows = np.unique(texts, return_index=True)[1]
    texts = [texts[row] for row in rows]
    monkeypatch.setattr(teacher, "LEAST_HELD_OUT", 2)
    shown, losses = [], teacher.ScoreLosses

    def remember(scorer, batch, guesses, rows, labels, **options):
        shown.append(np.isnan(labels).sum(0).tolist())
        return losses(scorer, batch, guesses, rows, labels, **options)

    monkeypatch.setattr(teacher, "ScoreLosses", remember)
    pool = Pool(texts, np.empty((len(texts), 0)))
    fit(pool, values[rows], values[rows][:40], steps=2, passes=1)
    assert shown == [[4], [0], [4], [0]]
