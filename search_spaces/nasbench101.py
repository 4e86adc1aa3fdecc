"""NAS-Bench-101: cells of up to seven vertices and nine edges, operations on the vertices.

Source: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML 2019,
https://arxiv.org/abs/1902.09635.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from itertools import combinations, product
from types import MappingProxyType

import numpy as np

from search_spaces.base import Architecture, ArchitectureError
from search_spaces.document import Body
from search_spaces.network import NetworkSpace

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
MOST_VERTICES, MOST_EDGES = 7, 9
_OUTPUT = MOST_VERTICES - 1
_EDGES = tuple(combinations(range(MOST_VERTICES), 2))
_NOTATION = "0110/0010/0001/0000 input,conv1x1-bn-relu,maxpool3x3,output"


def _edge(source: int, target: int) -> str:
    return f"edge_{source}_{target}"


@dataclass(frozen=True)
class _Cell:
    """What is left of a cell without vertices that no path from input to output visits.

    Attributes:
        edges: Pairs of vertices, ascending; vertex 0 is the input, the last one the output.
        operations: Of the vertices between them.
    """

    edges: tuple[tuple[int, int], ...]
    operations: tuple[str, ...]

    @property
    def output(self) -> int:
        return len(self.operations) + 1

    @property
    def parts(self) -> list[int]:
        """Vertices whose channels the output puts together."""
        return [vertex for vertex in self.into(self.output) if vertex]

    def into(self, target: int) -> list[int]:
        """Vertices with an edge to this one."""
        return [i for i, j in self.edges if j == target]


_WIDTHS = ("a", "b", "c")
_GIVEN = (*_WIDTHS, "B", "C")
"""Attributes of a cell: b and c are given as lists, too, which is what cuts read."""
_EXPRESSIONS = {
    "conv3x3-bn-relu": "nas.Conv3x3 <o: int=@{}> ({})",
    "conv1x1-bn-relu": "nas.Conv1x1 <o: int=@{}> ({})",
    "maxpool3x3": "MaxPool <kernel_shape=[3,3], pads=[1,1,1,1], strides=[1,1]> ({1})",
}
_SKELETON = """\
Network (image) => (logits) {
  x = nas.Conv3x3 <o=$channels> (image)
  y = nas.Body (x)
  logits = nas.Classifier <o=$classes> (y)
}
Stage <o, a, b, c, B, C> (x0) => (x3) {
  x1 = nas.Cell <$given> (x0)
  x2 = nas.Cell <$given> (x1)
  x3 = nas.Cell <$given> (x2)
}
Conv3x3 <o> (x) => (y) {
  y = nas.ConvBnRelu <o: int=@o, k=[3,3], p=[1,1,1,1], s=[1,1]> (x)
}
Conv1x1 <o> (x) => (y) {
  y = nas.ConvBnRelu <o: int=@o, k=[1,1], p=[0,0,0,0], s=[1,1]> (x)
}
First <n> (x) => (y) {
  zero = Constant <value_ints=[0]> ()
  one = Constant <value_ints=[1]> ()
  n = Constant <value_ints: ints=@n> ()
  y = Slice (x, zero, n, one)
}
""".replace(
    "$given",
    ", ".join(f"{name}: {'ints' if name.isupper() else 'int'}=@{name}" for name in ("o", *_GIVEN)),
)


class NASBench101(NetworkSpace):
    """The 423,624 cells of NAS-Bench-101, up to isomorphism.

    A cell is given for seven vertices: which edges there are and what vertices 1 to 5 do. As in
    the benchmark, vertices that no path from the input (0) to the output (6) visits do not count,
    so that different parameters can be the same cell. Sampled and parsed ones are in normal form:
    vertices that count come first.

    The notation is that of the benchmark's adjacency matrix and operations, without the vertices
    that do not count: ``0110/0010/0001/0000 input,conv1x1-bn-relu,maxpool3x3,output``.

    Args:
        channels: Of a cell's output in the first stage, doubled in the second and the third;
            those of the benchmark unless networks are to be quick.

    Raises:
        ValueError: A cell's parts would have no channels.
    """

    name = "nasbench101"
    image_multiple = 4
    choices = MappingProxyType(
        {_edge(i, j): ("0", "1") for i, j in _EDGES}
        | {f"operation_{vertex}": OPERATIONS for vertex in range(1, _OUTPUT)}
    )

    def __init__(self, *, channels: int = 128) -> None:
        if channels < _OUTPUT:
            raise ValueError(f"channels must be at least {_OUTPUT}, not {channels}")
        self.channels = channels
        self.skeleton = _SKELETON.replace("$channels", str(channels))

    @property
    def size(self) -> int:
        """Cells that differ by more than the order of their vertices."""
        return 423_624

    def check(self, architecture: Architecture) -> None:
        self._cell(architecture)

    def parse(self, text: str) -> Architecture:
        matrix, _, operations = text.partition(" ")
        rows, labels = matrix.split("/"), operations.split(",")
        last = len(rows) - 1
        if (
            not 1 <= last < MOST_VERTICES
            or len(labels) != len(rows)
            or (labels[0], labels[-1]) != ("input", "output")
            or any(len(row) != len(rows) or set(row) - {"0", "1"} for row in rows)
            or any("1" in row[: i + 1] for i, row in enumerate(rows))
        ):
            raise ArchitectureError(
                f"{text[:200]!r} is not a {self.name} cell; it is written like {_NOTATION!r}, an "
                f"upper triangular matrix of 2 to {MOST_VERTICES} rows and an operation for each"
            )
        if unknown := set(labels[1:-1]) - set(OPERATIONS):
            raise ArchitectureError(
                f"{self.name}: {unknown.pop()!r} is not offered; choose one of "
                f"{', '.join(OPERATIONS)}"
            )
        edges = tuple((i, j) for i in range(last) for j in range(last + 1) if rows[i][j] == "1")
        return self._architecture(_pruned(_Cell(edges, tuple(labels[1:-1]))))

    def format(self, architecture: Architecture) -> str:
        cell = self._cell(architecture)
        vertices = range(cell.output + 1)
        rows = ("".join(str(int((i, j) in cell.edges)) for j in vertices) for i in vertices)
        return f"{'/'.join(rows)} {','.join(('input', *cell.operations, 'output'))}"

    def key(self, architecture: Architecture) -> str:
        """The benchmark's own hash, equal for isomorphic cells.

        The benchmark counts those as one, although the channels of the output may be divided
        otherwise among vertices in another order, by one more or less.
        """
        cell = self._cell(architecture)
        labels = [-1, *map(OPERATIONS.index, cell.operations), -2]
        vertices = range(cell.output + 1)
        into = [cell.into(j) for j in vertices]
        out_of = [[j for i, j in cell.edges if i == vertex] for vertex in vertices]
        names = [_md5(str((len(out_of[v]), len(into[v]), labels[v]))) for v in vertices]
        for _ in vertices:
            names = [
                _md5(
                    "".join(sorted(names[i] for i in into[v]))
                    + "|"
                    + "".join(sorted(names[j] for j in out_of[v]))
                    + "|"
                    + names[v]
                )
                for v in vertices
            ]
        return _md5(str(sorted(names)))

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One cell, as the benchmark's authors sample: parameters at random until they are one."""
        while True:
            architecture = super().sample(rng)
            try:
                return self._architecture(self._cell(architecture))
            except ArchitectureError:
                continue

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """Cells with another operation, with one edge more or less, or with one vertex more.

        A new vertex stands between two others. Vertices that lose their last edge leave with it,
        so an architecture need not be a neighbour of its neighbours.
        """
        cell = self._cell(architecture)
        found: dict[str, Architecture] = {}
        for changed in _changes(cell):
            try:
                neighbour = self._architecture(_pruned(changed))
            except ArchitectureError:
                continue
            found[self.format(neighbour)] = neighbour
        found.pop(self.format(architecture), None)
        return list(found.values())

    def __iter__(self) -> Iterator[Architecture]:
        """One architecture for each key, small ones first. All of them take hours."""
        seen = set()
        for vertices in range(2, MOST_VERTICES + 1):
            pairs = list(combinations(range(vertices), 2))
            for chosen in product((False, True), repeat=len(pairs)):
                edges = tuple(pair for pair, there in zip(pairs, chosen, strict=True) if there)
                if len(edges) > MOST_EDGES or len(_visited(edges, vertices - 1)) < vertices:
                    continue
                for operations in product(OPERATIONS, repeat=vertices - 2):
                    architecture = self._architecture(_Cell(edges, operations))
                    if (key := self.key(architecture)) not in seen:
                        seen.add(key)
                        yield architecture

    def differing(self, architecture: Architecture) -> str:
        """``Cell``, and ``Body``, which repeats it and says how wide its parts are."""
        cell = self._cell(architecture)
        return _cell_text(cell) + _body(len(cell.parts), self.channels)

    def _cell(self, architecture: Architecture) -> _Cell:
        super().check(architecture)
        return _pruned(_given(architecture))

    def _architecture(self, cell: _Cell) -> Architecture:
        """The parameters of a cell in normal form."""
        architecture = {name: offers[0] for name, offers in self.choices.items()}
        for i, j in cell.edges:
            architecture[_edge(i, _OUTPUT if j == cell.output else j)] = "1"
        for vertex, operation in enumerate(cell.operations, 1):
            architecture[f"operation_{vertex}"] = operation
        return architecture


