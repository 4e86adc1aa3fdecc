import json

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy.stats import kendalltau, spearmanr

from nas_rlm.benchmarks import nasbench201
from search_spaces import get_space
from surrogate import (
    RLM,
    CheckpointError,
    NumberFormat,
    Pool,
    TextError,
    Tokenizer,
    TrainingConfig,
)

QUICK = TrainingConfig(steps=60, beyond=0.3)


@pytest.fixture(scope="module")
def fitted(labelled):
    return RLM(["first", "second"], members=2, training=QUICK).fit(*labelled, progress=False)


@pytest.mark.parametrize(("rank_share", "straight"), [(0.0, True), (0.5, False)])
def test_numbers_that_are_sums_are_learnt_as_they_are(labelled, rank_share, straight):
    texts, values = labelled
    training = TrainingConfig(steps=1, rank_share=rank_share)
    rlm = RLM(["first", "second"], members=1, training=training)
    scale = rlm.fit(texts, values, progress=False)._scales[0]
    slopes = np.diff(scale.coordinates[1:-1]) / np.diff(scale.knots[1:-1])
    assert np.allclose(slopes, 1 / np.ptp(values[:, 0])) == straight


def test_it_learns(fitted, labelled):
    texts, values = labelled
    predicted = fitted.predict(texts)
    assert predicted.shape == (60, 2)
    for k in range(2):
        assert spearmanr(predicted[:, k], values[:, k])[0] > 0.9


def test_deviations_are_positive_and_members_average_to_the_prediction(fitted, labelled):
    texts = labelled[0][:9]
    mean, deviation = fitted.predict(texts, return_std=True)
    assert (deviation > 0).all()
    members = fitted.predict_members(texts)
    assert members.shape == (9, 2, 2)
    assert (members.min(1) <= mean + 1e-9).all()
    assert (mean <= members.max(1) + 1e-9).all()


def test_samples_are_joint_and_seeded(fitted, labelled):
    texts = labelled[0][:9]
    drawn = fitted.sample(texts, 33, seed=1)
    assert drawn.shape == (9, 33, 2)
    np.testing.assert_array_equal(drawn, fitted.sample(texts, 33, seed=1))
    assert (drawn != fitted.sample(texts, 33, seed=2)).any()
    spread = np.ptp(labelled[1], axis=0)
    assert (np.abs(np.median(drawn, axis=1) - fitted.predict(texts)) < 0.35 * spread).all()


def test_greedy_numbers_are_written_with_the_formats_digits(fitted, labelled):
    texts, values = labelled
    written = fitted.greedy(texts, batch_size=25)
    assert written.shape == (60, 2, 2)
    assert spearmanr(written[:, 0, 0], values[:, 0])[0] > 0.7
    np.testing.assert_array_equal(fitted.number.decode(fitted.number.encode(written)), written)


def test_draws_surround_the_expectation(fitted, labelled):
    texts = labelled[0][:9]
    draws = fitted.draw(texts, 200, seed=1)
    assert draws.shape == (9, 400, 2)
    np.testing.assert_allclose(np.median(draws, 1), fitted.predict(texts), rtol=0.1)
    low, high = fitted.quantiles(texts, [0.1, 0.9]).swapaxes(0, 1)
    within = (draws > low[:, None]) & (draws < high[:, None])
    assert (np.abs(within.mean((0, 1)) - 0.8) < 0.15).all()


