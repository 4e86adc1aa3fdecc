"""Put the tables of ``experiments/results`` into the README, each between its markers.

Run ``python -m experiments.readme``. A marker names a file of tables, and may ask for the first of
them alone.
"""

from __future__ import annotations

import re
from pathlib import Path

from experiments.records import RESULTS
from nas_rlm.files import write_text

README = Path(__file__).parents[1] / "README.md"
_PLACE = re.compile(r"(<!-- (\S+\.md)(, first table)? -->\n).*?(<!-- end -->)", re.DOTALL)
_FIRST = re.compile(r"\A(.*?(?:^\|[^\n]*\n)+).*", re.DOTALL | re.MULTILINE)
"""A file; its group ends with the first table."""


def with_tables(readme: str) -> str:
    """The README's text with every table as its results file has it."""

    def filled(place: re.Match[str]) -> str:
        marker, name, first, end = place.groups()
        tables = (RESULTS / name).read_text()
        return marker + (_FIRST.sub(r"\1", tables) if first else tables) + end

    return _PLACE.sub(filled, readme)


if __name__ == "__main__":
    write_text(README, with_tables(README.read_text()))
