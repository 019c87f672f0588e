"""CatBoost."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import catboost
import numpy as np
from numpy.typing import NDArray

from fraudlab.config import CatBoostConfig
from fraudlab.models.boosting.arrays import measure
from fraudlab.models.contract import Examples, OnRound


class CatBoost:
    """See :class:`fraudlab.models.contract.Estimator`."""

    FILE = "best.cbm"

    def __init__(self, booster: catboost.CatBoost) -> None:
        self._booster = booster
        self.rounds = booster.tree_count_

    @classmethod
    def fit(
        cls,
        train: Examples,
        validation: Examples | None,
        cardinalities: Sequence[int],
        settings: CatBoostConfig,
        *,
        fraud_weight: float,
        seed: int,
        on_round: OnRound,
    ) -> "CatBoost":
        parameters = {
            "loss_function": "Logloss",
            "scale_pos_weight": fraud_weight,
            "iterations": settings.n_estimators,
            "learning_rate": settings.learning_rate,
            "depth": settings.max_depth,
            "l2_leaf_reg": settings.l2,
            "bootstrap_type": "Bernoulli",
            "subsample": settings.subsample,
            "rsm": settings.colsample,
            "thread_count": settings.threads or -1,
            "random_seed": seed,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }
        watched: dict[str, Any] = {}
        tell = _Tell(on_round)
        if validation is not None:
            parameters |= {"eval_metric": _AveragePrecision(), "use_best_model": True}
            watched = {
                "eval_set": _pool(validation.categorical, validation.numeric, validation.label),
                "early_stopping_rounds": settings.early_stopping_rounds,
                "callbacks": [tell],
            }
        booster = catboost.CatBoost(parameters)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Failed to import numba")
            booster.fit(_pool(train.categorical, train.numeric, train.label), **watched)
        if tell.raised is not None:
            raise tell.raised
        return cls(booster)

    def score(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float32]:
        probability = self._booster.predict(_pool(categorical, numeric), prediction_type="Probability")
        return probability[:, 1].astype(np.float32)

    def save(self, path: Path) -> None:
        self._booster.save_model(str(path), format="cbm")

    @classmethod
    def load(cls, path: Path) -> "CatBoost":
        return cls(catboost.CatBoost().load_model(str(path), format="cbm"))


def _pool(
    categorical: NDArray[np.int64], numeric: NDArray[np.float32], label: NDArray[np.int64] | None = None
) -> catboost.Pool:
    ids = categorical.astype(np.bytes_).astype(object)  # the form in which it takes categories beside float32
    return catboost.Pool(
        catboost.FeaturesData(num_feature_data=np.ascontiguousarray(numeric), cat_feature_data=ids), label
    )


class _AveragePrecision:
    """CatBoost's own ``PRAUC`` joins the points by trapezoids, which flatters."""

    def is_max_optimal(self) -> bool:
        return True

    def get_final_error(self, error: float, weight: float) -> float:
        return error

    def evaluate(self, approxes: Sequence[Any], target: Any, weight: Any) -> tuple[float, float]:
        return measure(np.asarray(target), np.asarray(approxes[0])), 1.0


class _Tell:
    """Tells of rounds; what that raises is kept, since CatBoost would make an error of its own of it."""

    def __init__(self, on_round: OnRound) -> None:
        self._on_round = on_round
        self.raised: BaseException | None = None

    def after_iteration(self, info: Any) -> bool:
        try:
            self._on_round(info.metrics["validation"]["_AveragePrecision"][-1])
        except BaseException as error:
            self.raised = error
        return self.raised is None
