from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas_rlm.publishers import PUBLISHERS

Write = Callable[[str], Path]


@pytest.mark.parametrize("name", ["nasbench201", "nats_topology"])
def test_figures_of_the_topology_space(write: Write, name: str) -> None:
    published = PUBLISHERS[name].read(write(name))
    # The mean over seeds 777 and 888, where there are two, after the last epoch.
    first = 60 + {"nasbench201": 8.325, "nats_topology": 7.77}[name]
    assert published.space.name == "nasbench201"
    for dataset in ("cifar10", "cifar100", "imagenet16_120"):
        for images in ("valid", "test"):
            accuracies = published.columns[f"{dataset}_{images}_acc"]
            np.testing.assert_allclose(accuracies, [first, first + 1, first + 2])
        np.testing.assert_allclose(published.columns[f"{dataset}_gpu_latency_ms"], 13)
        np.testing.assert_allclose(published.columns[f"{dataset}_params_m"], [0.1, 1.1, 2.1])
        np.testing.assert_allclose(published.columns[f"{dataset}_flops_m"], [15.5, 16.5, 17.5])
    assert len(published.columns) == 15
    assert not published.left_out


def test_figures_of_the_size_space(write: Write) -> None:
    published = PUBLISHERS["nats_size"].read(write("nats_size"))
    assert published.space.name == "nats_size"
    assert published.notation == ("8:8:8:8:8", "8:16:8:64:24")
    np.testing.assert_allclose(published.columns["cifar100_test_acc"], [67.77, 68.77])
