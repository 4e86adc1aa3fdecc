"""The original publishers' files: what there is, where to get it, and a reader for each.

A reader takes what the user has downloaded, runs nothing of it, and returns a `Published`: figures
in this project's names and units, with what was left out and where it comes from. Whatever is
wrong with a file is reported as one `TableError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas_rlm.devices import unknown
from nas_rlm.publishers import (
    accel_nasbench,
    help,
    hw_nas_bench,
    nasbench101,
    nats_bench,
    nds,
    once_for_all,
)
from nas_rlm.publishers.published import Published, Source

__all__ = ["PUBLISHERS", "Published", "Publisher", "Source", "get_publisher"]


@dataclass(frozen=True)
class Publisher:
    """A file, or a folder of files, that somebody has published.

    Attributes:
        name: What a user types.
        title: Whose figures they are, and of what.
        file: Name of the file or folder that the reader takes.
        read: Reads it. It takes the path.
        url: Its address, where that is stable.
        obtain: Otherwise the command that gets it, or the page that it is on.
        sha256: Of the file as its publisher has it, where that is known for certain.
        table: Name of the table that it is imported into; that of the space if left out.
    """

    name: str
    title: str
    file: str
    read: Callable[[Path], Published]
    url: str | None = None
    obtain: str = ""
    sha256: str | None = None
    table: str | None = None


# Commits are those at which the files were read, or their code was.
_HELP = (
    "git clone https://github.com/HayeonLee/HELP && "
    "git -C HELP checkout 45f70eb92d0d735970a33b608d1544ad3c52f285"
)
_HW_NAS_BENCH = (
    "https://github.com/RICE-EIC/HW-NAS-Bench/raw/"
    "edf73c33ffec12c575253fd8462339a9fed0f9c1/HW-NAS-Bench-v1_0.pickle"
)
_NATS = "https://github.com/D-X-Y/NATS-Bench#preparation-and-download, then: tar xf "

PUBLISHERS = {
    publisher.name: publisher
    for publisher in (
        Publisher(
            "nasbench201",
            "NAS-Bench-201: accuracy on three datasets, GPU latency",
            "NAS-Bench-201-v1_1-096897.pth",
            nats_bench.read_nasbench201,
            obtain="https://drive.google.com/open?id=16Y0UwGisiouVRxW-W5hEtbxmcHw_0hF_",
        ),
        Publisher(
            "nats_topology",
            "NATS-Bench, topology: accuracy on three datasets, GPU latency, of NAS-Bench-201",
            "NATS-tss-v1_0-3ffb9-simple",
            nats_bench.read_topology,
            obtain=f"{_NATS}NATS-tss-v1_0-3ffb9-simple.tar",
        ),
        Publisher(
            "nats_size",
            "NATS-Bench, size: accuracy on three datasets, GPU latency",
            "NATS-sss-v1_0-50262-simple",
            nats_bench.read_size,
            obtain=f"{_NATS}NATS-sss-v1_0-50262-simple.tar",
        ),
        Publisher(
            "hw_nas_bench",
            "HW-NAS-Bench: latency and energy on six devices, of NAS-Bench-201",
            "HW-NAS-Bench-v1_0.pickle",
            hw_nas_bench.read_nasbench201,
            url=_HW_NAS_BENCH,
        ),
        Publisher(
            "hw_nas_bench_fbnet",
            "HW-NAS-Bench: latency and energy on five devices, of FBNet",
            "HW-NAS-Bench-v1_0.pickle",
            hw_nas_bench.read_fbnet,
            url=_HW_NAS_BENCH,
            table="fbnet_hw_nas_bench",
        ),
        Publisher(
            "help_nasbench201",
            "HELP: latency on 27 devices and batch sizes, of NAS-Bench-201",
            "HELP/data/nasbench201",
            help.read_nasbench201,
            obtain=_HELP,
        ),
        Publisher(
            "help_fbnet",
            "HELP: latency on 27 devices and batch sizes, of FBNet for CIFAR-100",
            "HELP/data/fbnet",
            help.read_fbnet,
            obtain=_HELP,
        ),
        Publisher(
            "help_ofa",
            "HELP: latency on 12 GPUs and batch sizes, of Once-for-All MobileNetV3",
            "HELP/data/ofa",
            help.read_ofa,
            obtain=_HELP,
            table="ofa_mobilenetv3_latency",
        ),
        Publisher(
            "nds",
            "NDS: accuracy of NASNet, Amoeba, PNAS, ENAS and DARTS networks",
            "DARTS_fix-w-d.json",
            nds.read,
            obtain="curl -LO https://dl.fbaipublicfiles.com/nds/data.zip && unzip data.zip",
        ),
        Publisher(
            "nasbench101",
            "NAS-Bench-101: accuracy",
            "nasbench_only108.tfrecord",
            nasbench101.read,
            url="https://storage.googleapis.com/nasbench/nasbench_only108.tfrecord",
            sha256="4c39c3936e36a85269881d659e44e61a245babcb72cb374eacacf75d0e5f4fd1",
        ),
        Publisher(
            "ofa_accuracy",
            "Once-for-All MobileNetV3: ImageNet accuracy of subnets",
            "dataset.pkl",
            once_for_all.read_accuracies,
            url="https://github.com/MaximeGirard/memory-optimized-once-for-all/raw/"
            "db7c2471f9ba6376d36a5583033da41a3d25ee34/"
            "acc_predictor_datasets/adapted/MIT_OFA/dataset.pkl",
            sha256="1f8b74ed32bb04a5074eaa4452c4c22af0d0214f19d9069f4d4e94c9f0f4b232",
        ),
        Publisher(
            "accel_nasbench",
            "Accel-NASBench: ImageNet accuracy, latency and throughput, of MnasNet",
            "anb_dataset_jsons.tar.gz",
            accel_nasbench.read,
            url="https://github.com/afzalxo/Accel-NASBench/raw/"
            "42603572d530310e6bac7191d00cf45625a6b197/anb_dataset/anb_dataset_jsons.tar.gz",
            sha256="3520992d42e368b7c08c99fc3f6612855b5b366bf98668a7f19d49f3131aa4ae",
            table="accel_nasbench",
        ),
    )
}
"""Name to publisher."""


def get_publisher(name: str) -> Publisher:
    """The publisher of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in PUBLISHERS:
        raise unknown("publisher", name, PUBLISHERS)
    return PUBLISHERS[name]
