from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nas_rlm.markdown import markdown_table, mean_interval
from nas_rlm.metrics import (
    coverage,
    crps,
    energy_score,
    independent,
    kendall_tau,
    negative_log_likelihood,
    share_within,
    sharpness,
    spearman_rho,
    top_regret,
    top_tau,
    variogram_score,
)


def array(*numbers: float) -> np.ndarray:
    return np.array(numbers, dtype=float)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_rank_correlations_by_hand() -> None:
    # Five of six pairs are in order. Ranks differ by 0, 0, 1, 1: 1 - 6 * 2 / (4 * 15).
    predicted, actual = array(1, 2, 4, 3), array(10, 20, 30, 40)
    assert kendall_tau(predicted, actual) == pytest.approx((5 - 1) / 6)
    assert spearman_rho(predicted, actual) == pytest.approx(0.8)
    # tau-b: of three pairs two are in order and one is tied in one of the two: 2 / sqrt(3 * 2).
    assert kendall_tau(array(1, 1, 2), array(1, 2, 3)) == pytest.approx(2 / np.sqrt(6))


@pytest.mark.parametrize("correlation", [kendall_tau, spearman_rho])
def test_rank_correlations_know_only_the_order(correlation) -> None:
    predicted, actual = normal(2, 50)
    assert correlation(np.exp(predicted), actual) == correlation(predicted, actual)
    assert correlation(-predicted, actual) == pytest.approx(-correlation(predicted, actual))
    assert correlation(actual, actual) == pytest.approx(1)


@pytest.mark.parametrize("correlation", [kendall_tau, spearman_rho])
def test_rank_correlations_of_equals(correlation) -> None:
    assert correlation(array(5, 5, 5), array(1, 2, 3)) == 0
    assert np.isnan(correlation(array(1, 2, 3), array(5, 5, 5)))
    assert np.isnan(correlation(array(1), array(1)))
    assert np.isnan(correlation(array(), array()))


def test_regret_by_hand() -> None:
    predicted, actual = array(9, 8, 7, 1), array(90, 92, 95, 96)
    assert [top_regret(predicted, actual, "maximize", k) for k in (1, 2, 3, 4, 10)] == [
        *(6, 4, 1, 0, 0)
    ]
    # As latencies: the fourth looks fastest.
    assert [top_regret(predicted, actual, "minimize", k) for k in (1, 2, 4)] == [6, 5, 0]
    assert np.isnan(top_regret(array(), array(), "minimize"))


def test_equals_look_best_in_the_order_given() -> None:
    assert top_regret(array(1, 1), array(3, 4), "maximize", 1) == 1
    assert top_regret(array(1, 1), array(3, 4), "minimize", 1) == 0


def test_top_tau_by_hand() -> None:
    actual = np.arange(30.0)
    predicted = actual.copy()
    predicted[[27, 28, 29]] = 28, 29, 27  # of the three best pairs, one is in order
    assert top_tau(predicted, actual, "maximize") == pytest.approx(-1 / 3)
    assert top_tau(predicted, actual, "minimize") == pytest.approx(1)
    assert top_tau(predicted, actual, "maximize", share=1) == kendall_tau(predicted, actual)
    # The second best has an equal, which counts too.
    assert top_tau(array(0, 2, 1, 3), array(1, 2, 2, 3), "maximize", 0.5) == pytest.approx(
        kendall_tau(array(2, 1, 3), array(2, 2, 3))
    )
    assert np.isnan(top_tau(array(), array(), "maximize"))


def test_share_within_by_hand() -> None:
    actual = array(1, 1, 10, -10)
    assert share_within(array(1.1, 1.2, 9, -11.5), actual) == 0.5
    assert share_within(array(1.1, 1.2, 9, -11.5), actual, 0.2) == 1
    assert np.isnan(share_within(array(), array()))


def test_crps_by_hand() -> None:
    # |0 - 1| and |4 - 1|: 2; the only pair is 4 apart.
    assert crps(array(0, 4)[None], array(1)) == pytest.approx(2 - 4 / 2)
    # Pairs 1, 3 and 2 apart: mean 2. Errors 2, 1 and 1.
    assert crps(array(3, 0, 1)[None], array(2)) == pytest.approx(4 / 3 - 1)


