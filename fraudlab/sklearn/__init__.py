"""Estimators by scikit-learn's conventions: any model of fraudlab, and TabNet in the place of pytorch-tabnet."""

from typing import Any

from fraudlab.sklearn.classifier import TabNetClassifier
from fraudlab.sklearn.pretrainer import TabNetPretrainer
from fraudlab.sklearn.regressor import TabNetRegressor

__all__ = ["FraudClassifier", "TabNetClassifier", "TabNetPretrainer", "TabNetRegressor"]


def __getattr__(name: str) -> Any:
    if name == "FraudClassifier":  # only now, since Lightning and Hydra are slow to import
        from fraudlab.sklearn.fraud import FraudClassifier

        return FraudClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
