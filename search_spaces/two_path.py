"""Two-Path: two paths of two to four blocks each, put together in the end.

Source: Mills et al., "GENNAPE: Towards Generalized Neural Architecture Performance Estimators",
AAAI 2023, https://arxiv.org/abs/2211.17226; see `search_spaces.gennape`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from search_spaces.base import Architecture
from search_spaces.document import Body
from search_spaces.gennape import POOLS, ChainSpace, chain_choices, convolutions

STEM, HEAD = 32, 512
PATHS = ("path1", "path2")
MOST_BLOCKS, MOST_OPERATIONS = 4, 3
STRIDES = tuple(
    "".join(strides)
    for blocks in range(2, MOST_BLOCKS + 1)
    for strides in product("12", repeat=blocks)
    if strides.count("2") == 2
)

# The ONNX function of an operation and, if that is two convolutions, how much wider it is between
# them than before.
_CONVOLUTIONS = {
    "conv3x3": ("Conv3x3", None),
    "double3x3": ("Bottleneck3x3", 1.0),
    "conv5x5": ("Conv5x5", None),
    "bottleneck-r2-k3": ("Bottleneck3x3", 0.5),
    "bottleneck-r4-k3": ("Bottleneck3x3", 0.25),
    "bottleneck-e2-k3": ("Bottleneck3x3", 2.0),
    "inception_s3x3": ("InceptionS3x3", None),
    "inception_s5x5": ("InceptionS5x5", None),
}
_SUPPLEMENTS = {
    "conv1x1": ("Conv1x1", None),
    "bottleneck-r2-k1": ("Bottleneck1x1", 0.5),
    "bottleneck-e2-k1": ("Bottleneck1x1", 2.0),
    "avgpool3x3": ("AvgPool", None),
    "maxpool3x3": ("MaxPool", None),
}


_BOTTLENECKS = "".join(
    f"""\
