"""Search spaces: architectures, their notation and their ONNX text. Nothing here learns."""

from search_spaces.base import TEXT_VERSION, Architecture, ArchitectureError, SearchSpace
from search_spaces.builder import BuilderSpace, export, from_builder
from search_spaces.compact import compact, expand, weights_of
from search_spaces.costs import Costs, Operation, count, work_list
from search_spaces.fbnet import FBNet
from search_spaces.hiaml import HiAML
from search_spaces.inception import Inception
from search_spaces.listed import Listed
from search_spaces.mnasnet import MnasNet
from search_spaces.nasbench101 import NASBench101
from search_spaces.nasbench201 import NASBench201
from search_spaces.nats_size import NATSSize
from search_spaces.nds import NDSDARTS, NDSENAS, NDSPNAS, NDSAmoeba, NDSNASNet
from search_spaces.once_for_all import OFAMobileNetV3, OFAProxyless, OFAResNet50
from search_spaces.onnx_graph import InvalidModelError, validate
from search_spaces.registry import SPACES, get_space, space_names
from search_spaces.two_path import TwoPath
from search_spaces.weights import with_weights

__all__ = [
    "NDSDARTS",
    "NDSENAS",
    "NDSPNAS",
    "SPACES",
    "TEXT_VERSION",
    "Architecture",
    "ArchitectureError",
    "BuilderSpace",
    "Costs",
    "FBNet",
    "HiAML",
    "Inception",
    "InvalidModelError",
    "Listed",
    "MnasNet",
    "NASBench101",
    "NASBench201",
    "NATSSize",
    "NDSAmoeba",
    "NDSNASNet",
    "OFAMobileNetV3",
    "OFAProxyless",
    "OFAResNet50",
    "Operation",
    "SearchSpace",
    "TwoPath",
    "compact",
    "count",
    "expand",
    "export",
    "from_builder",
    "get_space",
    "space_names",
    "validate",
    "weights_of",
    "with_weights",
    "work_list",
]
