"""Figures and tables as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable

from nas_rlm.metrics import mean_and_half_width


def mean_interval(values: Iterable[float], digits: int = 3) -> str:
    """Mean and half width of its 95 % interval (Student's t), such as ``0.895 ± 0.004``."""
    mean, half = mean_and_half_width(values)
    return f"{mean:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table, the first column left-aligned."""
    header = list(header)
    lines = [header, ["---"] * len(header), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
