"""Feature steps by name, from plain settings: the same command for training and for serving."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fraudlab.errors import UserError
from fraudlab.features.contract import Features
from fraudlab.schema import TableSchema

if TYPE_CHECKING:
    from fraudlab.config.features import FeaturesConfig

log = logging.getLogger(__name__)


def settings_of(config: "FeaturesConfig", label_delay_days: int) -> dict[str, Any]:
    """What :func:`make` takes, of the typed settings of a features option: all but the encoder's.

    Only sets that read labels get ``delay_days``; those of the others do not depend on it.
    """
    settings = {key: value for key, value in asdict(config).items() if key != "encoder"}
    return {**settings, "delay_days": label_delay_days} if config.reads_labels else settings


def make(settings: Mapping[str, Any], schema: TableSchema) -> Features:
    """The feature steps that ``settings`` (``name`` and what that name takes) stand for.

    Raises:
        UserError: the table has not the columns that they need, or ``leave_out`` names one that there is not.
    """
    features = _whole(settings, schema)
    leave_out = set(settings.get("leave_out", ()))
    if unknown := sorted(leave_out - {*features.categorical, *features.numeric}):
        raise UserError(f"features.leave_out names {', '.join(unknown)}, which features={settings['name']} has not")
    features.categorical = tuple(name for name in features.categorical if name not in leave_out)
    features.numeric = tuple(name for name in features.numeric if name not in leave_out)
    return features


def _whole(settings: Mapping[str, Any], schema: TableSchema) -> Features:
    if settings["name"] == "handbook":
        from fraudlab.features.handbook import HandbookFeatures

        there = {column.name for column in schema.columns}
        missing = [name for name in HandbookFeatures.needs if name not in there]
        if missing:
            raise UserError(
                f"features=handbook needs the columns {', '.join(missing)}, which data={schema.name} has not; "
                "use features=columns"
            )
        return HandbookFeatures(settings["delay_days"], settings["extended"])
    if settings["name"] == "ieee_cis":
        from fraudlab.features.ieee_cis import IEEECISFeatures

        if settings["scope"] == "transductive":
            log.warning(
                "features.scope=transductive: aggregates see the whole table, rows after the one judged too; "
                "metrics compare with the competition's and cannot be had in use"
            )
        return IEEECISFeatures(schema, settings["scope"], settings["v_columns"])
    from fraudlab.features.columns import TableColumns

    return TableColumns(schema)
