from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas_rlm.pareto import hypervolume, hypervolume_over_time, non_dominated

levels = st.integers(0, 5).map(lambda level: level / 5)
# A coarse grid, so that ties and copies are common.
grids = st.integers(1, 4).flatmap(
    lambda k: arrays(np.float64, st.tuples(st.integers(0, 12), st.just(k)), elements=levels)
)


def dominates(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one <= other).all() and (one < other).any())


@given(grids, st.data())
def test_non_dominated_is_the_definition(losses: np.ndarray, data: st.DataObject) -> None:
    k = losses.shape[1]
    directions = data.draw(
        st.lists(st.sampled_from(["minimize", "maximize"]), min_size=k, max_size=k)
    )
    values = np.where([direction == "maximize" for direction in directions], -losses, losses)
    expected = [not any(dominates(other, point) for other in losses) for point in losses]
    assert non_dominated(values, directions).tolist() == expected


def test_copies_of_a_front_point_are_all_kept() -> None:
    values = [[90.0, 5.0], [90.0, 5.0], [89.0, 6.0]]
    assert non_dominated(values, ["maximize", "minimize"]).tolist() == [True, True, False]


@given(grids)
def test_hypervolume_is_the_share_of_dominated_boxes(losses: np.ndarray) -> None:
    k = losses.shape[1]
    corners = (np.stack(np.meshgrid(*[np.arange(5)] * k), axis=-1).reshape(-1, k)) / 5
    dominated = (losses[None] <= corners[:, None] + 1e-9).all(axis=2).any(axis=1)
    assert hypervolume(losses, np.ones(k)) == pytest.approx(dominated.mean())


@given(grids)
def test_hypervolume_over_time_equals_the_hypervolume_of_each_prefix(losses: np.ndarray) -> None:
    reference = np.ones(losses.shape[1])
    benchmark = SimpleNamespace(
        normalise=np.asarray, reference_point=reference, true_hypervolume=0.5
    )
    expected = [hypervolume(losses[: n + 1], reference) / 0.5 for n in range(len(losses))]
    np.testing.assert_allclose(hypervolume_over_time(benchmark, losses), expected)


def test_nothing_measured_yet() -> None:
    assert non_dominated([], ["maximize", "minimize"]).shape == (0,)
    assert hypervolume([], [1, 1]) == 0


@pytest.mark.parametrize("values", [[[1.0, 2.0, 3.0]], [1.0, 2.0], [[1.0, float("nan")]]])
def test_wrong_shapes_and_nan_are_refused(values: list) -> None:
    with pytest.raises(ValueError, match=r"expected an array of shape|NaN"):
        non_dominated(values, ["maximize", "minimize"])
    with pytest.raises(ValueError, match=r"expected an array of shape|NaN"):
        hypervolume(values, [1, 1])
