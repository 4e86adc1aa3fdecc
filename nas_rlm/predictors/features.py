"""Architectures as named numbers, and those as the columns of a table.

Features are pairs of a name and a number; what has no feature of a name has zero of it, and
numbers of one name add up. `choices` and `pairs` read the parameters, `paths` reads the ONNX text.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray

from nas_rlm.predictors.base import Inputs
from surrogate.paths import Feature, path_features
from surrogate.text import split_blocks

Reader = Callable[[Inputs], Iterable[Iterable[Feature]]]
"""Gives the features of each of n architectures."""


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
