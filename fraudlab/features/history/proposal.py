"""A definition that suits a table, by the roles and kinds of its columns alone."""

import logging
from typing import Any

from fraudlab.errors import UserError
from fraudlab.schema import TableSchema

log = logging.getLogger(__name__)

_LABEL_WINDOWS = ("7d", "30d", "90d")
_CATEGORIES = 4  # that shares are taken of


def proposal(schema: TableSchema, delay_days: int) -> dict[str, Any]:
    """``{"keys", "of"}`` of ``features=history`` for a table.

    Keys are the card and the terminal. Everything is taken over windows, as a share or as a rate: what is counted over
    all the past grows with the table's age, so that test rows lie where no training row did.

    Args:
        schema: the table's columns and roles.
        delay_days: after how many days a label is known; 0: at once, so nothing is made of labels.

    Raises:
        UserError: the table has no column with the role card or terminal.
    """
    keys = {role: [name] for role, name in (("card", schema.card), ("terminal", schema.terminal)) if name}
    if not keys:
        raise UserError(
            "features=history needs to know whose past is meant: name the column of the card or the terminal, "
            "data.card=… or data.terminal=…, or any key, features.keys={customer: [customer_id]}"
        )
    of: dict[str, Any] = {"count": []}
    if schema.amount:
        of["amount"] = ["mean", "std", "max", "ratio_to_mean"]
    of["time"] = ["since_last"]
    categories = [n for n in schema.names("categorical") if [n] not in keys.values()][:_CATEGORIES]
    of |= {name: ["is_new", "share"] for name in categories}
    if delay_days or schema.label_time:
        windows = list(_LABEL_WINDOWS)
        if schema.amount:
            of["amount"] += ["genuine_mean", "ratio_to_genuine_mean"]
        of["label"] = [
            {"aggregate": "rate", "windows": windows},
            *({"aggregate": what, "windows": windows[-1:]} for what in ("since_first", "since_last")),
            *({"aggregate": what, "windows": windows[-1:]} for what in ("run_length", "run_age", "run_ended")),
        ]
    else:
        log.warning("features=history: label_delay_days=0, so no feature rests on earlier labels")
    return {"keys": keys, "of": of}
