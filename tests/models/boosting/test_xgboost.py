"""XGBoost through our command is XGBoost through its own."""

import numpy as np
from xgboost import XGBClassifier

from fraudlab.models.boosting.arrays import joined
from fraudlab.models.contract import Examples
from tests.support.estimators import draw, fit


def test_equals_the_library_s_own_classifier(validation: Examples) -> None:
    train = draw(0, weighed=True)
    ours, _ = fit("xgboost", train, None, subsample=1.0, colsample=1.0, max_depth=3, l2=2.0, weight=3)
    theirs = XGBClassifier(
        n_estimators=40,
        learning_rate=0.3,
        max_depth=3,
        reg_lambda=2.0,
        scale_pos_weight=3,
        n_jobs=1,
        enable_categorical=True,
        feature_types=["c", "q", "q", "q"],
    )
    theirs.fit(joined(train.categorical, train.numeric), train.label, sample_weight=train.weight)
    expected = theirs.predict_proba(joined(validation.categorical, validation.numeric))[:, 1]
    assert np.allclose(ours.score(validation.categorical, validation.numeric), expected, atol=1e-6)
