"""Small files in the forms of the publishers, one writer for each entry of the registry."""

from __future__ import annotations

import base64
import bz2
import io
import json
import pickle
import struct
import tarfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces import get_space

CELLS = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|",  # computes zero
)
DATASETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}


def random_notation(space: str, number: int) -> list[str]:
    """Architectures of a space, the same ones every time."""
    rng = np.random.default_rng(1)
    return [get_space(space).format(get_space(space).sample(rng)) for _ in range(number)]


def pickled(content: Any) -> bytes:
    """A pickle as it was written with numpy 1."""
    return pickle.dumps(content, protocol=2).replace(b"cnumpy._core.", b"cnumpy.core.")


def network(notation: str, number: int, seeds: Sequence[int] = (777, 888)) -> dict[str, Any]:
    """What NAS-Bench-201 stores of a network: its accuracy is 60 + number + seed / 100."""
    results = {}
    for (dataset, images), seed in product(DATASETS.items(), seeds):
        accuracy = 60 + number + seed / 100
        names = [f"{name}@{epoch}" for name in images for epoch in (0, 1)]
        results[dataset, seed] = {
            "name": dataset,
            "net_state_dict": None,
            "train_acc1es": {0: 10.0, 1: 99.0},
            "train_acc5es": {0: 50.0, 1: 99.9},
            "train_losses": {0: 2.0, 1: 0.1},
            "train_times": OrderedDict({0: 3.0, 1: 3.0}),
            "arch_config": {"channel": 16, "num_cells": 5, "arch_str": notation, "class_num": 10},
            "params": np.float64(0.1 + number),
            "flop": 15.5 + number,
            "seed": seed,
            "epochs": 2,
            # Only the first training was timed, in seconds.
            "latency": [np.float64(0.012), np.float64(0.014)] if seed == seeds[0] else None,
            "eval_names": list(images),
            "eval_acc1es": {name: accuracy if name.endswith("@1") else 20.0 for name in names},
            "eval_times": dict.fromkeys(names, 0.5),
            "eval_losses": dict.fromkeys(names, 0.5),
        }
    return {
        "arch_index": number,
        "arch_str": notation,
        "all_results": results,
        "dataset_seed": {dataset: list(seeds) for dataset in DATASETS},
        "clear_net_done": True,
    }


def write_nasbench201(folder: Path) -> Path:
    infos = {
        number: {"less": network(cell, 0), "full": network(cell, number)}
        for number, cell in enumerate(CELLS)
    }
    content = {"meta_archs": list(CELLS), "arch2infos": infos, "evaluated_indexes": {0, 1, 2}}
    written = io.BytesIO()
    torch.save(content, written, _use_new_zipfile_serialization=False)  # as torch 1.2 did
    path = folder / "NAS-Bench-201-v1_1-096897.pth"
    path.write_bytes(written.getvalue().replace(b"cnumpy._core.", b"cnumpy.core."))
    return path


def write_nats(folder: Path, notation: Sequence[str], epochs: str) -> Path:
    folder = folder / "NATS-simple"
    folder.mkdir()
    meta = {"meta_archs": list(notation), "total_archs": len(notation), "arch2infos": None}
    (folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickled(meta)))
    for number, text in enumerate(notation):
        content = {"12": network(text, 0), epochs: network(text, number, (777,))}
        (folder / f"{number:06d}.pickle.pbz2").write_bytes(bz2.compress(pickled(content)))
    return folder


