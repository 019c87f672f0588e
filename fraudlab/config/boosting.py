"""``model=<name>``: boosted trees."""

from dataclasses import dataclass

from fraudlab.config.checks import AUTO, at_least, auto_or_at_least, within


@dataclass
class BoostingConfig:
    """What the libraries of boosted trees have in common; a fraud weighs ``loss.fraud_weight``."""

    name: str = ""
    n_estimators: int = 2000  # maximum number of trees
    early_stopping_rounds: int = 100  # trees without a better average precision on validation until training stops
    learning_rate: float = 0.05
    subsample: float = 0.8  # share of the rows that a tree sees
    colsample: float = 0.8  # share of the columns that a tree (CatBoost: a split) sees
    threads: int = 0  # 0: the setting threads

    def __post_init__(self) -> None:
        for key in ("n_estimators", "early_stopping_rounds"):
            at_least(f"model.{key}", getattr(self, key), 1)
        for key in ("learning_rate", "subsample", "colsample"):
            within(f"model.{key}", getattr(self, key), 1e-4, 1.0)
        at_least("model.threads", self.threads, 0)


@dataclass
class LightGBMConfig(BoostingConfig):
    """``model=lightgbm`` (Ke et al. 2017)."""

    name: str = "lightgbm"
    num_leaves: int = 31
    min_child_samples: int = 20
    l2: float = 0.0
    cat_smooth: float = 10.0  # rows of the mean that a category is mixed with before categories are ordered
    cat_l2: float = 10.0
    min_data_per_group: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.num_leaves", self.num_leaves, 2)
        for key in ("min_child_samples", "l2", "cat_smooth", "cat_l2", "min_data_per_group"):
            at_least(f"model.{key}", getattr(self, key), 0)


@dataclass
class XGBoostConfig(BoostingConfig):
    """``model=xgboost`` (Chen and Guestrin 2016, arXiv:1603.02754)."""

    name: str = "xgboost"
    max_depth: int = 6
    min_child_weight: float = 1.0
    l2: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within("model.max_depth", self.max_depth, 1, 30)
        for key in ("min_child_weight", "l2"):
            at_least(f"model.{key}", getattr(self, key), 0)


@dataclass
class CatBoostConfig(BoostingConfig):
    """``model=catboost`` (Prokhorenkova et al. 2018, arXiv:1706.09516)."""

    name: str = "catboost"
    max_depth: int = 6
    l2: float = 3.0
    max_ctr_complexity: int | str = AUTO  # columns that one statistic combines at most; auto: 1 or 2, by validation

    def __post_init__(self) -> None:
        super().__post_init__()
        within("model.max_depth", self.max_depth, 1, 16)
        auto_or_at_least("model.max_ctr_complexity", self.max_ctr_complexity, 1)
        if isinstance(self.max_ctr_complexity, int):
            within("model.max_ctr_complexity", self.max_ctr_complexity, 1, 15)
        at_least("model.l2", self.l2, 0)
