import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, spearmanr

from surrogate import RLM, Pool, TrainingConfig, prior
from surrogate.prior import GaussianProcess, expect, guess
from surrogate.scale import Scale, to_coordinates
from tests.surrogate.conftest import make_text

TREND = [True, False]
"""The first number follows the trend."""
BOTH = [False, False]
"""Both depend on the whole program."""


@pytest.fixture(scope="module")
def pool(labelled):
    texts, values = labelled
    texts = list(dict.fromkeys(texts))
    rows = [labelled[0].index(text) for text in texts]
    hints = np.column_stack([values[rows, 0], np.arange(len(texts)) % 7.0])
    return Pool(texts, hints, trend=(0,)), values[rows]


@pytest.fixture(scope="module")
def features(pool):
    return pool[0].features


def test_a_process_interpolates_and_knows_its_error(monkeypatch):
    # So few steps start from noise and stop before it is gone; many features need no more.
    monkeypatch.setattr(prior, "FIT_STEPS", 150)
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)[:, None]
    rows = np.arange(0, 40, 3)
    labels = np.sin(2 * x[:, 0].numpy())
    process = GaussianProcess({"x": x}, torch.zeros(61)).fit(rows, labels[rows])
    np.testing.assert_allclose(process.predict()[:38], labels[:38], atol=0.15)
    smooth = process.leave_one_out()
    noisy = labels + np.random.default_rng(0).normal(0, 0.5, 61)
    rough = GaussianProcess({"x": x}, torch.zeros(61)).fit(rows, noisy[rows]).leave_one_out()
    assert np.abs(smooth[1:-1]).mean() < 0.3 * np.abs(rough[1:-1]).mean()


def test_rounding_leaves_covariances_positive():
    # A number without noise, such as a simulated latency, leaves no room for less.
    x = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (300, 40))).float()
    process = GaussianProcess({"x": x}, torch.zeros(300))
    products, _ = process._parts(slice(300), slice(300), torch.float64)
    assert torch.linalg.eigvalsh(products[0]).min() > -1e-9


def test_leaving_one_out_is_what_it_says():
    x = torch.linspace(-3, 3, 12, dtype=torch.float64)[:, None]
    labels = np.cos(x[:, 0].numpy()) + 0.1 * np.arange(12) % 0.3
    process = GaussianProcess({"x": x}, torch.zeros(12)).fit(np.arange(12), labels)
    y = torch.from_numpy((labels - process.mean) / process.deviation)
    with torch.no_grad():
        kernel = _covariance(process, 12)
        rest = [i for i in range(12) if i != 4]
        said = kernel[4, rest] @ torch.linalg.solve(kernel[rest][:, rest], y[rest])
        error = (y[4] - said).item() * process.deviation
    assert process.leave_one_out()[4] == pytest.approx(error)


def _covariance(process, n):
    """Of the labels of the first n texts, with their noise."""
    return process._kernel(*process._parts(slice(n), slice(n), torch.float64)) + process._noise(n)


def test_what_is_fitted_is_the_likeliest(monkeypatch):
    monkeypatch.setattr(prior, "FIT_STEPS", 3000)
    monkeypatch.setattr(prior, "FIT_RATE", 0.03)
    x = torch.linspace(-3, 3, 20, dtype=torch.float64)[:, None]
    labels = np.sin(2 * x[:, 0].numpy()) + np.random.default_rng(0).normal(0, 0.9, 20)
    trend = x[:, 0] / x.std()
    process = GaussianProcess({"x": x}, trend).fit(np.arange(20), labels)
    y = (labels - process.mean) / process.deviation

    def unlikely():
        with torch.no_grad():
            mean = process.slope * trend
            covariance = _covariance(process, 20)
        penalties = (
            0.02 * ((process.amplitude - process.typical) ** 2).sum()
            + 0.5 * (process.length**2).sum()
            + (process.noise + 2.5) ** 2
            + 5 * (process.slope - prior.TREND) ** 2
        )
        return penalties.item() - multivariate_normal.logpdf(y, mean, covariance)

    best = unlikely()
    for parameter in (process.amplitude, process.length, process.noise, process.slope):
        for nudge in (-0.01, 0.01):
            with torch.no_grad():
                parameter += nudge
                assert unlikely() > best
                parameter -= nudge


