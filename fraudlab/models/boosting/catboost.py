"""CatBoost."""

import json
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import catboost
import numpy as np
from numpy.typing import NDArray

from fraudlab.config import CatBoostConfig
from fraudlab.config.checks import AUTO
from fraudlab.errors import UserError
from fraudlab.models.boosting.arrays import measure
from fraudlab.models.boosting.catboost_crossings import Split, crossings
from fraudlab.models.boosting.trees import Node, Trees
from fraudlab.models.contract import Examples, OnRound

_COMPLEXITY = "max_ctr_complexity"
_NAMES = {  # of settings: CatBoost's own
    "n_estimators": "iterations",
    "learning_rate": "learning_rate",
    "max_depth": "depth",
    "l2": "l2_leaf_reg",
    "subsample": "subsample",
    "colsample": "rsm",
    _COMPLEXITY: _COMPLEXITY,
}


class CatBoost:
    """See :class:`fraudlab.models.contract.Estimator`."""

    FILE = "best.cbm"

    def __init__(self, booster: catboost.CatBoost, chosen: Mapping[str, int] | None = None) -> None:
        self._booster = booster
        self.rounds = booster.tree_count_
        self.chosen = chosen or {}

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
        """See :class:`fraudlab.models.contract.Estimator`.

        Whether statistics of pairs of columns help, more frauds do not tell: they overfit some tables and are all that
        helps on others. So ``max_ctr_complexity=auto`` fits without them, then with them, and validation chooses.
        ``on_round`` is told of the first.
        """
        pool = _pool(*train)
        judged = None if validation is None else _pool(validation.categorical, validation.numeric, validation.label)

        def boosted(complexity: int, told: OnRound) -> catboost.CatBoost:
            return _boosted(pool, judged, settings, complexity, fraud_weight, seed, told)

        if settings.max_ctr_complexity != AUTO:
            return cls(boosted(int(settings.max_ctr_complexity), on_round))
        single = boosted(1, on_round)
        if judged is None or len(cardinalities) < 2:
            return cls(single, {_COMPLEXITY: 1})
        pairs = boosted(2, lambda _: None)
        better = _best(pairs) > _best(single)
        return cls(pairs if better else single, {_COMPLEXITY: 2 if better else 1})

    def score(self, categorical: NDArray[np.int64], numeric: NDArray[np.float32]) -> NDArray[np.float32]:
        probability = self._booster.predict(_pool(categorical, numeric), prediction_type="Probability")
        return probability[:, 1].astype(np.float32)

    def save(self, path: Path) -> None:
        self._booster.save_model(str(path), format="cbm")

    @classmethod
    def load(cls, path: Path) -> "CatBoost":
        return cls(catboost.CatBoost().load_model(str(path), format="cbm"))

    def exported(self, cardinalities: Sequence[int], num_numeric: int) -> Trees:
        """Its trees; statistics of one category column become sets of ids, by what the model itself does with each id.

        Statistics of several columns together become crossings.
        """
        ids = np.minimum(np.arange(max(cardinalities, default=1))[:, None], np.array(cardinalities, np.int64) - 1)
        every_id = _pool(ids, np.zeros((len(ids), num_numeric), np.float32))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.json"
            self._booster.save_model(str(path), format="json", pool=every_id)  # whose ids' hashes are saved, too
            dumped = json.loads(path.read_text(encoding="utf-8"))
        leaf = self._booster.calc_leaf_indexes(every_id)
        column = _category_columns(dumped["features_info"])
        crossed, splits = crossings(dumped, len(ids), len(cardinalities))
        scale, (base,) = dumped["scale_and_bias"]
        trees = [
            _nodes(tree, column, leaf[:, number].astype(np.int64), cardinalities, num_numeric, splits, scale)
            for number, tree in enumerate(dumped["oblivious_trees"])
        ]
        return Trees.of(trees, base, cardinalities, num_numeric, crossed)


