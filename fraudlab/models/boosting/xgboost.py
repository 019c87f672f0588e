"""XGBoost."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from fraudlab.config import XGBoostConfig
from fraudlab.models.boosting.arrays import joined, measure
from fraudlab.models.boosting.trees import Node, Trees, below
from fraudlab.models.contract import Examples, OnRound

_UNKNOWN = 1  # id of words that are unknown or rare: fraudlab.features.categories
_UNKNOWN_IS = "unknown_words_are"  # attribute of a saved model


class XGBoost:
    """See :class:`fraudlab.models.contract.Estimator`."""

    FILE = "best.json"

    def __init__(self, booster: xgboost.Booster) -> None:
        self._booster = booster
        self._missing = booster.attr(_UNKNOWN_IS) == "missing"  # models of earlier versions have it as a category
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
        rows = _matrix(*train)
        booster = xgboost.train(parameters, rows, num_boost_round=settings.n_estimators, **watched)
        booster.set_attr(**{_UNKNOWN_IS: "missing"})
        return cls(booster)

    def score(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._booster.predict(_matrix(categorical, numeric, missing=self._missing))

    def save(self, path: Path) -> None:
        path.write_bytes(self._booster.save_raw("json"))

    @classmethod
    def load(cls, path: Path) -> "XGBoost":
        return cls(xgboost.Booster(model_file=bytearray(path.read_bytes())))

    def exported(self, cardinalities: Sequence[int], num_numeric: int) -> Trees:
        learner = json.loads(self._booster.save_raw("json"))["learner"]
        start = json.loads(learner["learner_model_param"]["base_score"])  # [0.1], before 3.1 0.1
        probability = start[0] if isinstance(start, list) else start
        trees = [_nodes(tree, cardinalities, self._missing) for tree in learner["gradient_booster"]["model"]["trees"]]
        return Trees.of(trees, math.log(probability / (1 - probability)), cardinalities, num_numeric)


def _nodes(tree: dict[str, Any], cardinalities: Sequence[int], missing: bool) -> list[Node]:
    """The nodes of a saved tree. Numbers below the threshold go left, and ids that a split names right.

    Where unknown words are ``missing``, a split says which way they go.
    """
    sets = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
    named = {node: tree["categories"][start : start + size] for node, start, size in sets}
    nodes: list[Node] = []
    waiting = [0]
    for number in waiting:  # grows as it goes: a child's number is its place in it
        cover, condition = tree["sum_hessian"][number], tree["split_conditions"][number]
        if tree["left_children"][number] == -1:
            nodes.append(Node(cover, condition))
            continue
        left, right = len(waiting), len(waiting) + 1
        waiting += [tree["left_children"][number], tree["right_children"][number]]
        node = Node(cover, 0.0, tree["split_indices"][number], left, right)
        if number in named:
            right_ids = np.zeros(cardinalities[node.column], bool)
            right_ids[[int(one) for one in named[number]]] = True
            if missing:
                right_ids[_UNKNOWN] = not tree["default_left"][number]
            nodes.append(node._replace(right_ids=right_ids))
        else:
            nodes.append(node._replace(threshold=below(condition)))
    return nodes


def _matrix(
    categorical: NDArray[np.int64],
    numeric: NDArray[np.float32],
    label: NDArray[np.int64] | None = None,
    weight: NDArray[np.float32] | None = None,
    *,
    missing: bool = True,
) -> xgboost.DMatrix:
    """The rows as XGBoost takes them; an unknown or rare word is ``missing``.

    As a category of thousands it would hardly be asked for: a split looks at the ``max_cat_threshold`` categories with
    the most and the fewest frauds alone. For what is missing each split learns a way.
    """
    rows = joined(categorical, numeric)
    if missing:
        rows[:, : categorical.shape[1]][categorical == _UNKNOWN] = np.nan
    types = ["c"] * categorical.shape[1] + ["q"] * numeric.shape[1]
    return xgboost.DMatrix(rows, label, weight=weight, feature_types=types, enable_categorical=True)


class _Tell(xgboost.callback.TrainingCallback):
    def __init__(self, on_round: OnRound) -> None:
        super().__init__()
        self._on_round = on_round

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self._on_round(evals_log["validation"]["average_precision"][-1])
        return False
