"""``model=<name>``: linear models."""

from dataclasses import dataclass

from fraudlab.config.checks import above, at_least


@dataclass
class LogisticRegressionConfig:
    """``model=logistic_regression``: scikit-learn's, with one column a category."""

    name: str = "logistic_regression"
    C: float = 1.0  # the inverse of the strength of the L2 penalty
    max_iter: int = 1000

    def __post_init__(self) -> None:
        above("model.C", self.C, 0.0)
        at_least("model.max_iter", self.max_iter, 1)
