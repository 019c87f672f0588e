"""Linear models."""

from fraudlab.models.contract import ModelPart

LOGISTIC_REGRESSION = ModelPart(
    "estimator", "fraudlab.models.linear.logistic_regression:LogisticModel", install="fraudlab[train]"
)
