"""The costs of a run or a blend."""

from fraudlab.metrics.metrics import ADMIN_COST
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.settings import read_settings

STAND_IN = (ADMIN_COST, 1.0)
"""``admin_cost`` and ``recovery_share`` of a run that was told none."""


def costs_of(run: RunFolder) -> tuple[float, float]:
    """``admin_cost`` and ``recovery_share`` of the run; of a blend its own, not those of its members."""
    told = read_settings(run.config_path)
    return float(told.get("admin_cost", STAND_IN[0])), float(told.get("recovery_share", STAND_IN[1]))
