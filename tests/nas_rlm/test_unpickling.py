from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from nas_rlm.unpickling import (
    ARRAYS,
    NOTHING,
    NUMBERS,
    ORDERED,
    ForbiddenError,
    load_torch,
    unpickle,
)

PROTOCOLS = (2, 3, 4)  # in which the publishers' files are


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_and_numbers_need_no_permission(protocol: int) -> None:
    content = {"a": [1, 2.5, None, "text", 1 << 70], (1,): {True: "yes"}}
    assert unpickle(pickle.dumps(content, protocol)) == content


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_allowed_is_read(protocol: int) -> None:
    numbers = [np.float64(1.5), np.float32(2.5), np.int64(-3)]
    assert unpickle(pickle.dumps(numbers, protocol), NUMBERS) == numbers
    array = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(unpickle(pickle.dumps(array, protocol), ARRAYS), array)
    ordered = OrderedDict({2: "b", 1: "a"})
    assert unpickle(pickle.dumps(ordered, protocol), ORDERED) == ordered


def test_names_of_numpy_1_are_read() -> None:
    for content in (np.float64(1.5), np.arange(3.0)):
        old = pickle.dumps(content, 2).replace(b"cnumpy._core.", b"cnumpy.core.")
        assert b"numpy.core.multiarray" in old
        np.testing.assert_array_equal(unpickle(old, ARRAYS), content)


@pytest.mark.parametrize(
    ("content", "allowed", "name"),
    [
        (product, NOTHING, "itertools.product"),
        (eval, ARRAYS, "builtins.eval"),
        (OrderedDict(), NOTHING, "collections.OrderedDict"),
        (defaultdict(), {**ARRAYS, **ORDERED}, "collections.defaultdict"),
        (np.float64(1), ORDERED, "numpy._core.multiarray.scalar"),
        (np.zeros(2), NUMBERS, "numpy._core.multiarray._reconstruct"),
        (np.random.default_rng(0), ARRAYS, "numpy.random._pickle.__generator_ctor"),
    ],
)
def test_what_is_not_allowed_is_named(content: object, allowed: dict, name: str) -> None:
    with pytest.raises(ForbiddenError, match=f"it asks for {name},"):
        unpickle(pickle.dumps(content, protocol=4), allowed)


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.pt"
    content = {"list": [1, 2.5, "text"], "number": np.float64(1.5), "tensor": torch.ones(2)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    read = load_torch(path, NUMBERS)
    assert read["list"] == content["list"]
    assert read["number"] == 1.5
    assert torch.equal(read["tensor"], torch.ones(2))
    with pytest.raises(ForbiddenError, match=r"it asks for numpy\._core\.multiarray\.scalar,"):
        load_torch(path)
    still_safe = [str(known) for known in torch.serialization.get_safe_globals()]
    assert not [known for known in still_safe if "numpy" in known], "for others to load"
