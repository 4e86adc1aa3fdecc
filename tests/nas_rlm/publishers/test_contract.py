"""What every reader must do, and must not do."""

from __future__ import annotations

import bz2
import io
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nas_rlm.publishers import PUBLISHERS
from nas_rlm.tables import TableError

UNITS = ("_acc", "_top1", "_top5", "_latency_ms", "_energy_mj", "_img_s", "_s", "_m", "_elements")
Write = Callable[[str], Path]


@pytest.fixture(params=PUBLISHERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def files_read(path: Path) -> list[Path]:
    """All files that a reader needs: those of the sample but for an index that it ignores."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sorted(file for file in files if not file.name.startswith("meta.pickle"))


def test_an_entry_says_what_to_get_and_where(name: str) -> None:
    publisher = PUBLISHERS[name]
    assert publisher.name == name
    assert "https://" in (publisher.url or publisher.obtain)
    assert publisher.sha256 is None or re.fullmatch("[0-9a-f]{64}", publisher.sha256)


def test_what_is_read(name: str, write: Write) -> None:
    path = write(name)
    published = PUBLISHERS[name].read(path)
    space = published.space
    architectures = [space.parse(text) for text in published.notation]
    assert [space.format(each) for each in architectures] == list(published.notation)
    assert len(set(published.notation)) == len(published.notation) > 1
    assert published.columns
    for column, figures in published.columns.items():
        assert re.fullmatch("[a-z0-9_]+", column)
        assert column.endswith(UNITS)
        assert figures.shape == (len(architectures),)
        assert figures.dtype == np.float64
        assert (np.isnan(figures) | (figures > 0)).all()
        assert not np.isnan(figures).all()
    assert all(count > 0 for count in published.left_out.values())
    assert published.source.file == path.name
    assert re.fullmatch("[0-9a-f]{64}", published.source.sha256)
    assert "https://" in published.source.citation


def test_the_checksum_is_that_of_all_files(name: str, write: Write) -> None:
    path = write(name)
    before = PUBLISHERS[name].read(path).source.sha256
    assert PUBLISHERS[name].read(path).source.sha256 == before
    if path.is_dir():
        last = max(files_read(path), key=lambda file: len(file.parts))  # latencies, not the list
        last.rename(last.with_name("9" + last.name))
        assert PUBLISHERS[name].read(path).source.sha256 != before


def test_a_truncated_file_is_refused(name: str, write: Write) -> None:
    path = write(name)
    for file in files_read(path):
        content = file.read_bytes()
        for length in (0, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:length])
            with pytest.raises(TableError) as caught:
                PUBLISHERS[name].read(path)
            assert str(path) in str(caught.value)
        file.write_bytes(content)
    PUBLISHERS[name].read(path)


def test_another_file_is_refused(name: str, write: Write) -> None:
    path = write(name)
    for file in files_read(path):
        content = file.read_bytes()
        for other in (b"<html>404</html>", pickled_as(file, 5), pickled_as(file, {"arch": [7]})):
            file.write_bytes(other)
            with pytest.raises(TableError, match="get it again"):
                PUBLISHERS[name].read(path)
        file.write_bytes(content)


def test_a_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no such file|no file|name of the file"):
        PUBLISHERS[name].read(tmp_path / "nothing")


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def pickled_as(file: Path, content: object) -> bytes:
    """A pickle in the form of a file of that name."""
    if file.suffix in (".pt", ".pth"):
        written = io.BytesIO()
        torch.save(content, written, _use_new_zipfile_serialization=file.suffix == ".pt")
        return written.getvalue()
    plain = pickle.dumps(content)
    return bz2.compress(plain) if file.suffix == ".pbz2" else plain


def test_nothing_in_a_file_is_run(name: str, write: Write, tmp_path: Path) -> None:
    path, mark = write(name), tmp_path / "it-was-run"
    malice = {"a": 1.0, "b": [Malice(f"touch '{mark}'")]}
    for file in files_read(path):
        content = file.read_bytes()
        file.write_bytes(pickled_as(file, malice))
        with pytest.raises(TableError) as caught:
            PUBLISHERS[name].read(path)
        if {file.suffix} & {".pt", ".pth", ".pbz2", ".pkl", ".pickle"}:
            assert re.search(r"it asks for (posix|nt)\.system,", str(caught.value))
        assert not mark.exists()
        file.write_bytes(content)


def test_the_malice_would_work(tmp_path: Path) -> None:
    """The test before this one would notice."""
    mark = tmp_path / "it-was-run"
    for file in (Path("a.pkl"), Path("a.pt"), Path("a.pth")):
        content = pickled_as(file, [Malice(f"touch '{mark}'")])
        if file.suffix == ".pkl":
            pickle.loads(content)
        else:
            torch.load(io.BytesIO(content), weights_only=False)
        assert mark.exists()
        mark.unlink()
