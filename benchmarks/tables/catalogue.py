"""The tables of this benchmark, each by a name: how it is made for a seed, and the roles of its columns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import polars as pl

from benchmarks.tables import found, made

TEST = 0.15  # share of the rows, as conf/split/time_fraction.yaml and random.yaml have it


@dataclass(frozen=True)
class Table:
    """``make(seed)`` gives the rows, another draw for each seed; ``roles`` are settings of ``data=table``.

    ``file`` is what has to lie in :data:`found.PLACE` for it, if anything.
    """

    make: Callable[[int], pl.DataFrame]
    roles: dict[str, str] = field(default_factory=dict)
    file: str | None = None

    @property
    def there(self) -> bool:
        return self.file is None or (found.PLACE / self.file).is_file()

    def before_test(self, seed: int) -> pl.DataFrame:
        """The rows without those of the test: their last part is what the whole table has for validation."""
        rows = self.make(seed)
        if "time" not in self.roles:
            return rows.sample(fraction=1 - TEST, seed=seed)
        return rows.sort(self.roles["time"], maintain_order=True).head(round((1 - TEST) * len(rows)))

    def overrides(self, seed: int) -> list[str]:
        """Roles and the split: in time where there is a time, else at random."""
        split = ["split=time_fraction"] if "time" in self.roles else ["split=random", f"split.seed={seed}"]
        return ["data=table", "features=columns", "experiment=none", "data.label=fraud", *split,
                *(f"data.{role}={column}" for role, column in self.roles.items())]  # fmt: skip

    def __post_init__(self) -> None:
        assert set(self.roles) <= {"time", "amount", "categorical"}


_HANDBOOK = {"time": "when", "amount": "TX_AMOUNT", "categorical": "[CUSTOMER_ID,TERMINAL_ID]"}

TABLES = {
    "adult": Table(found.adult, file=found.ADULT),
    "vehicle": Table(found.vehicle, {"time": "when", "categorical": "[RepNumber]"}, found.VEHICLE),
    "ieee_cis": Table(
        found.ieee_cis,
        {"time": "TransactionDT", "amount": "TransactionAmt", "categorical": f"[{','.join(found.IEEE_CIS_WORDS)}]"},
    ),
    "handbook_rare": Table(partial(found.handbook, terminals=300, days=70, genuine=1.0), _HANDBOOK, found.HANDBOOK),
    "handbook_thinned": Table(
        partial(found.handbook, terminals=1_500, days=30, genuine=0.25), _HANDBOOK, found.HANDBOOK
    ),
    "clusters": Table(made.clusters),
    "words": Table(made.words, {"time": "when"}),
    "drift": Table(made.drift, {"time": "when", "amount": "amount"}),
    "rules": Table(made.rules),
    "shop": Table(made.shop, {"time": "when", "amount": "amount"}),
    "market": Table(made.market, {"time": "when", "amount": "amount"}),
    "small": Table(made.small),
}
