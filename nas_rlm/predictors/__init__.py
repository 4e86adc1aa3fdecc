"""Predictors of accuracy and latency, by name, with one interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

from nas_rlm.devices import unknown
from nas_rlm.predictors.base import Inputs, Predictor

__all__ = ["PREDICTORS", "Entry", "Inputs", "Predictor", "get_predictor"]


class Entry(NamedTuple):
    """Where a predictor lives, and how tables and plots show it."""

    module: str
    """Imported when the predictor is made, so that what it needs is needed only then."""
    class_name: str
    title: str
    colour: str
    options: Mapping[str, Any] = MappingProxyType({})
    """Arguments of the predictor that make it this one."""


def _zero_cost(score: str, title: str, colour: str) -> Entry:
    module, class_name = "nas_rlm.predictors.zero_cost", "ZeroCostPredictor"
    return Entry(module, class_name, title, colour, {"score": score})


PREDICTORS: Mapping[str, Entry] = {
    "rlm": Entry("nas_rlm.predictors.rlm", "RLMPredictor", "RLM", "#D55E00"),
    "ridge": Entry("nas_rlm.predictors.classical", "RidgePredictor", "Ridge", "#7F7F7F"),
    "ridge_pairs": Entry(
        "nas_rlm.predictors.classical", "PairsRidgePredictor", "Ridge with pairs", "#BDBDBD"
    ),
    "forest": Entry("nas_rlm.predictors.classical", "ForestPredictor", "Forest", "#8C510A"),
    "trees": Entry("nas_rlm.predictors.classical", "TreesPredictor", "Boosted trees", "#E6AB02"),
    "lightgbm": Entry("nas_rlm.predictors.classical", "LightGBMPredictor", "LightGBM", "#CC79A7"),
    "mlp": Entry("nas_rlm.predictors.mlp", "MLPPredictor", "MLP", "#6A3D9A"),
    "gates": Entry("nas_rlm.predictors.gnn", "GATESPredictor", "GATES", "#0072B2"),
    "flan": Entry("nas_rlm.predictors.gnn", "FLANPredictor", "FLAN", "#56B4E9"),
    "flan_zero_cost": Entry(
        "nas_rlm.predictors.gnn",
        "FLANPredictor",
        "FLAN with zero-cost",
        "#003F8A",
        {"zero_cost": True},
    ),
    "brpnas": Entry("nas_rlm.predictors.gnn", "BRPNASPredictor", "BRP-NAS", "#009E73"),
    "graph_transformer": Entry(
        "nas_rlm.predictors.gnn", "GraphTransformerPredictor", "Graph transformer", "#004D40"
    ),
    "params": _zero_cost("parameters", "Parameters", "#C7B299"),
    "flops": _zero_cost("flops", "FLOPs", "#D9C9A3"),
    "synflow": _zero_cost("synflow", "SynFlow", "#A6CEE3"),
    "jacov": _zero_cost("jacov", "Jacov", "#B2DF8A"),
    "nwot": _zero_cost("nwot", "NWOT", "#FDBF6F"),
}
"""Predictor name to what it is."""


def get_predictor(
    name: str, objectives: Sequence[str], *, seed: int = 0, **options: Any
) -> Predictor:
    """A new predictor.

    Args:
        name: A key of `PREDICTORS`.
        objectives: Names of the numbers to predict, accuracy first.
        seed: Seeds every random choice.
        options: Other arguments of the predictor.

    Raises:
        ValueError: There is no such predictor.
        ImportError: A package that it needs is not installed; the message names the extra.
    """
    if name not in PREDICTORS:
        raise unknown("predictor", name, PREDICTORS)
    entry = PREDICTORS[name]
    try:
        module = import_module(entry.module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"the predictor {name} needs the package {error.name}; install it with: "
            "pip install 'nas-rlm[compare]'"
        ) from error
    options = {**entry.options, **options}
    predictor: Predictor = getattr(module, entry.class_name)(objectives, seed=seed, **options)
    return predictor
