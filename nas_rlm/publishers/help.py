"""HELP: latencies on many devices, for NAS-Bench-201, FBNet and Once-for-All.

Source: Lee et al., "HELP: Hardware-adaptive Efficient Latency Prediction for NAS via
Meta-Learning", NeurIPS 2021, https://arxiv.org/abs/2106.08630. The files are those of
https://github.com/HayeonLee/HELP, a folder for each space; what they mean is in its ``loader.py``.
They were written by ``torch.save``: lists of latencies in ms, one file for each device, and a file
of the architectures in the same order. Pixel3, Raspberry Pi 4, Eyeriss and the FPGA are
HW-NAS-Bench's figures; the number after the name of a GPU is the batch size.

All three were read and compared with the measured tables of this project at commit 45f70eb.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas_rlm.publishers.published import Published, files_in, published, reading, source
from nas_rlm.unpickling import NUMBERS, load_torch
from search_spaces import get_space
from search_spaces.base import SearchSpace
from search_spaces.fbnet import FBNet
from search_spaces.once_for_all import OFAMobileNetV3

_CITATION = "HELP, Lee et al., NeurIPS 2021, https://github.com/HayeonLee/HELP"


def read_nasbench201(folder: Path) -> Published:
    """Latencies of all cells for CIFAR-10, from the folder ``data/nasbench201``.

    The order of the cells is taken from ``str_arch2idx.pt``, with which HELP itself looks up the
    latency of a cell.
    """
    return _read(folder, get_space("nasbench201"), "str_arch2idx.pt", _by_index, zero_key="0")


def read_fbnet(folder: Path) -> Published:
    """Latencies of 5,000 networks, from the folder ``data/fbnet``.

    The networks are the variant of FBNet for CIFAR-100, as ``metainfo.pt`` says.
    """
    return _read(folder, FBNet(images="cifar100"), "metainfo.pt", _by_blocks)


def read_ofa(folder: Path) -> Published:
    """Latencies of 5,000 subnets of MobileNetV3 of width 1.2, from the folder ``data/ofa``."""
    return _read(folder, OFAMobileNetV3(width=1.2), "ofa_archs.pt", _by_choices)


def _read(
    folder: Path,
    space: SearchSpace,
    architectures: str,
    notation: Callable[[Any], list[str]],
    zero_key: str | None = None,
) -> Published:
    with reading(folder / architectures, "a list of architectures of HELP"):
        written = notation(load_torch(folder / architectures, NUMBERS))
    devices = files_in(folder, "latency/*.pt")
    columns = {}
    for device in devices:
        with reading(device, "latencies of HELP"):
            columns[f"{device.stem}_latency_ms"] = [float(ms) for ms in load_torch(device)]
    files = [folder / architectures, *devices]
    return published(space, written, columns, source(_CITATION, folder, files), zero_key=zero_key)


def _by_index(indices: dict[str, int]) -> list[str]:
    if sorted(indices.values()) != list(range(len(indices))):
        raise ValueError("the indices are not those of a list")
    return sorted(indices, key=indices.__getitem__)


def _by_blocks(content: dict[str, Any]) -> list[str]:
    return ["-".join(map(str, network["op_idx_list"])) for network in content["arch"]]


def _by_choices(content: dict[str, Any]) -> list[str]:
    return [json.dumps({**network, "r": int(network["r"])}) for network in content["arch"]]
