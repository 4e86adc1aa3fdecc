from __future__ import annotations

import pickle

import numpy as np
import pytest

from search_spaces import ArchitectureError, Listed, get_space
from search_spaces.listed import NEAR

SPACE = get_space("mnasnet")


@pytest.fixture(scope="module")
def listed() -> Listed:
    rng = np.random.default_rng(0)
    return Listed(SPACE, [SPACE.sample(rng) for _ in range(60)])


def distance(one, other) -> int:
    return sum(one[name] != other[name] for name in SPACE.choices)


def test_has_what_is_listed_and_nothing_else(listed):
    assert listed.size == len(list(listed)) == 60
    rng = np.random.default_rng(1)
    drawn = {listed.format(listed.sample(rng)) for _ in range(600)}
    assert drawn == {SPACE.format(each) for each in listed}
    other = SPACE.sample(rng)
    for refuse in (listed.check, listed.neighbours, lambda a: listed.parse(SPACE.format(a))):
        with pytest.raises(ArchitectureError, match="is not one of the 60 listed architectures"):
            refuse(other)


def test_travels_to_other_processes(listed):
    assert list(pickle.loads(pickle.dumps(listed))) == list(listed)


def test_reads_and_writes_as_the_whole_space(listed):
    for architecture in list(listed)[:3]:
        written = SPACE.format(architecture)
        assert listed.format(architecture) == written
        assert listed.parse(written) == architecture
        assert listed.key(architecture) == SPACE.key(architecture)
        assert listed.onnx_text(architecture) == SPACE.onnx_text(architecture)
    assert listed.distributions == SPACE.distributions
    assert listed.name == SPACE.name


def test_neighbours_are_the_nearest_others(listed):
    for architecture in list(listed)[:5]:
        neighbours = listed.neighbours(architecture)
        assert architecture not in neighbours
        assert len(neighbours) == NEAR
        furthest = max(distance(architecture, other) for other in neighbours)
        rest = [a for a in listed if a not in neighbours and a != architecture]
        assert furthest <= min(distance(architecture, other) for other in rest)
    assert Listed(SPACE, list(listed)[:1]).neighbours(next(iter(listed))) == []


def test_nearest_is_itself_where_it_is_listed(listed):
    architecture = list(listed)[7]
    assert listed.nearest(architecture) == architecture
    changed = {**architecture, "kernel_1": "3" if architecture["kernel_1"] == "5" else "5"}
    assert listed.nearest(changed) == architecture


def test_nearest_sees_through_parameters_that_do_not_count():
    space = get_space("ofa_mobilenetv3")
    rng = np.random.default_rng(0)
    architectures = [space.sample(rng) for _ in range(20)]
    listed = Listed(space, architectures)
    shallow = next(a for a in architectures if a["depth_1"] == "2")
    assert listed.nearest({**shallow, "kernel_1_4": "7", "expansion_1_4": "6"}) == shallow


def test_refuses_nothing_and_repeats(listed):
    with pytest.raises(ValueError, match="at least one"):
        Listed(SPACE, [])
    with pytest.raises(ArchitectureError, match="is listed twice"):
        Listed(SPACE, [*listed, next(iter(listed))])
    with pytest.raises(ArchitectureError, match="lacks"):
        Listed(SPACE, [{}])
