"""XGBoost through our command is XGBoost through its own."""

from pathlib import Path

import numpy as np
from xgboost import Booster, DMatrix, XGBClassifier, train

from fraudlab.models.boosting.arrays import joined
from fraudlab.models.boosting.xgboost import XGBoost
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


def test_a_model_of_an_earlier_version_has_unknown_words_as_a_category(tmp_path: Path) -> None:
    learnt = draw(0)
    learnt = learnt._replace(categorical=np.where(learnt.categorical == 2, 1, learnt.categorical))
    types = {"feature_types": ["c", "q", "q", "q"], "enable_categorical": True}
    rows = DMatrix(joined(learnt.categorical, learnt.numeric), learnt.label, **types)
    earlier = train({"objective": "binary:logistic", "nthread": 1}, rows, 10)
    earlier.save_model(tmp_path / "best.json")
    ours = XGBoost.load(tmp_path / "best.json")
    expected = Booster(model_file=tmp_path / "best.json").predict(rows)
    assert np.array_equal(ours.score(learnt.categorical, learnt.numeric), expected)
    now, _ = fit("xgboost", learnt, None, n_estimators=10)
    now.save(tmp_path / "now.json")
    found = joined(learnt.categorical, learnt.numeric)
    found[learnt.categorical[:, 0] == 1, 0] = np.nan
    of_now = Booster(model_file=tmp_path / "now.json").predict(DMatrix(found, **types))
    assert np.array_equal(XGBoost.load(tmp_path / "now.json").score(learnt.categorical, learnt.numeric), of_now)
