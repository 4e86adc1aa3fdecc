"""Architectures as named numbers, and those as the columns of a table.

Features are pairs of a name and a number; what has no feature of a name has zero of it, and
numbers of one name add up. `choices` and `pairs` read the parameters, `paths` reads the ONNX text.

Source of the path features: White, Neiswanger and Savani, "BANANAS: Bayesian Optimization with
Neural Architectures for Neural Architecture Search", AAAI 2021, https://arxiv.org/abs/1910.11858.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import lru_cache
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray

from nas_rlm.predictors.base import Inputs
from surrogate.text import parse_block, split_blocks

Feature = tuple[Hashable, float]
Reader = Callable[[Inputs], Iterable[Iterable[Feature]]]
"""Gives the features of each of n architectures."""

_SUMS = ("Add", "Sum", "Identity", "Sub")
"""Operators that only add and pass on; `Sub` counts its second input negatively."""
_LONGEST_PATH = 6
"""Operators that tell a path from others, the last ones. It bounds the number of different paths,
which would otherwise double with every block of a residual network."""
_MOST_PATHS = 8
"""More paths than this are counted as this many: their number doubles likewise."""


class Table:
    """Columns for the features that differ between the training examples.

    Args:
        readers: What reads the features; names of different readers must differ.
    """

    def __init__(self, *readers: Reader) -> None:
        self.readers = readers
        self._column: dict[Hashable, int] = {}

    def fit(self, inputs: Inputs) -> NDArray[np.float64]:
        """Learn the columns.

        Returns:
            The table of ``inputs``, (n, columns).
        """
        names = dict.fromkeys(name for row in self._rows(inputs) for name, _ in row)
        self._column = {name: column for column, name in enumerate(names)}
        table = self(inputs)
        kept = np.flatnonzero(np.ptp(table, axis=0) > 0)
        every = self.names
        self._column = {every[old]: new for new, old in enumerate(kept)}
        # One column of zeros if nothing differs, since some learners refuse an empty table.
        return table[:, kept] if len(kept) else np.zeros((len(inputs), 1))

    def __call__(self, inputs: Inputs) -> NDArray[np.float64]:
        """The table of n architectures, (n, columns); features without a column are ignored."""
        table = np.zeros((len(inputs), max(1, len(self._column))))
        for line, row in zip(table, self._rows(inputs), strict=True):
            for name, number in row:
                column = self._column.get(name)
                if column is not None:
                    line[column] += number
        return table

    @property
    def names(self) -> list[Hashable]:
        """What the columns count."""
        return list(self._column)

    def _rows(self, inputs: Inputs) -> Iterator[Iterable[Feature]]:
        rows = zip(*(reader(inputs) for reader in self.readers), strict=True)
        return (chain.from_iterable(row) for row in rows)


def choices(inputs: Inputs) -> Iterator[Iterator[Feature]]:
    """Which choice each parameter has (one-hot), and how often each choice occurs."""
    for architecture in inputs.architectures:
        yield ((name, 1.0) for item in architecture.items() for name in (item, item[1]))


def pairs(inputs: Inputs) -> Iterator[Iterator[Feature]]:
    """Which choices each two parameters have, products of one-hot features."""
    for architecture in inputs.architectures:
        yield ((pair, 1.0) for pair in combinations(architecture.items(), 2))


def paths(inputs: Inputs) -> Iterator[Iterator[Feature]]:
    """What `path_features` says of every block of the ONNX texts."""
    for text in inputs.texts:
        yield chain.from_iterable(map(path_features, split_blocks(text)))


@lru_cache(maxsize=1 << 16)
def path_features(text: str) -> tuple[Feature, ...]:
    """The paths from inputs to outputs of one block, and its operators.

    A path is the sequence of operators, with their attributes, that it runs through. Sums and
    identities are transparent, what is subtracted from itself is zero, and so is any operation
    on zero, as it is on constants alone. The features are, each named after the block as well:

    - how many paths there are with certain last operators, and with a certain length;
    - how many operators the longest path has;
    - how often each operator occurs, and how often on a path: dead operators cost time, too.

    Args:
        text: One function, see `surrogate.text.split_blocks`.

    Raises:
        TextError: It is not ONNX text.
    """
    block = parse_block(text)
    arriving: dict[str, Counter[tuple[str, ...]]] = {
        value: Counter({(): 1}) for value in block.inputs
    }
    depth = dict.fromkeys(block.inputs, 0)
    features: Counter[Hashable] = Counter()
    for statement in block.statements:
        transparent = statement.operator in _SUMS
        found: Counter[tuple[str, ...]] = Counter()
        for position, value in enumerate(statement.inputs):
            sign = -1 if statement.operator == "Sub" and position else 1
            for path, count in arriving[value].items():
                longer = path if transparent else (*path, statement.signature)[-_LONGEST_PATH:]
                found[longer] += sign * count
        found = Counter({path: min(count, _MOST_PATHS) for path, count in found.items() if count})
        deepest = max((depth[value] for value in statement.inputs if arriving[value]), default=0)
        for value in statement.outputs:
            arriving[value] = found
            depth[value] = deepest + (not transparent)
        features["occurs", statement.signature] += 1

    wanted = set(block.outputs)
    for statement in reversed(block.statements):
        if any(value in wanted and arriving[value] for value in statement.outputs):
            wanted.update(statement.inputs)
            if statement.operator not in _SUMS:
                features["on a path", statement.signature] += 1
    for value in block.outputs:
        for path, count in arriving[value].items():
            features["path", path] += count
            features["length", len(path)] += count
            features["paths"] += count
        if arriving[value]:
            features["longest"] = max(features["longest"], depth[value])
    return tuple(((block.name, name), number) for name, number in features.items())
