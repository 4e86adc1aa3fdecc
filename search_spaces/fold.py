"""Repeated pieces of a program become functions, each written once.

Greedy: of all runs of consecutive statements that stand in several places, differing at most in
attributes and in the names of the values they read, the one whose function saves most characters
becomes a call, and so on until nothing is saved. What differs between the places is an attribute
of the function. Functions so found may call one another.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count
from typing import NamedTuple

LONGEST = 100
"""Statements of the longest run that is looked for; longer ones become functions of functions."""
MOST_OUTPUTS = 3
MOST_PARAMETERS = 6
_CALL, _VALUE, _DEFINITION = 34, 5, 75
"""Characters, about, of a call, of a value's name, and of an empty function."""


class Attribute(NamedTuple):
    """What an operator or a function is given.

    Attributes:
        name: As the operator calls it.
        kind: Its type in the words of ONNX text, such as ``ints``.
        value: As ONNX text has it; ``@name`` for an attribute of the function it is in.
    """

    name: str
    kind: str
    value: str

    @property
    def is_reference(self) -> bool:
        """Whether it is an attribute of the function it is in."""
        return self.value.startswith("@")


@dataclass(frozen=True)
class Statement:
    """One line of a body.

    Attributes:
        what: An operator, or the body that is called.
        attributes: What it is given.
        inputs: The values it reads, None for one that is left out.
        outputs: Number of values it defines.
    """

    what: str | Body
    attributes: tuple[Attribute, ...]
    inputs: tuple[int | None, ...]
    outputs: int = 1

    @property
    def size(self) -> int:
        """Characters, about."""
        name = len(self.what) + 10 if isinstance(self.what, str) else _CALL
        given = sum(len(item.name) + len(item.value) + 3 for item in self.attributes)
        return name + given + _VALUE * (len(self.inputs) + self.outputs)


@dataclass(eq=False)
class Body:
    """A main graph or a function. Its values are numbered: inputs first, then in their order.

    Attributes:
        inputs: How many there are.
        statements: In the order of evaluation.
        outputs: Values.
        parameters: Names of its attributes.
    """

    inputs: int
    statements: list[Statement]
    outputs: tuple[int, ...]
    parameters: tuple[str, ...] = ()


def fold(main: Body) -> None:
    """Replace what is repeated by calls, in place."""
    bodies = [main]
    while (best := _best(bodies)) is not None:
        function = best.function(bodies)
        for body, starts in zip(bodies, best.starts, strict=True):
            if starts:
                _call(body, function, best.length, starts)
        bodies.append(function)
    calls = Counter(s.what for body in bodies for s in body.statements)
    once = {body for body in bodies if calls[body] == 1}
    for body in bodies:
        body.statements, body.outputs = _inlined(body, once)


def functions(main: Body) -> list[Body]:
    """All bodies that are called, directly or not, in the order of their first call."""
    found: dict[Body, None] = {}
    waiting = [main]
    while waiting:
        called = [s.what for s in waiting.pop(0).statements if isinstance(s.what, Body)]
        new = [body for body in dict.fromkeys(called) if body not in found]
        found.update(dict.fromkeys(new))
        waiting += new
    return list(found)


def operators(body: Body, given: Mapping[str, str] = {}) -> Iterator[tuple[str, list[Attribute]]]:
    """What a body computes, through its calls: operators and what they are given.

    Args:
        body: Of a function, perhaps.
        given: Values of its attributes, ``@name`` for those that are open.
    """
    for statement in body.statements:
        attributes = [_resolved(item, given) for item in statement.attributes]
        if isinstance(statement.what, Body):
            yield from operators(statement.what, {f"@{a.name}": a.value for a in attributes})
        else:
            yield statement.what, attributes


