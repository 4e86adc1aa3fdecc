"""Inception: four stages of two to six equal blocks, each block of one to four paths.

Source: Mills et al., "GENNAPE: Towards Generalized Neural Architecture Performance Estimators",
AAAI 2023, https://arxiv.org/abs/2211.17226; see `search_spaces.gennape`.

How many operations a block may have is an interpretation. The sampler of the authors' code draws
3, 4, 8 or 10 at most for 1, 2, 3 or 4 paths, and in three or four paths at least 2 each. A comment
there has 4, 8, 12 and 16, and these must have been in force before: the one network of the
benchmark that is published as a graph (``inception_best`` in
https://github.com/Ascend-Research/AutoGO) has 15, 11 of them in one path. The space has both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np

from search_spaces.base import Architecture
from search_spaces.document import Body
from search_spaces.gennape import POOLS, ChainSpace, chain_choices, convolutions

STEM, HEAD = 32, 512
STAGES = ((32, 32), (32, 64), (64, 128), (128, 256))
"""Channels before and after a stage; if they differ, its first block halves the image."""
BLOCKS = ("2", "3", "4", "5", "6")
PATHS = ("1", "2", "3", "4")
_CONVOLUTIONS = {
    "conv3x3": "Conv3x3",
    "inception_s3x3": "InceptionS3x3",
    "inception_p3x3": "InceptionP3x3",
    "depthwise3x3": "Depthwise3x3",
    "conv5x5": "Conv5x5",
    "depthwise5x5": "Depthwise5x5",
    "inception_s5x5": "InceptionS5x5",
    "inception_p5x5": "InceptionP5x5",
}
_SUPPLEMENTS = {
    "conv1x1": "Conv1x1",
    "avgpool3x3": "AvgPool",
    "maxpool3x3": "MaxPool",
    "double1x1": "Double1x1",
}
_FUNCTIONS = _CONVOLUTIONS | _SUPPLEMENTS
MOST_OPERATIONS = 4
"""For each path of a block, but any path may have more if others have fewer."""
LONGEST = MOST_OPERATIONS * len(PATHS) - (len(PATHS) - 1)
LEAST_CHANNELS = 16
WIDTHS = {"no_change": 1.0, "reduce2": 0.5, "expand2": 2.0}
"""How much wider a path may be inside than where it ends."""


def _choices() -> Iterator[tuple[str, tuple[str, ...]]]:
    lengths = tuple(str(length) for length in range(1, LONGEST + 1))
    offers = (tuple(_CONVOLUTIONS), tuple(_SUPPLEMENTS))
    for i in range(1, len(STAGES) + 1):
        yield f"stage_{i}_blocks", BLOCKS
        yield f"stage_{i}_paths", PATHS
        for j in range(1, len(PATHS) + 1):
            path = f"stage_{i}_path_{j}"
            yield f"{path}_length", lengths
            yield from chain_choices(path, LONGEST, *offers).items()
            yield f"{path}_width", tuple(WIDTHS)


_DEPTHWISE = "".join(
    f"""\
Depthwise{k}x{k}{suffix} <o> (x) => (y) {{
  a = nas.BiasedDepthwise <g: int=@o, k=[{k},{k}], p=[{p},{p},{p},{p}], s=[{s},{s}]> (x)
  b = nas.BatchNorm (a)
  y = nas.Relu6 (b)
}}
ProjectedDepthwise{k}x{k}{suffix} <o> (x) => (y) {{
  a = nas.Convolution <o: int=@o, k=[1,1], p=[0,0,0,0], s=[1,1]> (x)
  y = nas.Depthwise{k}x{k}{suffix} <o: int=@o> (a)
}}
"""
    for k, p in ((3, 1), (5, 2))
    for s, suffix in ((1, ""), (2, "Down"))
)
_INCEPTION_P = "".join(
    f"""\
