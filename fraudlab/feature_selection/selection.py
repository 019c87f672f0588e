"""All features of a table judged on its training rows: which last, which repeat others, which to leave out."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fraudlab.data.prepared import PreparedTable
from fraudlab.errors import UserError
from fraudlab.feature_selection.redundancy import Subset, correlated, missing_together
from fraudlab.feature_selection.time_consistency import Consistency, consistency, first_and_last


@dataclass(frozen=True)
class Group:
    """Numeric columns that are missing in the same rows, in subsets that correlate."""

    missing_share: float
    subsets: tuple[Subset, ...]

    @property
    def columns(self) -> int:
        return sum(1 + len(subset.left_out) for subset in self.subsets)


@dataclass(frozen=True)
class Selection:
    """What was found.

    Attributes:
        least_auc: both AUCs of a feature must exceed it.
        rows: training rows looked at, those of the first and those of the last days.
        consistency: of every feature.
        groups: of the numeric features that last and were looked at for redundancy.
    """

    least_auc: float
    rows: tuple[int, int, int]
    consistency: dict[str, Consistency]
    groups: tuple[Group, ...]

    @cached_property
    def inconsistent(self) -> list[str]:
        """Features that do not last."""
        return [name for name, found in self.consistency.items() if not found.lasts(self.least_auc)]

    @cached_property
    def redundant(self) -> list[str]:
        """Features that correlate with one that is kept."""
        return [name for group in self.groups for subset in group.subsets for name in subset.left_out]

    @property
    def leave_out(self) -> list[str]:
        """Both, in the order of the features."""
        out = {*self.inconsistent, *self.redundant}
        return [name for name in self.consistency if name in out]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "rows": dict(zip(("train", "first", "last"), self.rows, strict=True)),
            "leave_out": self.leave_out,
            "inconsistent": self.inconsistent,
            "redundant": self.redundant,
            "auc": {name: found._asdict() for name, found in self.consistency.items()},
            "groups": [
                {"missing_share": group.missing_share, "kept": {s.kept: list(s.left_out) for s in group.subsets}}
                for group in self.groups
            ],
        }


def select(
    table: PreparedTable, rows: NDArray[np.int64], *, days: int, least_auc: float, correlation: float, among: str
) -> Selection:
    """Judge every feature on the training rows; no other row is read.

    Args:
        table: in order of time.
        rows: positions of the training rows, increasing.
        days: length of the first and of the last part that are compared.
        least_auc: a feature's AUC must exceed it in both.
        among: regular expression; only numeric columns whose whole name fits it are taken to repeat others.
        correlation: above it a column repeats another, in (0, 1).

    Raises:
        UserError: there is no time, the rows span too few days, or one of both parts has frauds or genuine rows only.
    """
    schema = table.schema
    if schema.time is None:
        raise UserError("features are compared over time, and the table has no time column; name one (data.time=...)")
    known = table.rows(rows, [schema.time, schema.label])
    fraud = known[schema.label].to_numpy() == 1
    first, last = first_and_last(known[schema.time], days)
    for part, where in ((first, "first"), (last, "last")):
        if fraud[part].all() or not fraud[part].any():
            raise UserError(
                f"the {where} {days} days of the training rows have {len(part)} rows and {fraud[part].sum()} frauds, "
                "which is too few of one kind; take more days"
            )

    columns = table.columns(rows)
    found = {}
    for name in tqdm([*table.numeric, *table.categorical], desc="over time", unit=" features"):
        column = columns[name]
        numeric = name in table.numeric
        found[name] = consistency(column[first], fraud[first], column[last], fraud[last], numeric=numeric)
    lasting = [name for name in table.numeric if re.fullmatch(among, name) and found[name].lasts(least_auc)]
    together = missing_together(
        columns[name] for name in tqdm(lasting, desc="missing together", unit=" features", leave=False)
    )
    groups = tuple(
        Group(share, tuple(correlated(table.rows(rows, names).get_columns(), correlation)))
        for share, names in tqdm(together, desc="correlated", unit=" groups")
    )
    return Selection(least_auc, (len(rows), len(first), len(last)), found, groups)