def coordinates(values):
    """Those of labels, NaN where missing, and the scales they are on."""
    scales = [Scale.fit(column[~np.isnan(column)]) for column in values.T]
    return to_coordinates(scales, values), scales


def test_a_trend_speaks_where_labels_do_not(features, pool):
    values = pool[1]
    few = np.arange(5)
    labels = values[few]
    guesses = expect(features, few, *coordinates(labels), [True, False], -4.0, TREND)
    assert guesses.means.shape == values.shape
    assert guesses.residuals.shape == labels.shape
    assert (np.abs(guesses.residuals) > 0).all()
    assert spearmanr(guesses.means[:, 0], values[:, 0])[0] > 0.9


@pytest.mark.parametrize("sum_of", ["values", "coordinates"])
def test_sums_are_learnt_as_sums(features, sum_of):
    """Whether the values are sums of something, or their coordinates are."""
    rng = np.random.default_rng(0)
    sums = features.counts.double().numpy() @ rng.normal(size=features.counts.shape[1])
    sums = (sums - sums.min()) / np.ptp(sums)
    values = (sums if sum_of == "values" else Scale.fit(np.exp(5 * sums)).inverse(sums))[:, None]
    rows = np.arange(30)
    labels, scales = coordinates(values[rows])
    guesses = expect(features, rows, labels, scales, [False], -4.0, [False])
    alone = GaussianProcess(features.groups(False), torch.zeros(len(values)))
    for learnt, back in ((values[rows, 0], scales[0]), (labels[:, 0], np.asarray)):
        alone.fit(rows, learnt)
        off = labels[:, 0] - back(learnt - alone.leave_one_out())
        assert (guesses.residuals**2).mean() <= (off**2).mean() + 1e-12
    assert spearmanr(guesses.means[:, 0], values[:, 0])[0] > 0.95


@pytest.mark.parametrize("simplified", [True, False])
def test_words_of_operators_are_counted(monkeypatch, simplified):
    """Where nearly every operator is unlike all others but for a word in its name."""
    rng = np.random.default_rng(0)
    heavy, size = rng.integers(2, size=(120, 8)), rng.integers(400, size=(120, 8))
    texts = [
        make_text([f"nas.{('Plain', 'Heavy')[h]}Conv <m={m}>" for h, m in zip(*row, strict=True)])
        for row in zip(heavy, size, strict=True)
    ]
    features = Pool(texts, np.empty((120, 0))).features
    values = heavy.sum(1, keepdims=True).astype(float)
    rows = np.arange(40)

    def rho():
        labels, scales = coordinates(values[rows])
        guesses = expect(features, rows, labels, scales, [simplified], -4.0, [False])
        return spearmanr(guesses.means[40:, 0], values[40:, 0])[0]

    assert rho() > 0.95

    def some(self, *_):
        return {"wordings": self.wordings, "counts": self.counts}

    monkeypatch.setattr(features.__class__, "groups", some)
    assert rho() < 0.9, "without them it is not known"


def test_what_other_models_say_is_trusted_with_few_labels(monkeypatch, pool):
    texts = pool[0].texts
    said = np.random.default_rng(0).normal(size=(len(texts), 6))
    features = Pool(texts, np.empty((len(texts), 0)), earlier=said).features
    rows = np.arange(8)

    def mean_rho():
        found = []
        for seed in range(6):
            rng = np.random.default_rng(seed)
            values = said @ rng.normal(size=6) + rng.normal(0, 0.5, len(texts))
            guesses = expect(
                features, rows, values[rows, None], None, [False], -4.0, [False], True
            )
            found.append(spearmanr(guesses.means[8:, 0], values[8:])[0])
        return np.mean(found)

    trusted = mean_rho()
    assert trusted > 0.8
    for name, usual in (("SURE", prior.UNSURE), ("EARLIER", -4.0)):
        with monkeypatch.context() as patch:
            patch.setattr(prior, name, usual)
            assert mean_rho() < trusted - 0.02


