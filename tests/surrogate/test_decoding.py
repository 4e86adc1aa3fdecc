"""The cache and the tree must give what running the whole model on every prefix gives."""

import itertools

import numpy as np
import pytest
import torch

from surrogate import RLM, NumberFormat, TrainingConfig, decoding
from surrogate.scale import Scale


def step_log_probabilities(model, batch, number, tokens, hidden):
    """Log-probabilities of each token of (n, k, l), without a cache."""
    visible = torch.full(tokens.shape[:2], not hidden)
    logits = model(batch, tokens, visible, torch.arange(tokens.shape[1]))
    allowed = torch.from_numpy(number.grammar)
    return logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)


@torch.inference_mode()
def test_greedy_equals_a_reference_without_cache(tiny):
    model, batch, number = tiny
    n, k, length = len(batch), model.config.objectives, number.length
    tokens = torch.zeros(n, k, length, dtype=torch.long)
    for i, j in itertools.product(range(k), range(length)):
        tokens[:, i, j] = step_log_probabilities(model, batch, number, tokens, False)[
            :, i, j
        ].argmax(-1)
    cached = decoding.sample(model, batch, number, 1, None)
    torch.testing.assert_close(cached[:, 0], tokens)


@torch.inference_mode()
def test_samples_follow_the_models_distribution(tiny):
    model, batch, number = tiny
    drawn = decoding.sample(model, batch[:1], number, 4000, torch.Generator().manual_seed(0))
    number.decode(drawn.numpy())  # every sample is a number
    first = drawn[0, :, 0]
    expected = step_log_probabilities(model, batch[:1], number, drawn[:, 0], False).exp()
    share = torch.bincount(first[:, 1], minlength=expected.shape[-1]) / len(first)
    by_sign = [
        step_log_probabilities(
            model, batch[:1], number, torch.tensor([[[s, 0, 0, 0], [0, 0, 0, 0]]]), False
        ).exp()[0, 0]
        for s in (0, 1)
    ]
    exponent = sum(by_sign[0][0, s] * by_sign[s][1] for s in (0, 1))
    torch.testing.assert_close(share, exponent, atol=0.03, rtol=0)


@torch.inference_mode()
def test_later_numbers_depend_on_earlier_ones_only_when_seen(tiny):
    model, batch, number = tiny
    one = torch.zeros(len(batch), 2, number.length, dtype=torch.long)
    other = one.clone()
    other[:, 0, 0] = 1
    for hidden in (False, True):
        first = step_log_probabilities(model, batch, number, one, hidden)[:, 1]
        second = step_log_probabilities(model, batch, number, other, hidden)[:, 1]
        assert torch.equal(first, second) == hidden


@torch.inference_mode()
def test_expectation_equals_the_sum_over_all_numbers(tiny, monkeypatch):
    model, batch, number = tiny
    monkeypatch.setattr(decoding, "BRANCHES", 10**6)
    monkeypatch.setattr(torch.Tensor, "topk", _up_to_all(torch.Tensor.topk))
    scales = [Scale.fit(np.linspace(1, 60, 50)), Scale.fit(np.geomspace(0.2, 80, 50))]
    # The tree ends one digit early, and after the sign only the likelier branch stays open.
    open_ends = [np.flatnonzero(row) for row in number.grammar[:-1]]
    open_ends[0] = np.array([0])
    model.logits.bias[0] += 1000.0
    ends = np.array(list(itertools.product(*open_ends)))
    tokens = torch.zeros(len(ends), 2, number.length, dtype=torch.long)
    moments = decoding.expect(model, batch, number, scales)
    for k, scale in enumerate(scales):
        tokens[:, k, :-1] = torch.from_numpy(ends)
        middle = np.array([scale.middle(number, end[:-1])[end[-1]] for end in ends])
        for i in range(len(batch)):
            row = batch[torch.full((len(ends),), i)]
            log_p = step_log_probabilities(model, row, number, tokens, True)[:, k]
            log_p = log_p.gather(-1, tokens[:, k, :, None])[:, :-1, 0]
            expected = (log_p.sum(-1).exp().double().numpy() * middle).sum()
            assert moments[i, k, 0].item() == pytest.approx(expected, abs=1e-4)


def _up_to_all(topk):
    return lambda self, k, dim=-1: topk(self, min(k, self.shape[dim]), dim=dim)


def test_two_branches_are_close_to_all_of_them_for_a_trained_model(labelled):
    texts, values = labelled
    rlm = RLM(["a", "b"], members=1, training=TrainingConfig(steps=60)).fit(
        texts, values, progress=False
    )
    near = rlm.predict(texts)
    original, decoding.BRANCHES = decoding.BRANCHES, 8
    try:
        exact = rlm.predict(texts)
    finally:
        decoding.BRANCHES = original
    assert np.abs(near - exact).max() < 0.05 * np.ptp(values[:, 0])


@pytest.mark.parametrize("beyond", [0.1, 0.575, 1.0])
def test_what_lies_beyond_the_labels_is_expected_as_far_beyond_as_it_may(beyond):
    number = NumberFormat(digits=2)
    scale = Scale.fit(np.linspace(40, 60, 9), beyond=beyond)
    prefix = number.encode(np.array([75.0]))[:, :-1]
    branches = scale.middle(number, prefix)[0, -10:]
    # From 70 to 79, each a twentieth of the labels' range wide.
    np.testing.assert_allclose(branches, np.minimum(1.5 + 0.05 * np.arange(10), 1 + beyond))
