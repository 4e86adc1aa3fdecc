"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal

# One thread, set before torch is imported: the same figures on every machine, whatever else runs.
os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator
from pathlib import Path

import pytest

# In the background of a shell an interruption is ignored, and programs that tests start inherit
# that; a handler of ours is not inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

_SIBLING = Path(__file__).parents[2] / "shared" / "data"
_NAMED = Path(os.environ.get("NAS_RLM_DATA") or _SIBLING)  # read before a fixture hides it


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the measured tables; tests that ask for it are skipped without one."""
    folder = _NAMED if _NAMED.is_dir() else _NAMED.parent
    if not (folder / "nasbench201.csv.gz").is_file():
        pytest.skip("needs nasbench201.csv.gz in NAS_RLM_DATA or ../shared/data")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_table_by_accident() -> Iterator[None]:
    """A test that wants measurements names them; the others must pass on a bare machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NAS_RLM_DATA", raising=False)
        yield
