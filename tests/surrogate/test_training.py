import numpy as np
import pytest
import torch

from surrogate import NumberFormat
from surrogate import training as training_module
from surrogate.digits import DigitLosses, expectation, make_targets, ranking_loss
from surrogate.model import RegressionLanguageModel
from surrogate.numbers import NumberRangeError
from surrogate.scale import Scale
from surrogate.training import Examples, TrainingConfig, train

VALUES = np.column_stack([np.linspace(80, 94, 40), np.geomspace(3, 40, 40)])
NUMBER = NumberFormat(digits=3)
SCALES = [Scale.fit(VALUES[:, k]) for k in range(2)]


def test_a_scale_is_monotone_and_invertible():
    grid = np.linspace(VALUES[0, 0] - 5, VALUES[-1, 0] + 5, 400)
    coordinates = SCALES[0](grid)
    assert (np.diff(coordinates) > 0).all()
    np.testing.assert_allclose(SCALES[0].inverse(coordinates), grid, atol=1e-9)
    assert SCALES[0](VALUES[0, 0]) == 0
    assert SCALES[0](VALUES[-1, 0]) == 1


def soften(width):
    still = np.zeros(VALUES.shape)
    return make_targets(VALUES, NUMBER, SCALES, np.full_like(VALUES, width), still)


def test_soft_targets_are_distributions_around_the_label():
    targets = soften(0.02)
    torch.testing.assert_close(targets.soft.sum(-1), torch.ones(40, 2, NUMBER.length))
    likeliest = targets.soft.argmax(-1)
    # A label next to a boundary may lean to the other side; the first tokens rarely do.
    assert (likeliest == targets.tokens).float().mean() > 0.8
    narrow = soften(1e-6)
    assert (narrow.soft.argmax(-1) == narrow.tokens).float().mean() > 0.99


def test_perfect_digits_have_the_label_as_expectation():
    targets = soften(0.02)
    certain = torch.full(targets.soft.shape, -1e9).scatter(-1, targets.tokens[..., None], 0.0)
    torch.testing.assert_close(
        expectation(certain, targets), targets.coordinates, atol=0.01, rtol=0
    )


def test_ranking_loss_counts_only_what_is_missing():
    coordinates = torch.tensor([[0.0], [0.5], [1.0]])
    known = torch.ones(3, 1, dtype=torch.bool)
    assert ranking_loss(coordinates, coordinates, known, margin=0.1) == 0
    assert ranking_loss(coordinates * 0.3, coordinates, known, margin=0.1) == 0
    assert ranking_loss(-coordinates, coordinates, known, margin=0.1) > 0.5
    assert ranking_loss(torch.zeros(3, 1), coordinates, known, margin=0.1) == pytest.approx(0.1)


def run(tiny, values, checkpoint=None, steps=24, held_out=0, scales=None, **options):
    model, batch, number = tiny
    torch.manual_seed(5)
    fresh = RegressionLanguageModel(model.config)
    config = TrainingConfig(steps=steps, **{"evaluations": 6, "batch_size": 4, **options})
    scales = scales or [Scale.fit(values[:, k]) for k in range(2)]
    examples = Examples(batch, values)
    some = np.arange(held_out, len(values))
    widths = np.full(2, 0.05)
    losses = DigitLosses(fresh, examples[some], number, scales, widths, config)
    held = examples[np.arange(held_out)]
    history = train(
        fresh,
        losses,
        config,
        held_out_loss=(lambda: losses.held_out(held)) if held_out else None,
        checkpoint=checkpoint,
    )
    return fresh, history


@pytest.fixture
def values():
    return np.column_stack([np.linspace(5, 60, 7), np.linspace(1, 2, 7)])


def test_examples_are_learnt_as_often_as_they_should(tiny, values):
    model, batch, number = tiny
    scales = [Scale.fit(values[:, k]) for k in range(2)]
    values = values.copy()
    values[0] = 1e9  # cannot be written
    config, widths = TrainingConfig(batch_size=4), np.full(2, 0.05)
    often = np.array([0, 3, 1, 1, 1, 1, 1])
    examples = Examples(batch, values)
    losses = DigitLosses(model, examples, number, scales, widths, config, often=often)
    assert np.bincount(losses.rows).tolist() == often.tolist()
    assert all(torch.isfinite(loss) for loss in losses(8))
    with pytest.raises(NumberRangeError):
        list(DigitLosses(model, examples, number, scales, widths, config)(8))


def test_an_interrupted_training_ends_where_an_unbroken_one_does(
    tiny, values, tmp_path, monkeypatch
):
    whole, history = run(tiny, values, held_out=2)
    checkpoint = tmp_path / "member.pt"
    save = training_module._State.save

    def save_then_stop(self, file):
        save(self, file)
        if self.step >= 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_module._State, "save", save_then_stop)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, values, checkpoint, held_out=2)
    monkeypatch.setattr(training_module._State, "save", save)
    resumed, resumed_history = run(tiny, values, checkpoint, held_out=2)
    assert resumed_history == history
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def test_held_out_labels_stop_training(tiny, values):
    _, history = run(tiny, values, held_out=2, steps=600, patience=1, learning_rate=0.02)
    assert history[-1]["step"] < 600


def test_held_out_labels_do_not_train(tiny, values):
    changed = values.copy()
    changed[:2] = changed[:2] + 0.1
    scales = [Scale.fit(values[:, k]) for k in range(2)]
    weights = [
        run(tiny, labels, held_out=2, steps=8, evaluations=1, scales=scales)[0].state_dict()
        for labels in (values, changed)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_visible_labels_are_drawn_with_errors_that_go_together(tiny):
    model, _, number = tiny
    correlation, widths = np.array([[1.0, 0.8], [0.8, 1.0]]), np.array([0.03, 0.01])
    examples = Examples(tiny[1], np.zeros((7, 2)))
    losses = DigitLosses(model, examples, number, SCALES, widths, TrainingConfig(), correlation)
    values = np.tile([87.0, 12.0], (4000, 1))
    visible = np.arange(4000) < 3000
    torch.manual_seed(0)
    drawn, drawn_widths = losses._with_errors(values, visible)
    np.testing.assert_allclose(drawn[3000:], values[3000:])
    np.testing.assert_allclose(drawn_widths[3000:], np.tile(widths, (1000, 1)))
    errors = np.stack([s(drawn[:, k]) - s(values[:, k]) for k, s in enumerate(SCALES)], 1)[:3000]
    assert np.corrcoef(errors.T)[0, 1] == pytest.approx(0.8, abs=0.03)
    # What is drawn and what is left to the soft target make up the width.
    whole = np.sqrt(errors.var(0) + drawn_widths[0] ** 2)
    np.testing.assert_allclose(whole, widths, rtol=0.05)
