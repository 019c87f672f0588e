"""How much is learnt from each row: by its own weight, and by what a wrong decision on it costs."""

import numpy as np
import torch

from fraudlab.config import TrainConfig
from fraudlab.data.batches import Batch
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import Rows
from fraudlab.errors import UserError
from fraudlab.metrics.cost import cost_of_error
from fraudlab.training.losses.registry import LOSSES


def weighed(config: TrainConfig, table: PreparedTable, rows: Rows, batch: Batch) -> Batch:
    """The training rows with their weights, whose sizes have the mean 1; as they are where nothing weighs them.

    Args:
        config: the run's settings.
        table: where the rows lie.
        rows: which they are.
        batch: what the encoder made of them.

    Raises:
        UserError: the loss needs amounts that the table lacks, or no row weighs anything.
    """
    schema = table.schema
    costs = LOSSES[config.loss.name].weighs_costs
    if schema.weight is None and not costs:
        return batch
    weight = np.ones(len(rows)) if schema.weight is None else _column(table, rows, schema.weight)
    if costs:
        amount = None if schema.amount is None else _column(table, rows, schema.amount)
        if amount is None or not (amount >= 0).all():
            what = "has no amounts" if amount is None else f"lacks {schema.amount} in some rows, or has it below 0"
            raise UserError(
                f"loss={config.loss.name} needs what each row is worth, and the table {what}; name a column with "
                "data.amount=<column>, fill it in with data.derive, or use loss=cross_entropy"
            )
        weight *= cost_of_error(table.label.to_numpy()[rows], amount, config.admin_cost, config.recovery_share)
    mean = np.abs(weight).mean()
    if not mean > 0:
        raise UserError(f"all {len(rows)} training rows have weight 0; check data.weight and admin_cost")
    return batch._replace(weight=torch.from_numpy((weight / mean).astype(np.float32)))


def _column(table: PreparedTable, rows: Rows, name: str) -> np.ndarray:
    return np.array(table.rows(rows, [name])[name], np.float64)