class _Index:
    """Where the values of a body come from and go to, and how long its statements are."""

    def __init__(self, body: Body) -> None:
        self.statements = body.statements
        self.made = [(-1, i) for i in range(body.inputs)]
        """Which statement makes each value, and as which of its outputs."""
        self.first = []
        """The first value that each statement makes."""
        for position, statement in enumerate(body.statements):
            self.first.append(len(self.made))
            self.made += [(position, i) for i in range(statement.outputs)]
        last = [-1] * len(self.made)
        for position, statement in enumerate(body.statements):
            for value in statement.inputs:
                if value is not None:
                    last[value] = position
        for value in body.outputs:
            last[value] = len(body.statements)
        self.crossing: list[list[int]] = [[] for _ in range(len(body.statements) + 1)]
        """Values made before each position and read there or later."""
        for value, end in enumerate(last):
            for position in range(self.made[value][0] + 1, end + 1):
                self.crossing[position].append(value)
        self.items = [item for s in body.statements for item in s.attributes]
        self.item = list(accumulate((len(s.attributes) for s in body.statements), initial=0))
        """Attributes, and how many there are before each statement."""
        self.size = list(accumulate((s.size for s in body.statements), initial=0))
        """Characters before each statement, about."""
        self.shape = [
            (s.what, s.outputs, *((item.name, item.kind) for item in s.attributes))
            for s in body.statements
        ]
        """What statements of one function must have in common."""

    def leaving(self, start: int, end: int) -> list[int]:
        """Values of a run that are read after it."""
        return [value for value in self.crossing[end] if self.made[value][0] >= start]

    def entering(self, start: int, end: int) -> list[int]:
        """Values from before a run that it reads, in the order of reading."""
        run = self.statements[start:end]
        read = (v for statement in run for v in statement.inputs if v is not None)
        return list(dict.fromkeys(v for v in read if self.made[v][0] < start))

    def given(self, start: int, end: int) -> list[Attribute]:
        """The attributes of a run."""
        return self.items[self.item[start] : self.item[end]]

    def characters(self, start: int, end: int) -> int:
        """The length of a run."""
        return self.size[end] - self.size[start]


class _Place(NamedTuple):
    body: int
    start: int


@dataclass(frozen=True)
class _Piece:
    """A run of statements that stands in several places.

    Attributes:
        length: How many statements it has.
        starts: Where it begins in each of the bodies, and what its function is given there.
        first: One of the places.
        references: The attribute of the function for each attribute of the run, "" for none.
    """

    length: int
    starts: list[dict[int, tuple[Attribute, ...]]]
    first: _Place
    references: list[str]

    def function(self, bodies: Sequence[Body]) -> Body:
        """The run as a function."""
        body, start = bodies[self.first.body], self.first.start
        index, end = _Index(body), start + self.length
        entering = index.entering(start, end)
        number = {value: i for i, value in enumerate(entering)}
        made = range(index.first[start], index.first[end - 1] + body.statements[end - 1].outputs)
        number.update((value, len(entering) + i) for i, value in enumerate(made))
        references = iter(self.references)
        statements = []
        for statement in body.statements[start:end]:
            attributes = tuple(
                item._replace(value=f"@{name}") if (name := next(references)) else item
                for item in statement.attributes
            )
            statements.append(replace(_renumbered(statement, number), attributes=attributes))
        outputs = tuple(number[value] for value in index.leaving(start, end))
        parameters = tuple(dict.fromkeys(filter(None, self.references)))
        return Body(len(entering), statements, outputs, parameters)


def _best(bodies: Sequence[Body]) -> _Piece | None:
    """What saves most as a function; None if nothing does."""
    indices = [_Index(body) for body in bodies]
    candidates = []
    for length, places in _repeated(indices):
        # At most this is saved, if nothing differs between the places.
        largest = max(indices[b].characters(start, start + length) for b, start in places)
        times = sum(1 for _ in _apart(places, length))
        bound = (times - 1) * largest - times * (_CALL + _VALUE) - _DEFINITION
        if bound > 0:
            candidates.append((bound, length, places))
    candidates.sort(key=lambda candidate: -candidate[0])
    most, best = 0, None
    for bound, length, places in candidates:
        if bound <= most:
            break
        alike: dict[Hashable, list[_Place]] = defaultdict(list)
        same: dict[Hashable, list[_Place]] = defaultdict(list)
        for place in places:
            index, end = indices[place.body], place.start + length
            leaving = (index.made[value] for value in index.leaving(place.start, end))
            outputs = tuple((position - place.start, i) for position, i in leaving)
            if 0 < len(outputs) <= MOST_OUTPUTS:
                alike[outputs].append(place)
                same[outputs, tuple(index.given(place.start, end))].append(place)
        for group in (*alike.values(), *same.values()):
            apart = list(_apart(group, length))
            if len(apart) > 1:
                saved, piece = _piece(indices, apart, length)
                if saved > most and len(set(piece.references)) <= MOST_PARAMETERS:
                    most, best = saved, piece
    return best


