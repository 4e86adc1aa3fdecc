"""HiAML: four stages of two blocks, each stage with one of fourteen blocks.

Source: Mills et al., "GENNAPE: Towards Generalized Neural Architecture Performance Estimators",
AAAI 2023, https://arxiv.org/abs/2211.17226; see `search_spaces.gennape`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from search_spaces.base import Architecture
from search_spaces.document import Body
from search_spaces.gennape import Gennape, convolutions

STEM = 64
STAGES = ((64, 64), (64, 128), (128, 128), (128, 256))
"""Channels before and after a stage; if they differ, its first block halves the image."""

# What a block computes, before its last ReLU. A star stands where a block that halves the image
# does so; [o] and [i] are the channels after and before the block.
_BLOCKS = {
    "hiaml_z": """\
  a = nas.Conv3x3*[o] (x)
  b = nas.InceptionS3x3[o] (a)
  z = Add (a, b)
""",
    "hiaml_a22": """\
  a = nas.Conv3x3*[o] (x)
  b = nas.Conv1x1[o] (a)
  c = nas.Linear1x1[o] (b)
  z = Add (a, c)
""",
    "hiaml_b23": """\
  a = nas.InceptionS3x3*[o] (x)
  b = nas.InceptionS3x3[o] (a)
  c = shortcut
  z = Add (c, b)
""",
    "hiaml_j30": """\
  a = nas.Conv3x3*[o] (x)
  b = nas.InceptionS3x3[o] (a)
  c = shortcut
  z = Add (c, b)
""",
    "hiaml_g30": """\
  a = nas.InceptionS3x3*[o] (x)
  b = shortcut
  c = Add (b, a)
  d = nas.InceptionS3x3[o] (c)
  e = nas.Linear1x1[o] (d)
  z = Add (a, e)
""",
    "hiaml_r30": """\
  a = nas.InceptionS3x3*[o] (x)
  b = shortcut
  c = Add (b, a)
  d = nas.Linear1x1[o] (c)
  e = nas.InceptionS3x3[o] (a)
  f = shortcut
  z = Sum (f, d, e)
""",
    "hiaml_l20": """\
  a = nas.Conv3x3*[o] (x)
  z = nas.Linear1x1[o] (a)
""",
    "hiaml_t20": """\
  a = nas.Linear1x1*[o] (x)
  b = nas.InceptionS3x3*[o] (x)
  z = Add (a, b)
""",
    "hiaml_t31": """\
  a = nas.InceptionS3x3*[o] (x)
  b = nas.Conv1x1[o] (a)
  c = shortcut
  d = Add (c, b)
  e = nas.InceptionS3x3[o] (d)
  f = shortcut
  z = Sum (f, b, e)
""",
    "hiaml_src0": """\
  a = nas.Conv1x1*[o] (x)
  b = nas.Conv3x3[o] (a)
  c = nas.Linear3x3[o] (b)
  z = Add (a, c)
""",
    "hiaml_src1": """\
  a = nas.Conv1x1*[o] (x)
  b = nas.Conv3x3[i] (x)
  c = nas.Linear3x3*[o] (b)
  z = Add (a, c)
""",
    "hiaml_src3": """\
  a = nas.Linear1x1*[o] (x)
  b = nas.Conv1x1[i] (x)
  c = nas.Conv3x3*[o] (b)
  d = nas.Linear1x1[o] (c)
  z = Add (a, d)
""",
    "hiaml_src7": """\
  a = nas.Linear1x1*[o] (x)
  b = nas.InceptionS3x3[o] (a)
  c = nas.InceptionS3x3[o] (b)
  z = Add (a, c)
""",
    "hiaml_src8": """\
  a = nas.Linear1x1*[o] (x)
  b = nas.InceptionS3x3[o] (a)
  c = nas.Linear1x1[o] (b)
  z = Add (a, c)
""",
}


def _function(block: str) -> str:
    """What a block is called in ONNX: Z, A22, Src0."""
    return block.removeprefix("hiaml_").capitalize()


def _functions(block: str) -> str:
    """The ONNX functions of a block: one that keeps the size of the image, one that halves it."""
    texts = []
    for suffix, shortcut in ("", "Identity (x)"), ("Down", "nas.Linear1x1Down[o] (x)"):
        body = _BLOCKS[block].replace("shortcut", shortcut).replace("*", suffix)
        body = body.replace("[o]", " <o: int=@o>").replace("[i]", " <o: int=@i>")
        name = f"{_function(block)}{suffix}"
        texts.append(f"{name} <i, o> (x) => (y) {{\n{body}  y = Relu (z)\n}}\n")
    return "".join(texts)


_LINEAR = "".join(
    f"""\
Linear{k}x{k}{suffix} <o> (x) => (y) {{
  y = nas.ConvBn <o: int=@o, k=[{k},{k}], p=[{p},{p},{p},{p}], s=[{s},{s}]> (x)
}}
"""
    for k, p in ((1, 0), (3, 1))
    for s, suffix in ((1, ""), (2, "Down"))
)
_SKELETON = f"""\
Network (image) => (logits) {{
  x = nas.ConvBnRelu <o={STEM}, k=[3,3], p=[1,1,1,1], s=[2,2]> (image)
  y = nas.Layers (x)
  logits = nas.Classifier <o=$classes> (y)
}}
{"".join(map(_functions, _BLOCKS))}{_LINEAR}{convolutions("ConvBnRelu6")}"""


class HiAML(Gennape):
    """The 14^4 networks of HiAML.

    The notation lists the blocks of the four stages:
    ``["hiaml_z", "hiaml_a22", "hiaml_src3", "hiaml_t31"]``.
    """

    name = "hiaml"
    choices = MappingProxyType({f"stage_{i}": tuple(_BLOCKS) for i in range(1, len(STAGES) + 1)})
    rules = f"a list of {len(STAGES)} of {', '.join(_BLOCKS)}"
    skeleton = _SKELETON

    def config(self, architecture: Architecture) -> list[str]:
        self.check(architecture)
        return [architecture[stage] for stage in self.choices]

    def key(self, architecture: Architecture) -> str:
        """The notation: no two blocks compute the same."""
        return self.format(architecture)

    def _read(self, config: Any) -> Architecture:
        return dict(zip(self.choices, config, strict=True))

    def _layers(self, config: Any) -> str:
        body, value = Body(), "v0"
        for block, (before, after) in zip(config, STAGES, strict=True):
            suffix = "Down" if after > before else ""
            call = f"nas.{_function(block)}"
            value = body.define(f"{call}{suffix} <i={before}, o={after}> ({value})")
            value = body.define(f"{call} <i={after}, o={after}> ({value})")
        return body.function("Layers (v0)", value)
