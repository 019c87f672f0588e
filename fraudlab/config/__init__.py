"""Typed settings: one dataclass for every product option, one for every command.

Product groups (``data features split model loss``) decide what a score is. They are plain data: they go into
checkpoints as JSON and rebuild the object through the registries without Hydra. Plumbing groups
(``optimizer scheduler trainer callbacks logger``) hold keyword arguments of third-party classes and are checked
against those classes' signatures by :mod:`fraudlab.config.plumbing`.

``SCHEMAS`` is the single table of what exists, assembled from the ``OPTIONS`` of each group's module. Each product YAML
``conf/<group>/<option>.yaml`` extends its schema through ``defaults: [base_<name>, _self_]``.
"""

from collections.abc import Sequence
from typing import Any

from fraudlab.config import data, features, loss, model, split
from fraudlab.config.backtest import BacktestConfig
from fraudlab.config.blend import BlendConfig
from fraudlab.config.boosting import CatBoostConfig, LightGBMConfig, XGBoostConfig
from fraudlab.config.challenger import ChallengerConfig
from fraudlab.config.cloud import CloudConfig
from fraudlab.config.commands import (
    DataPlaceConfig,
    DescribeConfig,
    EvaluateConfig,
    FitConfig,
    PrepareConfig,
    PretrainConfig,
    SimulateConfig,
    TrainConfig,
)
from fraudlab.config.compare import CompareConfig
from fraudlab.config.data import (
    HandbookConfig,
    HandbookScaledConfig,
    IEEECISConfig,
    IEEECISSimulatedConfig,
    TableConfig,
)
from fraudlab.config.drift import DriftConfig
from fraudlab.config.export import ExportConfig, PredictConfig
from fraudlab.config.features import (
    ColumnsFeaturesConfig,
    EncoderConfig,
    FeaturesConfig,
    HistoryFeaturesConfig,
    IEEECISFeaturesConfig,
)
from fraudlab.config.history import HistoryConfig
from fraudlab.config.labels import LabelsConfig, RecordsConfig
from fraudlab.config.linear import LogisticRegressionConfig
from fraudlab.config.loss import (
    CrossEntropyConfig,
    FocalConfig,
)
from fraudlab.config.model import (
    MLPConfig,
    TabMConfig,
    TabNetConfig,
)
from fraudlab.config.performance import PerformanceConfig
from fraudlab.config.plugins import load_plugins
from fraudlab.config.plumbing import moved_targets, warn_of_moved_targets
from fraudlab.config.registry import unknown
from fraudlab.config.select import SelectConfig
from fraudlab.config.serve import ServeConfig
from fraudlab.config.split import (
    FDBConfig,
    FourMonthsGapConfig,
    RandomConfig,
    RollingOriginConfig,
    ThreeQuartersConfig,
    TimeFractionConfig,
    TimeSpansConfig,
    TimeWindowsConfig,
)
from fraudlab.config.sweep import SweepConfig
from fraudlab.errors import UserError

__all__ = [
    "COMMANDS",
    "SCHEMAS",
    "BacktestConfig",
    "BlendConfig",
    "CatBoostConfig",
    "ChallengerConfig",
    "CloudConfig",
    "ColumnsFeaturesConfig",
    "CompareConfig",
    "CrossEntropyConfig",
    "DataPlaceConfig",
    "DescribeConfig",
    "DriftConfig",
    "EncoderConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FDBConfig",
    "FeaturesConfig",
    "FitConfig",
    "FocalConfig",
    "FourMonthsGapConfig",
    "HandbookConfig",
    "HandbookScaledConfig",
    "HistoryConfig",
    "HistoryFeaturesConfig",
    "IEEECISConfig",
    "IEEECISFeaturesConfig",
    "IEEECISSimulatedConfig",
    "LabelsConfig",
    "LightGBMConfig",
    "LogisticRegressionConfig",
    "MLPConfig",
    "PerformanceConfig",
    "PredictConfig",
    "PrepareConfig",
    "PretrainConfig",
    "RandomConfig",
    "RecordsConfig",
    "RollingOriginConfig",
    "SelectConfig",
    "ServeConfig",
    "SimulateConfig",
    "SweepConfig",
    "TabMConfig",
    "TabNetConfig",
    "TableConfig",
    "ThreeQuartersConfig",
    "TimeFractionConfig",
    "TimeSpansConfig",
    "TimeWindowsConfig",
    "TrainConfig",
    "XGBoostConfig",
    "register",
    "typed",
    "typed_settings",
]

SCHEMAS: dict[str, dict[str, type]] = {
    group.__name__.rpartition(".")[2]: group.OPTIONS for group in (data, features, split, model, loss)
}
"""The options of each product group, by the group's module."""
COMMANDS: dict[str, type] = {
    "train": TrainConfig,
    "pretrain": PretrainConfig,
    "prepare": PrepareConfig,
    "describe": DescribeConfig,
    "evaluate": EvaluateConfig,
    "simulate": SimulateConfig,
    "compare": CompareConfig,
    "select": SelectConfig,
    "serve": ServeConfig,
    "blend": BlendConfig,
    "export": ExportConfig,
    "predict": PredictConfig,
    "history": HistoryConfig,
    "labels": LabelsConfig,
    "challenger": ChallengerConfig,
    "drift": DriftConfig,
    "records": RecordsConfig,
    "performance": PerformanceConfig,
    "cloud": CloudConfig,
    "sweep": SweepConfig,
    "backtest": BacktestConfig,
}


def register() -> None:
    """Make Hydra compose as the commands do, in any program.

    The schemas are known as ``<group>/base_<option>`` and ``base_<command>``;
    :mod:`fraudlab.config.composition` adds the folder ``conf/`` and the resolvers that it uses.
    """
    from hydra.core.config_store import ConfigStore

    from fraudlab.config import composition

    composition.register()
    store = ConfigStore.instance()
    for command, schema in COMMANDS.items():
        store.store(name=f"base_{command}", node=schema)
    for group, options in SCHEMAS.items():
        for option, schema in options.items():
            store.store(group=group, name=f"base_{option}", node=schema)


def typed(command: str, composed: Any) -> Any:
    """The dataclass of a composed config, product groups included, each checked by its ``__post_init__``.

    Plumbing groups come out as plain dictionaries. A key that the schema has not is refused here too: Hydra lets
    ``+key=value`` add anything. Raises OmegaConf's own errors for such a key, a wrong type or a missing value.
    """
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(plain, dict)
    if (moved := moved_targets(plain)) != plain:
        warn_of_moved_targets()
        plain = moved
    load_plugins(plain.get("plugins") or ())
    settings = OmegaConf.structured(COMMANDS[command])
    for group, options in SCHEMAS.items():
        if plain.get(group):
            name = plain[group].get("name")
            if name not in options:
                raise UserError(unknown(group, name, options))
            settings[group] = options[name]
    return OmegaConf.to_object(OmegaConf.merge(settings, plain))


def typed_settings(command: str, composed: Any, overrides: Sequence[str], config_dir: str | None) -> Any:
    """:func:`typed` of what :func:`fraudlab.config.composition.compose` gave for ``overrides``, outside a command.

    Raises:
        UserError: a value is of the wrong type or out of range.
    """
    from fraudlab.config import composition

    try:
        return typed(command, composition.without_hydra(composed))
    except composition.REFUSALS as error:
        raise UserError(composition.explain(error, command, overrides, config_dir)) from error
