import numpy as np
import pytest
import torch

from surrogate.graphs import INPUT, OUTPUT
from surrogate.model import Batch, ModelConfig
from surrogate.scorer import ScoreLosses, Scorer, curve, hinge, pairwise_loss, scores
from surrogate.text import Tokenizer
from surrogate.training import TrainingConfig, train


def test_scores_become_labels_without_losing_their_order():
    scored = np.array([0.3, 0.1, 0.1, 0.9, 0.5, 0.7])
    knots = curve(scored, np.array([70.0, 10.0, 30.0, 95.0, np.nan, 90.0]))
    at = np.array([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
    labels = np.interp(at, *knots)
    assert (np.diff(labels) > 0).all()
    np.testing.assert_allclose(labels[[1, 2, 4, 5]], [20, 70, 90, 95])


def test_the_pairwise_loss_asks_for_the_margin_and_no_more():
    labels = torch.tensor([1.0, 3.0, 2.0])
    assert pairwise_loss(labels / 10, labels) == pytest.approx(0.0, abs=1e-6)
    assert pairwise_loss(torch.zeros(3), labels) == pytest.approx(0.1)
    assert pairwise_loss(-labels, labels) > 1
    assert hinge(torch.tensor(0.04)) == pytest.approx(0.06)


@pytest.mark.parametrize("ranked", [True, False])
def test_a_scorer_learns_from_labels_and_guesses(labelled, ranked):
    """Ten labels of one number, guesses for all: the order of the rest comes from both."""
    texts, values = labelled
    tokenizer = Tokenizer.fit(texts)
    batch = Batch.of(tokenizer, tokenizer.programs(texts), torch.device("cpu"))
    coordinates = (values - values.min(0)) / np.ptp(values, axis=0)
    rows = np.arange(10)
    labels = coordinates[rows]
    labels[3, 0] = np.nan
    config = ModelConfig(
        vocabulary=len(tokenizer.vocabulary),
        signatures=len(tokenizer.signatures),
        number_vocabulary=1,
        number_length=1,
        objectives=2,
        simplified=(0, 1) if ranked else (),
        dim=16,
        heads=2,
    )
    noisy = coordinates + np.random.default_rng(0).normal(0, 0.05, coordinates.shape)
    correlations = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        scorer = Scorer(config)
        losses = ScoreLosses(
            scorer, batch, noisy, rows, labels, weight=weight, ranked=ranked, batch_size=16
        )
        train(scorer, losses, TrainingConfig(steps=150, learning_rate=4e-3))
        made = scores(scorer, batch, chunk=7)
        assert made.shape == (60, 2)
        correlations.append(np.corrcoef(made[10:, 0], coordinates[10:, 0])[0, 1])
    assert correlations[1] > 0.95
    assert correlations[1] > correlations[0]


def test_both_views_have_an_input_and_an_output(labelled):
    tokenizer = Tokenizer.fit(labelled[0])
    batch = Batch.of(tokenizer, tokenizer.programs(labelled[0][:5]), torch.device("cpu"))
    for graphs in (batch.function, batch.program):
        assert (graphs.operator[:, 0] == INPUT).all()
        assert ((graphs.operator == OUTPUT).sum(1) == 1).all()
    assert (batch.program.there.sum(1) == 6).all()
    assert len(batch[torch.tensor([1, 3])]) == 2
