"""Hardware-aware, multi-objective neural architecture search in Optuna, with a language model."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas_rlm.benchmarks import Benchmark, get_benchmark, nasbench201
    from nas_rlm.objectives import Objective
    from nas_rlm.sampler import RLMSampler
    from search_spaces.builder import from_builder

_HOMES = {
    "Benchmark": "nas_rlm.benchmarks",
    "Objective": "nas_rlm.objectives",
    "RLMSampler": "nas_rlm.sampler",
    "from_builder": "search_spaces.builder",
    "get_benchmark": "nas_rlm.benchmarks",
    "nasbench201": "nas_rlm.benchmarks",
}

__all__ = [
    "Benchmark",
    "Objective",
    "RLMSampler",
    "from_builder",
    "get_benchmark",
    "nasbench201",
]


def __getattr__(name: str) -> Any:
    # Imported when asked for, so that the command line answers before torch is loaded.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
