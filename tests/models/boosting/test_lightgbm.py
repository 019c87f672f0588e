"""LightGBM through our command is LightGBM through its own."""

import numpy as np
from lightgbm import LGBMClassifier

from fraudlab.models.boosting.arrays import joined
from fraudlab.models.contract import Examples
from tests.support.estimators import draw, fit


def test_equals_the_library_s_own_classifier(validation: Examples) -> None:
    train = draw(0, weighed=True)
    ours, _ = fit("lightgbm", train, None, subsample=1.0, colsample=1.0, min_child_samples=10, l2=1.0, weight=3)
    theirs = LGBMClassifier(
        n_estimators=40,
        learning_rate=0.3,
        min_child_samples=10,
        reg_lambda=1.0,
        scale_pos_weight=3,
        n_jobs=1,
        verbosity=-1,
    )
    theirs.fit(joined(train.categorical, train.numeric), train.label, train.weight, categorical_feature=[0])
    expected = theirs.booster_.predict(joined(validation.categorical, validation.numeric))
    assert np.allclose(ours.score(validation.categorical, validation.numeric), expected, atol=1e-6)