def hw_nas_bench() -> dict[str, Any]:
    """The content of its pickle: NAS-Bench-201 for three datasets, and costs of FBNet's blocks."""
    devices = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
    columns = {
        f"{device}_{measure}": [np.float64(factor * ms) for ms in (3.0, 12.5, 7.25)]
        for factor, (device, measure) in enumerate(
            product(devices, ("latency", "energy")), start=1
        )
    }
    columns["pixel3_latency"] = [3.60585, 17.2381, 0.0487]  # the last one computes zero
    cells = {
        dataset: {
            **columns,
            "eyeriss_arithmetic_intensity": [6.0, 20.0, 5.0],
            "config": [
                {"name": "infer.tiny", "C": 16, "N": 5, "arch_str": cell, "num_classes": 10}
                for cell in CELLS
            ],
        }
        for dataset in ("cifar10", "cifar100", "ImageNet16-120")
    }
    # More blocks than there are, each with a cost of its own.
    sizes, widths = (4, 7, 8, 14, 16, 28, 32, 56, 112), (16, 24, 32, 64, 112, 184, 352)
    names = [
        f"{kind}_H{size}_W{size}_Cin{before}_Cout{after}{block}"
        for size, before, after, stride in product(sizes, widths, widths, (1, 2))
        for kind, block in (
            ("Skip", f"_stride{stride}"),
            *(
                ("ConvBlock", f"_exp{expansion}_kernel{kernel}_stride{stride}_group{group}")
                for expansion, kernel, group in product((1, 3, 6), (3, 5), (1, 2))
            ),
        )
    ]
    names += [
        "ConvNorm_H32_W32_Cin3_Cout16_kernel3_stride1_group1",
        "ConvNorm_H4_W4_Cin352_Cout1504_kernel1_stride1_group1",
        "AvgP_H4_W4_Cin1504_Cout1504_kernel4_stride1",
        "FC_Cin1504_Cout100",
        "ConvNorm_H224_W224_Cin3_Cout16_kernel3_stride2_group1",
        "ConvNorm_H7_W7_Cin352_Cout1984_kernel1_stride1_group1",
        "AvgP_H7_W7_Cin1984_Cout1984_kernel7_stride1",
        "FC_Cin1984_Cout1000",
    ]
    costs = dict(zip(names, np.random.default_rng(2).uniform(0.1, 2, len(names)), strict=True))
    blocks = {name: costs for name in columns if not name.startswith("edgetpu")}
    return {"nasbench201": cells, "fbnet": blocks}


def write_hw_nas_bench(folder: Path) -> Path:
    path = folder / "HW-NAS-Bench-v1_0.pickle"
    path.write_bytes(pickled(hw_nas_bench()))
    return path


def write_help(folder: Path, name: str, architectures: Any, latencies: dict[str, list]) -> Path:
    (folder / "latency").mkdir()
    torch.save(architectures, folder / name)
    for device, values in latencies.items():
        torch.save(values, folder / "latency" / f"{device}.pt")
    return folder


def write_help_nasbench201(folder: Path) -> Path:
    indices = {cell: number for number, cell in reversed(list(enumerate(CELLS)))}
    latencies = {
        "gold_6226": [10.5, 20.25, 11.5],
        "pixel3": [3.6, 17.2, 0.05],
        "pixel2": [4, 9, 4],
    }
    return write_help(folder, "str_arch2idx.pt", indices, latencies)


def write_help_fbnet(folder: Path) -> Path:
    blocks = [[int(number) for number in text.split("-")] for text in random_notation("fbnet", 4)]
    networks = [{"op_idx_list": numbers, "arch_str": []} for numbers in blocks]
    content = {"dataset": "cifar100", "num_classes": 100, "arch": networks}
    latencies = {"1080ti_1": [10.5, 20.25, 9.0, 11.5], "samsung_a50": [56, 40, 31, 33]}
    return write_help(folder, "metainfo.pt", content, latencies)


def write_help_ofa(folder: Path) -> Path:
    read = [json.loads(text) for text in random_notation("ofa_mobilenetv3", 3)]
    networks = [
        {"ks": net["ks"], "e": net["e"], "d": net["d"], "r": np.int64(net["image_size"])}
        for net in read
    ]
    content = {"dataset": "imagenet", "num_classes": 1000, "arch": networks}
    return write_help(folder, "ofa_archs.pt", content, {"v100_64": [21.5, 30.25, 18.0]})


def write_nds(folder: Path) -> Path:
    def trained(genotype: str, width: int, error: float) -> dict[str, Any]:
        return {
            "net": {
                "genotype": json.loads(genotype),
                "width": width,
                "depth": 20,
                "aux": False,
                "drop_prob": 0.0,
            },
            "optim": {"base_lr": 0.1, "wd": 0.0005, "max_ep": 3},
            "params": 3_349_342,
            "flops": 533_000_000,
            "test_ep_top1": [60.0, error - 0.5, error],
            "train_ep_loss": [1.0, float("nan"), 0.5],
            "min_test_top1": error - 0.5,
            "rng_seed": 1,
        }

    first, second, third = random_notation("nds_darts", 3)
    path = folder / "DARTS.json"
    top = [trained(first, 16, 8.0), trained(third, 32, 5.5)]
    path.write_text(json.dumps({"top": top, "mid": [trained(second, 16, 7.25)]}))
    return path


