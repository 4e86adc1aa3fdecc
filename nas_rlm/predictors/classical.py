"""Linear models and trees.

They read tables of features, see `nas_rlm.predictors.features`, and learn each objective on a
coordinate, `surrogate.scale.Scale`, since accuracies crowd at the top. Their settings were chosen
on NAS-Bench-201, splits of seeds 100 and above.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV

from nas_rlm.predictors.base import Inputs
from nas_rlm.predictors.features import Reader, Table, choices, pairs, paths
from nas_rlm.predictors.point import PointPredictor
from surrogate.scale import Scale

Floats = NDArray[np.float64]


class TablePredictor(PointPredictor):
    """One regression per objective, from the features of the examples that have its label."""

    readers: ClassVar[tuple[Reader, ...]] = (choices, paths)

    def _fit(self, inputs: Inputs, values: Floats, progress: bool) -> None:
        self._table = Table(*self.readers)
        table = self._table.fit(inputs)
        known = ~np.isnan(values)
        self._regressors = [
            # Cross-validation may leave equal labels, on which there is no scale.
            DummyRegressor().fit(table[rows], labels[rows])
            if np.ptp(labels[rows]) == 0
            else self._learn(table[rows], labels[rows])
            for rows, labels in zip(known.T, values.T, strict=True)
        ]

    @abstractmethod
    def _learn(self, table: Floats, labels: Floats) -> Any:
        """A regression with a method ``predict`` from examples (m, columns) and labels (m,)."""

    def predict(self, inputs: Inputs) -> Floats:
        self.check_fitted()
        table = self._table(inputs)
        return np.stack([regressor.predict(table) for regressor in self._regressors], axis=1)


class RidgePredictor(TablePredictor):
    """Ridge regression on one-hot choices and counts, the penalty chosen by leave-one-out.

    Latencies add up over operations, but the rank of an accuracy is closer to a sum than the
    accuracy itself. So the labels are learnt as they are and as their ranks, and of the two
    models the one is kept that orders the training examples better when each is left out.
    """

    readers: ClassVar[tuple[Reader, ...]] = (choices,)
    penalties = np.logspace(-2, 4, 19)

    def _learn(self, table: Floats, labels: Floats) -> Any:
        models = [
            _on_scale(
                # Given a score, scikit-learn keeps the predictions rather than their errors.
                RidgeCV(self.penalties, scoring="neg_mean_squared_error", store_cv_results=True),
                Scale.fit(labels, rank_share=rank_share),
            ).fit(table, labels)
            for rank_share in (0.0, 1.0)
        ]
        return max(models, key=lambda model: _left_out_correlation(model.regressor_, labels))


class PairsRidgePredictor(RidgePredictor):
    """Ridge regression on one-hot choices, their counts, and products of two one-hot choices."""

    readers = (choices, pairs)
    penalties = np.logspace(-1, 4, 11)


class ForestPredictor(TablePredictor):
    """Random forest on choices and paths.

    Source: Breiman, "Random Forests", Machine Learning 45, 2001.
    """

    def _learn(self, table: Floats, labels: Floats) -> Any:
        forest = RandomForestRegressor(max_features=1 / 3, random_state=self.seed)
        return _on_scale(forest, Scale.fit(labels)).fit(table, labels)


class TreesPredictor(TablePredictor):
    """Gradient-boosted trees on choices and paths.

    Source: Friedman, "Stochastic Gradient Boosting", Computational Statistics & Data Analysis
    38, 2002.
    """

    def _learn(self, table: Floats, labels: Floats) -> Any:
        trees = GradientBoostingRegressor(
            n_estimators=300,
            learning_rate=0.05,
            max_depth=5,
            min_samples_leaf=2,
            max_features=0.2,
            subsample=0.5,
            random_state=self.seed,
        )
        return _on_scale(trees, Scale.fit(labels)).fit(table, labels)


class LightGBMPredictor(TablePredictor):
    """Gradient-boosted trees of LightGBM on choices and paths, faster than `TreesPredictor`.

    Source: Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NeurIPS
    2017.

    Args:
        objectives: Names of the k numbers, accuracy first.
        seed: Seeds every random choice.
        folds: See `PointPredictor`.

    Raises:
        ImportError: LightGBM is not installed.
    """

    def __init__(self, objectives: Sequence[str], *, seed: int = 0, folds: int = 5) -> None:
        super().__init__(objectives, seed=seed, folds=folds)
        try:
            import lightgbm
        except ModuleNotFoundError as error:
            raise ImportError(
                "the predictor lightgbm needs an extra of its own; install it with: "
                "pip install 'nas-rlm[lightgbm]'"
            ) from error
        self._regressor = lightgbm.LGBMRegressor

    def _learn(self, table: Floats, labels: Floats) -> Any:
        trees = self._regressor(
            n_estimators=300,
            learning_rate=0.05,
            num_leaves=16,
            min_child_samples=3,
            reg_lambda=1.0,
            colsample_bytree=0.3,
            subsample=0.7,
            subsample_freq=1,
            random_state=self.seed,
            n_jobs=1,  # the tables are small; with more threads it is slower
            verbose=-1,
        )
        return _on_scale(trees, Scale.fit(labels)).fit(table, labels)


def _on_scale(regressor: Any, scale: Scale) -> TransformedTargetRegressor:
    """The regressor, its labels and predictions passed through the scale."""
    return TransformedTargetRegressor(
        regressor, func=scale, inverse_func=scale.inverse, check_inverse=False
    )


def _left_out_correlation(ridge: RidgeCV, labels: Floats) -> float:
    """Spearman's rho of labels, (m,), and what a fitted ridge predicts when each is left out."""
    best = int(np.flatnonzero(ridge.alphas == ridge.alpha_)[0])
    left_out = ridge.cv_results_.reshape(len(labels), -1)[:, best]
    return float(spearmanr(left_out, labels)[0])
