"""Graph neural networks as predictors: two views of the graph, one head per objective.

The networks differ in their encoders (`gnn_encoders`) and share the rest: operators are learned
embeddings, accuracy is learned by ranking pairs of architectures, as in the papers, and latencies
by regression, since their values are what one asks for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor, nn
from tqdm import tqdm

from nas_rlm.predictors import gnn_encoders
from nas_rlm.predictors.base import Inputs
from nas_rlm.predictors.point import PointPredictor, fit_scale
from nas_rlm.zero_cost import scores as zero_cost_scores
from surrogate.graphs import FIRST, Graphs, views
from surrogate.scale import to_coordinates
from surrogate.scorer import curve, hinge, pairwise_loss, regression_loss
from surrogate.text import Tokenizer

UNKNOWN, FIRST_KNOWN = FIRST, FIRST + 1
"""Operators of statements: one for all that training did not have, then the tokenizer's."""
TYPICAL_NODES = 8
"""Sums over nodes are divided by this: of the size of one state, and yet sums."""
REGRESSION = 10.0
"""Weight of the regression of each latency; the ranking of accuracy weighs 1."""
CHUNK = 1024
"""Graphs that are predicted together."""

Examples = tuple[Graphs, Graphs, Tensor]
"""Functions, programs and the zero-cost scores that the heads see beside them, (n, s)."""


def read_graphs(texts: Sequence[str], tokenizer: Tokenizer) -> tuple[Graphs, Graphs]:
    """The functions and the programs of n texts.

    Raises:
        surrogate.text.TextError: A text is not ONNX text, or not like those of training.
    """
    programs = tokenizer.programs(texts)
    known, _ = tokenizer.spell(programs.signatures)
    return views(programs, UNKNOWN + known)


class Reader(nn.Module):
    """One view of a graph to one vector, (n, 3 width).

    It is made of the encoder's state of the graph and of two sums over the nodes, of what they
    are and of what they become: costs add up over operations.
    """

    def __init__(self, encoder: type[nn.Module], operators: int, width: int) -> None:
        super().__init__()
        self.operator = nn.Embedding(operators, width)
        self.status = nn.Embedding(4, width)
        self.encoder = encoder(width)
        self.local = nn.Linear(2 * width, width)

    def forward(self, graphs: Graphs) -> Tensor:
        there = graphs.there[..., None]
        # An operator that no training text has is taken for the mean of those they have.
        rows = self.operator.weight
        unknown = rows[FIRST_KNOWN:].mean(0, keepdim=True)
        rows = torch.cat([rows[:UNKNOWN], unknown, rows[FIRST_KNOWN:]])
        x = (rows[graphs.operator] + self.status(graphs.status)) * there
        states, whole = self.encoder(x, graphs)
        local = F.relu(self.local(torch.cat([x, states], -1))) * there
        return torch.cat([whole, x.sum(1) / TYPICAL_NODES, local.sum(1) / TYPICAL_NODES], -1)


class Network(nn.Module):
    """Accuracy from the function, latencies from the program, each with weights of its own.

    What a network computes decides its accuracy; what it executes, dead operations included,
    decides its latency.
    """

    def __init__(
        self,
        encoder: type[nn.Module],
        operators: int,
        objectives: int,
        width: int,
        supplement: int,
    ) -> None:
        super().__init__()
        self.function, self.program = (Reader(encoder, operators, width) for _ in range(2))
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(3 * width + supplement, width), nn.ReLU(), nn.Linear(width, 1))
            for _ in range(objectives)
        )

    def forward(self, function: Graphs, program: Graphs, supplement: Tensor) -> Tensor:
        """Scores, (n, k)."""
        accuracy, *latencies = self.heads
        scores = [accuracy(torch.cat([self.function(function), supplement], -1))]
        if latencies:
            state = torch.cat([self.program(program), supplement], -1)
            scores += [head(state) for head in latencies]
        return torch.cat(scores, -1)


