"""Muon: an optimiser for the matrices between hidden states.

It makes a student as close to its lessons in half of AdamW's steps (`experiments/LOG.md`).
`torch.optim.Muon` works in bfloat16 and on one matrix at a time, which takes a CPU longer than the
rest of the step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

NARROWEST = 32
"""Smaller matrices lead to an output, or from a number: AdamW is better for these."""


def split_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The matrices that Muon is for, and all other parameters."""
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    matrices = [weight for weight in weights if min(weight.shape) >= NARROWEST]
    mine = {id(weight) for weight in matrices}
    return matrices, [other for other in model.parameters() if id(other) not in mine]


class Muon(torch.optim.Optimizer):
    """Momentum, with steps that are made orthogonal: all directions learn as fast.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
    https://kellerjordan.github.io/posts/muon.

    Args:
        matrices: To learn, of two dimensions each.
        lr: Size of a step: singular values of the change, for a matrix that is not tall.
        momentum: Share of the past in each step, Nesterov's way.
    """

    def __init__(self, matrices: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[matrix.shape].append(matrix)
            for (rows, columns), matrices in alike.items():
                change = torch.stack([self._change(m, group["momentum"]) for m in matrices])
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                for matrix, direction in zip(matrices, orthogonal(change), strict=True):
                    matrix.sub_(direction, alpha=size)

    def _change(self, matrix: Tensor, momentum: float) -> Tensor:
        state = self.state[matrix]
        if not state:
            state["mean"] = torch.zeros_like(matrix)
        assert matrix.grad is not None
        state["mean"].lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(state["mean"], momentum)


def orthogonal(matrices: Tensor, iterations: int = 5) -> Tensor:
    """The nearest matrices, (..., m, n), whose singular values are all about 1.

    Source of the iteration's coefficients: that of `Muon`.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (2.0315 * gram @ gram - 4.7750 * gram) @ x
    return x.mT if tall else x