def _repeated(indices: Sequence[_Index]) -> Iterator[tuple[int, list[_Place]]]:
    """Runs of statements that stand in more than one place: their length and the places."""
    everywhere = [
        _Place(b, start)
        for b, index in enumerate(indices)
        for start in range(len(index.statements))
    ]
    entered: dict[_Place, dict[int, int]] = {place: {} for place in everywhere}
    groups = [everywhere]
    for length in range(1, LONGEST + 1):
        longer: dict[Hashable, list[_Place]] = defaultdict(list)
        for group, places in enumerate(groups):
            for place in places:
                index, start = indices[place.body], place.start
                if start + length > len(index.statements):
                    continue
                known = entered[place]
                wires: list[Hashable] = []
                for value in index.statements[start + length - 1].inputs:
                    if value is None:
                        wires.append(None)
                    elif index.made[value][0] < start:  # the same number for the same value
                        wires.append(known.setdefault(value, len(known)))
                    else:
                        wires.append((index.made[value][0] - start, index.made[value][1]))
                shape = index.shape[start + length - 1]
                longer[group, shape, tuple(wires)].append(place)
        groups = [places for places in longer.values() if len(places) > 1]
        if length > 1:
            yield from ((length, places) for places in groups)


def _apart(places: Iterable[_Place], length: int) -> Iterator[_Place]:
    """The first of those that overlap."""
    before = _Place(-1, 0)
    for place in places:
        if place.body != before.body or place.start >= before.start + length:
            yield place
            before = place


def _piece(indices: Sequence[_Index], places: Sequence[_Place], length: int) -> tuple[int, _Piece]:
    """Characters that a function for these places saves, about, and what it is."""
    given = [indices[b].given(start, start + length) for b, start in places]
    names: dict[Hashable, str] = {}
    references = []
    for column in zip(*given, strict=True):
        if len(set(column)) == 1 and not column[0].is_reference:
            references.append("")
            continue
        # Where two differ alike, one attribute will do for both.
        values = tuple((item.kind, item.value) for item in column)
        if values not in names:
            stem = column[0].name.rstrip("0123456789")
            free = (f"{stem}{i if i > 1 else ''}" for i in count(1))
            names[values] = next(name for name in free if name not in names.values())
        references.append(names[values])
    starts: list[dict[int, tuple[Attribute, ...]]] = [{} for _ in indices]
    b, start = first = places[0]
    wires = len(indices[b].entering(start, start + length))
    wires += len(indices[b].leaving(start, start + length))
    sizes = [indices[b].characters(start, start + length) for b, start in places]
    saved = sum(sizes) - sizes[0] - _DEFINITION
    for (b, start), items in zip(places, given, strict=True):
        named = {
            name: item._replace(name=name)
            for name, item in zip(references, items, strict=True)
            if name
        }
        starts[b][start] = tuple(named.values())
        saved -= _CALL + _VALUE * wires
        saved -= sum(len(item.name) + len(item.value) + 3 for item in named.values())
    return saved, _Piece(length, starts, first, references)


def _resolved(item: Attribute, given: Mapping[str, str]) -> Attribute:
    return item._replace(value=given.get(item.value, item.value))


def _renumbered(statement: Statement, number: Mapping[int, int]) -> Statement:
    inputs = (None if value is None else number[value] for value in statement.inputs)
    return replace(statement, inputs=tuple(inputs))


def _call(
    body: Body, function: Body, length: int, starts: Mapping[int, tuple[Attribute, ...]]
) -> None:
    """Replace the runs that begin there by calls of a function."""
    index = _Index(body)
    number = {value: value for value in range(body.inputs)}
    following = count(body.inputs)
    statements: list[Statement] = []
    position = 0
    while position < len(body.statements):
        if position in starts:
            end = position + length
            inputs = tuple(number[value] for value in index.entering(position, end))
            defined = index.leaving(position, end)
            statements.append(Statement(function, starts[position], inputs, len(defined)))
        else:
            end = position + 1
            statement, first = body.statements[position], index.first[position]
            statements.append(_renumbered(statement, number))
            defined = list(range(first, first + statement.outputs))
        number.update(zip(defined, following, strict=False))
        position = end
    body.statements = statements
    body.outputs = tuple(number[value] for value in body.outputs)


def _inlined(main: Body, once: set[Body]) -> tuple[list[Statement], tuple[int, ...]]:
    """The statements and outputs of a body in which some of the calls are replaced."""
    statements: list[Statement] = []
    following = count(main.inputs)

    def copy(body: Body, values: list[int], given: Mapping[str, str]) -> list[int]:
        for statement in body.statements:
            attributes = tuple(_resolved(item, given) for item in statement.attributes)
            renumbered = replace(
                _renumbered(statement, dict(enumerate(values))), attributes=attributes
            )
            if isinstance(statement.what, Body) and statement.what in once:
                reads = [value for value in renumbered.inputs if value is not None]
                inner = {f"@{item.name}": item.value for item in attributes}
                values += copy(statement.what, reads, inner)
            else:
                statements.append(renumbered)
                values += [next(following) for _ in range(statement.outputs)]
        return [values[value] for value in body.outputs]

    outputs = copy(main, list(range(main.inputs)), {})
    return statements, tuple(outputs)
