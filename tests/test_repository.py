"""Rules of the whole repository: who imports whom, and that the README tells the truth."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.readme import README, with_tables
from nas_rlm.cli import main

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "search_spaces": {"search_spaces"},
    "surrogate": {"surrogate"},
    "nas_rlm": {"nas_rlm", "search_spaces", "surrogate"},
    "experiments": {"experiments", "nas_rlm", "search_spaces", "surrogate"},
}


def imported(file: Path) -> set[str]:
    """First parts of the names that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_downwards(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        ours = imported(file) & set(MAY_IMPORT)
        assert ours <= MAY_IMPORT[package], f"{file} imports {ours - MAY_IMPORT[package]}"


def test_surrogate_knows_nothing_of_optuna_or_onnx_graphs():
    for file in (ROOT / "surrogate").rglob("*.py"):
        assert not imported(file) & {"optuna", "onnx", "onnxruntime", "moocore"}, file


def test_the_readmes_tables_are_those_of_the_results():
    text = README.read_text()
    assert text.count("<!-- end -->") == 11
    assert with_tables(text) == text


def test_the_readmes_python_runs(tmp_path):
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(snippets) == 4
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(snippets)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "nor_conv" in run.stdout
    assert "'kernel': " in run.stdout
    assert (tmp_path / "model" / "weights.safetensors").exists()


def test_the_readmes_commands_are_understood(capsys):
    lines = re.findall(r"^nas-rlm .*$", README.read_text(), flags=re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        command = line.split()[1]
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        options = capsys.readouterr().out
        assert all(option in options for option in re.findall(r"--[a-z-]+", line)), line