def checksum(content: bytes) -> int:
    """TensorFlow's masked CRC-32C, bit by bit."""
    state = 0xFFFFFFFF
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    state ^= 0xFFFFFFFF
    return ((state >> 15 | state << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(
    matrix: str, operations: str, accuracy: float, epochs: int = 108, parameters: int = 2_694_282
) -> bytes:
    """A training as NAS-Bench-101 stores it; the test accuracy is .01 below the validation's."""
    evaluations = b""
    for share in (0.0, 0.5, 1.0):
        figures = (108 * share, 1000 * share, 1.0, accuracy * share, (accuracy - 0.01) * share)
        message = b"".join(
            bytes([number << 3 | 1]) + struct.pack("<d", figure)
            for number, figure in enumerate(figures, start=1)
        )
        message += b"\x32\x04ckpt"
        evaluations += b"\x0a" + bytes([len(message)]) + message
    varint = bytearray()
    while parameters > 127:
        varint.append(parameters & 127 | 128)
        parameters >>= 7
    varint.append(parameters)
    metrics = evaluations + b"\x10" + varint + b"\x19" + struct.pack("<d", 1100.0)
    hash_ = "00005c142e6f48ac74fdcf73e3439874"
    row = [hash_, epochs, matrix, operations, base64.b64encode(metrics).decode()]
    content = json.dumps(row).encode()
    length = struct.pack("<Q", len(content))
    sums = [struct.pack("<I", checksum(part)) for part in (length, content)]
    return length + sums[0] + content + sums[1]


def write_nasbench101(folder: Path) -> Path:
    small = ("011001000", "input,conv3x3-bn-relu,output")
    large = ("0110001000010000", "input,conv1x1-bn-relu,maxpool3x3,output")
    path = folder / "nasbench_only108.tfrecord"
    path.write_bytes(
        record(*small, 0.90) + record(*large, 0.93) + record(*small, 0.92) + record(*small, 0.91)
    )
    return path


def write_ofa_accuracy(folder: Path) -> Path:
    configs = [json.loads(text) for text in random_notation("ofa_mobilenetv3", 3)]
    content = {
        "configs": configs,
        "accuracies": [0.682, 0.7124, 0.69],
        "features": [np.zeros(124, dtype=np.float32) for _ in configs],
        "efficiencies": [262912.0, 301056.0, 262912.0],
    }
    path = folder / "dataset.pkl"
    path.write_bytes(pickled(content))
    return path


def accel_nasbench_result(notation: str, top1: float, zcu102_ms: float | None) -> dict[str, Any]:
    architecture = {}
    for stage, text in enumerate(notation.split("_")):
        for name, value in zip("ekl", text[1:6:2], strict=True):
            architecture[f"block{stage}_{name}"] = int(value)
        architecture[f"block{stage}_se"] = text.endswith("s")
    throughputs = ("a100", "3090", "tpuv2", "tpuv3", "zcu102", "vck190")
    return {
        "architecture": architecture,
        "metrics": {"val_top1": top1, "val_top5": top1 + 20, "train_time": 1637.7},
        "model_info": {"macs": 318.3, "params": 2.4},
        "platform_perf": {
            "latency_zcu102": {"latency_mean": zcu102_ms, "latency_std": None},
            "latency_vck190": {"latency_mean": 3.1, "latency_std": None},
        }
        | {
            f"throughput_{device}": {"throughput_mean": 500.0 + i, "throughput_std": 1.0}
            for i, device in enumerate(throughputs)
        },
    }


def write_accel_nasbench(folder: Path) -> Path:
    first, second = random_notation("mnasnet", 2)
    results = {
        10: accel_nasbench_result(first, 61.0, 4.5),
        2: accel_nasbench_result(first, 60.5, 4.25),
        0: accel_nasbench_result(second, 58.5, None),
    }
    path = folder / "anb_dataset_jsons.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for number, result in results.items():
            content = json.dumps(result).encode()
            member = tarfile.TarInfo(f"./anb_dataset_jsons/result_{number}.json")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "nasbench201": write_nasbench201,
    "nats_topology": lambda folder: write_nats(folder, CELLS, "200"),
    "nats_size": lambda folder: write_nats(folder, ("8:8:8:8:8", "8:16:8:64:24"), "90"),
    "hw_nas_bench": write_hw_nas_bench,
    "hw_nas_bench_fbnet": write_hw_nas_bench,
    "help_nasbench201": write_help_nasbench201,
    "help_fbnet": write_help_fbnet,
    "help_ofa": write_help_ofa,
    "nds": write_nds,
    "nasbench101": write_nasbench101,
    "ofa_accuracy": write_ofa_accuracy,
    "accel_nasbench": write_accel_nasbench,
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the small file, or folder of files, of a publisher, and returns its path."""
    return lambda name: WRITERS[name](tmp_path)


@pytest.fixture(name="record")
def _record() -> Callable[..., bytes]:
    """Makes a record of NAS-Bench-101."""
    return record
