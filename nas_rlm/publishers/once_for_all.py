"""Once-for-All: accuracies of subnets of MobileNetV3, measured with the weights of its authors.

Source: https://github.com/MaximeGirard/memory-optimized-once-for-all, whose script
``create_moofa_predictor_dataset.py`` wrote the file; the supernet is that of Cai et al., "Once for
All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020,
https://arxiv.org/abs/1908.09791, of width 1.0.

The file is a pickle of lists: ``configs``, ``accuracies`` (fractions, here in %), ``efficiencies``
(activations of the largest layer, in elements) and ``features``, which follow from the configs.
It was read and compared with the measured table of this project at commit db7c247.
"""

from __future__ import annotations

import json
from pathlib import Path

from nas_rlm.publishers.published import Published, published, reading, source
from nas_rlm.tables import TableError
from nas_rlm.unpickling import ARRAYS, unpickle
from search_spaces.once_for_all import OFAMobileNetV3

_CITATION = (
    "Once-for-All, Cai et al., ICLR 2020, measured at "
    "https://github.com/MaximeGirard/memory-optimized-once-for-all"
)


def read_accuracies(file: Path) -> Published:
    """ImageNet top-1 accuracy and peak activation, from ``MIT_OFA/dataset.pkl``.

    The same repository has files of the same form of two other supernets, other networks or the
    same with other weights. They are not read: MC_OFA has expansions that the space has not, and
    CompOFA is known by its ``wid``.
    """
    with reading(file, "a dataset of memory-optimized-once-for-all"):
        content = unpickle(file.read_bytes(), ARRAYS)
        configs = content["configs"]
        if any("wid" in config for config in configs):
            raise TableError(f"{file}: figures of CompOFA; give MIT_OFA/dataset.pkl instead")
        notation = [json.dumps(config) for config in configs]
        columns = {
            "imagenet_top1": [100 * float(accuracy) for accuracy in content["accuracies"]],
            "peak_activation_elements": [float(size) for size in content["efficiencies"]],
        }
    return published(OFAMobileNetV3(width=1.0), notation, columns, source(_CITATION, file))
