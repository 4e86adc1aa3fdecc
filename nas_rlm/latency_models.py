"""Latency and energy of any network, modelled from the work of its operators.

A model has a handful of coefficients, none of them negative, that ``experiments/fit_devices.py``
fits to measurements of NAS-Bench-201; they lie in ``modelled_devices.json`` with their errors on
networks that were held out, and on those of another space. That is good enough to develop and to
compare methods, but not to choose a network to deploy: measure for that.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from search_spaces.base import Architecture, SearchSpace
from search_spaces.costs import Operation, work_list

AMOUNTS = ("kernels", "convolutions", "mega_macs", "mega_weights", "mega_taps", "megabytes")
"""What operators of a network for one image amount to.

Launched kernels; those of them that are convolutions or matrix products, their
multiply-accumulates and weights; values that poolings read, windows overlapping; what is read and
written but weights.
"""

TABLE = "nasbench201_work.npz"
"""The amounts of all of NAS-Bench-201, made by ``python -m experiments.fit_devices``."""

_VIEWS = ("Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze")
_FUSED = ("BatchNormalization", "Clip", "HardSigmoid", "HardSwish", "Relu", "Sigmoid")
"""What a compiler appends to the operator before it."""
_MACS_PER_WEIGHT = 16
"""To load a weight takes as long as so many multiply-accumulates; else small images seem cheap."""
_SHORTEST = 1e-3


@dataclass(frozen=True)
class LatencyModel:
    """Latency as a sum over operators, in the unit of what it was fitted to, ms or mJ.

    The host takes ``constant``, ``kernel`` and ``convolution``, the arithmetic ``mega_mac``,
    ``mega_tap`` and ``megabyte``, for what `AMOUNTS` counts, the latter for each image.

    Attributes:
        constant: For the whole network.
        kernel: For each kernel.
        convolution: For each convolution or matrix product besides.
        mega_mac: For a million multiply-accumulates.
        mega_tap: For a million values that poolings read.
        megabyte: For a million bytes that are read or written.
        batch_size: Images per batch.
        overlaps: Whether the host launches kernels while others run (CUDA), so that the slower
            of the two counts and not their sum.
        fuses: Whether batch normalisation and activations are part of the operator before them
            (TFLite, TensorRT) and cost nothing.
        skips_unused: Whether operators that no output depends on cost nothing (TFLite).
    """

    constant: float
    kernel: float
    convolution: float
    mega_mac: float
    mega_tap: float
    megabyte: float
    batch_size: int
    overlaps: bool
    fuses: bool
    skips_unused: bool

    def predict(
        self, space: SearchSpace, architectures: Sequence[Architecture]
    ) -> NDArray[np.float64]:
        """Latencies, shape (n,), all positive.

        Raises:
            ArchitectureError: An architecture is not a member of the space.
        """
        return self.of_amounts(amounts(space, architectures))

    def of_amounts(self, work: NDArray[np.float64]) -> NDArray[np.float64]:
        """Latencies, shape (n,), from what `amounts` gives."""
        host, arithmetic = (
            part @ [getattr(self, name) for name in names]
            for part, names in zip(self.terms(work), (HOST, ARITHMETIC), strict=True)
        )
        total = np.maximum(host, arithmetic) if self.overlaps else host + arithmetic
        # Equal sums in different order must stay equal, or rounding errors would rank them.
        return np.array([max(float(f"{number:.5g}"), _SHORTEST) for number in total])

    def terms(self, work: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the coefficients `HOST` and `ARITHMETIC` multiply, each of shape (n, 3)."""
        charged = work[:, 1] if self.skips_unused else work.sum(axis=1)
        charged = charged[:, 0] if self.fuses else charged.sum(axis=1)
        kernels, convolutions, macs, weights, taps, megabytes = charged.T
        host = np.column_stack([np.ones(len(work)), kernels, convolutions])
        computed = macs * self.batch_size + weights * _MACS_PER_WEIGHT
        moved = np.column_stack([taps, megabytes]) * self.batch_size
        return host, np.column_stack([computed, moved])


HOST = ("constant", "kernel", "convolution")
ARITHMETIC = ("mega_mac", "mega_tap", "megabyte")


def amounts(space: SearchSpace, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
    """What the operators of n networks amount to, for one image.

    For NAS-Bench-201 they are read from a table; else a text takes a few milliseconds.

    Returns:
        Shape (n, 2, 2, `AMOUNTS`): unused and used, of operators on their own and of those that
        a compiler fuses with others.

    Raises:
        ArchitectureError: An architecture is not a member of the space.
    """
    if space.name == "nasbench201" and files("nas_rlm").joinpath(TABLE).is_file():
        rows = []
        for architecture in architectures:
            space.check(architecture)
            row = 0
            for name, choices in space.choices.items():
                row = row * len(choices) + choices.index(architecture[name])
            rows.append(row)
        return _nasbench201()[rows]
    computed = [model_amounts(space.onnx_model(architecture)) for architecture in architectures]
    return np.array(computed).reshape(-1, 2, 2, len(AMOUNTS))


def model_amounts(model: onnx.ModelProto) -> NDArray[np.float64]:
    """The same of one model, shape (2, 2, `AMOUNTS`), for the batch that it has.

    Raises:
        InvalidModelError: A shape is unknown, or there is control flow.
    """
    total = np.zeros((2, 2, len(AMOUNTS)))
    for operation, times in work_list(model).items():
        if operation.operator not in _VIEWS:
            fused = operation.operator in _FUSED
            total[int(operation.used), int(fused)] += times * _amounts(operation)
    return total


@lru_cache(maxsize=16_384)
def _amounts(operation: Operation) -> NDArray[np.float64]:
    multiplies = operation.operator in ("Conv", "Gemm", "MatMul")
    sums = operation.operator in ("Add", "Sum")
    pools = operation.operator in ("AveragePool", "MaxPool")
    return np.array(
        [
            max(1, len(operation.inputs) - 1) if sums else 1,
            float(multiplies),
            operation.macs / 1e6,
            operation.weights / 1e6 if multiplies else 0,
            math.prod((*operation.outputs[0], *operation.kernel)) / 1e6 if pools else 0,
            (operation.read_bytes + operation.written_bytes) / 1e6,
        ]
    )


@cache
def _nasbench201() -> NDArray[np.float64]:
    """In the space's order of iteration."""
    content = files("nas_rlm").joinpath(TABLE).read_bytes()
    with np.load(io.BytesIO(content)) as arrays:
        return arrays["amounts"][arrays["row"]]


def format_table(work: NDArray[np.float64]) -> bytes:
    """The file of the amounts of a space, in its order of iteration."""
    different, row = np.unique(work, axis=0, return_inverse=True)
    file = io.BytesIO()
    np.savez_compressed(file, amounts=different, row=row.astype(np.uint16))
    return file.getvalue()


@cache
def modelled_devices() -> dict[str, Any]:
    """Column to fitted coefficients and their errors, and what they were fitted to."""
    return json.loads(files("nas_rlm").joinpath("modelled_devices.json").read_text("utf-8"))


def fitted_model(column: str) -> LatencyModel:
    """The model fitted to a column of the table, such as ``eyeriss_energy_mj``.

    Raises:
        ValueError: None was fitted to it.
    """
    fitted = modelled_devices()["devices"]
    if column not in fitted:
        raise ValueError(f"no model was fitted to {column!r}, only to {', '.join(fitted)}")
    return LatencyModel(**fitted[column]["model"])
