"""NAS-Bench-201 and NATS-Bench: accuracies after full training, GPU latency, parameters, FLOPs.

Sources: Dong and Yang, "NAS-Bench-201", ICLR 2020, https://arxiv.org/abs/2001.00326; Dong et al.,
"NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size", TPAMI 2021,
https://arxiv.org/abs/2009.00437. The files are those of https://github.com/D-X-Y/NAS-Bench-201
and https://github.com/D-X-Y/NATS-Bench. The form of NATS-Bench's is known from the three networks
of each space in its ``fake_torch_dir``, which were read; that of NAS-Bench-201's, which was not at
hand, is taken from the package ``nas-bench-201``, whose objects hold the same fields.

Accuracies and latencies are means over the trainings of a network, which are one to three, and in
the size space one. Latencies are those of a batch of 256 on one GPU, and published in seconds.
The validation accuracy on CIFAR-10 is that of networks trained on half of the training set; all
others are of networks trained on the whole of it.
"""

from __future__ import annotations

import bz2
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nas_rlm.publishers.published import Published, files_in, published, reading, source
from nas_rlm.unpickling import NUMBERS, ORDERED, load_torch, unpickle
from search_spaces import get_space

_NASBENCH201 = "NAS-Bench-201, Dong & Yang, ICLR 2020, https://github.com/D-X-Y/NAS-Bench-201"
_NATS = "NATS-Bench, Dong et al., TPAMI 2021, https://github.com/D-X-Y/NATS-Bench"
_ALLOWED = {**NUMBERS, **ORDERED}
# Ours, and the benchmark's names of the training and of the images it was tested on.
_ACCURACIES = {
    "cifar10_valid_acc": ("cifar10-valid", "x-valid"),
    "cifar10_test_acc": ("cifar10", "ori-test"),
    "cifar100_valid_acc": ("cifar100", "x-valid"),
    "cifar100_test_acc": ("cifar100", "x-test"),
    "imagenet16_120_valid_acc": ("ImageNet16-120", "x-valid"),
    "imagenet16_120_test_acc": ("ImageNet16-120", "x-test"),
}
_COSTS = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16_120": "ImageNet16-120"}


def read_nasbench201(file: Path) -> Published:
    """All cells after 200 epochs, from ``NAS-Bench-201-v1_1-096897.pth``.

    The file has every epoch of every training, 4.7 GB. The package's API would load it in a way
    that present versions of torch refuse, and then copy it; here its results of one network at a
    time are made of the dictionary. Reading it still takes six times its size in memory, and half
    an hour; `read_topology` has the same figures in a file for each network, and needs little.
    """
    with reading(file, "the file of NAS-Bench-201"):
        content = load_torch(file, _ALLOWED)
        states = content["arch2infos"]
        networks = (states.pop(index)["full"] for index in sorted(states))
        notation, columns = _figures(networks)
    return published(get_space("nasbench201"), notation, columns, source(_NASBENCH201, file))


def read_topology(folder: Path) -> Published:
    """All cells after 200 epochs, from the folder ``NATS-tss-v1_0-3ffb9-simple``."""
    return _read_folder(folder, "nasbench201", "200")


def read_size(folder: Path) -> Published:
    """All networks after 90 epochs, from the folder ``NATS-sss-v1_0-50262-simple``."""
    return _read_folder(folder, "nats_size", "90")


def _read_folder(folder: Path, space: str, epochs: str) -> Published:
    files = files_in(folder, "[0-9]*.pickle.pbz2")
    with reading(folder, "results of NATS-Bench"):
        notation, columns = _figures(_results(file)[epochs] for file in files)
    return published(get_space(space), notation, columns, source(_NATS, folder, files))


def _results(file: Path) -> dict[str, Any]:
    with reading(file, "results of NATS-Bench"):
        return unpickle(bz2.decompress(file.read_bytes()), _ALLOWED)


def _figures(networks: Iterable[dict[str, Any]]) -> tuple[list[str], dict[str, list[float]]]:
    """Notation and columns, from what the benchmark stores of each network."""
    from nas_201_api.api_utils import ArchResults  # imports torch, which takes seconds

    notation: list[str] = []
    columns: dict[str, list[float]] = defaultdict(list)
    for state in networks:
        results = ArchResults.create_from_state_dict(state)
        notation.append(results.arch_str)
        for name, (training, images) in _ACCURACIES.items():
            columns[name].append(results.get_metrics(training, images)["accuracy"])
        for name, training in _COSTS.items():
            costs = results.get_compute_costs(training)
            seconds = costs["latency"]  # None: no training has one
            columns[f"{name}_gpu_latency_ms"].append(np.nan if seconds is None else 1000 * seconds)
            columns[f"{name}_params_m"].append(costs["params"])
            columns[f"{name}_flops_m"].append(costs["flops"])
    return notation, columns
