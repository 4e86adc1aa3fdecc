"""Make the tables of zero-cost scores that come with the package.

Run ``python -m experiments.zero_cost`` for all functions of NAS-Bench-201, and with ``--space
nasbench101 [FOLDER]`` for those cells of NAS-Bench-101 that the table in FOLDER has; or set
``NAS_RLM_DATA``. Either takes some minutes on two cores, and goes on where it was when it was
stopped.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

import nas_rlm
from nas_rlm.files import write_bytes
from nas_rlm.tabular_benchmarks import tabular
from nas_rlm.zero_cost import (
    BATCH_SIZE,
    SCORES,
    Settings,
    architecture_scores,
    format_table,
    read_table,
    table_name,
)
from search_spaces import get_space
from search_spaces.base import SearchSpace

SPACES = ("nasbench201", "nasbench101")
UNFINISHED = Path("runs")
SAVE_EVERY = 100


def provenance(space: str) -> dict[str, Any]:
    """What the scores depend on, written into the table."""
    return {
        "script": "experiments/zero_cost.py",
        "space": space,
        "scores": list(SCORES),
        "settings": Settings()._asdict(),
        "batch_size": BATCH_SIZE,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in ("nas-rlm", "torch", "onnx")},
    }


def main(space: SearchSpace, unfinished: Path, processes: int | None = None) -> bytes:
    """Score every function of a space.

    Args:
        space: Whose architectures can be enumerated.
        unfinished: The rows that are done, from which a stopped run goes on.
        processes: Processes with one thread each; None: one for each core.

    Returns:
        The content of the table.

    Raises:
        ValueError: ``unfinished`` was made with other settings or versions.
    """
    about = provenance(space.name)
    first = {space.key(a): a for a in reversed(list(space))}
    keys = sorted(first)
    rows: list[NDArray[Any]] = []
    if unfinished.exists():
        _, done, made_with = read_table(unfinished.read_bytes())
        if made_with != about:
            raise ValueError(
                f"{unfinished} was made with other settings or versions; move it away first"
            )
        rows = list(done)

    def table() -> bytes:
        return format_table(keys[: len(rows)], np.array(rows, np.float32), about)

    # A forked process would inherit the threads of torch, but not what they wait for.
    with multiprocessing.get_context("spawn").Pool(
        processes or os.cpu_count(), torch.set_num_threads, (1,)
    ) as pool:
        computed = pool.imap(
            partial(architecture_scores, space, settings=Settings()),
            [first[key] for key in keys[len(rows) :]],
            chunksize=8,
        )
        for row in tqdm(computed, "functions", len(keys), initial=len(rows)):
            rows.append(row)
            if len(rows) % SAVE_EVERY == 0:
                write_bytes(unfinished, table())
    return table()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--space", choices=SPACES, default=SPACES[0])
    chosen = parser.parse_args()
    name = chosen.space
    wanted, rest = get_space(name), UNFINISHED / table_name(name)
    try:
        if wanted.size > wanted.affordable:
            wanted = tabular(name, data=chosen.folder).space
        content = main(wanted, rest)
    except ValueError as error:
        sys.exit(str(error))
    write_bytes(Path(nas_rlm.__path__[0]) / table_name(name), content)
    rest.unlink(missing_ok=True)