class GNNPredictor(PointPredictor):
    """Trains a graph neural network on rankings of accuracy and on values of latencies.

    Latencies are learnt on their `Scale`. Accuracy is learnt by its ranking alone; a curve through
    the sorted scores and the sorted labels of the training examples turns scores into accuracies
    and keeps the ranking.

    Args:
        objectives: Names of the k numbers, accuracy first.
        seed: Seeds every random choice.
        folds: See `PointPredictor`.
        epochs: Passes over the training examples.
        batch_size: Examples per step, at most half of them.
        width: Of the states.
        learning_rate: Peak of AdamW's, after a warm-up and before a cosine to zero.
        zero_cost: Let the heads see zero-cost scores beside the graphs, as the best variants of
            FLAN do: their ranks among the training examples.
    """

    encoder: ClassVar[type[nn.Module]]
    """Made with a width, see `gnn_encoders`."""

    def __init__(
        self,
        objectives: Sequence[str],
        *,
        seed: int = 0,
        folds: int = 5,
        epochs: int = 100,
        batch_size: int = 64,
        width: int = 48,
        learning_rate: float = 4e-3,
        zero_cost: bool = False,
    ) -> None:
        super().__init__(objectives, seed=seed, folds=folds)
        self.epochs = epochs
        self.batch_size = batch_size
        self.width = width
        self.learning_rate = learning_rate
        self.zero_cost = zero_cost

    @staticmethod
    def penalty(difference: Tensor) -> Tensor:
        """Of a difference of scores that should be positive."""
        return hinge(difference)

    def _fit(self, inputs: Inputs, values: NDArray[np.float64], progress: bool) -> None:
        self.tokenizer = Tokenizer.fit(inputs.texts)
        self.scales = [fit_scale(column[~np.isnan(column)]) for column in values.T]
        labels = torch.from_numpy(to_coordinates(self.scales, values)).float()
        hints = self._hints(inputs)
        self.reference = np.sort(hints, axis=0)
        examples = self._examples_of(inputs, hints)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            operators = FIRST_KNOWN + len(self.tokenizer.signatures)
            self.network = Network(
                self.encoder,
                operators,
                len(self.objectives),
                self.width,
                examples[2].shape[1],
            )
            self._train(examples, labels, progress)
        self.curve = curve(self._scores(examples)[:, 0], values[:, 0])

    def _train(self, examples: Examples, labels: Tensor, progress: bool) -> None:
        batches = math.ceil(len(labels) / max(1, min(self.batch_size, len(labels) // 2)))
        steps = self.epochs * batches
        optimizer = torch.optim.AdamW(
            self.network.parameters(), self.learning_rate, weight_decay=0.01, fused=True
        )
        warm_up = max(1, steps // 10)

        def rate(step: int) -> float:
            return min((1 + step) / warm_up, 0.5 * (1 + math.cos(math.pi * step / steps)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        for _ in tqdm(range(self.epochs), type(self).__name__, disable=not progress):
            for rows in torch.randperm(len(labels)).tensor_split(batches):
                scores = self.network(*(example[rows] for example in examples))
                wanted = labels[rows]
                loss = pairwise_loss(scores[:, 0], wanted[:, 0], self.penalty)
                for k in range(1, len(self.objectives)):
                    loss = loss + REGRESSION * regression_loss(scores[:, k], wanted[:, k])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    def _examples_of(self, inputs: Inputs, hints: NDArray[np.float64]) -> Examples:
        ranks = [
            (np.searchsorted(known, hint, "left") + np.searchsorted(known, hint, "right") + 1) / 2
            for known, hint in zip(self.reference.T, hints.T, strict=True)
        ]
        normal = norm.ppf(np.reshape(ranks, (-1, len(inputs))).T / (len(self.reference) + 1))
        return *read_graphs(inputs.texts, self.tokenizer), torch.from_numpy(normal).float()

    def _hints(self, inputs: Inputs) -> NDArray[np.float64]:
        """Zero-cost scores, (n, s), undefined ones lowest; none if they are not to be seen."""
        if not self.zero_cost:
            return np.empty((len(inputs), 0))
        table = zero_cost_scores(inputs.space, inputs.architectures)
        return np.where(np.isfinite(table), table, -np.inf)

    def _scores(self, examples: Examples) -> NDArray[np.float64]:
        """Scores, (n, k)."""
        chunks = [slice(i, i + CHUNK) for i in range(0, len(examples[2]), CHUNK)]
        with torch.inference_mode():
            scores = [self.network(*(example[rows] for example in examples)) for rows in chunks]
        return torch.cat(scores).double().numpy()

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        self.check_fitted()
        if not len(inputs):
            return np.empty((0, len(self.objectives)))
        scores = self._scores(self._examples_of(inputs, self._hints(inputs)))
        accuracy = np.interp(scores[:, 0], *self.curve)
        latencies = [scale.inverse(scores[:, k]) for k, scale in enumerate(self.scales) if k]
        return np.stack([accuracy, *latencies], axis=1)


class GATESPredictor(GNNPredictor):
    """See `gnn_encoders.GATES`."""

    encoder = gnn_encoders.GATES


class FLANPredictor(GNNPredictor):
    """See `gnn_encoders.FLAN`."""

    encoder = gnn_encoders.FLAN


class BRPNASPredictor(GNNPredictor):
    """BRP-NAS, see `gnn_encoders.GCN`.

    Its classifier of pairs is one linear layer over the concatenated states of two graphs,
    trained on both orders, which is the difference of two scores; the scores rank without
    comparing every pair. Latencies are regressed, as in the paper.
    """

    encoder = gnn_encoders.GCN

    @staticmethod
    def penalty(difference: Tensor) -> Tensor:
        """Cross-entropy of telling which of two architectures is better."""
        return F.softplus(-difference)


class GraphTransformerPredictor(GNNPredictor):
    """See `gnn_encoders.GraphTransformer`."""

    encoder = gnn_encoders.GraphTransformer