def test_crps_of_a_sure_number_is_its_error() -> None:
    assert crps(np.full((1, 8), 3.0), array(1)) == pytest.approx(2)


def test_crps_of_a_normal_distribution() -> None:
    """Gneiting & Raftery 2007, equation 21, at the mean: (sqrt(2) - 1) / sqrt(pi)."""
    expected = (np.sqrt(2) - 1) / np.sqrt(np.pi)
    for samples in (2, 64):  # fair: the same for few
        assert crps(normal(200_000 // samples, samples), np.zeros(200_000 // samples)) == (
            pytest.approx(expected, abs=0.01)
        )


def test_likelihood_is_that_of_a_kernel_density() -> None:
    samples, actual = normal(5, 32), normal(5, seed=1)
    densities = [stats.gaussian_kde(row)(y)[0] for row, y in zip(samples, actual, strict=True)]
    assert negative_log_likelihood(samples, actual) == pytest.approx(-np.log(densities).mean())


def test_likelihood_of_sure_numbers_is_finite() -> None:
    actual = array(-1, 1)  # standard deviation 1: the bandwidth is 0.001
    right, wrong = np.tile(actual[:, None], 4), np.tile(actual[:, None] + 0.002, 4)
    best = np.log(0.001 * np.sqrt(2 * np.pi))
    assert negative_log_likelihood(right, actual) == pytest.approx(best)
    assert negative_log_likelihood(wrong, actual) == pytest.approx(best + 2)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("samples", [64, 100])
def test_honest_samples_cover_as_they_should(level: float, samples: int) -> None:
    together = normal(20_000, samples + 1)
    found = coverage(together[:, :-1], together[:, -1], level)
    assert found == pytest.approx(level, abs=0.01)


def test_coverage_and_sharpness_by_hand() -> None:
    samples = np.tile(np.arange(1.0, 100), (4, 1))  # the p-quantile is 100 p
    actual = array(10, 11, 90, 91)
    assert coverage(samples, actual, 0.8) == 0.75
    assert sharpness(samples, deviation=40) == pytest.approx(80 / 40)
    assert sharpness(samples, deviation=40, level=0.5) == pytest.approx(50 / 40)


def test_energy_score_of_one_objective_is_crps() -> None:
    samples, actual = normal(20, 15, 1), normal(20, 1, seed=1)
    assert energy_score(samples, actual) == pytest.approx(crps(samples[..., 0], actual[:, 0]))


def test_energy_score_by_hand() -> None:
    # Distances 5 and 0 to the truth; the two samples are 5 apart.
    samples = np.array([[[3, 4], [0, 0]]], dtype=float)
    assert energy_score(samples, np.zeros((1, 2))) == pytest.approx(2.5 - 2.5)


def test_variogram_score_by_hand() -> None:
    # Differences 4 and 0, so that the expected root is 1; the truth's is 3.
    samples = np.array([[[0, 4], [1, 1]]], dtype=float)
    assert variogram_score(samples, np.array([[0.0, 9.0]])) == pytest.approx((3 - 1) ** 2)
    assert variogram_score(samples, np.array([[0.0, 9.0]]), 1) == pytest.approx((9 - 2) ** 2)


def test_joint_scores_prefer_the_right_dependence() -> None:
    common = normal(2000, 33, 1)
    drawn = common + 0.3 * normal(2000, 33, 2, seed=1)
    samples, actual = drawn[:, :-1], drawn[:, -1]
    alone = independent(samples, seed=0)
    np.testing.assert_array_equal(np.sort(alone, axis=1), np.sort(samples, axis=1))
    assert energy_score(samples, actual) < energy_score(alone, actual)
    assert variogram_score(samples, actual) < 0.5 * variogram_score(alone, actual)


def test_intervals_are_students() -> None:
    # Mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.303.
    assert mean_interval([1, 2, 3]) == "2.000 ± 2.484"
    assert mean_interval([1, 2, 3], digits=1) == "2.0 ± 2.5"
    assert mean_interval([1.5]) == "1.500"


def test_tables_are_markdown() -> None:
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
