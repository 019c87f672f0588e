"""XGBoost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from fraudlab.config import XGBoostConfig
from fraudlab.models.boosting.arrays import joined, measure
from fraudlab.models.contract import Examples, OnRound


class XGBoost:
    """See :class:`fraudlab.models.contract.Estimator`."""

    FILE = "best.json"

    def __init__(self, booster: xgboost.Booster) -> None:
        self._booster = booster
        self.rounds = booster.num_boosted_rounds()

    @classmethod
    def fit(
        cls,
        train: Examples,
        validation: Examples | None,
        cardinalities: Sequence[int],
        settings: XGBoostConfig,
        *,
        fraud_weight: float,
        seed: int,
        on_round: OnRound,
    ) -> "XGBoost":
        parameters = {
            "objective": "binary:logistic",
            "disable_default_eval_metric": True,  # ours alone
            "tree_method": "hist",
            "scale_pos_weight": fraud_weight,
            "learning_rate": settings.learning_rate,
            "max_depth": settings.max_depth,
            "min_child_weight": settings.min_child_weight,
            "lambda": settings.l2,
            "subsample": settings.subsample,
            "colsample_bytree": settings.colsample,
            "nthread": settings.threads,
            "seed": seed,
        }
        watched: dict[str, Any] = {}
        if validation is not None:
            watched = {
                "evals": [(_matrix(validation.categorical, validation.numeric, validation.label), "validation")],
                "custom_metric": lambda score, rows: ("average_precision", measure(rows.get_label(), score)),
                "callbacks": [
                    _Tell(on_round),
                    xgboost.callback.EarlyStopping(
                        rounds=settings.early_stopping_rounds, maximize=True, save_best=True
                    ),
                ],
                "verbose_eval": False,
            }
        rows = _matrix(train.categorical, train.numeric, train.label)
        return cls(xgboost.train(parameters, rows, num_boost_round=settings.n_estimators, **watched))

    def score(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._booster.predict(_matrix(categorical, numeric))

    def save(self, path: Path) -> None:
        path.write_bytes(self._booster.save_raw("json"))

    @classmethod
    def load(cls, path: Path) -> "XGBoost":
        return cls(xgboost.Booster(model_file=bytearray(path.read_bytes())))


def _matrix(
    categorical: NDArray[np.int64], numeric: NDArray[np.float32], label: NDArray[np.int64] | None = None
) -> xgboost.DMatrix:
    types = ["c"] * categorical.shape[1] + ["q"] * numeric.shape[1]
    return xgboost.DMatrix(joined(categorical, numeric), label, feature_types=types, enable_categorical=True)


class _Tell(xgboost.callback.TrainingCallback):
    def __init__(self, on_round: OnRound) -> None:
        super().__init__()
        self._on_round = on_round

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self._on_round(evals_log["validation"]["average_precision"][-1])
        return False
