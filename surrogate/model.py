"""The Regression Language Model: a program encoder and a decoder that writes digits.

A pre-norm encoder-decoder transformer with these departures from the textbook:

- The encoder follows the program. The state of a statement is made from the sum of the states of
  the values it reads, gated by its operator, and a transform of that. A first flow from the input
  and a flow back from the output tell each statement where it stands; the second flow knows that.
- The memory has a sum over statements without a norm, so that costs which are sums can be read off
  it; training on lessons starts from what each statement adds to them.
- There are no positions in the encoder: the program's order is in the states.
- There may be two encoders. One reads the whole program; the other reads the function it computes,
  without dead statements, for the numbers that depend on nothing else (`ModelConfig.simplified`).
- Every digit stands at a known step of the sequence, so the decoder's position says which
  objective and which digit it writes, and the grammar of allowed tokens is a table.
- Several branches of the digit tree share one key-value cache of the numbers before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from surrogate.graphs import FIRST, INPUT, OUTPUT, Graphs, Wiring, views
from surrogate.text import Programs, Tokenizer

TYPICAL_NODES = 8
"""Sums over nodes are divided by this: of the size of one state, and yet sums."""


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the model.

    Args:
        vocabulary: Lexemes of the text.
        signatures: Whole signatures known to the tokenizer.
        number_vocabulary: Tokens of the numbers.
        number_length: Tokens per number.
        objectives: Numbers per text.
        simplified: Which of them depend on what the program computes alone.
        dim: Width of the states.
        heads: Attention heads.
        decoder_layers: Layers of the decoder.
        dropout: Probability of dropping a state in training.
    """

    vocabulary: int
    signatures: int
    number_vocabulary: int
    number_length: int
    objectives: int
    simplified: tuple[int, ...] = ()
    dim: int = 64
    heads: int = 4
    decoder_layers: int = 1
    dropout: float = 0.0


@dataclass(frozen=True)
class Batch:
    """n programs as tensors.

    Attributes:
        known: Which signature of the vocabulary each of the s signatures is, (s,); 0 for none.
        spelled: Their lexemes, (s, longest); 0 is padding.
        function: What the programs compute; signature i is operator ``FIRST + i``.
        program: All that they say.
    """

    known: Tensor
    spelled: Tensor
    function: Graphs
    program: Graphs

    @classmethod
    def of(cls, tokenizer: Tokenizer, programs: Programs, device: torch.device) -> Batch:
        """The batch of some programs."""
        known, spelled = tokenizer.spell(programs.signatures)
        function, program = views(programs, FIRST + np.arange(len(known)))
        return cls(
            torch.from_numpy(known).to(device),
            torch.from_numpy(spelled).to(device),
            function.to(device),
            program.to(device),
        )

    def __getitem__(self, rows: Tensor | slice) -> Batch:
        return Batch(self.known, self.spelled, self.function[rows], self.program[rows])

    def __len__(self) -> int:
        return len(self.program)


