"""Put the tables of ``experiments/results`` into the README, each between its markers.

Run ``python -m experiments.readme``.
"""

from __future__ import annotations

import re
from pathlib import Path

from experiments.records import RESULTS
from nas_rlm.files import write_text

README = Path(__file__).parents[1] / "README.md"
_TABLE = re.compile(r"(<!-- (\S+\.md) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_tables(readme: str) -> str:
    """The README's text with every table as its results file has it."""
    return _TABLE.sub(lambda m: m[1] + (RESULTS / m[2]).read_text() + m[3], readme)


if __name__ == "__main__":
    write_text(README, with_tables(README.read_text()))
