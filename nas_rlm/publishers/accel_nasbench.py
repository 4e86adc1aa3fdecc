"""Accel-NASBench: accuracy, latency and throughput of networks of the MnasNet space.

Source: Ahmad et al., "Accel-NASBench: Sustainable Benchmarking for Accelerator-Aware NAS", DAC
2024, https://github.com/afzalxo/Accel-NASBench. The file is ``anb_dataset_jsons.tar.gz`` in its
folder ``anb_dataset``, with a JSON file for each training: what the surrogates are fitted to. It
was read and compared with the measured table of this project at commit 4260357.

Latencies are means in ms, throughputs means in images/s, times of training in seconds; parameters
and MACs are in millions, accuracies in %. A network that was trained twice is kept once, as its
authors' code does: the training of the lower number.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from pathlib import Path
from typing import IO, Any

from nas_rlm.publishers.published import Published, published, reading, source
from search_spaces import get_space

_CITATION = "Accel-NASBench, Ahmad et al., DAC 2024, https://github.com/afzalxo/Accel-NASBench"
_RESULT = re.compile(r"(?:^|/)result_([0-9]+)\.json$")
_STAGES = range(7)
_COLUMNS = {
    "imagenet_top1": ("metrics", "val_top1"),
    "imagenet_top5": ("metrics", "val_top5"),
    "train_time_s": ("metrics", "train_time"),
    "macs_m": ("model_info", "macs"),
    "params_m": ("model_info", "params"),
} | {
    f"{device}_{unit}": (
        "platform_perf",
        f"{measure}_{device.removeprefix('rtx')}",
        f"{measure}_mean",
    )
    for measure, unit, devices in (
        ("latency", "latency_ms", ("zcu102", "vck190")),
        (
            "throughput",
            "throughput_img_s",
            ("a100", "rtx3090", "tpuv2", "tpuv3", "zcu102", "vck190"),
        ),
    )
    for device in devices
}
"""Our name of a figure to its place in the JSON."""


def read(file: Path) -> Published:
    """All figures, from ``anb_dataset_jsons.tar.gz``, which need not be unpacked."""
    with (
        reading(file, "the archive of Accel-NASBench"),
        # tarfile alone would not notice that the end is missing.
        io.BytesIO(gzip.decompress(file.read_bytes())) as content,
        tarfile.open(fileobj=content) as archive,
    ):
        members = {
            int(number[1]): member
            for member in archive
            if (number := _RESULT.search(member.name)) and member.isfile()
        }
        results = [json.load(_opened(archive, members[number])) for number in sorted(members)]
        notation = [_notation(result["architecture"]) for result in results]
        columns = {
            name: [_at(result, place) for result in results] for name, place in _COLUMNS.items()
        }
    return published(
        get_space("mnasnet"), notation, columns, source(_CITATION, file), keep_first=True
    )


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    opened = archive.extractfile(member)
    assert opened, "a member that is a file can be opened"
    return opened


def _notation(architecture: dict[str, Any]) -> str:
    return "_".join(
        "e{e}k{k}l{l}".format(**{name: architecture[f"block{stage}_{name}"] for name in "ekl"})
        + "s" * bool(architecture[f"block{stage}_se"])
        for stage in _STAGES
    )


def _at(result: Any, place: tuple[str, ...]) -> float | None:
    for key in place:
        result = result[key]
    return result
