"""NAS-Bench-101: what its authors published, and what is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from search_spaces import ArchitectureError, count, get_space, validate
from search_spaces.nasbench101 import NASBench101

SPACE = get_space("nasbench101")
INCEPTION = (
    "0111010/0000001/0000001/0000100/0000001/0000001/0000000 input,conv1x1-bn-relu,"
    "conv3x3-bn-relu,conv3x3-bn-relu,conv3x3-bn-relu,maxpool3x3,output"
)
TWIN = (
    "0111100/0000001/0000001/0000001/0000010/0000001/0000000 input,conv3x3-bn-relu,"
    "conv1x1-bn-relu,maxpool3x3,conv3x3-bn-relu,conv3x3-bn-relu,output"
)
"""The same cell as the benchmark's table has it."""


def test_published_parameters():
    """Of the cell in the notebook of github.com/google-research/nasbench."""
    for cell in (INCEPTION, TWIN):
        assert count(validate(SPACE.onnx_text(SPACE.parse(cell)))).parameters == 2_694_282


def test_numbers_of_small_cells_are_those_published():
    """The benchmark has 1, 6, 84 and 2,441 cells of 2, 3, 4 and 5 vertices."""
    found: Counter[int] = Counter()
    for architecture in SPACE:
        vertices = len(SPACE.format(architecture).partition(" ")[0].split("/"))
        if vertices > 5:
            break
        found[vertices] += 1
    assert found == {2: 1, 3: 6, 4: 84, 5: 2441}


def test_narrower_networks():
    architecture = SPACE.parse(INCEPTION)
    narrow = NASBench101(channels=16)
    validate(narrow.onnx_text(architecture))
    # Convolutions have about as many weights as the channels that they read times those they make.
    few = count(narrow.onnx_model(architecture)).parameters
    assert 2_694_282 / few == pytest.approx(64, rel=0.1)
    assert NASBench101(channels=128).onnx_text(architecture) == SPACE.onnx_text(architecture)
    with pytest.raises(ValueError, match="channels must be at least 6, not 5"):
        NASBench101(channels=5)


def test_isomorphic_cells_have_one_key():
    first, second = SPACE.parse(INCEPTION), SPACE.parse(TWIN)
    assert first != second
    assert SPACE.key(first) == SPACE.key(second)
    other = SPACE.parse(TWIN.replace("maxpool3x3", "conv3x3-bn-relu"))
    assert SPACE.key(other) != SPACE.key(second)


def test_vertices_that_no_path_visits_do_not_count():
    cell = "0101/0000/0001/0000 input,conv1x1-bn-relu,maxpool3x3,output"
    assert SPACE.format(SPACE.parse(cell)) == "01/00 input,output"
    spoilt = {**SPACE.parse(INCEPTION), "edge_5_6": "0"}
    assert SPACE.format(spoilt).endswith("conv3x3-bn-relu,output")
    assert SPACE.onnx_text(spoilt) == SPACE.onnx_text(SPACE.parse(SPACE.format(spoilt)))


@pytest.mark.parametrize("channels", [128, 256, 512])
@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_channels_are_divided_among_what_is_put_together(channels, parts):
    vertices = parts + 2
    rows = ["0" + "1" * parts + "0"] + ["0" * (vertices - 1) + "1"] * parts + ["0" * vertices]
    labels = ["input", *["conv1x1-bn-relu"] * parts, "output"]
    text = SPACE.onnx_text(SPACE.parse(f"{'/'.join(rows)} {','.join(labels)}"))
    line = next(line for line in text.splitlines() if f"nas.Stage <o={channels}," in line)
    given = line.partition("<")[2].partition(">")[0].split(", ")[1:]
    width = dict(item.split("=") for item in given)
    assert [width["B"], width["C"]] == [f"[{width['b']}]", f"[{width['c']}]"]
    widths = [int(width[name]) for name in ("abc" if parts == 3 else "a" * parts)]
    assert sum(widths) == channels
    assert sorted(widths, reverse=True) == widths
    assert max(widths) - min(widths) <= 1


def test_channels_are_cut_where_fewer_are_read(run):
    """A wide vertex is read by a narrow one, as in the benchmark's own model builder."""
    operations = ("input", *["conv1x1-bn-relu"] * 3, "output")
    architecture = SPACE.parse(f"01110/00011/00001/00001/00000 {','.join(operations)}")
    assert SPACE.onnx_text(architecture).count("nas.First <n: ints=@C> (v2)") == 1
    model = SPACE.onnx_model(architecture, image_size=8)
    assert np.isfinite(run(model)).all()
    assert count(model).parameters > 0


def test_neighbours_grow_and_shrink():
    architecture = SPACE.parse("010/001/000 input,conv3x3-bn-relu,output")
    sizes = Counter(
        len(SPACE.format(neighbour).partition(" ")[0].split("/"))
        for neighbour in SPACE.neighbours(architecture)
    )
    assert set(sizes) == {3, 4}
    large = SPACE.parse(INCEPTION)
    assert any(
        len(SPACE.format(neighbour).partition(" ")[0].split("/")) == 6
        for neighbour in SPACE.neighbours(large)
    )


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", "written like"),
        ("0 input", "written like"),
        ("010/001/000 input,output", "written like"),
        ("010/001/000 input,conv3x3-bn-relu,result", "written like"),
        ("012/001/000 input,conv3x3-bn-relu,output", "written like"),
        ("010/011/000 input,conv3x3-bn-relu,output", "written like"),
        ("010/001/000 input,conv5x5,output", "'conv5x5' is not offered"),
        ("010/000/000 input,conv3x3-bn-relu,output", "no path leads"),
        ("011111/001111/000111/000011/000001/000000 input" + ",maxpool3x3" * 4 + ",output", "15"),
        ("0" * 8 + "/" + "0" * 8 + " input,output", "written like"),
    ],
)
def test_what_is_no_cell_is_refused(cell, message):
    with pytest.raises(ArchitectureError, match=message):
        SPACE.parse(cell)
