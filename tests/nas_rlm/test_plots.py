from __future__ import annotations

import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from nas_rlm import plots
from nas_rlm.benchmarks import Benchmark, nasbench201
from nas_rlm.methods import METHODS, Evaluations
from nas_rlm.report import Predictions


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    return nasbench201(devices=["pixel3", "gpu"])


@pytest.fixture(scope="module")
def found(benchmark: Benchmark) -> Evaluations:
    rows = np.random.default_rng(0).permutation(len(benchmark.values))[:40]
    return Evaluations(rows, benchmark.values[rows], 40)


@pytest.fixture(scope="module")
def predictions(benchmark: Benchmark) -> Predictions:
    rows = np.arange(0, 15_625, 10)
    actual = benchmark.values[rows]
    noise = np.random.default_rng(0).normal(size=actual.shape)
    return Predictions(rows, actual + noise, actual)


def test_each_method_has_a_colour_of_its_own() -> None:
    assert len({method.colour for method in METHODS.values()}) == len(METHODS)


def test_saves_every_figure(
    benchmark: Benchmark, found: Evaluations, predictions: Predictions, tmp_path: Path
) -> None:
    shares = {"rlm": np.linspace(0.3, 0.9, 40)[None], "tpe": np.full((3, 40), 0.5)}
    files = plots.save_plots(tmp_path, benchmark, found, predictions, shares)
    assert {file.name for file in files} == {
        *("fronts.png", "predictions.png", "hypervolume.png"),
        *("front-pixel3.png", "front-gpu.png"),
    }
    assert set(tmp_path.iterdir()) == set(files)
    for file in files:
        image = matplotlib.image.imread(file)
        assert image.shape[0] > 400
        assert image.shape[1] > 600
        assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50, "it is blank"


def test_front_shows_what_was_found(benchmark: Benchmark, found: Evaluations) -> None:
    figure = plots.fronts_figure(benchmark, found, [1])
    axes = figure.axes[0]
    assert axes.get_xlabel() == "Pixel3 latency (ms, modelled)"
    assert axes.get_ylabel() == "CIFAR-10 validation accuracy (%)"
    lines = {line.get_label(): line for line in axes.lines}
    assert len(lines["All architectures"].get_xdata()) == 15_625
    accuracies = np.asarray(lines["Front found"].get_ydata())
    assert accuracies.max() == found.values[:, 0].max()
    assert np.all(np.diff(accuracies) >= 0)
    assert np.asarray(lines["True front"].get_ydata()).max() == benchmark.values[:, 0].max()
    assert axes.get_ylim()[0] > 60, "the worst architectures would squeeze the rest"


def test_predictions_name_their_scores(benchmark: Benchmark, predictions: Predictions) -> None:
    figure = plots.predictions_figure(benchmark, predictions)
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_xlabel() for axes in shown] == [o.label for o in benchmark.objectives]
    title = re.findall(r"\d\.\d{3}", shown[1].get_title())
    assert title == [
        f"{score[1]:.3f}" for score in (predictions.kendall_tau(), predictions.spearman_rho())
    ]


def test_hypervolume_has_a_band_where_there_are_seeds() -> None:
    shares = {"rlm": np.linspace(0.82, 0.9, 40)[None], "tpe": np.linspace(0.4, 0.6, 120)}
    shares["tpe"] = shares["tpe"].reshape(3, 40)
    axes = plots.hypervolume_figure(shares).axes[0]
    assert len(axes.collections) == 1
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["RLM", "TPE (3 seeds)"]
    assert axes.get_ylim() == (0.4, 1)
