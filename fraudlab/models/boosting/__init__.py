"""Boosted trees."""

from functools import partial

from fraudlab.models.contract import ModelPart

_boosted = partial(ModelPart, "estimator", rounds="n_estimators")
LIGHTGBM = _boosted("fraudlab.models.boosting.lightgbm:LightGBM")
XGBOOST = _boosted("fraudlab.models.boosting.xgboost:XGBoost")
CATBOOST = _boosted("fraudlab.models.boosting.catboost:CatBoost")