def _given(architecture: Architecture) -> _Cell:
    """All seven vertices."""
    edges = tuple(pair for pair in _EDGES if architecture[_edge(*pair)] == "1")
    operations = tuple(architecture[f"operation_{vertex}"] for vertex in range(1, _OUTPUT))
    return _Cell(edges, operations)


def _visited(edges: tuple[tuple[int, int], ...], output: int) -> list[int]:
    """Vertices on a path from vertex 0 to the output, ascending."""
    reached, useful = {0}, {output}
    for i, j in sorted(edges):
        reached |= {j} if i in reached else set()
    for i, j in sorted(edges, key=lambda pair: -pair[1]):
        useful |= {i} if j in useful else set()
    return sorted(reached & useful)


def _pruned(cell: _Cell) -> _Cell:
    """A cell without vertices that no path visits.

    Raises:
        ArchitectureError: No path leads from the input to the output, or too much is left.
    """
    kept = _visited(cell.edges, cell.output)
    if not {0, cell.output}.issubset(kept):
        raise ArchitectureError("nasbench101: no path leads from the input to the output")
    place = {vertex: i for i, vertex in enumerate(kept)}
    edges = tuple((place[i], place[j]) for i, j in cell.edges if i in place and j in place)
    if len(edges) > MOST_EDGES or len(kept) > MOST_VERTICES:
        raise ArchitectureError(
            f"nasbench101: {len(kept)} vertices and {len(edges)} edges on paths from the input to "
            f"the output; the space has cells of at most {MOST_VERTICES} and {MOST_EDGES}"
        )
    return _Cell(edges, tuple(cell.operations[vertex - 1] for vertex in kept[1:-1]))


