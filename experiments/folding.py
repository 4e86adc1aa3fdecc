"""How much shorter the texts of well-known networks are than flat ones, and what they compute.

Run ``python -m experiments.folding``. Writes ``folding.json`` and ``folding.md`` in
``experiments/results``. The networks are built here, with random weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import onnx.helper
import onnx.printer
import onnxruntime
import torch
from torch import Tensor, nn

from experiments.records import RESULTS, Record, provenance, run_cells
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table
from search_spaces import compact, expand, export, validate, weights_of

SEED = 0


def convolution(
    before: int, after: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Module:
    """With batch normalisation."""
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after))


class Residual(nn.Module):
    """A sum of a branch and what it reads, or a 1x1 convolution of that."""

    def __init__(self, branch: nn.Module, skip: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.branch, self.skip, self.last = branch, skip, last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.branch(x) + self.skip(x))


def resnet(*depths: int, width: int, bottleneck: bool) -> nn.Module:
    """He et al., "Deep Residual Learning for Image Recognition", CVPR 2016."""
    layers: list[nn.Module] = [convolution(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = width
    for stage, depth in enumerate(depths):
        middle = width << stage
        after = 4 * middle if bottleneck else middle
        for block in range(depth):
            stride = 2 if stage and not block else 1
            shapes = [(before, middle, 1, 1), (middle, middle, 3, stride), (middle, after, 1, 1)]
            if not bottleneck:
                shapes = [(before, after, 3, stride), (after, after, 3, 1)]
            branch = [layer for shape in shapes for layer in (convolution(*shape), nn.ReLU())]
            same = stride == 1 and before == after
            skip = nn.Identity() if same else convolution(before, after, 1, stride)
            layers.append(Residual(nn.Sequential(*branch[:-1]), skip, nn.ReLU()))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 100))


def mobilenet() -> nn.Module:
    """Sandler et al., "MobileNetV2", CVPR 2018."""
    layers: list[nn.Module] = [convolution(3, 32, 3, 2), nn.ReLU6()]
    before = 32
    stages = [(6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2)]
    for expansion, after, depth, first in [(1, 16, 1, 1), *stages, (6, 320, 1, 1)]:
        for block in range(depth):
            stride, middle = (1 if block else first), before * expansion
            branch = [convolution(before, middle, 1), nn.ReLU6()] if expansion > 1 else []
            branch += [convolution(middle, middle, 3, stride, middle), nn.ReLU6()]
            unit: nn.Module = nn.Sequential(*branch, convolution(middle, after, 1))
            same = stride == 1 and before == after
            layers.append(Residual(unit, nn.Identity(), nn.Identity()) if same else unit)
            before = after
    layers += [convolution(before, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1280, 100))


class EncoderLayer(nn.Module):
    """Vaswani et al., "Attention Is All You Need", NeurIPS 2017."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.read = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.write = nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.forth, self.back = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        parted = (read(x).view(n, length, self.heads, width // self.heads) for read in self.read)
        q, k, v = (part.transpose(1, 2) for part in parted)
        y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        x = self.norms[0](x + self.write(y.reshape(n, length, width)))
        return self.norms[1](x + self.back(nn.functional.gelu(self.forth(x))))


def vgg() -> nn.Module:
    """Simonyan and Zisserman, 2014, https://arxiv.org/abs/1409.1556, without its wide layers."""

    def layers() -> Iterator[nn.Module]:
        before = 3
        for after, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(depth):
                yield from (nn.Conv2d(before, after, 3, padding=1), nn.ReLU())
                before = after
            yield nn.MaxPool2d(2)

    return nn.Sequential(*layers(), nn.Flatten(), nn.Linear(2048, 100))


IMAGE = (1, 3, 64, 64)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "ResNet-18": (lambda: resnet(2, 2, 2, 2, width=64, bottleneck=False), IMAGE),
    "ResNet-50": (lambda: resnet(3, 4, 6, 3, width=64, bottleneck=True), IMAGE),
    "ResNet-110": (lambda: resnet(18, 18, 18, width=16, bottleneck=False), IMAGE),
    "ResNet-400": (lambda: resnet(66, 66, 66, width=16, bottleneck=False), IMAGE),
    "MobileNetV2": (mobilenet, IMAGE),
    "transformer, 12 layers": (
        lambda: nn.Sequential(*(EncoderLayer(256, 4) for _ in range(12))),
        (1, 32, 256),
    ),
    "VGG-16": (vgg, IMAGE),
}


def run(model: onnx.ModelProto, given: np.ndarray) -> np.ndarray:
    """The output of ONNX Runtime."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: given})[0]


def measure(network: str) -> Record:
    """Figures of one of the networks."""
    torch.manual_seed(SEED)
    build, shape = NETWORKS[network]
    model = export(build(), shape)
    weights = weights_of(model)
    start = time.process_time()
    text = compact(model)
    seconds = time.process_time() - start
    expanded = expand(text, weights)
    given = np.random.default_rng(SEED).normal(size=shape).astype(np.float32)
    output = run(model, given)
    assert np.isfinite(run(validate(text), given)).all()
    bare = onnx.ModelProto(ir_version=10, opset_import=expanded.opset_import)
    bare.graph.CopyFrom(expanded.graph)
    for tensor in expanded.graph.initializer:
        bare.graph.input.append(
            onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    del bare.graph.initializer[:]
    return {
        "nodes": len(expanded.graph.node),
        "folded": len(text),
        "flat": len(onnx.printer.to_text(expand(text))),
        "flat_without_weights": len(onnx.printer.to_text(bare)),
        "functions": text.count("\n<domain"),
        "seconds": seconds,
        "difference": float(np.abs(run(expanded, given) - output).max()),
        "largest": float(np.abs(output).max()),
    }


def main() -> None:
    """Measure and write the table."""
    about = provenance("python -m experiments.folding", {"seed": SEED})
    records = run_cells("folding", about, [{"network": name} for name in NETWORKS], measure)
    table = markdown_table(
        ["network", "nodes", "flat", "weights as inputs", "folded", "shorter", "seconds", "error"],
        (
            [
                record["network"],
                f"{record['nodes']:,}",
                f"{record['flat']:,}",
                f"{record['flat_without_weights']:,}",
                f"{record['folded']:,}",
                f"{record['flat'] / record['folded']:.1f} x",
                f"{record['seconds']:.2f}",
                f"{record['difference']:.0e}",
            ]
            for record in records
        ),
    )
    head = (
        "Characters of networks as ONNX text: the same text without functions; flat and unable to "
        "run, its weights being inputs; and folded. CPU seconds to write the latter; the largest "
        "difference between the outputs of the network and of what is expanded from its text.\n\n"
    )
    write_text(RESULTS / "folding.md", head + table)
    print(table)


if __name__ == "__main__":
    main()
