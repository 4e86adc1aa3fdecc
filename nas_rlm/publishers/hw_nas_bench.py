"""HW-NAS-Bench: latency and energy on six devices, for NAS-Bench-201 and FBNet.

Source: Li et al., "HW-NAS-Bench: Hardware-Aware Neural Architecture Search Benchmark", ICLR 2021,
https://arxiv.org/abs/2103.10584. The file is ``HW-NAS-Bench-v1_0.pickle`` of
https://github.com/RICE-EIC/HW-NAS-Bench, and its form is taken from ``hw_nas_bench_api`` there:
for each dataset lists of figures and of configurations of all cells of NAS-Bench-201, and for
FBNet a table of the costs of blocks. Latencies are in ms and energies in mJ. The file itself was
not at hand; that its numbers are Python's or numpy's is an assumption, and whatever else it asked
for would be refused by name.

Eyeriss and the FPGA are simulated. In NAS-Bench-201, Pixel3's runtime and the Raspberry Pi's leave
out most cells whose output does not depend on their input; those latencies are left out here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from nas_rlm.publishers.published import Published, published, reading, source
from nas_rlm.unpickling import ARRAYS, ORDERED, unpickle
from search_spaces import get_space
from search_spaces.fbnet import BLOCKS, STEM, VARIANTS

_CITATION = "HW-NAS-Bench, Li et al., ICLR 2021, https://github.com/RICE-EIC/HW-NAS-Bench"
_WHAT = "the pickle of HW-NAS-Bench"
# What the file calls a figure; those of the first dataset have no prefix, as in other tables.
_DATASETS = {"cifar10": "", "cifar100": "cifar100_", "ImageNet16-120": "imagenet16_120_"}
_FIGURES = {
    f"{device}_{measure}": f"{device}_{measure}_{unit}"
    for measure, unit, devices in (
        ("latency", "ms", ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")),
        ("energy", "mj", ("edgegpu", "eyeriss", "fpga")),
    )
    for device in devices
}


def read_nasbench201(file: Path) -> Published:
    """Figures of all cells for three datasets, from ``HW-NAS-Bench-v1_0.pickle``.

    Columns have the names of the devices, such as ``pixel3_latency_ms``, for CIFAR-10, and with a
    prefix for the others, such as ``imagenet16_120_pixel3_latency_ms``.
    """
    with reading(file, _WHAT):
        tables = _unpickled(file)["nasbench201"]
        notation, *others = (
            [config["arch_str"] for config in tables[dataset]["config"]] for dataset in _DATASETS
        )
        if any(other != notation for other in others):
            raise ValueError("the datasets have different architectures")
        columns = {
            prefix + name: np.array(tables[dataset][figure], dtype=np.float64)
            for dataset, prefix in _DATASETS.items()
            for figure, name in _FIGURES.items()
        }
    space = get_space("nasbench201")
    return published(space, notation, columns, source(_CITATION, file), zero_key="0")


def read_fbnet(file: Path, *, networks: Sequence[str] | None = None) -> Published:
    """Figures of networks of FBNet, from ``HW-NAS-Bench-v1_0.pickle``.

    The file has none of whole networks. It has the costs of blocks, and a network's is the sum of
    those of its stem, its 22 blocks, its last convolution, pooling and classifier. Columns have
    the names of the devices for the variant of CIFAR-100, which is that of HELP's table, and the
    prefix ``imagenet_`` for that of ImageNet, which is that of the search space.

    Args:
        file: The pickle.
        networks: Their notation, such as ``0-8-...``; 5,000 at random, always the same ones, if
            left out.
    """
    with reading(file, _WHAT):
        tables = _unpickled(file)["fbnet"]
    space = get_space("fbnet")
    if networks is None:
        rng = np.random.default_rng(0)
        networks = [space.format(space.sample(rng)) for _ in range(5000)]
    blocks = np.array(
        [[BLOCKS.index(block) for block in space.parse(text).values()] for text in networks]
    )
    with reading(file, _WHAT):
        columns = {
            prefix + name: _sums(tables[figure], blocks, imagenet=bool(prefix))
            for prefix, (figure, name) in product(("", "imagenet_"), _FIGURES.items())
            if figure in tables
        }
    return published(space, networks, columns, source(_CITATION, file))


def _unpickled(file: Path) -> Any:
    return unpickle(file.read_bytes(), {**ARRAYS, **ORDERED})


def _sums(costs: Mapping[str, float], blocks: np.ndarray, *, imagenet: bool) -> np.ndarray:
    """The costs of networks, given as an array (n, 22) of numbers of blocks."""
    variant = VARIANTS["imagenet" if imagenet else "cifar100"]
    size, head = variant.image_size, variant.head
    always = [_convolution(size, 3, STEM, 3, variant.strides[0])]
    size //= variant.strides[0]
    layers, before = [], STEM
    for channels, stride in variant.layers:
        layers.append([_block(block, size, before, channels, stride) for block in BLOCKS])
        size, before = size // stride, channels
    always += [
        _convolution(size, before, head, 1, 1),
        f"AvgP_H{size}_W{size}_Cin{head}_Cout{head}_kernel{size}_stride1",
        f"FC_Cin{head}_Cout{variant.classes}",
    ]
    chosen = np.array([[float(costs[name]) for name in layer] for layer in layers])
    return chosen[np.arange(len(layers)), blocks].sum(axis=1) + sum(
        float(costs[name]) for name in always
    )


def _convolution(size: int, before: int, channels: int, kernel: int, stride: int) -> str:
    return (
        f"ConvNorm_H{size}_W{size}_Cin{before}_Cout{channels}_kernel{kernel}_stride{stride}_group1"
    )


def _block(block: str, size: int, before: int, channels: int, stride: int) -> str:
    """What the file calls a block in its place."""
    place = f"_H{size}_W{size}_Cin{before}_Cout{channels}"
    if block == "skip":
        return f"Skip{place}_stride{stride}"
    kernel, expansion, *groups = (part[1:] for part in block.split("_"))
    group = groups[0] if groups else "1"
    return f"ConvBlock{place}_exp{expansion}_kernel{kernel}_stride{stride}_group{group}"
