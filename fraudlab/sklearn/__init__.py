"""Estimators by scikit-learn's conventions: TabNet in the place of pytorch-tabnet."""

from fraudlab.sklearn.classifier import TabNetClassifier
from fraudlab.sklearn.pretrainer import TabNetPretrainer
from fraudlab.sklearn.regressor import TabNetRegressor

__all__ = ["TabNetClassifier", "TabNetPretrainer", "TabNetRegressor"]
