from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from nas_rlm.objectives import Objective


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("measured", "Pixel3 latency (ms)"),
        ("published", "Pixel3 latency (ms)"),
        ("modelled", "Pixel3 latency (ms, modelled)"),
    ],
)
def test_label_says_when_figures_are_modelled(source: str, label: str) -> None:
    objective = Objective("pixel3_latency_ms", "minimize", "ms", source, "Pixel3 latency")
    assert objective.label == label
    assert objective.modelled == (source == "modelled")


def test_label_falls_back_to_the_name() -> None:
    assert Objective("flops", "minimize", "M", "measured").label == "flops (M)"


@pytest.mark.parametrize(
    ("direction", "source", "wrong"),
    [("max", "measured", "'max'"), ("maximize", "guessed", "'guessed'")],
)
def test_unknown_words_are_refused(direction: str, source: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Objective("accuracy", direction, "%", source)


def test_frozen_and_comparable() -> None:
    objective = Objective("accuracy", "maximize", "%", "measured")
    assert objective == Objective("accuracy", "maximize", "%", "measured")
    with pytest.raises(FrozenInstanceError):
        objective.name = "error"