InceptionP{k}x{k} <h> (x) => (y) {{
  a = nas.BiasedConvBn <o: int=@h, k=[1,{k}], p=[0,{p},0,{p}], s=[1,1]> (x)
  b = nas.BiasedConvBn <o: int=@h, k=[{k},1], p=[{p},0,{p},0], s=[1,1]> (x)
  c = Concat <axis=1> (a, b)
  y = nas.Relu6 (c)
}}
InceptionP{k}x{k}Down <h> (x) => (y) {{
  a = nas.BiasedConvBn <o: int=@h, k=[1,{k}], p=[0,{p},0,{p}], s=[1,2]> (x)
  b = nas.BiasedConvBn <o: int=@h, k=[{k},1], p=[{p},0,{p},0], s=[2,1]> (a)
  c = nas.BiasedConvBn <o: int=@h, k=[{k},1], p=[{p},0,{p},0], s=[2,1]> (x)
  d = nas.BiasedConvBn <o: int=@h, k=[1,{k}], p=[0,{p},0,{p}], s=[1,2]> (c)
  e = Concat <axis=1> (b, d)
  y = nas.Relu6 (e)
}}
"""
    for k, p in ((3, 1), (5, 2))
)
_SKELETON = f"""\
Network (image) => (logits) {{
  x = nas.Conv3x3 <o={STEM}> (image)
  y = nas.Layers (x)
  z = nas.Conv3x3 <o={HEAD}> (y)
  logits = nas.Classifier <o=$classes> (z)
}}
{convolutions("BiasedConvBnRelu6", separate_strides=True)}{_DEPTHWISE}{_INCEPTION_P}{POOLS}\
Double1x1 <o> (x) => (y) {{
  a = nas.Conv1x1 <o: int=@o> (x)
  y = nas.Conv1x1 <o: int=@o> (a)
}}
Projection <o> (x) => (y) {{
  y = nas.BiasedConvBn <o: int=@o, k=[1,1], p=[0,0,0,0], s=[1,1]> (x)
}}
BiasedConvBnRelu6 <o, k, p, s> (x) => (y) {{
  a = nas.BiasedConvBn <o: int=@o, k: ints=@k, p: ints=@p, s: ints=@s> (x)
  y = nas.Relu6 (a)
}}
BiasedConvBn <o, k, p, s> (x) => (y) {{
  o = nas.Number <n: int=@o> ()
  i = Shape <end=2, start=1> (x)
  k = Constant <value_ints: ints=@k> ()
  n = Concat <axis=0> (i, k)
  w = nas.Weights (o, n)
  z = ConstantOfShape <value=float[1] {{0.0}}> (o)
  a = Conv <pads: ints=@p, strides: ints=@s> (x, w, z)
  y = nas.BatchNorm (a)
}}
BiasedDepthwise <g, k, p, s> (x) => (y) {{
  o = nas.Number <n: int=@g> ()
  i = Constant <value_ints=[1]> ()
  k = Constant <value_ints: ints=@k> ()
  n = Concat <axis=0> (i, k)
  w = nas.Weights (o, n)
  z = ConstantOfShape <value=float[1] {{0.0}}> (o)
  y = Conv <group: int=@g, pads: ints=@p, strides: ints=@s> (x, w, z)
}}
"""


class Inception(ChainSpace):
    """The networks of Inception.

    A block has one to four paths and four times as many operations at most, but a path at least
    one of ``convolutions`` and at most one of ``supplements``; a parameter that asks for more
    operations than the block has left gets those. What the paths compute is put together, brought
    to the channels of the block by a 1x1 convolution if it has others, and added to what the block
    reads, unless that halves the image. A path that has two operations that can change channels
    may be narrower or wider between the first and the last of them.

    The notation is the JSON of the authors' configuration, ``{"stages": [{"block": {"paths":
    [{"ops": ["conv3x3", "avgpool3x3"], "op_types": ["conv", "supp"], "C_internal": 32, "C_out":
    32}]}, "n_blocks": 2, "C_in": 32, "C_out": 32, "stride": 1}, ...]}``. The order of paths means
    nothing, as in the authors' own comparison; wide and long ones are written first.
    """

    name = "inception"
    convolutions = tuple(_CONVOLUTIONS)
    supplements = tuple(_SUPPLEMENTS)
    choices = MappingProxyType(dict(_choices()))
    skeleton = _SKELETON
    rules = (
        '{"stages": [{"block": {"paths": [{"ops": ["conv3x3", "avgpool3x3"], "op_types": ["conv", '
        '"supp"], "C_internal": 32, "C_out": 32}]}, "n_blocks": 2, "C_in": 32, "C_out": 32, '
        '"stride": 1}, ...]}, four stages of two to six blocks of one to four paths, with at most '
        "four times as many operations; each path with at least one conv and at most one supp"
    )

    @cached_property
    def size(self) -> int:
        """Networks that differ by more than the order of paths."""
        return math.prod(len(BLOCKS) * self._number_of_blocks(after) for _, after in STAGES)

    def _number_of_blocks(self, channels: int) -> int:
        layouts = {
            tuple(sorted(zip(lengths, _widths(channels, len(lengths)), strict=True)))
            for paths in range(1, len(PATHS) + 1)
            for lengths in product(range(1, LONGEST + 1), repeat=paths)
            if sum(lengths) <= MOST_OPERATIONS * paths
        }
        return sum(
            math.prod(
                math.comb(self._number_of_paths(*kind) + paths - 1, paths)
                for kind, paths in Counter(layout).items()
            )
            for layout in layouts
        )

    def _number_of_paths(self, length: int, out: int) -> int:
        """Of so many operations and channels, inside as wide as where they end, or not."""
        pools = sum(not _changes(operation) for operation in self.supplements)
        rigid = {1: len(self.convolutions), 2: 2 * pools * len(self.convolutions)}.get(length, 0)
        insides = len({max(int(out * wider), LEAST_CHANNELS) for wider in WIDTHS.values()})
        return insides * (self._number_of_chains(length) - rigid) + rigid

    def key(self, architecture: Architecture) -> str:
        """The notation: no two operations compute the same."""
        return self.format(architecture)

    def config(self, architecture: Architecture) -> dict[str, Any]:
        self.check(architecture)
        stages = []
        for i, (before, after) in enumerate(STAGES, 1):
            lengths = _lengths(architecture, i)
            paths = []
            for j, out in enumerate(_widths(after, len(lengths)), 1):
                name = f"stage_{i}_path_{j}"
                chain = [architecture[n] for n in self._names(architecture, name, lengths[j - 1])]
                wider = WIDTHS[architecture[f"{name}_width"]]
                path = {"ops": chain, "op_types": self._kinds(chain)}
                paths.append({**path, "C_internal": _inside(chain, out, wider), "C_out": out})
            stages.append(
                {
                    "block": {"paths": sorted(paths, key=_order)},
                    "n_blocks": int(architecture[f"stage_{i}_blocks"]),
                    "C_in": before,
                    "C_out": after,
                    "stride": after // before,
                }
            )
        return {"stages": stages}

    def _used(self, architecture: Architecture) -> Iterator[str]:
        for i in range(1, len(STAGES) + 1):
            yield from (f"stage_{i}_blocks", f"stage_{i}_paths")
            for j, length in enumerate(_lengths(architecture, i), 1):
                path = f"stage_{i}_path_{j}"
                yield from (f"{path}_length", f"{path}_supplement_at", f"{path}_width")
                yield from self._names(architecture, path, length)

    def _layout(self, rng: np.random.Generator) -> dict[str, str]:
        """One path after another has any of the operations that are left."""
        drawn = {}
        for i in range(1, len(STAGES) + 1):
            paths = int(rng.integers(1, len(PATHS) + 1))
            drawn[f"stage_{i}_paths"] = str(paths)
            left = MOST_OPERATIONS * paths
            for j in range(1, paths + 1):
                length = int(rng.integers(1, left - (paths - j) + 1))
                drawn[f"stage_{i}_path_{j}_length"] = str(length)
                left -= length
        return drawn

    def _read(self, config: Any) -> Architecture:
        """The inverse of `config`, which puts the paths in order as well."""
        architecture = self._unused()
        for i, stage in enumerate(config["stages"], 1):
            paths = stage["block"]["paths"]
            paths.sort(key=_order)
            architecture[f"stage_{i}_blocks"] = str(stage["n_blocks"])
            architecture[f"stage_{i}_paths"] = str(len(paths))
            for j, path in enumerate(paths, 1):
                name, out = f"stage_{i}_path_{j}", path["C_out"]
                architecture[f"{name}_length"] = str(len(path["ops"]))
                widths = {max(int(out * WIDTHS[w]), LEAST_CHANNELS): w for w in reversed(WIDTHS)}
                architecture[f"{name}_width"] = widths[path["C_internal"]]
                architecture |= self._parameters(name, path["ops"])
        return architecture

    def _layers(self, config: Any) -> str:
        """One statement for each block, and the functions of the blocks of each stage."""
        calls: list[str] = []
        functions = []
        for i, stage in enumerate(config["stages"], 1):
            blocks = stage["n_blocks"]
            if stage["stride"] > 1:
                functions.append(_block(f"Down{i}", stage, first=True))
                calls.append(f"Down{i}")
                blocks -= 1
            functions.append(_block(f"Block{i}", stage, first=False))
            calls += [f"Block{i}"] * blocks
        body, value = Body(), "v0"
        for call in calls:
            value = body.define(f"nas.{call} ({value})")
        return body.function("Layers (v0)", value) + "".join(functions)


def _lengths(architecture: Architecture, stage: int) -> list[int]:
    """How many operations each path of a block has: no more than the others leave."""
    paths = int(architecture[f"stage_{stage}_paths"])
    left = MOST_OPERATIONS * paths
    lengths = []
    for j in range(1, paths + 1):
        given = int(architecture[f"stage_{stage}_path_{j}_length"])
        lengths.append(min(given, left - (paths - j)))
        left -= lengths[-1]
    return lengths


def _order(path: dict[str, Any]) -> tuple[int, int, list[str], int]:
    """Wide paths first, then long ones."""
    return -path["C_out"], -len(path["ops"]), path["ops"], path["C_internal"]


def _widths(channels: int, paths: int) -> list[int]:
    """The channels that each path of a block leaves, of three paths half of them by the first."""
    shares = (2, 1, 1) if paths == 3 else (1,) * paths
    return [max(channels * share // sum(shares), LEAST_CHANNELS) for share in shares]


def _changes(operation: str) -> bool:
    """Whether an operation can change the number of channels."""
    return not _FUNCTIONS[operation].endswith("Pool")


def _inside(operations: Sequence[str], out: int, wider: float) -> int:
    """The channels between the first and the last operation that can change them."""
    if sum(map(_changes, operations)) < 2:
        return out
    return max(int(out * wider), LEAST_CHANNELS)


def _block(name: str, stage: dict[str, Any], *, first: bool) -> str:
    """The function of a block, the first of its stage or another."""
    body = Body()
    before, after = stage["C_in"] if first else stage["C_out"], stage["C_out"]
    ends = []
    for path in stage["block"]["paths"]:
        value, width = "v0", before
        changing = [i for i, operation in enumerate(path["ops"]) if _changes(operation)]
        strided = path["op_types"].index("conv") if first else None
        for i, operation in enumerate(path["ops"]):
            goal = width
            if i == changing[0]:
                goal = path["C_internal"]
            elif i == changing[-1]:
                goal = path["C_out"]
            value = body.define(f"{_call(operation, width, goal, i == strided)} ({value})")
            width = goal
        ends.append(value)
    value = body.define(f"Concat <axis=1> ({', '.join(ends)})") if len(ends) > 1 else ends[0]
    if sum(path["C_out"] for path in stage["block"]["paths"]) != after:
        value = body.define(f"nas.Projection <o={after}> ({value})")
    if not first:
        value = body.define(f"Add ({value}, v0)")
    return body.function(f"{name} (v0)", value)


def _call(operation: str, before: int, after: int, down: bool) -> str:
    """What an operation is in ONNX, with its attributes."""
    function = _FUNCTIONS[operation]
    suffix = "Down" if down else ""
    if function.endswith("Pool"):
        return f"nas.{function}"
    if function.startswith("InceptionP"):
        return f"nas.{function}{suffix} <h={after // 2}>"
    if function.startswith("Depthwise") and before != after:
        function = f"Projected{function}"
    return f"nas.{function}{suffix} <o={after}>"
