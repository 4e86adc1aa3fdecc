from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

from nas_rlm.benchmarks import nasbench201
from nas_rlm.metrics import kendall_tau
from nas_rlm.predictors import Inputs
from nas_rlm.predictors.rlm import FEW_CHOICES, MOST_STEPS, OFTEN, RLMPredictor, best_with_pool
from search_spaces import from_builder
from surrogate import RLM

ORDER = np.random.default_rng(0).permutation(15_625)
QUICK = {"members": 1, "pool": 256, "training": {"steps": 80, "passes": 20, "guess_share": 0.5}}


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    benchmark = nasbench201("cifar100", devices=())
    return Inputs(benchmark.space, benchmark.architectures)


@pytest.fixture(scope="module")
def cifar10(inputs: Inputs) -> RLM:
    """A model of other numbers, from architectures that the tests have no labels of."""
    values = nasbench201("cifar10", devices=()).values[ORDER[-300:]]
    predictor = RLMPredictor(["cifar10"], **QUICK)  # type: ignore[arg-type]
    return predictor.fit(inputs[ORDER[-300:]], values).rlm


def _new(**options: object) -> RLMPredictor:
    return RLMPredictor(["cifar100"], **QUICK | options)  # type: ignore[arg-type]


def test_what_is_known_of_other_numbers_helps(inputs: Inputs, cifar10: RLM) -> None:
    values = nasbench201("cifar100", devices=()).values
    some, others = ORDER[:12], ORDER[12:500]
    tau = {}
    for warm_start in (None, cifar10):
        predictor = _new(warm_start=warm_start).fit(inputs[some], values[some])
        tau[warm_start] = kendall_tau(predictor.predict(inputs[others])[:, 0], values[others, 0])
    assert tau[cifar10] > tau[None] + 0.02


def test_more_to_choose_takes_more_steps() -> None:
    few, more, most, endless = (
        best_with_pool(100, choices)["steps"]
        for choices in (2, 2 * FEW_CHOICES, MOST_STEPS * FEW_CHOICES, 500)
    )
    assert (more, most, endless) == (2 * few, MOST_STEPS * few, MOST_STEPS * few)


def test_each_text_is_asked_of_the_other_model_once(
    inputs: Inputs, cifar10: RLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    predict = RLM.predict

    def asking(rlm: RLM, texts: list[str], **options: object) -> object:
        asked.extend(texts if rlm is cifar10 else [])
        return predict(rlm, texts, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(RLM, "predict", asking)
    values = nasbench201("cifar100", devices=()).values
    first = _new(warm_start=cifar10).fit(inputs[ORDER[:12]], values[ORDER[:12]])
    second = _new(warm_start=cifar10)
    assert second.go_on_from(first)
    second.fit(inputs[ORDER[:14]], values[ORDER[:14]])
    assert set(inputs[ORDER[:14]].texts) < set(asked)
    assert len(set(asked)) == len(asked)


def test_a_model_of_other_texts_is_refused(cifar10: RLM) -> None:
    space = from_builder(
        lambda params: nn.Linear(4, params["width"]),
        {"width": [1, 2, 3, 4, 5]},
        input_shape=(1, 4),
    )
    values = np.arange(5.0)[:, None]
    with pytest.raises(ValueError, match="trained on other texts"):
        _new(warm_start=cifar10).fit(Inputs(space, list(space)), values)


def test_a_warm_start_needs_a_pool(cifar10: RLM) -> None:
    with pytest.raises(ValueError, match="needs a pool"):
        _new(warm_start=cifar10, pool=0)


def test_with_many_labels_training_starts_anew(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas_rlm.predictors.rlm.AFRESH", 20)
    values = nasbench201("cifar100", devices=()).values
    trained: list[RLM] = []
    predictor = None
    for labels in (12, 16, 20):
        predictor, earlier = _new(), predictor
        if earlier is not None:
            assert predictor.go_on_from(earlier)
        some = ORDER[:labels]
        trained.append(predictor.fit(inputs[some], values[some]).rlm)
    first, second, third = (rlm.history[0][-1]["step"] for rlm in trained)
    assert second < first == third
    assert trained[2]._tokenizer is trained[0]._tokenizer, "what was read is not read again"


def test_a_whole_space_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    space = from_builder(
        lambda params: nn.Sequential(nn.Linear(4, params["width"]), nn.ReLU()),
        {"width": list(range(1, 31))},
        input_shape=(1, 4),
    )
    inputs = Inputs(space, list(space))
    values = np.arange(30.0)[:, None] ** 2
    some = np.arange(0, 30, 3)
    first = RLMPredictor(["width"], whole=True, **QUICK | {"pool": 4})  # type: ignore[arg-type]
    first.fit(inputs[some], values[some])
    assert first._made is not None
    assert first._made.texts == inputs.texts
    second = RLMPredictor(["width"], whole=True, **QUICK | {"pool": 4})  # type: ignore[arg-type]
    assert second.go_on_from(first, promising=inputs[np.array([2, 29])])
    often = []
    fit = RLM.fit

    def fitting(rlm: RLM, *labelled: Any, **options: Any) -> RLM:
        often.append(options["often"])
        return fit(rlm, *labelled, **options)

    monkeypatch.setattr(RLM, "fit", fitting)
    second.fit(inputs[some + 1], values[some + 1])
    # Labelled and promising ones most often, others of the four as well, the rest never.
    assert np.flatnonzero(often[0] == OFTEN).tolist() == sorted([*(some + 1), 2, 29])
    assert 0 <= (often[0] == 1).sum() <= 4
    assert often[0].sum() > OFTEN * 12
    assert second._made is first._made
    assert second._pooled is first._pooled
    few = RLMPredictor(["width"], **QUICK | {"pool": 4}).fit(inputs[some], values[some])  # type: ignore[arg-type]
    assert few._made is not None
    assert len(few._made.texts) < 30
