from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nas_rlm.cli import main
from nas_rlm.methods import METHODS
from search_spaces import get_space

SPACE = get_space("nasbench201")
ARCHITECTURE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
TINY = ["--members", "1", "--training-steps", "3", "--quiet"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """So small a model gains nothing from more, and loses much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Invented figures for a few architectures."""
    some = [a for number, a in enumerate(SPACE) if number % 200 == 0]
    rows = [f"{SPACE.format(a)},{50 + n % 41},{1 + n % 7}" for n, a in enumerate(some)]
    path = tmp_path_factory.mktemp("data") / "table.csv"
    path.write_text("\n".join(["arch,acc,toaster_latency_ms", *rows]))
    return path


@pytest.fixture(scope="module")
def model(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    columns = ["--objectives", "acc,toaster_latency_ms"]
    command = ["train", str(table), *columns, "--labels", "40", "--out", str(folder), *TINY]
    assert main(command) == 0
    return folder


def error(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    """What a command says that a user got wrong."""
    assert main([str(word) for word in command]) == 2
    printed, message = capsys.readouterr()
    assert printed == ""
    assert message.startswith("nas-rlm: error: ")
    assert message.count("\n") == 1
    return message


COMMANDS = ("search", "worker", "plot", "train", "compare", "measure", "data", "predict", "text")


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*command, "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 99
    if command:
        assert f"example:\n  nas-rlm {command[0]} " in text


@pytest.mark.parametrize("command", ["search", "worker"])
def test_help_names_every_method(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    words = re.findall(r"\w+", capsys.readouterr().out)
    assert set(METHODS) <= set(words)


def test_help_shows_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["search", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for default in ("nasbench201", "200", "0", "rlm", "5", "6"):
        assert f"(default: {default})" in text


@pytest.mark.parametrize("command", [["--help"], ["compare", "--help"], ["text", ARCHITECTURE]])
def test_answers_without_heavy_imports(command: list[str]) -> None:
    program = (
        "import sys; from nas_rlm.cli import main\n"
        f"try: main({command!r})\n"
        "except SystemExit: pass\n"
        "print({'torch', 'matplotlib', 'pandas'} & set(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stderr == "set()\n"


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["text", ARCHITECTURE]) == 0
    assert capsys.readouterr().out == SPACE.onnx_text(SPACE.parse(ARCHITECTURE))


def test_search_and_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    command = ["search", "--devices", "gpu", "--budget", "10", "--out", str(folder)]
    command += ["--n-startup-trials", "8", "--retrain-every", "5", "--baseline-seeds", "1", *TINY]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert str(folder / "front.csv") in printed
    assert str(folder / "plots" / "predictions.png") in printed

    output = tmp_path / "predictions.csv"
    some = [SPACE.format(a) for a in list(SPACE)[:3]]
    assert main(["predict", str(folder / "model"), *some, "--out", str(output)]) == 0
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["arch"] for row in rows] == some
    assert list(rows[0]) == [
        *("arch", "cifar10_valid_acc_percent", "gpu_latency_ms"),
        *("cifar10_valid_acc_percent_std", "gpu_latency_ms_std"),
    ]
    assert all(float(row["gpu_latency_ms"]) > 0 for row in rows)


def test_plot(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = ["search", "--devices", "gpu", "--budget", "8", "--method", "random"]
    assert main([*command, "--out", str(folder), "--baseline-seeds", "0", "--quiet"]) == 0
    files = {path for path in folder.rglob("*") if path.is_file()}
    for path in (folder / "plots").iterdir():
        path.unlink()
    assert main(["plot", str(folder), "--quiet"]) == 0
    assert {path for path in folder.rglob("*") if path.is_file()} == files


def test_interrupted_search_says_how_to_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas_rlm.search.search_distinct", interrupt)
    assert main(["search", "--devices", "gpu", "--out", str(tmp_path / "run"), "--quiet"]) == 130
    assert "stopped; the same command goes on where it stopped" in capsys.readouterr().err


def test_train_reports_on_the_rows_held_back(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    columns = ["--objectives", "acc,toaster_latency_ms"]
    command = ["train", str(table), *columns, "--out", str(folder), *TINY]
    assert main([*command, "--labels", "60"]) == 0
    printed = capsys.readouterr().out
    assert "trained on 60 architectures" in printed
    assert "on the other 19:" in printed
    assert "toaster_latency_ms  tau" in printed
    assert main(command) == 0
    assert "other" not in capsys.readouterr().out, "none are left"


def test_train_takes_empty_cells(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = table.read_text().splitlines()
    columns = lines[0].split(",")
    place = columns.index("toaster_latency_ms")
    for row in range(1, 41):
        cells = lines[row].split(",")
        cells[place] = ""
        lines[row] = ",".join(cells)
    holes = tmp_path / "holes.csv"
    holes.write_text("\n".join(lines) + "\n")
    command = ["train", str(holes), "--objectives", "acc,toaster_latency_ms", *TINY]
    assert main([*command, "--labels", "60", "--out", str(tmp_path / "model")]) == 0
    assert "toaster_latency_ms  tau" in capsys.readouterr().out


def test_predict_on_the_screen(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(model), ARCHITECTURE]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head == "arch,acc,toaster_latency_ms,acc_std,toaster_latency_ms_std"
    assert row.startswith(ARCHITECTURE + ",")


def compare(table: Path, folder: Path, *options: object) -> list[str]:
    columns = ["--objectives", "acc,toaster_latency_ms", "--predictors", "ridge"]
    grid = ["--labels", "8,16", "--seeds", "2", "--jobs", "1", "--quiet"]
    return [*map(str, ["compare", table, *columns, *grid, "--out", folder, *options])]


def test_compare(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holes = tmp_path / "holes.csv"
    rows = table.read_text().splitlines()
    rows[7] = rows[7].rsplit(",", 1)[0] + ","
    holes.write_text("\n".join(rows))
    folder = tmp_path / "out"
    assert main(compare(holes, folder)) == 0
    printed = capsys.readouterr().out
    for name in ("summary.md", "comparison.csv", "plots/tau.png", "plots/rho.pdf"):
        assert (folder / name).exists()
        assert str(folder / name) in printed
    with (folder / "comparison.csv").open(newline="") as file:
        cells = [(row["labels"], row["seed"]) for row in csv.DictReader(file)]
    assert cells == [("8", "0"), ("8", "1"), ("16", "0"), ("16", "1")]
    assert "data is holes.csv there and table.csv here" in error(capsys, *compare(table, folder))
    table_then = holes.read_text()
    holes.write_text(table_then.replace(",50,", ",51,", 1))
    assert "the checksum of holes.csv differs" in error(capsys, *compare(holes, folder))
    holes.write_text(table_then)
    assert "directions is maximize,minimize there and minimize,maximize here" in error(
        capsys, *compare(holes, folder, "--minimize", "acc")
    )
    assert main(compare(holes, folder, "--first-seed", 2)) == 0
    with (folder / "comparison.csv").open(newline="") as file:
        assert {row["seed"] for row in csv.DictReader(file)} == {"2", "3"}


def test_compare_on_the_benchmark(tmp_path: Path) -> None:
    grid = ["--predictors", "ridge", "--labels", "16", "--seeds", "1", "--jobs", "1"]
    command = ["compare", "--devices", "gpu", *grid, "--out", str(tmp_path / "out"), "--quiet"]
    assert main(command) == 0
    assert "15,625 architectures of nasbench201" in (tmp_path / "out" / "summary.md").read_text()


def test_compare_says_what_is_wrong(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def message(*options: object) -> str:
        return error(capsys, *compare(table, tmp_path / "out", *options))

    assert "unknown predictor 'rigde'; did you mean 'ridge'" in message("--predictors", "rigde")
    assert "predictors is empty" in message("--predictors", ",")
    assert "predictors has ridge twice" in message("--predictors", "ridge,ridge")
    assert "labels must be at least 4, not 3" in message("--labels", "3,8")
    assert "78 labels leave nothing to test on" in message("--labels", "16,78")
    assert "seeds must be at least 0" in message("--first-seed", -1)
    assert "'mass' is to be minimised" in message("--minimize", "mass")
    assert "no column 'mass'" in message("--objectives", "mass")
    out = ("--out", tmp_path / "out")
    assert "--minimize names columns" in error(capsys, "compare", "--minimize", "acc", *out)
    short = tmp_path / "short.csv"
    short.write_text("\n".join(table.read_text().splitlines()[:20]))
    assert "there are only 19 rows: name --labels" in error(
        capsys, "compare", short, "--objectives", "acc", *out
    )
    first = table.read_text().splitlines()[1].split(",")[0]
    for rows in ("", f"{first},\n"):
        short.write_text(f"arch,acc\n{rows}")
        assert "no row has a figure of acc" in error(
            capsys, "compare", short, "--objectives", "acc", *out
        )
    for wrong in (["--labels", "8,many"], ["--seeds", "0"], ["--jobs", "none"]):
        with pytest.raises(SystemExit) as exit_:
            main(compare(table, tmp_path / "out", *wrong))
        assert exit_.value.code == 2
        assert wrong[1] in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [short]


def test_compare_fails_at_the_end_if_a_cell_failed(
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from nas_rlm.predictors import classical

    predict = classical.RidgePredictor.predict

    def fail_once(self: classical.RidgePredictor, inputs: object) -> object:
        if self.seed == 1:
            raise ArithmeticError("too hard")
        return predict(self, inputs)

    monkeypatch.setattr(classical.RidgePredictor, "predict", fail_once)
    assert main(compare(table, tmp_path / "out")) == 2
    printed, said = capsys.readouterr()
    assert "summary.md" in printed
    assert said.splitlines() == [
        "failed: ridge, 8 labels, seed 1: ArithmeticError: too hard",
        "failed: ridge, 16 labels, seed 1: ArithmeticError: too hard",
        "nas-rlm: error: 2 of 4 cells failed, the first was ridge, 8 labels, seed 1: "
        "ArithmeticError: too hard; the same command tries them again",
    ]


def test_names_that_do_not_exist(
    table: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    search = ("search", "--out", out, "--quiet")
    assert "did you mean 'pixel3'" in error(capsys, *search, "--devices", "pixl3")
    assert "unknown dataset 'mnist'" in error(capsys, *search, "--dataset", "mnist")
    assert "needs a table" in error(capsys, *search, "--dataset", "cifar10_test_acc")
    assert "unknown benchmark" in error(capsys, *search, "--benchmark", "nasbench301")
    assert "unknown method 'grid'" in error(capsys, *search, "--method", "grid")
    assert "check the path" in error(capsys, *search, "--data", tmp_path / "absent.csv")
    assert "budget must be at least 4" in error(capsys, *search, "--budget", "1")
    assert "is not a nasbench201 cell" in error(capsys, "text", "|conv|")
    assert "no search space 'darts'" in error(capsys, "text", ARCHITECTURE, "--space", "darts")
    assert "is not a nasbench201 cell" in error(capsys, "predict", model, "|conv|")
    assert "or pass --all" in error(capsys, "predict", model)
    assert "too many for --all" in error(capsys, "predict", model, "--all", "--space", "fbnet")
    train = ("train", table, "--out", out)
    assert "no column 'accuracy'" in error(capsys, *train, "--objectives", "accuracy")
    columns = ("--arch-column", "adjacency,operations", "--objectives", "acc")
    assert "no column 'adjacency'; name that of" in error(capsys, *train, *columns)
    assert "the table has arch, acc," in error(capsys, *train)
    labels = (*train, "--objectives", "acc", "--labels")
    assert "from 4 to 79" in error(capsys, *labels, "80")
    assert "give one" in error(capsys, "train", "--out", out, "--objectives", "acc")
    assert list(tmp_path.iterdir()) == []


def test_folders_of_something_else(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    train = ("train", table, "--objectives", "acc", "--out")
    assert "holds something else; name another folder" in error(capsys, *train, tmp_path)
    assert "is a file; name a folder" in error(capsys, *train, tmp_path / "thesis.tex")
    assert "holds no run" in error(capsys, "search", "--out", tmp_path)
    assert "holds no run" in error(capsys, "plot", tmp_path)
    assert "is not a saved model" in error(capsys, "predict", tmp_path, "--all")
    assert "is not a saved model" in error(capsys, "predict", tmp_path / "thesis.tex", "--all")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_cannot_write(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    # As it is for whoever is not root, who may write everywhere.
    monkeypatch.setattr(Path, "mkdir", refuse)
    for command in (
        ("search", "--out", tmp_path / "run", "--quiet"),
        ("predict", model, ARCHITECTURE, "--out", tmp_path / "predictions.csv"),
    ):
        message = error(capsys, *command)
        assert str(tmp_path) in message
        assert "Permission denied; name a place that you may write to" in message