def test_draws_lean_on_what_was_to_be_learnt(labelled):
    texts, values = (list(dict.fromkeys(labelled[0])), labelled[1])
    values = values[[labelled[0].index(text) for text in texts]]
    pool = Pool(texts[:40], np.empty((40, 0)))
    training = TrainingConfig(steps=5, passes=5, beyond=0.5)
    rlm = RLM(["first", "second"], members=1, training=training)
    rlm.fit(texts[:20], values[:20], pool=pool, progress=False)
    place, lessons, _ = rlm._lessons
    assert list(place) == texts[:40]
    middle = rlm._coordinates(np.median(rlm.draw(texts, 256), 1))
    digits = rlm._coordinates(rlm.predict(texts))
    assert np.abs(digits[:40] - lessons).max() > 0.1
    np.testing.assert_allclose(middle[:40], (digits[:40] + lessons) / 2, atol=0.02)
    np.testing.assert_allclose(middle[40:], digits[40:], atol=0.02)
    quick = rlm._coordinates(np.median(rlm.draw(texts, 256, quickly=True), 1))
    np.testing.assert_allclose(quick[:40], lessons, atol=0.02)
    np.testing.assert_allclose(quick[40:], digits[40:], atol=0.02)


def test_the_same_seed_gives_the_same_model(labelled):
    texts, values = labelled
    state = torch.get_rng_state()
    models = [
        RLM(["a", "b"], members=1, seed=seed, training=TrainingConfig(steps=10)).fit(
            texts, values, progress=False
        )
        for seed in (3, 3, 4)
    ]
    first, same, other = (model.predict(texts) for model in models)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    assert torch.equal(torch.get_rng_state(), state), "the user's random state was touched"


def test_predictions_do_not_depend_on_the_batch(fitted, labelled):
    texts = labelled[0]
    np.testing.assert_allclose(
        fitted.predict(texts), fitted.predict(texts, batch_size=7), rtol=1e-4
    )


def test_predictions_do_not_depend_on_the_other_texts():
    """Not even where a cell lacks the longest signature of all."""
    space = get_space("nasbench201")
    rows = np.random.default_rng(1).permutation(space.size)[:40]
    cells = list(space)
    texts = [space.onnx_text(cells[row]) for row in rows]
    values = np.column_stack([rows + 1.0, rows % 97 + 1.0])
    rlm = RLM(["a", "b"], members=1, training=TrainingConfig(steps=10))
    together = rlm.fit(texts, values, progress=False).predict(texts)
    alone = np.concatenate([rlm.predict([text]) for text in texts])
    np.testing.assert_allclose(alone, together, rtol=1e-4)


def test_texts_asked_for_again_are_not_read_again(fitted, labelled, monkeypatch):
    texts = list(labelled[0])
    predicted = fitted.predict(texts)
    fitted.predict(texts[:6])
    read = []
    programs = Tokenizer.programs
    monkeypatch.setattr(
        Tokenizer, "programs", lambda self, texts: read.append(texts) or programs(self, texts)
    )
    np.testing.assert_array_equal(fitted.predict(tuple(texts)), predicted)
    assert not read
    texts[0], texts[1] = texts[1], texts[0]
    np.testing.assert_allclose(fitted.predict(texts)[:2], predicted[[1, 0]], rtol=1e-6)
    np.testing.assert_allclose(fitted.predict(texts[3:5]), predicted[3:5], rtol=1e-6)
    assert not read
    other = texts[0].replace("Relu", "Elu")
    fitted.predict([other])
    assert read == [[other]]


def test_a_saved_model_predicts_the_same(fitted, labelled, tmp_path):
    texts = labelled[0]
    for _ in range(2):  # saving again replaces the model
        fitted.save(tmp_path / "models" / "one")
    loaded = RLM.load(tmp_path / "models" / "one")
    np.testing.assert_array_equal(loaded.predict(texts), fitted.predict(texts))
    assert loaded.objectives == ("first", "second")
    assert sorted(p.name for p in (tmp_path / "models" / "one").iterdir()) == [
        *("rlm.json", "tokenizer.json", "weights.safetensors")
    ]
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["one"]


def _edit(name, change):
    def spoil(folder):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return spoil


