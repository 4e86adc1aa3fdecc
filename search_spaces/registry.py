"""The search spaces by name."""

from __future__ import annotations

from difflib import get_close_matches

from search_spaces.base import SearchSpace
from search_spaces.fbnet import FBNet
from search_spaces.hiaml import HiAML
from search_spaces.inception import Inception
from search_spaces.mnasnet import MnasNet
from search_spaces.nasbench101 import NASBench101
from search_spaces.nasbench201 import NASBench201
from search_spaces.nats_size import NATSSize
from search_spaces.nds import NDSDARTS, NDSENAS, NDSPNAS, NDSAmoeba, NDSNASNet
from search_spaces.once_for_all import OFAMobileNetV3, OFAProxyless, OFAResNet50
from search_spaces.two_path import TwoPath

SPACES: dict[str, type[SearchSpace]] = {
    space.name: space
    for space in (
        NASBench101,
        NASBench201,
        NATSSize,
        FBNet,
        MnasNet,
        OFAMobileNetV3,
        OFAProxyless,
        OFAResNet50,
        NDSNASNet,
        NDSAmoeba,
        NDSPNAS,
        NDSENAS,
        NDSDARTS,
        HiAML,
        Inception,
        TwoPath,
    )
}


def space_names() -> tuple[str, ...]:
    """The names that `get_space` knows."""
    return tuple(SPACES)


def get_space(name: str) -> SearchSpace:
    """The search space of that name.

    Raises:
        ValueError: No search space has that name.
    """
    if name not in SPACES:
        close = get_close_matches(name, SPACES, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"no search space {name!r}; there is {', '.join(SPACES)}{hint}")
    return SPACES[name]()
