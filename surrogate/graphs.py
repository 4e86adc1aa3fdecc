"""Programs as graphs, in two views.

A program (`surrogate.text.Programs`) is a list of statements. Its nodes are the block input, the
statements in their order, which is topological, and the output. There are two views of it:

- the *program*: every statement, dead or not, because dead operations cost time;
- the *function*: what is computed. Sums, identities and zeros are contracted into weighted edges
  between the operations that remain, and what does not reach the output is dropped, so that equal
  functions are equal graphs up to the order of their nodes.

Graphs are kept as dense batches, which are easily put together; where information flows along
their edges node after node, `Wiring` lists those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from surrogate.text import Programs

INPUT, OUTPUT, FIRST = 1, 2, 3
"""Operators: 0 is padding, from `FIRST` on are those of statements."""
USED, LIVE = 1, 2
"""Bits of a node's status."""


@dataclass(frozen=True, eq=False)
class Graphs:
    """A batch of n graphs, padded to m nodes. Node 0 is the input, a graph's last one the output.

    Attributes:
        operator: What each node does, (n, m) int64; 0 where there is no node.
        status: Whether the output depends on a node (`USED`) and whether the node depends on the
            input (`LIVE`; what is zero does not), (n, m) int64.
        reads: Signed number of times a node reads an earlier one, (n, m, m) float32.
        depth: Longest way from a node back to where no edge enters, and on to where none leaves,
            (n, m, 2) int64.
    """

    operator: Tensor
    status: Tensor
    reads: Tensor
    depth: Tensor

    def __len__(self) -> int:
        return len(self.operator)

    def __getitem__(self, rows: Tensor | slice) -> Graphs:
        return Graphs(*(tensor[rows] for tensor in vars(self).values()))

    def to(self, device: torch.device) -> Graphs:
        """The same graphs on another device."""
        return Graphs(*(tensor.to(device) for tensor in vars(self).values()))

    @property
    def there(self) -> Tensor:
        """Which nodes there are, (n, m) bool."""
        return self.operator > 0

    def occurrences(self, kinds: int) -> Tensor:
        """How often each of s operators, from `FIRST` on, occurs in each graph, (n, s) float64."""
        counts = self.reads.new_zeros(len(self), FIRST + kinds, dtype=torch.float64)
        counts.scatter_add_(1, self.operator, self.there.double())
        return counts[:, FIRST:]

    def turns(self) -> list[int]:
        """Numbers of successive nodes, m in all, of which in no graph one reads another."""
        read = (self.reads != 0).any(0).tolist()
        starts = [0]
        for node in range(1, len(read)):
            if any(read[node][starts[-1] : node]):
                starts.append(node)
        return np.diff([*starts, len(read)]).tolist()


@dataclass(frozen=True)
class Arriving:
    """Edges that enter some rows of a table of states, those of each row together.

    Attributes:
        source: Row that an edge comes from, (edges,) int64.
        weight: How often it counts, (edges,) float32.
        start: Where the edges of each row begin, (rows,) int64.
    """

    source: Tensor
    weight: Tensor
    start: Tensor

    def sums(self, states: Tensor) -> Tensor:
        """Weighted sums of states (all rows, width) over what enters each row, (rows, width)."""
        return F.embedding_bag(
            self.source, states, self.start, mode="sum", per_sample_weights=self.weight
        )


@dataclass(frozen=True)
class Wiring:
    """The edges of n graphs of m nodes, turn by turn, for tables of states (m n, width).

    Node i of graph k is row ``i n + k``, so that the rows of a turn follow one another.

    Attributes:
        sizes: Rows of each turn.
        order: How turns follow one another.
        reads: For each turn, the edges from what it reads.
        read_by: For each turn, the edges from what reads it, against their direction.
    """

    sizes: list[int]
    order: range
    reads: list[Arriving]
    read_by: list[Arriving]

    @classmethod
    def of(cls, graphs: Graphs) -> Wiring:
        """List the edges."""
        n = len(graphs)
        sizes = [n * turn for turn in graphs.turns()]
        target, graph, source = graphs.reads.transpose(0, 1).nonzero(as_tuple=True)
        weight = graphs.reads[graph, target, source]
        target, source = target * n + graph, source * n + graph
        by_source = source.argsort(stable=True)
        return cls(
            sizes,
            range(len(sizes)),
            _arriving(target, source, weight, sizes),
            _arriving(source[by_source], target[by_source], weight[by_source], sizes),
        )

    def reverse(self) -> Wiring:
        """The same from the last turn to the first, against the edges' direction."""
        return Wiring(self.sizes, self.order[::-1], self.read_by, self.reads)


