"""Feature sets by name, from plain settings: the same way for training and for serving."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fraudlab.config.registry import Registry
from fraudlab.errors import UserError
from fraudlab.features.contract import Features, MakeFeatures
from fraudlab.schema import TableSchema

if TYPE_CHECKING:
    from fraudlab.config.features import FeaturesConfig

FEATURES: Registry[MakeFeatures] = Registry(
    "features",
    {name: f"fraudlab.features.{name}:make" for name in ("columns", "ieee_cis", "history")},
)


def register_features(name: str, make: MakeFeatures, settings: type) -> None:
    """Add a feature set of a plugin as ``features=<name>``.

    Args:
        name: as in ``features=<name>``.
        make: see :data:`fraudlab.features.contract.MakeFeatures`.
        settings: a :class:`fraudlab.config.FeaturesConfig` with the keys of ``features`` and ``name: str = <name>``.

    Raises:
        UserError: fraudlab has a feature set of that name, or ``settings`` is not such a dataclass.
    """
    FEATURES.add(name, make, settings)


def settings_of(config: "FeaturesConfig", label_delay_days: int) -> dict[str, Any]:
    """What :func:`make` takes, of the typed settings of a features option.

    That is all but the encoder's and the memory that computing may take, which change no feature. Only sets that read
    labels get ``delay_days``; those of the others do not depend on it.
    """
    settings = {key: value for key, value in asdict(config).items() if key not in ("encoder", "memory_gb")}
    return {**settings, "delay_days": label_delay_days} if config.reads_labels else settings


def make(settings: Mapping[str, Any], schema: TableSchema) -> Features:
    """The feature steps that ``settings`` (``name`` and what that name takes) stand for.

    Raises:
        UserError: the table has not the columns that they need, or ``leave_out`` names one that there is not.
    """
    features = FEATURES[settings["name"]](settings, schema)
    leave_out = set(settings.get("leave_out", ()))
    if unknown := sorted(leave_out - {*features.categorical, *features.numeric}):
        raise UserError(f"features.leave_out names {', '.join(unknown)}, which features={settings['name']} has not")
    features.categorical = tuple(name for name in features.categorical if name not in leave_out)
    features.numeric = tuple(name for name in features.numeric if name not in leave_out)
    return features