def _truncate(folder):
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _drop_a_weight(folder):
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    weights.popitem()
    safetensors.torch.save_file(weights, folder / "weights.safetensors")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_edit("rlm.json", lambda c: c.update(version=99)), "version 99"),
        (_edit("rlm.json", lambda c: c.pop("scales")), "damaged"),
        (_edit("rlm.json", lambda c: c["sizes"].update(dim=32)), "weights do not match"),
        (_edit("rlm.json", lambda c: c["training"].update(stepz=1)), "damaged"),
        (_edit("tokenizer.json", lambda c: c["signatures"].reverse()), "tokenizer.json is not"),
        (_edit("tokenizer.json", lambda c: c.pop("words")), "damaged"),
        (lambda folder: (folder / "rlm.json").write_text("[]"), "version None"),
        (lambda folder: (folder / "rlm.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "missing"),
        (_truncate, "damaged"),
        (_drop_a_weight, "weights do not match"),
    ],
)
def test_what_does_not_match_is_refused(fitted, tmp_path, spoil, message):
    fitted.save(tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(CheckpointError, match=message):
        RLM.load(tmp_path / "model")


def test_saving_does_not_overwrite_something_else(fitted, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="something else"):
        fitted.save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v[:-1], "shape"),
        (lambda v: v[:, :1], "shape"),
        (lambda v: np.where(np.arange(len(v))[:, None] < 3, v, np.nan), "3 labels; at least 4"),
        (lambda v: np.where(v == v.max(), np.inf, v), "label .* is inf"),
        (lambda v: v * [[1, 0]], "nothing to learn"),
        (lambda v: v * 1e12, "too large"),
    ],
)
def test_bad_labels_are_refused(labelled, spoil, message):
    texts, values = labelled
    with pytest.raises(ValueError, match=message):
        RLM(["a", "b"], training=QUICK).fit(texts, spoil(values), progress=False)


def test_bad_uses_are_refused(fitted, labelled):
    texts, values = labelled
    with pytest.raises(ValueError, match="distinct"):
        RLM(["a", "a"])
    with pytest.raises(ValueError, match="members"):
        RLM(["a"], members=0)
    with pytest.raises(ValueError, match="at least 4"):
        RLM(["a", "b"]).fit(texts[:3], values[:3])
    with pytest.raises(ValueError, match="not one text"):
        RLM(["a", "b"]).fit(texts[0], values)
    with pytest.raises(RuntimeError, match="not trained"):
        RLM(["a"]).predict(texts)
    with pytest.raises(ValueError, match="samples"):
        fitted.sample(texts, 0)
    with pytest.raises(TextError):
        fitted.predict(["not ONNX text"])
    assert fitted.predict([]).shape == (0, 2)


