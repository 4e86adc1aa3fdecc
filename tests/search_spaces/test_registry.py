from __future__ import annotations

import pytest

import search_spaces
from search_spaces import NASBench201, get_space, space_names


def test_get_space_by_name():
    assert isinstance(get_space("nasbench201"), NASBench201)
    assert "nasbench201" in space_names()


def test_unknown_name_lists_the_known_and_suggests():
    with pytest.raises(
        ValueError, match=r"no search space 'nasbench-201'; there is .*did you mean"
    ):
        get_space("nasbench-201")
    with pytest.raises(ValueError, match=r"nasbench101, nasbench201, .*[^?]$"):
        get_space("banana")


def test_public_names_exist():
    assert all(hasattr(search_spaces, name) for name in search_spaces.__all__)