def _boosted(
    train: catboost.Pool,
    judged: catboost.Pool | None,
    settings: CatBoostConfig,
    complexity: int,
    fraud_weight: float,
    seed: int,
    on_round: OnRound,
) -> catboost.CatBoost:
    """Trees on ``train``, up to the best on ``judged`` if given."""
    parameters = {
        "loss_function": "Logloss",
        "scale_pos_weight": fraud_weight,
        **{own: getattr(settings, key) for key, own in _NAMES.items()},
        "bootstrap_type": "MVS",  # rows with a large gradient first: docs/tables.md
        _COMPLEXITY: complexity,
        "thread_count": settings.threads or -1,
        "random_seed": seed,
        "allow_writing_files": False,
        "logging_level": "Silent",
    }
    watched: dict[str, Any] = {}
    tell = _Tell(on_round)
    if judged is not None:
        parameters |= {"eval_metric": _AveragePrecision(), "use_best_model": True}
        watched = {
            "eval_set": judged,
            "early_stopping_rounds": settings.early_stopping_rounds,
            "callbacks": [tell],
        }
    booster = catboost.CatBoost(parameters)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to import numba")
        try:
            booster.fit(train, **watched)
        except catboost.CatBoostError as error:  # a setting that does not fit these rows
            raise UserError(_refused(str(error), parameters)) from error
    if tell.raised is not None:
        raise tell.raised
    return booster


def _refused(error: str, parameters: Mapping[str, Any]) -> str:
    """What CatBoost says, without the line of its own code, and the settings that it may be about."""
    said = re.sub(r"^\S+\.(?:cpp|h|pyx):\d+: ", "", error.strip())
    named = [key for key, own in _NAMES.items() if re.search(rf"\b{own}\b", said)]
    now = ", ".join(f"model.{key}={parameters[_NAMES[key]]}" for key in named)
    return f"CatBoost: {said}{f'; change {now}' if now else ''}"


def _best(booster: catboost.CatBoost) -> float:
    """The average precision on validation."""
    return float(booster.get_best_score()["validation"]["_AveragePrecision"])


def _category_columns(info: dict[str, Any]) -> dict[int, int | None]:
    """The column of each split of one column's categories, by its ``split_index``; None of other splits.

    Splits count on from the borders of numbers to single values of categories to the borders of statistics.
    """
    found: list[int | None] = [None] * sum(len(each["borders"] or ()) for each in info.get("float_features") or ())
    for each in info.get("categorical_features") or ():
        found += [each["feature_index"]] * len(each.get("values") or ())
    for each in info.get("ctrs") or ():
        of = {element.get("cat_feature_index") for element in each["elements"]}
        found += [of.pop() if len(each["elements"]) == 1 else None] * len(each["borders"])
    return dict(enumerate(found))


def _nodes(
    tree: dict[str, Any],
    column: dict[int, int | None],
    leaf: NDArray[np.int64],
    cardinalities: Sequence[int],
    num_numeric: int,
    splits: Mapping[int, Split],
    scale: float,
) -> list[Node]:
    """The nodes of a dumped tree, level by level: one question a level, the last one first.

    Args:
        tree: as dumped; the questions are the bits of a leaf's number, from the lowest on.
        column: of each ``split_index``, as :func:`_category_columns` has it.
        leaf: [ids], which leaf rows of ids 0, 1, 2, ... reach.
        cardinalities: of the columns.
        num_numeric: how many columns of numbers there are.
        splits: of crossings, by ``split_index``.
        scale: of all leaves.
    """
    cover = [np.array(tree["leaf_weights"], np.float64)]
    asked = tree["splits"] or []
    for _ in asked:
        cover.insert(0, cover[0].reshape(-1, 2).sum(axis=1))
    nodes: list[Node] = []
    for level, number in enumerate(reversed(range(len(asked)))):
        split = asked[number]
        question: dict[str, Any]
        if split["split_type"] == "FloatFeature":
            first = split["float_feature_index"] + len(cardinalities)
            question = {"column": first, "threshold": np.float32(split["border"])}
        elif (of := column[split["split_index"]]) is None:
            crossing, right_ids = splits[split["split_index"]]
            question = {"column": len(cardinalities) + num_numeric + crossing, "right_ids": right_ids}
        else:
            question = {"column": of, "right_ids": (leaf[: cardinalities[of]] >> number & 1).astype(bool)}
        for weight in cover[level]:
            left = 2 * len(nodes) + 1
            nodes.append(Node(weight, left=left, right=left + 1, **question))
    return nodes + [Node(*leaf) for leaf in zip(cover[-1], scale * np.array(tree["leaf_values"]), strict=True)]


def _pool(
    categorical: NDArray[np.int64],
    numeric: NDArray[np.float32],
    label: NDArray[np.int64] | None = None,
    weight: NDArray[np.float32] | None = None,
) -> catboost.Pool:
    ids = categorical.astype(np.bytes_).astype(object)  # the form in which it takes categories beside float32
    return catboost.Pool(
        catboost.FeaturesData(num_feature_data=np.ascontiguousarray(numeric), cat_feature_data=ids),
        label,
        weight=weight,
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
