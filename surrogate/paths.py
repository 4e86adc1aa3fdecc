"""The paths through a program as named numbers.

Source: White, Neiswanger and Savani, "BANANAS: Bayesian Optimization with Neural Architectures for
Neural Architecture Search", AAAI 2021, https://arxiv.org/abs/1910.11858.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from functools import lru_cache

from surrogate.text import LINEAR, Statement, parse_block

Feature = tuple[Hashable, float]
"""A name and a number; numbers of one name add up."""

_LONGEST_PATH = 6
"""Operators that tell a path from others, the last ones. It bounds the number of different paths,
which would otherwise double with every block of a residual network."""
_MOST_PATHS = 8
"""More paths than this are counted as this many: their number doubles likewise."""


@lru_cache(maxsize=1 << 16)
def path_features(text: str) -> tuple[Feature, ...]:
    """The paths from inputs to outputs of one block, and its operators.

    A path is the sequence of operators, with their attributes, that it runs through. Sums and
    identities are transparent, what is subtracted from itself is zero, and so is any operation
    on zero, as it is on constants alone. The features are, each named after the block as well:

    - how many paths there are with certain last operators, and with a certain length;
    - how many operators the longest path has;
    - how often each operator occurs, how often where an output depends on it, and how often on a
      path: dead operators cost time, too, but not on every device.

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
        transparent = statement.operator in LINEAR
        found: Counter[tuple[str, ...]] = Counter()
        for value, times in _reads(statement).items():
            for path, count in arriving[value].items():
                longer = path if transparent else (*path, statement.signature)[-_LONGEST_PATH:]
                found[longer] += times * count
        found = Counter({path: min(count, _MOST_PATHS) for path, count in found.items() if count})
        deepest = max((depth[value] for value in statement.inputs if arriving[value]), default=0)
        for value in statement.outputs:
            arriving[value] = found
            depth[value] = deepest + (not transparent)
        features["occurs", statement.signature] += 1

    used, on_a_path = set(block.outputs), set(block.outputs)
    for statement in reversed(block.statements):
        if used.intersection(statement.outputs):
            used.update(value for value, times in _reads(statement).items() if times)
            features["is used", statement.signature] += 1
        if any(value in on_a_path and arriving[value] for value in statement.outputs):
            on_a_path.update(statement.inputs)
            if statement.operator not in LINEAR:
                features["on a path", statement.signature] += 1
    for value in block.outputs:
        for path, count in arriving[value].items():
            features["path", path] += count
            features["length", len(path)] += count
            features["paths"] += count
        if arriving[value]:
            features["longest"] = max(features["longest"], depth[value])
    return tuple(((block.name, name), number) for name, number in features.items())


def _reads(statement: Statement) -> Counter[str]:
    """How often each value counts in what a statement gives; 0 if subtracted from itself."""
    times: Counter[str] = Counter()
    for position, value in enumerate(statement.inputs):
        times[value] += -1 if statement.operator == "Sub" and position else 1
    return times
