"""Texts kept as files, so that a change of what a surrogate reads is seen and versioned.

After a deliberate change raise ``TEXT_VERSION`` and write the files again with
``UPDATE_GOLDEN=1 pytest tests/search_spaces/test_golden.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search_spaces import get_space, validate

GOLDEN = {
    "nasbench201-best": (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
        "+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
    ),
    "nasbench201-every-operation": (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|nor_conv_3x3~1|avg_pool_3x3~2|"
    ),
    "nasbench201-cut-off": ("|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|none~2|"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_text_is_what_it_was(name):
    space = get_space(name.partition("-")[0])
    text = space.onnx_text(space.parse(GOLDEN[name]))
    path = Path(__file__).parent / "golden" / f"{name}.onnxtxt"
    if "UPDATE_GOLDEN" in os.environ:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    validate(text)


def test_no_file_is_left_over():
    files = (Path(__file__).parent / "golden").glob("*")
    assert {path.stem for path in files} == set(GOLDEN)
