"""LightGBM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from fraudlab.config import LightGBMConfig
from fraudlab.models.boosting.arrays import joined, measure
from fraudlab.models.boosting.trees import Node, Trees, at_most, below
from fraudlab.models.contract import Examples, OnRound

_ZERO = float(np.float32(1e-35))  # numbers up to it, of either sign, are 0 to LightGBM


class LightGBM:
    """See :class:`fraudlab.models.contract.Estimator`."""

    FILE = "best.txt"

    def __init__(self, booster: lightgbm.Booster) -> None:
        self._booster = booster
        self.rounds = booster.num_trees()

    @classmethod
    def fit(
        cls,
        train: Examples,
        validation: Examples | None,
        cardinalities: Sequence[int],
        settings: LightGBMConfig,
        *,
        fraud_weight: float,
        seed: int,
        on_round: OnRound,
    ) -> "LightGBM":
        parameters = {
            "objective": "binary",
            "metric": "None",  # ours alone
            "scale_pos_weight": fraud_weight,
            "learning_rate": settings.learning_rate,
            "num_leaves": settings.num_leaves,
            "min_child_samples": settings.min_child_samples,
            "lambda_l2": settings.l2,
            "cat_smooth": settings.cat_smooth,
            "cat_l2": settings.cat_l2,
            "min_data_per_group": settings.min_data_per_group,
            "bagging_fraction": settings.subsample,
            "bagging_freq": 1,
            "feature_fraction": settings.colsample,
            "num_threads": settings.threads,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,  # otherwise the faster of two layouts, by the clock, and their sums differ
            "verbosity": -1,
        }
        rows = lightgbm.Dataset(
            joined(train.categorical, train.numeric),
            train.label,
            weight=train.weight,
            categorical_feature=list(range(len(cardinalities))),
            params=parameters,
        )
        watched: dict[str, Any] = {}
        if validation is not None:
            watched = {
                "valid_sets": [rows.create_valid(joined(validation.categorical, validation.numeric), validation.label)],
                "feval": lambda score, data: ("average_precision", measure(data.get_label(), score), True),
                "callbacks": [
                    lightgbm.early_stopping(settings.early_stopping_rounds, verbose=False),
                    lambda env: on_round(env.evaluation_result_list[0][2]),
                ],
            }
        booster = lightgbm.train(parameters, rows, settings.n_estimators, **watched)
        return cls(lightgbm.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration)))

    def score(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._booster.predict(joined(categorical, numeric)), np.float32)

    def save(self, path: Path) -> None:
        path.write_text(self._booster.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "LightGBM":
        return cls(lightgbm.Booster(model_str=path.read_text(encoding="utf-8")))

    def exported(self, cardinalities: Sequence[int], num_numeric: int) -> Trees:
        dumped = self._booster.dump_model()
        trees = [_nodes(tree["tree_structure"], cardinalities) for tree in dumped["tree_info"]]
        return Trees.of(trees, 0.0, cardinalities, num_numeric)


def _nodes(root: dict[str, Any], cardinalities: Sequence[int]) -> list[Node]:
    """The nodes of a dumped tree. It compares in double precision, and ids that a split does not name go right."""
    nodes: list[Node] = []
    waiting = [root]
    for found in waiting:  # grows as it goes: a child's number is its place in it
        if "leaf_value" in found:
            nodes.append(Node(found.get("leaf_count", 1), found["leaf_value"]))
            continue
        left, right = len(waiting), len(waiting) + 1
        waiting += [found["left_child"], found["right_child"]]
        node = Node(found["internal_count"], 0.0, found["split_feature"], left, right)
        if found["decision_type"] == "==":
            right_ids = np.ones(cardinalities[node.column], bool)
            right_ids[[int(number) for number in found["threshold"].split("||")]] = False
            nodes.append(node._replace(right_ids=right_ids))
        else:
            nodes.append(node._replace(threshold=_threshold(found["threshold"])))
    return nodes


def _threshold(threshold: float) -> np.float32:
    if -_ZERO <= threshold < _ZERO:
        return below(-_ZERO) if threshold < 0 else np.float32(_ZERO)
    return at_most(threshold)