class Passing(Protocol):
    """How some nodes pass on what arrives, r of them at a time."""

    @staticmethod
    def on(arriving: Tensor, gate: Tensor, weight: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What is added to their states, (r, width), and what `back` needs of it.

        Args:
            arriving: Sums of the states that are read, (r, width).
            gate: How much passes, (r, width).
            weight: Of the transform, (width, width).
        """

    @staticmethod
    def back(
        gradient: Tensor, gate: Tensor, weight: Tensor, kept: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """From the gradient of the states those of what arrives and of the gate.

        Then that of what the transform gave, and what it was given: together the weight's.
        """


class GatedPassing(Passing):
    """What passes the gate, and beside it its transform: of the former some is left at the end."""

    @staticmethod
    def on(arriving: Tensor, gate: Tensor, weight: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        passed = gate * arriving
        made = F.linear(passed, weight).relu_()
        return passed + made, (arriving, passed, made)

    @staticmethod
    def back(
        gradient: Tensor, gate: Tensor, weight: Tensor, kept: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        arriving, passed, made = kept
        of_made = gradient * (made > 0)
        of_passed = torch.addmm(gradient, of_made, weight)
        return of_passed * gate, of_passed * arriving, of_made, passed


class _Flowing(torch.autograd.Function):
    """States made turn by turn, from what is there and gates, all (rows, width).

    Automatic differentiation would make a gradient of all states before it for each turn: for
    long chains that takes several times as long.
    """

    @staticmethod
    def forward(
        ctx: Any,
        source: Tensor,
        gate: Tensor,
        weight: Tensor,
        wiring: Wiring,
        passing: type[Passing],
    ) -> Tensor:
        states = source.clone(memory_format=torch.contiguous_format)
        turns, gates = states.split(wiring.sizes), gate.split(wiring.sizes)
        ctx.kept = {}
        for i in wiring.order[1:]:
            added, ctx.kept[i] = passing.on(wiring.reads[i].sums(states), gates[i], weight)
            turns[i].add_(added)
        ctx.save_for_backward(gate, weight)
        ctx.wiring, ctx.passing = wiring, passing
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gate, weight = ctx.saved_tensors
        sizes, order, read_by = ctx.wiring.sizes, ctx.wiring.order, ctx.wiring.read_by
        of_states = gradient.clone(memory_format=torch.contiguous_format)
        of_arrived, of_gate = torch.zeros_like(of_states), torch.zeros_like(of_states)
        of_made, given = [torch.zeros_like(weight[:1])], [torch.zeros_like(weight[:1])]
        tensors = of_states, of_arrived, of_gate, gate
        turns = list(zip(*(tensor.split(sizes) for tensor in tensors), strict=True))
        for i in order[:0:-1]:
            state, arriving, of_opened, opened = turns[i]
            state += read_by[i].sums(of_arrived)
            back = ctx.passing.back(state, opened, weight, ctx.kept[i])
            arriving.copy_(back[0])
            of_opened.copy_(back[1])
            of_made.append(back[2])
            given.append(back[3])
        turns[order[0]][0].add_(read_by[order[0]].sums(of_arrived))
        return of_states, of_gate, torch.cat(of_made).t() @ torch.cat(given), None, None


class Flow(nn.Module):
    """Information flows along the edges; what a node does lets it pass, and is added to it."""

    passing: type[Passing] = GatedPassing

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, width)

    def forward(self, x: Tensor, wiring: Wiring, source: Tensor) -> Tensor:
        """States of all nodes, (n, m, width).

        Args:
            x: What each node does, (n, m, width).
            wiring: Who reads whom.
            source: What is there from the start, (n, m, width).
        """
        n, m, _ = x.shape
        start = source.transpose(0, 1).flatten(0, 1)
        gate = torch.sigmoid(self.gate(x)).transpose(0, 1).flatten(0, 1)
        states = _Flowing.apply(start, gate, self.transform.weight, wiring, self.passing)
        return states.unflatten(0, (m, n)).transpose(0, 1)


class Attention(nn.Module):
    """Multi-head attention of (n, q, dim) over (n, m, dim)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def project(self, memory: Tensor) -> Tensor:
        """Keys and values, (2, n, heads, m, dim / heads)."""
        n, m, dim = memory.shape
        return (
            self.key_value(memory)
            .view(n, m, 2, self.heads, dim // self.heads)
            .permute(2, 0, 3, 1, 4)
        )

    def forward(self, x: Tensor, key_value: Tensor, mask: Tensor | None = None) -> Tensor:
        n, q, dim = x.shape
        query = self.query(x).view(n, q, self.heads, -1).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query, key_value[0], key_value[1], attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(n, q, dim))


class FeedForward(nn.Sequential):
    def __init__(self, dim: int, factor: int = 2) -> None:
        super().__init__(nn.Linear(dim, factor * dim), nn.GELU(), nn.Linear(factor * dim, dim))


class Encoder(nn.Module):
    """One view of the programs to memory: the result, what there is, and one vector per node.

    Source of the flows: Ning et al., "TA-GATES", NeurIPS 2022.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.word = nn.Embedding(config.vocabulary, dim, padding_idx=0)
        self.place = nn.Embedding(64, dim)
        self.signature = nn.Embedding(1 + config.signatures, dim)
        self.special = nn.Embedding(FIRST, dim)
        self.status = nn.Embedding(4, dim)
        self.start = nn.Parameter(torch.randn(dim))
        self.end = nn.Parameter(torch.randn(dim))
        self.first, self.back, self.second = Flow(dim), Flow(dim), Flow(dim)
        self.refine = nn.Sequential(nn.Linear(3 * dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.merge = nn.Linear(2 * dim, dim)
        self.result = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, batch: Batch, graphs: Graphs) -> tuple[Tensor, Tensor]:
        """Memory (n, 2 + m, dim), and which of it is there, (n, 2 + m) bool.

        Args:
            batch: n programs.
            graphs: One of their views, of m nodes.
        """
        signature = self.signature(batch.known) + self._words(batch.spelled)
        operator = torch.cat([self.special.weight, signature])[graphs.operator]
        there = graphs.there[..., None]
        x = (operator + self.status(graphs.status)) * there
        wiring = Wiring.of(graphs)
        output = (graphs.operator == OUTPUT)[..., None]
        start = (graphs.operator == INPUT)[..., None] * self.start
        states = self.first(x, wiring, start)
        back = self.back(x, wiring.reverse(), output * self.end)
        refined = x + self.refine(torch.cat([x, states, back], -1))
        states = self.second(refined, wiring, start)
        result = self.norm(self.result((states * output).sum(1, keepdim=True)))
        # Many costs are sums of what there is: a norm would divide them by what else was added.
        summary = x.sum(1, keepdim=True) / TYPICAL_NODES
        local = self.norm(F.relu(self.merge(torch.cat([x, states], -1))))
        memory = torch.cat([result, summary, local], dim=1)
        return memory, F.pad(graphs.there, (2, 0), value=True)

    @torch.no_grad()
    def start_from(self, batch: Batch, graphs: Graphs, expected: Tensor) -> None:
        """Begin with statements that bring what each of them adds to the numbers, by ridge.

        Costs are often sums over statements: those are there from the start, in the first
        coordinates of the memory's sum.

        Args:
            batch: n programs.
            graphs: One of their views.
            expected: Numbers, (n, k), NaN where missing. At most half as many as there are
                coordinates are used.
        """
        kinds, weight = len(batch.known), self.signature.weight
        expected = expected[:, : weight.shape[1] // 2].double().cpu()
        counts = graphs.occurrences(kinds).cpu()
        adds = torch.zeros(kinds, expected.shape[1], dtype=torch.float64)
        for k, column in enumerate(expected.T):
            known = ~column.isnan()
            occurs, number = counts[known], column[known]
            mean = occurs.mean(0)
            deviation = number.std(correction=0).clamp(min=1e-9)
            off, wanted = occurs - mean, (number - number.mean()) / deviation
            penalty = torch.eye(kinds, dtype=torch.float64)
            adds[:, k] = torch.linalg.solve(off.T @ off + penalty, off.T @ wanted)
            adds[:, k] -= (mean > 0) * (mean @ adds[:, k]) / mean.sum().clamp(min=1e-9)
        width = expected.shape[1]
        for other in (self.special, self.status):
            other.weight[:, :width] = 0
        met = batch.known > 0
        adds = TYPICAL_NODES * adds.to(weight) - self._words(batch.spelled)[:, :width]
        weight[batch.known[met], :width] = adds[met]

    def _words(self, spelled: Tensor) -> Tensor:
        """What the lexemes of s signatures, (s, longest), add to them, (s, dim)."""
        places = self.place.weight[torch.arange(spelled.shape[1], device=spelled.device) % 64]
        return (self.word(spelled) * places).mean(1)


class Reader(nn.Module):
    """The views that the numbers need to memory, each with an encoder of its own."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        simplified = set(config.simplified)
        self.reads_function = [k in simplified for k in range(config.objectives)]
        self.program = None if all(self.reads_function) else Encoder(config)
        self.function = Encoder(config) if any(self.reads_function) else None

    def forward(self, batch: Batch) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each view: memory (n, m, dim), what of it is there (n, m), and who reads it (k,)."""
        views = self._views(batch)
        return [(*encoder(batch, graphs), readers) for encoder, graphs, readers in views]

    def start_from(self, batch: Batch, expected: Tensor) -> None:
        """See `Encoder.start_from`; all k numbers are expected, (n, k)."""
        for encoder, graphs, readers in self._views(batch):
            encoder.start_from(batch, graphs, expected[:, readers])

    def _views(self, batch: Batch) -> list[tuple[Encoder, Graphs, Tensor]]:
        """Encoders, what they read, and whose numbers, (k,) bool."""
        function = torch.tensor(self.reads_function, device=batch.known.device)
        views = (self.program, batch.program, ~function), (self.function, batch.function, function)
        return [
            (encoder, graphs, readers) for encoder, graphs, readers in views if encoder is not None
        ]


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(config.dim)
        self.self_attention = Attention(config.dim, config.heads)
        self.cross_norm = nn.LayerNorm(config.dim)
        self.cross_attention = Attention(config.dim, config.heads)
        self.feed_forward_norm = nn.LayerNorm(config.dim)
        self.feed_forward = FeedForward(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def remember(self, x: Tensor) -> Tensor:
        """Self-attention keys and values of x (n, q, dim), as `Attention.project` gives them."""
        return self.self_attention.project(self.self_norm(x))

    def forward(
        self, x: Tensor, key_value: Tensor, sees: Tensor, memory: Tensor, real: Tensor
    ) -> Tensor:
        """One layer.

        Args:
            x: States, (n r, q, dim), r rows for each of n texts.
            key_value: Self-attention keys and values, those of x among them.
            sees: Which of them each state sees, broadcastable to (n r, heads, q, keys) bool.
            memory: Keys and values of the encoder's memory, of n texts.
            real: Which of the memory each state reads, (n, 1, 1 or r q, m) bool.
        """
        x = x + self.dropout(self.self_attention(self.self_norm(x), key_value, sees))
        # Rows that read the same text share its memory.
        shared = self.cross_norm(x).view(memory.shape[1], -1, x.shape[-1])
        x = x + self.dropout(self.cross_attention(shared, memory, real)).view_as(x)
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class RegressionLanguageModel(nn.Module):
    """Text in, k numbers out, digit by digit.

    The decoder reads, for each number, a begin token and then the number's l tokens; each of them
    but the last predicts the next one. A number sees those written before it that are visible:
    all of them for joint distributions, none for marginal ones. A position belongs to an
    objective, not to a turn, so the numbers can be written in any order.
    """

    BEGIN = 0
    """Id of the begin token; those of number tokens follow, shifted by one."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.reader = Reader(config)
        self.token = nn.Embedding(1 + config.number_vocabulary, config.dim)
        self.step = nn.Embedding(config.objectives * (1 + config.number_length), config.dim)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.logits = nn.Linear(config.dim, config.number_vocabulary)

    def decoder_layers(self) -> list[DecoderLayer]:
        """The layers, with the type that `nn.ModuleList` forgets."""
        return cast(list[DecoderLayer], list(self.layers))

    def remember(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is read of n programs.

        Returns:
            Memory, (n, m, dim), and which of it each of the k numbers reads, (n, k, m) bool.
        """
        memories, real, readers = zip(*self.reader(batch), strict=True)
        masks = [
            mask[:, None] & numbers[:, None] for mask, numbers in zip(real, readers, strict=True)
        ]
        return torch.cat(memories, 1), torch.cat(masks, 2)

    def forward(self, batch: Batch, tokens: Tensor, visible: Tensor, objectives: Tensor) -> Tensor:
        """Teacher forcing.

        Args:
            batch: n programs.
            tokens: Numbers to feed, in the order of writing, (n, m, l).
            visible: Numbers that those after them see, (n, m) bool.
            objectives: Which numbers they are, (m,) of the k that the model can write.

        Returns:
            Logits of each number token given those before it, (n, m, l, number vocabulary).
        """
        n, m, length = tokens.shape
        memory, real = self.remember(batch)
        x = self.token(F.pad(tokens + 1, (1, 0), value=self.BEGIN)).flatten(1, 2)
        x = x + self.step.weight.view(-1, length + 1, x.shape[-1])[objectives].flatten(0, 1)
        number = torch.arange(m, device=x.device).repeat_interleave(length + 1)
        causal = torch.ones(len(number), len(number), dtype=torch.bool, device=x.device).tril()
        same = number[:, None] == number
        sees = causal & (same | visible[:, None, None, number])
        real = real[:, None, objectives[number]]
        for layer in self.decoder_layers():
            key_value = layer.remember(x)
            x = layer(x, key_value, sees, layer.cross_attention.project(memory), real)
        return self.logits(self.norm(x)).view(n, m, length + 1, -1)[:, :, :-1]


class Decoder:
    """Incremental decoding with a key-value cache, over a tree of tokens per text.

    The cache holds the keys and values of every token fed so far. `feed` lets each new token see
    the cached ones it descends from, so the branches of a number share what came before them.

    Args:
        model: In evaluation mode.
        batch: n programs.
        repeat: Rows per program, for samples.
    """

    def __init__(self, model: RegressionLanguageModel, batch: Batch, repeat: int = 1) -> None:
        self.model = model
        self.rows = len(batch) * repeat
        memory, self._real = model.remember(batch)
        self._memory = [
            layer.cross_attention.project(memory).contiguous() for layer in model.decoder_layers()
        ]
        empty = self._memory[0][:, :1, :, :0]
        self._cache = [empty.expand(-1, self.rows, -1, -1, -1) for _ in model.layers]
        self.device = memory.device

    def feed(self, tokens: Tensor, steps: Tensor, sees: Tensor) -> Tensor:
        """Add tokens and predict the one after each.

        Args:
            tokens: (n, m) ids, `BEGIN` or a number token's id plus one.
            steps: Place of each in the sequence that the model was trained on, (m,) or (n, m).
            sees: Which cached and new tokens each one sees, broadcastable to
                (n, 1, m, cached + m) bool.

        Returns:
            Logits, (n, m, number vocabulary).
        """
        x = self.model.token(tokens) + self.model.step(steps)
        number = steps // (1 + self.model.config.number_length)
        number = number.expand(tokens.shape).reshape(len(self._real), -1, 1)
        real = self._real.take_along_dim(number, 1)[:, None]
        for i, layer in enumerate(self.model.decoder_layers()):
            self._cache[i] = torch.cat([self._cache[i], layer.remember(x)], dim=-2)
            x = layer(x, self._cache[i], sees, self._memory[i], real)
        return self.model.logits(self.model.norm(x))