def test_missing_labels_are_left_out(features, pool):
    values = pool[1].copy()
    rows = np.arange(30)
    whole = expect(features, rows, *coordinates(values[rows]), BOTH, -4.0, TREND).means
    values[:10, 1] = np.nan
    part = expect(features, rows, *coordinates(values[rows]), BOTH, -4.0, TREND).means
    np.testing.assert_array_equal(whole[:, 0], part[:, 0])
    rest = expect(features, rows[10:], *coordinates(values[10:30]), BOTH, -4.0, TREND).means
    np.testing.assert_array_equal(part[:, 1], rest[:, 1])


@pytest.mark.parametrize("labels_of_even", [15, 5])
def test_kinds_of_texts_are_guessed_apart(pool, labels_of_even):
    """As if there were no others, but for numbers of which a kind has few labels."""
    texts, values = pool
    asked = np.ones(values.shape, dtype=bool)
    asked[::2, 0] = False
    everything = np.arange(len(values))
    even, odd = everything[::2], everything[1::2]
    rows = np.sort(np.concatenate([even[:labels_of_even], odd[:15]]))
    _, scales = coordinates(values[rows])
    labels = to_coordinates(scales, values)

    def guessed(some, asked=None):
        here = rows[np.isin(rows, some)]
        shown = labels[here]
        if asked is not None:
            shown = np.where(asked[np.searchsorted(some, here)], shown, np.nan)
        return guess(
            Pool([texts.texts[row] for row in some], texts.hints[some], (0,), asked=asked),
            np.searchsorted(some, here),
            shown,
            scales,
            [True, False],
            -4.0,
        )

    both = guessed(everything, asked)
    np.testing.assert_array_equal(np.isnan(both.means), ~asked)
    np.testing.assert_array_equal(np.isnan(both.residuals), ~asked[rows])
    np.testing.assert_allclose(both.means[odd], guessed(odd).means, rtol=1e-6)
    few = labels_of_even < prior.LEAST_OF_KIND
    expected = guessed(everything).means[even] if few else guessed(even).means
    np.testing.assert_allclose(both.means[even, 1], expected[:, 1], rtol=1e-6)


def test_a_pool_refuses_what_does_not_belong_together(labelled):
    text = labelled[0][0]
    with pytest.raises(ValueError, match="twice"):
        Pool([text, text], np.zeros((2, 1)))
    with pytest.raises(ValueError, match="hints must have shape"):
        Pool([text], np.zeros((2, 1)))
    with pytest.raises(ValueError, match="trend"):
        Pool([text], np.zeros((1, 1)), trend=(1,))


def test_a_pool_helps_where_labels_are_few(pool):
    unlabelled, values = pool
    few = np.arange(6)
    texts = list(unlabelled.texts)
    quick = TrainingConfig(steps=60, held_out=0)
    rlm = RLM(["first", "second"], members=1, training=quick)
    labels = [texts[i] for i in few]
    alone = rlm.fit(labels, values[few], progress=False).predict(texts)
    helped = rlm.fit(labels, values[few], pool=unlabelled, progress=False).predict(texts)
    rho = [spearmanr(predicted[:, 0], values[:, 0])[0] for predicted in (alone, helped)]
    assert rho[1] > max(rho[0], 0.8)
    assert rlm.predict_members(texts).shape[1] == 1  # only the student is left


def test_every_labelled_text_must_be_in_the_pool(pool):
    stranger = pool[0].texts[0].replace("net", "other")
    texts = [stranger, *pool[0].texts[:5]]
    with pytest.raises(ValueError, match="text 0 is not in the pool"):
        RLM(["first"]).fit(texts, np.arange(6.0)[:, None], pool=pool[0], progress=False)
