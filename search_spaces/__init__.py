"""Search spaces: architectures, their notation and their ONNX text. Nothing here learns."""

from search_spaces.base import TEXT_VERSION, Architecture, ArchitectureError, SearchSpace
from search_spaces.builder import BuilderSpace, export, from_builder
from search_spaces.compact import compact
from search_spaces.fbnet import FBNet
from search_spaces.nasbench101 import NASBench101
from search_spaces.nasbench201 import NASBench201
from search_spaces.onnx_graph import Costs, InvalidModelError, count, validate
from search_spaces.registry import SPACES, get_space, space_names

__all__ = [
    "SPACES",
    "TEXT_VERSION",
    "Architecture",
    "ArchitectureError",
    "BuilderSpace",
    "Costs",
    "FBNet",
    "InvalidModelError",
    "NASBench101",
    "NASBench201",
    "SearchSpace",
    "compact",
    "count",
    "export",
    "from_builder",
    "get_space",
    "space_names",
    "validate",
]
