"""The steps of ``features=ieee_cis`` and of its encoder in pandas: the other side, in two ways.

Plain: what lies before a row by ``groupby(columns)[column].expanding()``, shifted by one row, as pandas offers it.
Tuned: the same from running sums, by keys that have become one number first; nobody's first way, but pandas' fastest.
All else is the same in both, and vectorised: reading, joining, text, encoding. Neither writes the table with its
features, which ours keeps for the next run; both write the arrays.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

DAY = 86_400
DRIFTING = [f"D{n}" for n in (4, 6, 7, 8, 10, 11, 12, 13, 14, 15)]
MATCHES = [f"M{n}" for n in range(1, 10)]
KEYS = {
    **{name: [name] for name in ("addr1", "card1", "card2", "card3", "P_emaildomain")},
    "card1_addr1": ["card1", "addr1"],
    "card1_addr1_email": ["card1", "addr1", "P_emaildomain"],
    "account": ["card1", "addr1", "account_start"],
}
MOMENTS = {
    **{key: ["TransactionAmt", "D9", "D11"] for key in ("card1", "card1_addr1", "card1_addr1_email")},
    "account": ["TransactionAmt", "D4", "D9", "D10", "D15", "C14"],
}
MEANS = [*(f"C{n}" for n in range(1, 14) if n != 3), *MATCHES]
DIFFERENT = [
    *("P_emaildomain", "dist1", "month", "id_02", "cents", "C13"),
    *("V314", "V127", "V136", "V309", "V307", "V320"),
]


def read(folder: Path) -> pd.DataFrame:
    """Both CSV files, joined; in order of time, as they are written."""
    transaction = pd.read_csv(folder / "train_transaction.csv")
    return transaction.merge(pd.read_csv(folder / "train_identity.csv"), on="TransactionID", how="left")


def with_features(frame: pd.DataFrame, *, tuned: bool = False) -> pd.DataFrame:
    """The table and all features, each row's from the rows before it.

    Args:
        frame: the joined table.
        tuned: running sums by a key of one number, in place of ``expanding`` by the key's columns.
    """
    added = of_row(frame)
    helpers = {
        "account_start": np.floor(frame["TransactionDT"] // DAY - frame["D1"]),
        "month": frame["TransactionDT"] // (30 * DAY),
        "cents": added["cents"],
        **{name: frame[name].map({"T": 1.0, "F": 0.0, "M0": 0.0, "M1": 1.0, "M2": 2.0}) for name in MATCHES},
    }
    raw = pd.concat([frame.drop(columns=MATCHES), pd.DataFrame(helpers)], axis=1)
    before = np.maximum(np.arange(len(frame)), 1)
    for name, columns in KEYS.items():
        past: Past = RunningSums(raw, columns) if tuned else Expanding(raw, columns)
        count = past.count()
        added[f"{name}_share"] = count / before
        if name in ("card1", "account"):
            added[f"{name}_count"] = count
        for column in MOMENTS.get(name, ()):
            added[f"{name}_{column}_mean"], added[f"{name}_{column}_std"] = past.moments(column)
        if name == "account":
            for column in MEANS:
                added[f"account_{column}_mean"] = past.mean(column)
            for column in DIFFERENT:
                added[f"account_{column}_different"] = past.different(column).where(count > 0)
    spread = added["account_TransactionAmt_std"] + 1
    added["amount_unlike_account"] = (frame["TransactionAmt"] - added["account_TransactionAmt_mean"]) / spread
    return pd.concat([frame, pd.DataFrame(added)], axis=1)


def of_row(frame: pd.DataFrame) -> dict[str, pd.Series]:
    amount, time = frame["TransactionAmt"], frame["TransactionDT"]
    purchaser, recipient = frame["P_emaildomain"], frame["R_emaildomain"]
    agree = (purchaser == recipient).map({True: "true", False: "false"})
    return {
        **{f"{name}_start": frame[name] - time / DAY for name in DRIFTING},
        "cents": ((amount - np.floor(amount)) * 1000).round() * 0.001,
        "hour": time // 3600 % 24,
        "weekday": time // DAY % 7,
        "outsider15": (frame["D1"] - frame["D15"]).abs() > 3,
        "screen_width": frame["id_33"].str.extract(r"^(\d+)x", expand=False).astype(float),
        "screen_height": frame["id_33"].str.extract(r"x(\d+)$", expand=False).astype(float),
        "missing": frame[[f"D{n}" for n in range(1, 16)]].isna().sum(axis=1),
        "P_email_vendor": purchaser.str.extract(r"^([^.]+)", expand=False),
        "P_email_suffix": purchaser.str.extract(r"([^.]+)$", expand=False),
        "R_email_vendor": recipient.str.extract(r"^([^.]+)", expand=False),
        "R_email_suffix": recipient.str.extract(r"([^.]+)$", expand=False),
        "emails_agree": agree.where(purchaser.notna() & recipient.notna()),
        "device_maker": frame["DeviceInfo"].str.lower().str.extract(r"^([a-z]+)", expand=False),
        "os": frame["id_30"].str.extract(r"^([A-Za-z]+)", expand=False),
        "browser": frame["id_31"].str.lower().str.extract(r"^([a-z]+)", expand=False),
    }


class Past(Protocol):
    """What the rows before each row with the same key tell of it."""

    def count(self) -> pd.Series: ...
    def mean(self, column: str) -> pd.Series: ...
    def moments(self, column: str) -> tuple[pd.Series, pd.Series]: ...
    def different(self, column: str) -> pd.Series: ...


class Expanding:
    """As pandas offers it: grouped by the key's columns, an expanding window, shifted by one row."""

    def __init__(self, raw: pd.DataFrame, columns: list[str]) -> None:
        self._raw, self._columns = raw, columns
        self._groups = raw.groupby(columns, dropna=False, sort=False)

    def count(self) -> pd.Series:
        return self._groups.cumcount()

    def mean(self, column: str) -> pd.Series:
        return self._shifted(self._groups[column].expanding().mean())

    def moments(self, column: str) -> tuple[pd.Series, pd.Series]:
        window = self._groups[column].expanding()
        return self._shifted(window.mean()), self._shifted(window.std())

    def different(self, column: str) -> pd.Series:
        new = ~self._raw.duplicated([*self._columns, column]) & self._raw[column].notna()
        keys = [self._raw[name] for name in self._columns]
        return new.groupby(keys, dropna=False, sort=False).cumsum() - new

    def _shifted(self, value: pd.Series) -> pd.Series:
        by_row = value.reset_index(level=list(range(len(self._columns))), drop=True).sort_index()
        keys = [self._raw[name] for name in self._columns]
        return by_row.groupby(keys, dropna=False, sort=False).shift()


