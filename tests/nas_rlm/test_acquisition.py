"""The improvement must be the difference of two hypervolumes, which moocore computes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas_rlm.acquisition import HypervolumeImprovement
from nas_rlm.pareto import hypervolume


@given(st.data(), st.integers(1, 5))
def test_it_is_the_difference_of_hypervolumes(data, objectives):
    unit = st.floats(0, 1.25, width=32)
    there = data.draw(
        arrays(np.float64, (data.draw(st.integers(0, 8)), objectives), elements=unit)
    )
    points = data.draw(arrays(np.float64, (4, objectives), elements=unit))
    reference = np.ones(objectives)
    before = hypervolume(there, reference)
    expected = [hypervolume(np.vstack([there, point]), reference) - before for point in points]
    improvement = HypervolumeImprovement(there, reference)
    assert improvement(points) == pytest.approx(expected, abs=1e-9)
    assert improvement(points[:, None]).shape == (4, 1)