def _changes(cell: _Cell) -> Iterator[_Cell]:
    """Cells that differ in one thing, valid or not."""
    for k, old in enumerate(cell.operations):
        for new in OPERATIONS:
            if new != old:
                yield _Cell(cell.edges, (*cell.operations[:k], new, *cell.operations[k + 1 :]))
    for pair in combinations(range(cell.output + 1), 2):
        yield _Cell(tuple(sorted({*cell.edges} ^ {pair})), cell.operations)
    for i, j in combinations(range(cell.output + 1), 2):
        moved = {(a + (a > i), b + (b > i)) for a, b in cell.edges}
        edges = tuple(sorted({*moved, (i, i + 1), (i + 1, j + 1)}))
        for operation in OPERATIONS:
            yield _Cell(edges, (*cell.operations[:i], operation, *cell.operations[i:]))


def _cell_text(cell: _Cell) -> str:
    """The function ``Cell``: one statement for each operation, projection, sum and cut.

    The output puts the channels of some vertices together. One, two or four are all of one width
    a, and nine edges allow no more; of three the first may have one channel more than the last:
    widths a, b, c. What does not go to the output is as wide as the widest that reads it.
    """
    parts = cell.parts
    widths = dict(zip(parts, _WIDTHS if len(parts) == 3 else "aaaa", strict=False))
    for vertex in range(cell.output - 1, 0, -1):
        if vertex not in widths:
            widths[vertex] = min(widths[j] for i, j in cell.edges if i == vertex)
    body = Body()
    values: dict[int, str] = {}

    def together(operator: str, names: list[str]) -> str:
        return names[0] if len(names) == 1 else body.define(f"{operator} ({', '.join(names)})")

    for vertex, operation in enumerate(cell.operations, 1):
        width = widths[vertex]
        read = []
        for source in filter(None, cell.into(vertex)):
            cut = widths[source] != width
            value = values[source]
            read.append(
                body.define(f"nas.First <n: ints=@{width.upper()}> ({value})") if cut else value
            )
        if (0, vertex) in cell.edges:
            read.append(body.define(f"nas.Conv1x1 <o: int=@{width}> (v0)"))
        arriving = together("Sum", read)
        values[vertex] = body.define(_EXPRESSIONS[operation].format(width, arriving))
    out = [together("Concat <axis=1>", [values[vertex] for vertex in parts])] if parts else []
    if (0, cell.output) in cell.edges:
        out.append(body.define("nas.Conv1x1 <o: int=@o> (v0)"))
    result = together("Sum", out)
    return body.function(f"Cell <o, {', '.join(_GIVEN)}> (v0)", result)


@lru_cache
def _body(parts: int, first: int) -> str:
    """The function ``Body``, for outputs of so many parts and channels of the first stage."""
    stages = []
    for channels in (first, 2 * first, 4 * first):
        width, wider = divmod(channels, parts or 1)
        widths = [width + (part < wider) for part in range(len(_WIDTHS))]
        numbers = [*widths, *([width] for width in widths[1:])]
        given = ", ".join(f"{name}={n}" for name, n in zip(_GIVEN, numbers, strict=True))
        stages.append(f"nas.Stage <o={channels}, {given}>")
    pool = "MaxPool <kernel_shape=[2,2], strides=[2,2]>"
    return (
        f"Body (x) => (h5) {{\n  h1 = {stages[0]} (x)\n  h2 = {pool} (h1)\n"
        f"  h3 = {stages[1]} (h2)\n  h4 = {pool} (h3)\n  h5 = {stages[2]} (h4)\n}}\n"
    )


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