def _arriving(target: Tensor, source: Tensor, weight: Tensor, sizes: list[int]) -> list[Arriving]:
    """Edges sorted by their target, in turns of so many targets."""
    counts = torch.bincount(target, minlength=sum(sizes))
    starts = counts.cumsum(0) - counts
    begins = starts[np.cumsum([0, *sizes[:-1]]).tolist()].tolist()
    edges = np.diff([*begins, len(source)]).tolist()
    parts = source.split(edges), weight.split(edges), starts.split(sizes), begins
    return [
        Arriving(rows, often, at - begin) for rows, often, at, begin in zip(*parts, strict=True)
    ]


def views(programs: Programs, codes: np.ndarray) -> tuple[Graphs, Graphs]:
    """The functions and the programs of n texts.

    Args:
        programs: The n texts, read.
        codes: Operator of each of their s signatures, (s,), from `FIRST` on.
    """
    n, length = programs.signature.shape
    codes = np.append(codes, 0)
    operator = np.zeros((n, length + 2), dtype=np.int64)
    operator[:, 0], operator[:, -1] = INPUT, OUTPUT
    operator[:, 1:-1] = codes[programs.signature]  # -1, no statement, is the last of the codes

    reads = np.zeros((n, length + 2, length + 2), dtype=np.float32)
    reads[:, 1:-1, :-1] = programs.reads
    reads[:, -1, 1:-1] = programs.output
    function, values = _contract(programs, reads)
    kept = _reach_output(function)
    kept[:, [0, -1]] = True

    status = np.full_like(operator, USED | LIVE)
    status[:, 1:-1] = USED * programs.used + LIVE * (values[:, 1:] != 0).any(-1)
    return _graphs(operator * kept, status, function), _graphs(operator, status, reads)


def _contract(programs: Programs, reads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each node reads once linear statements are seen through.

    Returns:
        Reads of nodes that are not linear, (n, m, m), and every value as a sum of such nodes,
        (n, m - 1, m - 1).
    """
    n, length = programs.signature.shape
    values = np.zeros((n, length + 1, length + 1), dtype=np.float32)
    values[:, 0, 0] = 1
    function = np.zeros_like(reads)
    for i in range(1, length + 1):
        read = (reads[:, i, None, :-1] @ values)[:, 0]
        linear = programs.linear[:, i - 1]
        # An operation on zero is zero. One that reads nothing at all makes a constant.
        zero = (read == 0).all(-1) & (reads[:, i] != 0).any(-1)
        function[:, i, :-1] = read * ~(linear | zero)[:, None]
        values[:, i] = read * linear[:, None]
        values[:, i, i] = ~(linear | zero) & (programs.signature[:, i - 1] >= 0)
    function[:, -1, :-1] = (reads[:, -1, None, :-1] @ values)[:, 0]
    return function, values


def _reach_output(reads: np.ndarray) -> np.ndarray:
    """Nodes that the last one depends on, (n, m) bool."""
    reached = np.zeros(reads.shape[:2], dtype=bool)
    reached[:, -1] = True
    for i in range(reads.shape[1] - 1, 0, -1):
        reached |= reached[:, i, None] & (reads[:, i] != 0)
    return reached


def _graphs(operator: np.ndarray, status: np.ndarray, reads: np.ndarray) -> Graphs:
    """Drop what is not there, moving the other nodes up."""
    there = operator > 0
    order = np.argsort(~there, axis=1, kind="stable")[:, : there.sum(1).max(initial=2)]
    operator = np.take_along_axis(operator, order, 1)
    there = operator > 0
    status = np.take_along_axis(status, order, 1) * there
    reads = np.take_along_axis(reads, order[:, :, None], 1)
    reads = np.take_along_axis(reads, order[:, None], 2) * (there[:, :, None] & there[:, None])
    depth = np.stack([_depth(reads), _depth(reads[:, ::-1, ::-1].swapaxes(1, 2))[:, ::-1]], -1)
    return Graphs(*map(torch.from_numpy, (operator, status, reads, depth)))


def _depth(reads: np.ndarray) -> np.ndarray:
    """Longest way from each node back to one that reads nothing, (n, m) int64."""
    depth = np.zeros(reads.shape[:2], dtype=np.int64)
    for i in range(1, reads.shape[1]):
        depth[:, i] = np.max((1 + depth) * (reads[:, i] != 0), axis=1)
    return depth