def test_an_interrupted_fit_resumes_in_the_right_member(labelled, tmp_path, monkeypatch):
    texts, values = labelled
    options = {"members": 2, "training": TrainingConfig(steps=20, evaluations=4)}
    whole = RLM(["a", "b"], **options).fit(texts, values, progress=False)
    from surrogate import rlm as module

    original, calls = module.train, []

    def interrupted(*args, **kwargs):
        calls.append(kwargs["checkpoint"].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RLM(["a", "b"], **options).fit(texts, values, progress=False, checkpoint=tmp_path / "c")
    resumed = RLM(["a", "b"], **options).fit(
        texts, values, progress=False, checkpoint=tmp_path / "c"
    )
    np.testing.assert_array_equal(resumed.predict(texts), whole.predict(texts))
    assert not (tmp_path / "c").exists()


def test_it_beats_a_constant_and_a_ridge_on_real_architectures():
    """NAS-Bench-201's CIFAR-10 accuracy with 200 labels, tested on 1,000 other cells."""
    benchmark = nasbench201("cifar10", ("gpu",))
    rows = np.random.default_rng(0).permutation(len(benchmark.architectures))[:1200]
    texts = [benchmark.space.onnx_text(benchmark.architectures[row]) for row in rows]
    values = benchmark.values[rows]
    choices = benchmark.space.distributions
    onehot = np.array(
        [
            [
                benchmark.architectures[row][name] == choice
                for name, distribution in choices.items()
                for choice in distribution.choices
            ]
            for row in rows
        ],
        dtype=float,
    )
    train, test = slice(0, 200), slice(200, None)
    gram = onehot[train].T @ onehot[train] + np.eye(onehot.shape[1])
    target = values[train, 0] - values[train, 0].mean()
    ridge = onehot[test] @ np.linalg.solve(gram, onehot[train].T @ target)
    rlm = RLM(["accuracy", "gpu"], members=1, training=TrainingConfig(steps=200))
    predicted = rlm.fit(texts[train], values[train], progress=False).predict(texts[test])
    tau = kendalltau(predicted[:, 0], values[test, 0])[0]
    assert tau > kendalltau(ridge, values[test, 0])[0] + 0.1
    assert tau > 0.7
    error = np.abs(predicted - values[test]).mean(0)
    assert (error < 0.7 * np.abs(values[test] - np.median(values[train], 0)).mean(0)).all()


def test_numbers_may_be_written_with_other_digits(labelled):
    texts, values = labelled
    rlm = RLM(["a", "b"], members=1, number=NumberFormat(digits=2), training=QUICK)
    assert rlm.fit(texts, values, progress=False).predict(texts).shape == (60, 2)


def test_missing_labels_teach_what_they_can(labelled):
    texts, values = labelled
    holes = values.copy()
    holes[::2, 0] = np.nan
    holes[1::3, 1] = np.nan
    rlm = RLM(["first", "second"], members=1, training=QUICK).fit(texts, holes, progress=False)
    for k in range(2):
        assert spearmanr(rlm.predict(texts)[:, k], values[:, k])[0] > 0.8


def test_what_is_simplified_does_not_read_dead_statements():
    texts, dead = [], "net (x) => (v1) {\n  v1 = A (x)\n  v2 = B (v1)\n}\n"
    for first in "AB":
        for second in "AB":
            body = f"  v1 = {first} (x)\n  v2 = {second} (v1)\n"
            texts += [f"net (x) => ({out}) {{\n{body}}}\n" for out in ("v1", "v2")]
    values = np.column_stack([np.arange(8.0), np.arange(8.0) % 3])
    rlm = RLM(["first", "second"], simplified=["first"], members=1, training=QUICK)
    rlm.fit(texts, values, progress=False)
    other = dead.replace("B (v1)", "A (v1)")
    one, two = rlm.predict([dead, other])
    assert one[0] == two[0]
    assert one[1] != two[1]
    with pytest.raises(ValueError, match="simplified"):
        RLM(["first"], simplified=["second"])


def test_quantiles_increase_around_the_expectation(fitted, labelled):
    texts = labelled[0][:9]
    quantiles = fitted.quantiles(texts, [0.1, 0.5, 0.9])
    assert quantiles.shape == (9, 3, 2)
    assert (np.diff(quantiles, axis=1) > 0).all()
    np.testing.assert_allclose(quantiles[:, 1], fitted.predict(texts))
    with pytest.raises(ValueError, match="between 0 and 1"):
        fitted.quantiles(texts, [0.0, 0.5])


def test_any_objectives_in_any_order(fitted, labelled):
    texts = labelled[0][:9]
    swapped = ["second", "first"]
    predicted = fitted.predict(texts)
    np.testing.assert_allclose(fitted.predict(texts, objectives=swapped), predicted[:, ::-1])
    alone = fitted.predict(texts, objectives=["second"])
    np.testing.assert_allclose(alone, predicted[:, 1:], rtol=1e-6)
    drawn = fitted.sample(texts, 40, objectives=swapped)
    spread = np.ptp(labelled[1], axis=0)[::-1]
    assert drawn.shape == (9, 40, 2)
    assert (np.abs(np.median(drawn, axis=1) - predicted[:, ::-1]) < 0.35 * spread).all()
    for ask in (fitted.predict, lambda texts, **options: fitted.sample(texts, 3, **options)):
        with pytest.raises(ValueError, match="not trained on 'third'"):
            ask(texts, objectives=["third"])
