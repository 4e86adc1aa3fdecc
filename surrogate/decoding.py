"""From a model to numbers: greedy digits, samples, and expectations over the digit tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from surrogate.model import Batch, Decoder, RegressionLanguageModel
from surrogate.numbers import NumberFormat
from surrogate.scale import Scale

BRANCHES = 2
"""Branches of a digit tree that stay open after each token; more change no ranking by .001."""

UNLIKELY = 0.02
"""Tokens of less than this share of the likeliest one's probability are not drawn: training leaves
a trace of mass on every exponent, and one number of another magnitude spoils all statistics."""


def _log_probabilities(logits: Tensor, allowed: Tensor) -> Tensor:
    return logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)


@torch.inference_mode()
def sample(
    model: RegressionLanguageModel,
    batch: Batch,
    number: NumberFormat,
    samples: int,
    generator: torch.Generator | None,
    objectives: Sequence[int] | None = None,
) -> Tensor:
    """Write numbers digit by digit, each given the ones before it.

    Args:
        model: In evaluation mode.
        batch: n programs.
        number: How numbers are written.
        samples: Draws per program.
        generator: Source of randomness; None takes the likeliest digit each time (greedy).
        objectives: Which m numbers to write, in that order; None for all of them.

    Returns:
        Tokens, (n, samples, m, number length).
    """
    decoder = Decoder(model, batch, repeat=samples)
    allowed = torch.from_numpy(number.grammar).to(decoder.device)
    tokens = torch.full((decoder.rows, 1), model.BEGIN, device=decoder.device)
    chosen = torch.tensor(_all(model) if objectives is None else objectives, device=tokens.device)
    within = torch.arange(1 + number.length, device=tokens.device)
    places = (chosen[:, None] * len(within) + within).flatten()
    fed = 0
    written: list[Tensor] = []
    for step in range(len(chosen) * number.length):
        j = step % number.length
        if step and j == 0:
            tokens = torch.cat([tokens, torch.full_like(tokens, model.BEGIN)], dim=1)
        new = tokens.shape[1]
        steps = places[fed : fed + new]
        sees = torch.ones(new, fed + new, dtype=torch.bool, device=decoder.device).tril(fed)
        fed += new
        log_p = _log_probabilities(decoder.feed(tokens, steps, sees)[:, -1], allowed[j])
        if generator is None:
            tokens = log_p.argmax(-1, keepdim=True)
        else:
            p = log_p.exp()
            p = p.where(p >= UNLIKELY * p.amax(-1, keepdim=True), 0.0)
            tokens = torch.multinomial(p, 1, generator=generator)
        written.append(tokens)
        tokens = tokens + 1
    return torch.cat(written, 1).view(-1, samples, len(chosen), number.length)


def _all(model: RegressionLanguageModel) -> range:
    return range(model.config.objectives)


@torch.inference_mode()
def expect(
    model: RegressionLanguageModel,
    batch: Batch,
    number: NumberFormat,
    scales: list[Scale],
    objectives: Sequence[int] | None = None,
) -> Tensor:
    """Moments of each number over its digit tree, the other numbers hidden.

    The trees are followed along their likeliest branches, those of all objectives side by side,
    down to the last digit but one; the mass of every other branch is placed at the middle of its
    interval, so nothing is lost and only what is unlikely is coarse.

    Args:
        model: In evaluation mode.
        batch: n programs.
        number: How numbers are written.
        scales: One for each objective of the model, in whose coordinates the moments are.
        objectives: Which k of them to expect; None for all.

    Returns:
        Expected coordinate and expected square of it, (n, k, 2) float64.
    """
    chosen = list(_all(model) if objectives is None else objectives)
    scales = [scales[i] for i in chosen]
    n, k = len(batch), len(chosen)
    # The numbers do not see one another, so each is a row of its own.
    decoder = Decoder(model, batch, repeat=k)
    device, rows = decoder.device, decoder.rows
    allowed = torch.from_numpy(number.grammar).to(device)
    first_step = torch.tensor(chosen, device=device).repeat(n)[:, None] * (1 + number.length)
    tokens = torch.full((rows, 1), model.BEGIN, device=device)
    mass = torch.ones(rows, 1, device=device)
    paths = torch.zeros(rows, 1, 0, dtype=torch.long, device=device)
    sees = torch.zeros(rows, 1, 0, dtype=torch.bool, device=device)
    moments = torch.zeros(rows, 2, dtype=torch.float64, device=device)
    last = max(0, number.length - 2)
    for j in range(last + 1):
        own = torch.eye(tokens.shape[1], dtype=torch.bool, device=device)
        sees = torch.cat([sees, own.expand(rows, -1, -1)], dim=-1)
        logits = decoder.feed(tokens, first_step + j, sees[:, None])
        branches = _log_probabilities(logits, allowed[j]).exp() * mass[..., None]
        middle = _middles(number, scales, paths).to(device)
        vocabulary = branches.shape[-1]
        branches = branches.flatten(1)
        top = branches.topk(1 if j == 0 else BRANCHES, dim=-1)
        if j < last:
            branches = branches.scatter(-1, top.indices, 0.0)
        moments[:, 0] += (branches * middle).sum(-1)
        moments[:, 1] += (branches * middle**2).sum(-1)
        parent, token = top.indices // vocabulary, top.indices % vocabulary
        mass = top.values
        paths = torch.cat([_pick(paths, parent), token[..., None]], dim=-1)
        sees = _pick(sees, parent)
        tokens = token + 1
    return moments.view(n, k, 2)


def _middles(number: NumberFormat, scales: list[Scale], paths: Tensor) -> Tensor:
    """Middles of the branches below paths (n k, m, j), (n k, m vocabulary)."""
    split = paths.unflatten(0, (-1, len(scales))).cpu().numpy()
    middles = [scale.middle(number, split[:, i]) for i, scale in enumerate(scales)]
    return torch.from_numpy(np.stack(middles, axis=1)).flatten(0, 1).flatten(1)


def _pick(branches: Tensor, parent: Tensor) -> Tensor:
    """Entries (n, m, size) of the branches (n, width, size) that parent (n, m) names."""
    return branches.gather(1, parent[..., None].expand(-1, -1, branches.shape[-1]))
