"""CatBoost through our command is CatBoost through its own."""

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from sklearn.metrics import average_precision_score

from fraudlab import config
from fraudlab.errors import UserError
from fraudlab.models.boosting.catboost import CatBoost
from fraudlab.models.contract import Examples
from tests.support.estimators import draw, fit


def frame(rows: Examples) -> pd.DataFrame:
    return pd.DataFrame({"id": rows.categorical[:, 0], **{f"n{i}": rows.numeric[:, i] for i in range(3)}})


def test_equals_the_library_s_own_classifier(validation: Examples) -> None:
    train = draw(0, weighed=True)
    ours, _ = fit("catboost", train, None, max_depth=3, l2=2.0, weight=3)
    theirs = CatBoostClassifier(
        iterations=40,
        learning_rate=0.3,
        depth=3,
        l2_leaf_reg=2.0,
        scale_pos_weight=3,
        bootstrap_type="MVS",
        subsample=0.8,
        rsm=0.8,
        random_seed=0,
        thread_count=1,
        cat_features=["id"],
        allow_writing_files=False,
        verbose=False,
    )
    theirs.fit(frame(train), train.label, sample_weight=train.weight)
    expected = theirs.predict_proba(frame(validation))[:, 1]
    assert np.allclose(ours.score(validation.categorical, validation.numeric), expected, atol=1e-6)


def paired(seed: int, *, together: bool) -> Examples:
    """Two columns of 20 words; a fraud is told by whether the words' parities differ, or by the numbers alone."""
    random = np.random.default_rng(seed)
    ids, numeric = random.integers(2, 22, (3000, 2)), random.normal(size=(3000, 2)).astype(np.float32)
    told = ids.sum(axis=1) % 2 if together else 1 / (1 + np.exp(-3 * numeric.sum(axis=1)))
    label = (random.random(3000) < 0.02 + 0.3 * told).astype(np.int64)
    return Examples(ids, numeric, label)


def test_validation_chooses_whether_columns_are_combined() -> None:
    given = {"fraud_weight": 1.0, "seed": 0, "on_round": lambda _: None}
    for together, seeds in ((True, (4, 5)), (False, (0, 1)), (False, (4, 5))):
        train, validation = (paired(seed, together=together) for seed in seeds)
        fits = {}
        for complexity in (1, 2, "auto"):
            settings = config.SCHEMAS["model"]["catboost"](
                threads=1, n_estimators=40, learning_rate=0.2, max_depth=3, max_ctr_complexity=complexity
            )
            fits[complexity] = CatBoost.fit(train, validation, [22, 22], settings, **given)
        scores = {
            complexity: average_precision_score(validation.label, fit.score(validation.categorical, validation.numeric))
            for complexity, fit in fits.items()
        }
        chosen = fits["auto"].chosen["max_ctr_complexity"]
        assert scores["auto"] == scores[chosen] == max(scores[1], scores[2])
        assert not together or scores[2] > 1.2 * scores[1]
        again = CatBoost.fit(train, None, [22, 22], settings, **given)
        assert again.chosen == {"max_ctr_complexity": 1}  # nothing to choose on


def test_what_catboost_refuses_is_told_in_one_line() -> None:
    settings = config.SCHEMAS["model"]["catboost"](threads=1, n_estimators=3, subsample=0.0001)
    with pytest.raises(UserError, match=r"^CatBoost: Too few sampling .*; change model.subsample=0.0001$"):
        CatBoost.fit(draw(0), None, [22], settings, fraud_weight=1.0, seed=0, on_round=lambda _: None)
