"""From a publisher's file to a benchmark, on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_rlm import columnar, imports
from nas_rlm.cli import main
from nas_rlm.imports import check_table, import_table
from nas_rlm.publishers import PUBLISHERS
from nas_rlm.tables import TableError

Write = Callable[[str], Path]
SAMPLE = {name: replace(publisher, sha256=None) for name, publisher in PUBLISHERS.items()}
"""Those whose checksum is known are not what the tests make."""


@pytest.mark.parametrize("name", PUBLISHERS)
def test_every_publisher_can_be_imported(name: str, write: Write, tmp_path: Path) -> None:
    file = write(name)
    path, _ = import_table(SAMPLE[name], file, tmp_path / "tables")
    published = SAMPLE[name].read(file)
    columns = columnar.read(path.read_bytes())
    assert columns.notation == published.notation
    for column, figures in published.columns.items():
        np.testing.assert_array_equal(columns.figures[column], figures)
        assert columns.origins[column].sha256 == published.source.sha256
    assert check_table(path).endswith("sound")


def test_two_publishers_share_a_table(write: Write, tmp_path: Path) -> None:
    first, _ = import_table(SAMPLE["hw_nas_bench"], write("hw_nas_bench"), tmp_path)
    second, _ = import_table(SAMPLE["nasbench201"], write("nasbench201"), tmp_path)
    assert first == second == tmp_path / "nasbench201.npz"
    columns = columnar.read(first.read_bytes())
    assert {"pixel3_latency_ms", "cifar10_test_acc"} <= columns.figures.keys()
    files = {origin.file for origin in columns.origins.values()}
    assert files == {"HW-NAS-Bench-v1_0.pickle", "NAS-Bench-201-v1_1-096897.pth"}


def test_a_bad_file_leaves_the_table_as_it_was(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = import_table(SAMPLE["hw_nas_bench"], write("hw_nas_bench"), tmp_path)
    before = path.read_bytes()
    broken = write("nasbench201")
    broken.write_bytes(broken.read_bytes()[:1000])
    with pytest.raises(TableError):
        import_table(SAMPLE["nasbench201"], broken, tmp_path)
    with pytest.raises(TableError, match=r"published file has f+: get it again, or"):
        import_table(
            replace(SAMPLE["nasbench201"], sha256="f" * 64), write("nasbench201"), tmp_path
        )

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(imports.columnar, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_table(SAMPLE["nasbench201"], write("nasbench201"), tmp_path)
    assert path.read_bytes() == before


def test_commands(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    assert main(["data", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in PUBLISHERS)
    assert "no folder of tables" in listed
    monkeypatch.setenv("NAS_RLM_DATA", str(tmp_path / "tables"))
    assert main(["data", "list"]) == 0
    assert f"imported into {tmp_path / 'tables'}: 0" in capsys.readouterr().out
    assert main(["data", "import", "hw_nas_bench", str(write("hw_nas_bench"))]) == 0
    printed = capsys.readouterr().out
    assert "pixel3_latency_ms" in printed
    assert "left out, pixel3_latency_ms: output cut off from the input: 1" in printed
    assert main(["data", "check"]) == 0
    assert "sound" in capsys.readouterr().out
    assert main(["data", "list"]) == 0
    assert "architectures of nasbench201" in capsys.readouterr().out
    (tmp_path / "tables" / "nasbench201.npz").write_bytes(b"")
    for command, message in (
        (["check"], "import it again"),
        (["import", "hw_nas", "x"], "did you mean 'hw_nas_bench'"),
        (["import", "nds", "x"], "NDS's name of the file"),
        (["get", "help_ofa"], "no stable address; get it yourself: git clone"),
    ):
        assert main(["data", *command]) == 2
        assert message in capsys.readouterr().err
