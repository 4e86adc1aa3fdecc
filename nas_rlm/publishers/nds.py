"""NDS: networks of the spaces of NASNet, AmoebaNet, PNAS, ENAS and DARTS, trained on CIFAR-10.

Source: Radosavovic et al., "On Network Design Spaces for Visual Recognition", ICCV 2019,
https://arxiv.org/abs/1905.13214. The files are those of https://dl.fbaipublicfiles.com/nds/data.zip.
Their form is taken from the notebooks of https://github.com/facebookresearch/nds and from code
that reads them, https://github.com/microsoft/nni (``nas/benchmark/nds``) and
https://github.com/BayesWatch/nas-without-training; the files themselves were not at hand.

A file is a JSON list of networks, or lists ``top`` and ``mid`` of them, each with ``net``
(``genotype``, ``width``, ``depth``), ``params``, ``flops``, and errors in % after each epoch,
``test_ep_top1``, of which ``min_test_top1`` is the least.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from nas_rlm.publishers.published import Published, published, reading, source
from nas_rlm.tables import TableError
from search_spaces.nds import NDS, NDSDARTS, NDSENAS, NDSPNAS, NDSAmoeba, NDSNASNet

_CITATION = "NDS, Radosavovic et al., ICCV 2019, https://github.com/facebookresearch/nds"
_SPACES: dict[str, type[NDS]] = {
    "NASNet": NDSNASNet,
    "Amoeba": NDSAmoeba,
    "PNAS": NDSPNAS,
    "ENAS": NDSENAS,
    "DARTS": NDSDARTS,
}
_FILES = {name: name for name in _SPACES} | {
    f"{name}_fix-w-d": name for name in ("PNAS", "ENAS", "DARTS")
}


def read(file: Path, *, width: int | None = None, depth: int | None = None) -> Published:
    """Accuracies, parameters and FLOPs of the networks of one width and depth.

    ``cifar10_test_acc`` is the accuracy after the last epoch and ``cifar10_best_test_acc`` that
    of the best epoch, which its authors report.

    Args:
        file: Such as ``DARTS_fix-w-d.json``: its name says which space it is of. The files that
            are called ``_fix-w-d`` have one width and depth; in others each network has its own.
        width: Channels of the first cells; the most frequent one of the file if left out.
        depth: Number of cells; the most frequent one, with that width, if left out.

    Raises:
        TableError: The file is of another space or of ImageNet, or not of the form.
    """
    if file.stem not in _FILES:
        raise TableError(
            f"{file}: NDS's name of the file says what is in it, and this reader knows "
            f"{', '.join(f'{name}.json' for name in _FILES)}"
        )
    with reading(file, "a sweep of NDS"):
        content = json.loads(file.read_text())
        networks = content["top"] + content["mid"] if isinstance(content, dict) else content
        sizes = Counter((net["net"]["width"], net["net"]["depth"]) for net in networks)
        size = _chosen(file, sizes, width, depth)
        chosen = [net for net in networks if (net["net"]["width"], net["net"]["depth"]) == size]
        notation = [json.dumps(net["net"]["genotype"]) for net in chosen]
        columns = {
            "cifar10_test_acc": [100 - net["test_ep_top1"][-1] for net in chosen],
            "cifar10_best_test_acc": [100 - net["min_test_top1"] for net in chosen],
            "params_m": [net["params"] / 1e6 for net in chosen],
            "flops_m": [net["flops"] / 1e6 for net in chosen],
        }
    space = _SPACES[_FILES[file.stem]](width=size[0], depth=size[1])
    others = {
        f"of width {other[0]} and depth {other[1]}": n
        for other, n in sizes.items()
        if other != size
    }
    return published(space, notation, columns, source(_CITATION, file), left_out=others)


def _chosen(
    file: Path, sizes: Counter[tuple[Any, Any]], width: int | None, depth: int | None
) -> tuple[int, int]:
    """The most frequent of those sizes that were asked for."""
    for size, _ in sizes.most_common():
        if width in (None, size[0]) and depth in (None, size[1]):
            return size
    raise TableError(
        f"{file}: no network of width {width or 'any'} and depth {depth or 'any'}; there are "
        + ", ".join(f"{w} x {d}" for w, d in sorted(sizes))
    )