Bottleneck{k}x{k}{suffix} <m, o> (x) => (y) {{
  a = nas.Conv{k}x{k}{suffix} <o: int=@m> (x)
  y = nas.Conv{k}x{k} <o: int=@o> (a)
}}
"""
    for k in (1, 3)
    for suffix in ("", "Down")
)
_SKELETON = f"""\
Network (image) => (logits) {{
  x = nas.Conv3x3 <o={STEM}> (image)
  y = nas.Conv3x3Down <o={STEM}> (x)
  z = nas.Layers (y)
  h = nas.Conv3x3 <o={HEAD}> (z)
  logits = nas.Classifier <o=$classes> (h)
}}
{_BOTTLENECKS}{convolutions("ConvBnRelu6")}{POOLS}"""


def _choices() -> Iterator[tuple[str, tuple[str, ...]]]:
    lengths = tuple(str(length) for length in range(1, MOST_OPERATIONS + 1))
    for path in PATHS:
        yield f"{path}_strides", STRIDES
        for i in range(1, MOST_BLOCKS + 1):
            block = f"{path}_block_{i}"
            yield f"{block}_length", lengths
            offers = (tuple(_CONVOLUTIONS), tuple(_SUPPLEMENTS))
            yield from chain_choices(block, MOST_OPERATIONS, *offers).items()


class TwoPath(ChainSpace):
    """The networks of Two-Path, about 1.7e27 of them.

    A block has one to three operations, at least one of ``convolutions`` and at most one of
    ``supplements``. In each path two blocks have a stride of 2, which is that of their first
    convolution; the others add what they read to what they compute.

    The notation is the JSON of the authors' configuration. It lists the blocks, and which of them
    have a stride of 2: ``{"path1": [{"op_names": ["conv3x3", "avgpool3x3"], "op_types": ["conv",
    "supp"]}, ...], "path2": [...], "path1_reduce_inds": [0, 1], "path2_reduce_inds": [0, 2]}``.
    """

    name = "two_path"
    convolutions = tuple(_CONVOLUTIONS)
    supplements = tuple(_SUPPLEMENTS)
    choices = MappingProxyType(dict(_choices()))
    skeleton = _SKELETON
    rules = (
        '{"path1": [{"op_names": ["conv3x3", "avgpool3x3"], "op_types": ["conv", "supp"]}, ...], '
        '"path2": [...], "path1_reduce_inds": [0, 1], "path2_reduce_inds": [0, 2]}, each path of '
        "two to four blocks, two of which reduce, and each block of one to three operations, at "
        "least one conv and at most one supp"
    )

    @property
    def size(self) -> int:
        """Configurations, as the authors tell them apart: the paths are in an order."""
        lengths = range(1, MOST_OPERATIONS + 1)
        blocks = sum(map(self._number_of_chains, lengths))
        return sum(blocks ** len(strides) for strides in STRIDES) ** len(PATHS)

    def key(self, architecture: Architecture) -> str:
        """The convolutions and pools of both paths, in brackets where their input is added.

        Two convolutions may be one operation or two, the blocks with a stride may share out what
        is between them otherwise, and the paths may change places.
        """
        config = self.config(architecture)
        return " | ".join(
            sorted(
                " ".join(
                    f"[{' '.join(step.key for step in steps)}]"
                    if stride == 1
                    else " ".join(step.key for step in steps)
                    for stride, steps in _blocks(config, path)
                )
                for path in PATHS
            )
        )

    def config(self, architecture: Architecture) -> dict[str, Any]:
        self.check(architecture)
        blocks: dict[str, list[dict[str, list[str]]]] = {path: [] for path in PATHS}
        reductions = {}
        for path in PATHS:
            strides = architecture[f"{path}_strides"]
            for i in range(1, len(strides) + 1):
                block = f"{path}_block_{i}"
                length = int(architecture[f"{block}_length"])
                chain = [architecture[n] for n in self._names(architecture, block, length)]
                blocks[path].append({"op_names": chain, "op_types": self._kinds(chain)})
            reductions[f"{path}_reduce_inds"] = [i for i, s in enumerate(strides) if s == "2"]
        return {**blocks, **reductions}

    def _used(self, architecture: Architecture) -> Iterator[str]:
        for path in PATHS:
            yield f"{path}_strides"
            for i in range(1, len(architecture[f"{path}_strides"]) + 1):
                block = f"{path}_block_{i}"
                length = int(architecture[f"{block}_length"])
                yield from (f"{block}_length", f"{block}_supplement_at")
                yield from self._names(architecture, block, length)

    def _layout(self, rng: np.random.Generator) -> dict[str, str]:
        """Two, three or four blocks are equally likely."""
        drawn = {}
        for path in PATHS:
            blocks = rng.integers(2, MOST_BLOCKS + 1)
            offers = [strides for strides in STRIDES if len(strides) == blocks]
            drawn[f"{path}_strides"] = offers[rng.integers(len(offers))]
        return drawn

    def _read(self, config: Any) -> Architecture:
        architecture = self._unused()
        for path in PATHS:
            reduce = config[f"{path}_reduce_inds"]
            architecture[f"{path}_strides"] = "".join(
                "2" if i in reduce else "1" for i in range(len(config[path]))
            )
            for i, block in enumerate(config[path], 1):
                operations = block["op_names"]
                architecture[f"{path}_block_{i}_length"] = str(len(operations))
                architecture |= self._parameters(f"{path}_block_{i}", operations)
        return architecture

    def _layers(self, config: Any) -> str:
        """One statement for each operation, and the sums.

        Between two blocks with a stride stands an ``Identity``, since operations on either side
        of it are in different blocks.
        """
        body = Body()
        ends = []
        for path in PATHS:
            value, before = "v0", 1
            for stride, steps in _blocks(config, path):
                if before == stride == 2:
                    value = body.define(f"Identity ({value})")
                start, before = value, stride
                for step in steps:
                    value = body.define(f"{step.statement} ({value})")
                if stride == 1:
                    value = body.define(f"Add ({value}, {start})")
            ends.append(value)
        return body.function("Layers (v0)", body.define(f"Concat <axis=1> ({', '.join(ends)})"))


class _Step(NamedTuple):
    """What an operation computes.

    Attributes:
        statement: Its ONNX function, with attributes.
        key: Its convolutions one by one.
    """

    statement: str
    key: str


def _blocks(config: dict[str, Any], path: str) -> Iterator[tuple[int, list[_Step]]]:
    """The stride of each block, and what it computes."""
    width = STEM
    for i, block in enumerate(config[path]):
        stride = 2 if i in config[f"{path}_reduce_inds"] else 1
        first = block["op_types"].index("conv")
        steps = []
        for j, operation in enumerate(block["op_names"]):
            down = stride == 2 and j == first
            after = 2 * width if down else width
            steps.append(_step(operation, width, after, down))
            width = after
        yield stride, steps


def _step(operation: str, before: int, after: int, down: bool) -> _Step:
    function, wider = {**_CONVOLUTIONS, **_SUPPLEMENTS}[operation]
    suffix, halves = ("Down", "/2") if down else ("", "")
    if function.endswith("Pool"):
        return _Step(f"nas.{function}", function)
    if wider is None:
        return _Step(f"nas.{function}{suffix} <o={after}>", f"{function}-{after}{halves}")
    middle = int(wider * before)
    kernel = function.replace("Bottleneck", "Conv")
    return _Step(
        f"nas.{function}{suffix} <m={middle}, o={after}>",
        f"{kernel}-{middle}{halves} {kernel}-{after}",
    )
