"""Zero-cost scores: what a network shows at initialisation, before any training.

A model is run in torch straight from its ONNX graph, with random weights, on random images, so
that every search space has these scores. They cost a fraction of a second, a few seconds where
there are millions of weights, and no label. Of NAS-Bench-101, whose networks take longest,
networks an eighth as wide are scored. What is in a table is not computed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.linalg import vector_norm
from tqdm import tqdm

from nas_rlm.onnx_torch import RECTIFIERS, OnnxNetwork, live
from search_spaces.base import Architecture, SearchSpace
from search_spaces.costs import count
from search_spaces.nasbench101 import NASBench101

SCORES = (
    "parameters",
    "flops",
    "synflow",
    "jacov",
    "nwot",
    "grad_norm",
    "snip",
    "jacobian_norm",
    "effective_rank",
)
"""The names of the scores, see `score`."""

BATCH_SIZE = 32
_NARROWER: Mapping[str, SearchSpace] = {"nasbench101": NASBench101(channels=16)}
"""Spaces whose networks are scored with fewer channels."""


class Settings(NamedTuple):
    """What scores depend on besides the network.

    Attributes:
        image_size: Height and width of the images.
        seed: Of weights, images and labels.
        repeats: Draws to average over.
    """

    image_size: int = 8
    seed: int = 0
    repeats: int = 1


def score(
    model: onnx.ModelProto, *, seed: int = Settings().seed, repeats: int = Settings().repeats
) -> dict[str, float]:
    """Score a network at initialisation, on standard normal images and random labels.

    Only what lies on a way from the input to the output counts, see `live`.

    - ``parameters``, ``flops``: as `count` has them, the latter for one image.
    - ``synflow``: log of the sum of |w dR/dw|, where R is the sum of the logits of an image of
      ones, all weights made positive and batch normalisation left out. Tanaka et al., "Pruning
      neural networks without any data by iteratively conserving synaptic flow", NeurIPS 2020.
    - ``jacov``: how little the gradients of the summed logits with respect to each image
      correlate. Mellor et al., "Neural Architecture Search without Training",
      arXiv 2006.04647v1, 2020.
    - ``nwot``: log-determinant of the number of ReLUs (and their like, `RECTIFIERS`), over all
      layers, that are on for both of two images or off for both. Mellor et al., the same,
      ICML 2021.
    - ``grad_norm``: sum over weights of the norm of the gradient of the cross-entropy.
      Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021.
    - ``snip``: sum of |w dL/dw|, L the cross-entropy. Lee et al., "SNIP: Single-shot network
      pruning based on connection sensitivity", ICLR 2019.
    - ``jacobian_norm``: mean log norm of the gradients that ``jacov`` is made of.
    - ``effective_rank``: of the correlations of the features that the last Gemm reads, the
      exponential of the entropy of their spectrum. Roy and Vetterli, "The effective rank",
      EUSIPCO 2007.

    Args:
        model: One input, (n, channels, height, width), and one output, (n, classes).
        seed: Of weights, images and labels.
        repeats: Draws of weights, images and labels; all scores are means over them.

    Returns:
        `SCORES` to numbers. Where the input does not reach the output there are no parameters
        and no FLOPs, and the rest is NaN; so is what is not defined otherwise.

    Raises:
        UnsupportedOperatorError: The model has an operator that cannot be run.
        ValueError: ``repeats`` is not positive.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    model = live(model)
    if not model.graph.node:
        return {**dict.fromkeys(SCORES, np.nan), "parameters": 0.0, "flops": 0.0}
    network = OnnxNetwork(model)
    costs = count(model)
    generator = torch.Generator().manual_seed(seed)
    draws = []
    for _ in range(repeats):
        network.draw(generator)
        draws.append({"synflow": _synflow(network), **_data_scores(network, generator)})
    means = {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
    counts = {
        "parameters": float(costs.parameters),
        "flops": costs.flops / network.input_shape[0],
    }
    return {name: {**counts, **means}[name] for name in SCORES}


def _data_scores(network: OnnxNetwork, generator: torch.Generator) -> dict[str, float]:
    """The scores that need images: one pass forward, two back."""
    images = torch.randn(network.input_shape, generator=generator)
    # Small convolutions are a quarter faster in this layout.
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    signs: list[Tensor] = []
    features: list[Tensor] = []

    def watch(operator: str, data: Tensor) -> None:
        if operator in RECTIFIERS:
            signs.append((data.detach() > 0).flatten(1).float() * 2 - 1)
        else:
            features.append(data.detach())

    logits = network.run(images, watch)
    labels = torch.randint(logits.shape[1], logits.shape[:1], generator=generator)
    (jacobians,) = torch.autograd.grad(logits.sum(), images, retain_graph=True)
    matrices = list(network.matrices().values())
    gradients = torch.autograd.grad(F.cross_entropy(logits, labels), matrices)
    # Squares of large gradients overflow in single precision.
    norms = [vector_norm(gradient, dtype=torch.double).item() for gradient in gradients]
    rows = jacobians.flatten(1).double().numpy()
    with np.errstate(divide="ignore"):
        jacobian_norm = float(np.log(np.linalg.norm(rows, axis=1)).mean())
    return {
        "jacov": _jacov(rows),
        "nwot": _nwot(signs),
        "grad_norm": sum(norms),
        "snip": _saliency(matrices, gradients),
        "jacobian_norm": jacobian_norm if np.isfinite(jacobian_norm) else np.nan,
        "effective_rank": _effective_rank(features[-1].double().numpy()) if features else np.nan,
    }


def _synflow(network: OnnxNetwork) -> float:
    # Products of so many sums overflow in single precision.
    weights = {
        name: weight.detach().abs().double().requires_grad_()
        for name, weight in network.weights.items()
    }
    matrices = [weights[name] for name in network.matrices()]
    network.normalised = False
    ones = torch.ones((1, *network.input_shape[1:]), dtype=torch.double)
    flow = torch.autograd.grad(network.run(ones, weights=weights).sum(), matrices)
    network.normalised = True
    total = _saliency(matrices, flow)
    return float(np.log(total)) if total > 0 else np.nan


def _saliency(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """The sum of |w dL/dw| over all weights."""
    pairs = zip(weights, gradients, strict=True)
    return sum(float((weight.detach() * gradient).abs().sum()) for weight, gradient in pairs)


def _jacov(jacobians: NDArray[np.float64]) -> float:
    """From one gradient per image, (n, pixels)."""
    smallest = 1e-5  # the authors' constant
    if not (np.ptp(jacobians, axis=1) > 0).all():
        return np.nan
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(jacobians)).clip(0) + smallest
    return float(-(np.log(eigenvalues) + 1 / eigenvalues).sum())


def _nwot(signs: Sequence[Tensor]) -> float:
    """From one matrix per rectifier, (n, units), of 1 where it is on and -1 where it is off."""
    if not signs:
        return np.nan
    # Of the units that agree less those that differ, and of all units, the former are the mean.
    agreeing = sum((sign.shape[1] + (sign @ sign.T).double()) / 2 for sign in signs)
    sign, logarithm = np.linalg.slogdet(np.asarray(agreeing))
    return float(logarithm) if sign > 0 else np.nan


def _effective_rank(features: NDArray[np.float64]) -> float:
    """Of (n, units)."""
    deviation = features.std(axis=0)
    varying = deviation > 1e-6 * deviation.max()
    if not varying.any():
        return np.nan
    standard = (features - features.mean(axis=0)) / np.where(varying, deviation, np.inf)
    spectrum = np.linalg.svd(standard, compute_uv=False) ** 2
    shares = spectrum[spectrum > 0] / spectrum.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def scores(
    space: SearchSpace,
    architectures: Sequence[Architecture],
    *,
    image_size: int = Settings().image_size,
    seed: int = Settings().seed,
    repeats: int = Settings().repeats,
    progress: bool = False,
) -> NDArray[np.float64]:
    """The scores of n architectures, (n, s), columns as in `SCORES`, NaN where undefined.

    Architectures with equal keys compute the same function and have the same scores, those of
    the first of them that was asked for. What was computed once is remembered, and what is in the
    space's table is not computed as long as the settings are those of the table.

    Args:
        space: Their search space.
        architectures: n of them.
        image_size: Height and width of the images.
        seed: See `score`.
        repeats: See `score`.
        progress: Show a progress bar.

    Raises:
        UnsupportedOperatorError: An architecture has an operator that cannot be run.
    """
    settings = Settings(image_size, seed, repeats)
    known = _known(space.name, settings)
    keys = [space.key(architecture) for architecture in architectures]
    first = {key: a for key, a in zip(keys, architectures, strict=True) if key not in known}
    for key, architecture in tqdm(first.items(), "zero-cost scores", disable=not progress):
        known[key] = architecture_scores(space, architecture, settings)
    return np.array([known[key] for key in keys], dtype=np.float64).reshape(-1, len(SCORES))


def tabulated(space: SearchSpace, architectures: Iterable[Architecture]) -> bool:
    """Whether the scores of architectures are known without computing any."""
    known = _known(space.name, Settings())
    return bool(known) and all(space.key(architecture) in known for architecture in architectures)


def architecture_scores(
    space: SearchSpace, architecture: Architecture, settings: Settings
) -> NDArray[np.float64]:
    """The scores of one architecture, (s,), computed now."""
    scored = _NARROWER.get(space.name, space)
    model = scored.onnx_model(architecture, batch_size=BATCH_SIZE, image_size=settings.image_size)
    values = score(model, seed=settings.seed, repeats=settings.repeats)
    return np.array([values[name] for name in SCORES])


@cache
def _known(space: str, settings: Settings) -> dict[str, NDArray[np.float64]]:
    """Key to scores, (s,): what is known of a space; more may be added."""
    table = files("nas_rlm").joinpath(table_name(space))
    if not table.is_file():
        return {}
    keys, values, about = read_table(table.read_bytes())
    if about["settings"] != settings._asdict():
        return {}
    return dict(zip(keys, values.astype(np.float64), strict=True))


def table_name(space: str) -> str:
    """The file of a space's scores, made by ``python -m experiments.zero_cost``."""
    return f"{space}_zero_cost.npz"


def read_table(content: bytes) -> tuple[list[str], NDArray[np.float32], dict[str, Any]]:
    """Read what `format_table` wrote."""
    with np.load(io.BytesIO(content)) as arrays:
        keys, about = (bytes(arrays[name]).decode() for name in ("keys", "about"))
        return keys.split("\n"), arrays["scores"], json.loads(about)


def format_table(
    keys: Sequence[str], values: NDArray[np.float32], about: Mapping[str, Any]
) -> bytes:
    """A file of scores.

    Args:
        keys: What `SearchSpace.key` gives for n architectures.
        values: Their scores, (n, s).
        about: How they were made; ``settings`` are those of `Settings`.
    """
    key_bytes, about_bytes = (
        np.frombuffer(text.encode(), np.uint8) for text in ("\n".join(keys), json.dumps(about))
    )
    file = io.BytesIO()
    np.savez_compressed(file, scores=values, keys=key_bytes, about=about_bytes)
    return file.getvalue()
