"""Figures and tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from nas_rlm.metrics import mean_and_half_width


def mean_interval(values: Iterable[float], digits: int = 3) -> str:
    """Mean and half width of its 95 % interval (Student's t), such as ``0.895 ± 0.004``."""
    mean, half = mean_and_half_width(values)
    return f"{mean:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")


def marked_intervals(
    rivals: Sequence[Iterable[float]],
    best: Callable[[Iterable[float]], float] | None,
    digits: int = 3,
) -> list[str]:
    """`mean_interval` of each, the best in bold, and † where an interval overlaps the best's.

    Args:
        rivals: Figures of each, at least one.
        best: `max` or `min` of means; None marks no best, nor does being alone.
        digits: Behind the point.
    """
    texts = [mean_interval(figures, digits) for figures in rivals]
    if best is None or len(rivals) < 2:
        return texts
    intervals = [mean_and_half_width(figures) for figures in rivals]
    first = best(mean for mean, _ in intervals)
    reach = max(half for mean, half in intervals if mean == first)

    def mark(text: str, mean: float, half: float) -> str:
        # A single seed has no interval, and overlaps nothing.
        overlaps = abs(mean - first) <= half + reach
        return f"**{text}**" if mean == first else f"{text} †" if overlaps else text

    return [mark(text, *interval) for text, interval in zip(texts, intervals, strict=True)]


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table, the first column left-aligned."""
    header = list(header)
    lines = [header, ["---"] * len(header), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
