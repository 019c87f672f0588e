"""CatBoost through our command is CatBoost through its own."""

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier

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
        bootstrap_type="Bernoulli",
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
