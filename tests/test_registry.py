"""The packages for OptunaHub have the registry's shape, load from disk, and do what they say."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nas_rlm import RLMSampler

ROOT = Path(__file__).parents[1] / "registry" / "package"
PACKAGES = [path.parent for path in sorted(ROOT.glob("*/*/__init__.py"))]
optunahub = pytest.importorskip("optunahub", reason="needs optunahub")


def test_there_is_a_sampler_and_a_benchmark() -> None:
    assert [path.parent.name for path in PACKAGES] == ["benchmarks", "samplers"]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_it_has_the_registrys_shape(package: Path) -> None:
    for name in ("LICENSE", "README.md", "example.py", "tests"):
        assert (package / name).exists(), name
    _, front, text = (package / "README.md").read_text().split("---\n", 2)
    keys = re.findall(r"^(\w+):", front, flags=re.MULTILINE)
    assert keys == ["author", "title", "description", "tags", "optuna_versions", "license"]
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings == ["Abstract", "APIs", "Installation", "Example", "Others"]


def test_the_samplers_arguments_are_those_it_has() -> None:
    text = (ROOT / "samplers" / "nas_rlm" / "README.md").read_text()
    (written,) = re.findall(r"class `RLMSampler\((.*)\)`", text)
    has = []
    for name, parameter in inspect.signature(RLMSampler).parameters.items():
        default = parameter.default
        shown = getattr(default, "__name__", default)
        has.append(name if default is parameter.empty else f"{name}={shown}")
    assert [argument for argument in written.split(", ") if argument != "*"] == has


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_its_example_runs(package: Path) -> None:
    # What the example fetches from the registry is this folder.
    code = (
        "import optunahub, runpy, sys; "
        "optunahub.load_module = lambda name: "
        "optunahub.load_local_module(name, registry_root=sys.argv[1]); "
        "runpy.run_path(sys.argv[2], run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(package / "example.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
