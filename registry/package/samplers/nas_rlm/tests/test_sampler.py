from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optunahub
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from torch import nn

module = optunahub.load_local_module(
    package="samplers/nas_rlm", registry_root=str(Path(__file__).parents[3])
)


class _Sampler:
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        space = module.from_builder(
            lambda p: nn.Linear(2, p["n"]), {"n": [1, 2]}, input_shape=(1, 2)
        )
        return lambda: module.RLMSampler(space, seed=0)


class TestBasicSampler(_Sampler, BasicSamplerTestCase):
    pass


class TestRelativeSampler(_Sampler, RelativeSamplerTestCase):
    pass


class TestMultiObjectiveSampler(_Sampler, MultiObjectiveSamplerTestCase):
    pass