class RunningSums:
    """What pandas does fastest: the key as one number, and sums of values, squares and known ones."""

    def __init__(self, raw: pd.DataFrame, columns: list[str]) -> None:
        self._raw = raw
        self._key = raw.groupby(columns, dropna=False, sort=False).ngroup()

    def count(self) -> pd.Series:
        return self._key.groupby(self._key).cumcount()

    def mean(self, column: str) -> pd.Series:
        value = self._raw[column]
        known = self._earlier(value.notna().astype(float))
        return (self._earlier_sum(value.fillna(0.0)) / known).where(known > 0)

    def moments(self, column: str) -> tuple[pd.Series, pd.Series]:
        value = self._raw[column]
        known = self._earlier(value.notna().astype(float))
        filled = value.fillna(0.0)
        sums, squares = self._earlier_sum(filled), self._earlier_sum(filled * filled)
        variance = (squares - sums * sums / known).clip(lower=0) / (known - 1)
        return (sums / known).where(known > 0), np.sqrt(variance).where(known > 1)

    def different(self, column: str) -> pd.Series:
        pairs = pd.DataFrame({"key": self._key, "value": self._raw[column]})
        return self._earlier((~pairs.duplicated() & pairs["value"].notna()).astype(float))

    def _earlier(self, value: pd.Series) -> pd.Series:
        """Sum of a whole number over the rows before."""
        return value.groupby(self._key).cumsum() - value

    def _earlier_sum(self, value: pd.Series) -> pd.Series:
        """The same for any number: taking its own value off a sum would leave rounding where a deviation is 0."""
        return value.groupby(self._key).cumsum().groupby(self._key).shift(fill_value=0.0)


def encoded(
    frame: pd.DataFrame, categorical: Sequence[str], numeric: Sequence[str], fitted: int, min_count: int, clip: float
) -> tuple[np.ndarray, np.ndarray]:
    """Category ids, int64 [rows, C], and scaled numbers with indicators, float32 [rows, N], of the first rows' fit."""
    ids = np.column_stack([category_ids(frame[name], fitted, min_count) for name in categorical])
    values = frame[list(numeric)].to_numpy(np.float64)
    missing = np.isnan(values)
    deviation = np.nanstd(values[:fitted], axis=0)
    deviation[deviation == 0] = np.inf
    scaled = np.clip((values - np.nanmean(values[:fitted], axis=0)) / deviation, -clip, clip)
    scaled[missing] = 0.0
    indicators = missing[:, missing[:fitted].any(axis=0)]
    return ids, np.hstack([scaled, indicators]).astype(np.float32)


def category_ids(column: pd.Series, fitted: int, min_count: int) -> np.ndarray:
    """0 where missing, 1 where rare or unknown, 2 and more by falling count, then by text."""
    counts = column.iloc[:fitted].value_counts()
    counts = counts[counts >= min_count]
    words = sorted(
        counts.index, key=lambda word: (-counts[word], f"{word:g}" if isinstance(word, float) else str(word))
    )
    codes = pd.Categorical(column, categories=words).codes.astype(np.int64) + 2
    return np.where(column.isna(), 0, np.maximum(codes, 1))
