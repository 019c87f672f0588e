"""Features of IEEE-CIS Fraud Detection: the recipe of the competition's strongest public models, in two honest scopes.

The recipe is Chris Deotte's ("XGB Fraud with Magic", Kaggle 2019): a client found from card, address and the day its
account began; D columns freed of their drift with time; shares of values, means, deviations and numbers of different
values by card and by client; cents, e-mail and device parts, time of day. Of the V columns it keeps 120.

In scope ``point_in_time`` a row sees the rows that stand before it in the table, and itself; no label is used at all.
In scope ``transductive`` shares and aggregates are taken over the whole table, later rows included, as the
competition's entries did: comparable with their figures, and not to be had when a transaction has to be judged.
"""

from collections.abc import Sequence

import polars as pl

from fraudlab.errors import UserError
from fraudlab.schema import TableSchema

SCOPES = ("point_in_time", "transductive")
DAY = 86_400  # seconds

DRIFTING = tuple(f"D{n}" for n in (4, 6, 7, 8, 10, 11, 12, 13, 14, 15))
PUBLISHED_V = tuple(
    f"V{n}"
    for n in (
        1, 3, 4, 6, 8, 11, 13, 14, 17, 20, 23, 26, 27, 30, 36, 37, 40, 41, 44, 47, 48, 54, 56, 59, 62, 65, 67,
        68, 70, 76, 78, 80, 82, 86, 88, 89, 91, 107, 108, 111, 115, 117, 120, 121, 123, 124, 127, 129, 130, 136,
        138, 139, 142, 147, 156, 160, 162, 165, 166, 169, 171, 173, 175, 176, 178, 180, 182, 185, 187, 188, 198,
        203, 205, 207, 209, 210, 215, 218, 220, 221, 223, 224, 226, 228, 229, 234, 235, 238, 240, 250, 252, 253,
        257, 258, 260, 261, 264, 266, 267, 271, 274, 277, 281, 283, 284, 285, 286, 289, 291, 294, 296, 297, 301,
        303, 305, 307, 309, 310, 314, 320,
    )
)  # fmt: skip

# Who a row belongs to, from coarse to fine; "client" is the card's account: its issue day does not drift.
KEYS = {
    "card1": ("card1",),
    "card1_addr1": ("card1", "addr1"),
    "card1_addr1_email": ("card1", "addr1", "P_emaildomain"),
    "account": ("card1", "addr1", "account_start"),
}
SHARES = {
    **{name: (name,) for name in ("addr1", "card1", "card2", "card3", "P_emaildomain")},
    **{name: KEYS[name] for name in ("card1_addr1", "card1_addr1_email", "account")},
}
MOMENTS = {
    **dict.fromkeys(("card1", "card1_addr1", "card1_addr1_email"), ("TransactionAmt", "D9", "D11")),
    "account": ("TransactionAmt", "D4", "D9", "D10", "D15"),
}
MEANS = (*(f"C{n}" for n in range(1, 15) if n != 3), *(f"M{n}" for n in range(1, 10)))
DIFFERENT = ("P_emaildomain", "dist1", "month", "id_02", "cents", "C13", "V314", "V127", "V136", "V309", "V307", "V320")


class IEEECISFeatures:
    """``features=ieee_cis``.

    Args:
        schema: the table's columns.
        scope: ``point_in_time`` or ``transductive``.
        v_columns: ``published`` for the recipe's 120 V columns, ``all`` for the 339.

    Raises:
        UserError: the table is not IEEE-CIS.
    """

    version = 1

    def __init__(self, schema: TableSchema, scope: str = "point_in_time", v_columns: str = "published") -> None:
        there = {column.name for column in schema.columns}
        if missing := [name for name in ("TransactionDT", "card1", "D15", "V339", "id_38") if name not in there]:
            raise UserError(
                f"features=ieee_cis needs the columns of IEEE-CIS; data={schema.name} lacks {', '.join(missing)}; "
                "use features=columns"
            )
        self.scope = scope
        kept = PUBLISHED_V if v_columns == "published" else tuple(f"V{n}" for n in range(1, 340))
        plain = [
            name for name in schema.names("amount", "numeric") if not name.startswith("V") and name not in DRIFTING
        ]
        self.numeric = (*plain, *kept, *_OF_ROW, *_aggregate_names())
        self.categorical = (*schema.names("categorical"), *_PARTS)

    def apply(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The table [in order of time] with the features' columns added; order and other columns stay."""
        frame = frame.with_columns(**_PARTS, **_OF_ROW).with_columns(
            (pl.col("TransactionDT") // (30 * DAY)).alias("month"),
            (pl.col("TransactionDT") // DAY - pl.col("D1")).floor().alias("account_start"),
            **{f"{name}_number": _match_number(name) for name in MEANS if name.startswith("M")},
        )
        frame = frame.with_columns(pl.struct(columns).hash().alias(f"key_{key}") for key, columns in KEYS.items())
        frame = frame.with_columns(_aggregates(self.scope))
        return frame.drop("month", "account_start", *(f"key_{key}" for key in KEYS), pl.selectors.ends_with("_number"))


def _match_number(name: str) -> pl.Expr:
    """M columns as numbers: T and F are 1 and 0, M4's M0, M1, M2 are 0, 1, 2."""
    return pl.col(name).replace_strict(
        {"T": 1, "F": 0, "M0": 0, "M1": 1, "M2": 2}, default=None, return_dtype=pl.Float64
    )


# --------------------------------------------------------------------------------------------- of the row alone


def _drift_free(name: str) -> pl.Expr:
    """The day, since the table's start, on which the clock of ``name`` started: it no longer grows with time.

    Multiplied, not divided: Polars divides one row and many by different ways, which differ in the last bit.
    """
    return pl.col(name) - pl.col("TransactionDT") * (1 / DAY)


_AMOUNT = pl.col("TransactionAmt")
_OF_ROW: dict[str, pl.Expr] = {
    **{f"{name}_start": _drift_free(name) for name in DRIFTING},
    "cents": ((_AMOUNT - _AMOUNT.floor()) * 1000).round() * 0.001,
    "hour": (pl.col("TransactionDT") // 3600 % 24).cast(pl.Float64),
    "weekday": (pl.col("TransactionDT") // DAY % 7).cast(pl.Float64),
    "outsider15": ((pl.col("D1") - pl.col("D15")).abs() > 3).fill_null(False).cast(pl.Float64),
    "screen_width": pl.col("id_33").str.extract(r"^(\d+)x").cast(pl.Float64, strict=False),
    "screen_height": pl.col("id_33").str.extract(r"x(\d+)$").cast(pl.Float64, strict=False),
    "missing": pl.sum_horizontal(pl.col(f"D{n}").is_null().cast(pl.Float64) for n in range(1, 16)),
}
_PARTS: dict[str, pl.Expr] = {
    "P_email_vendor": pl.col("P_emaildomain").str.extract(r"^([^.]+)"),
    "P_email_suffix": pl.col("P_emaildomain").str.extract(r"([^.]+)$"),
    "R_email_vendor": pl.col("R_emaildomain").str.extract(r"^([^.]+)"),
    "R_email_suffix": pl.col("R_emaildomain").str.extract(r"([^.]+)$"),
    "emails_agree": (pl.col("P_emaildomain") == pl.col("R_emaildomain")).cast(pl.String),
    "device_maker": pl.col("DeviceInfo").str.to_lowercase().str.extract(r"^([a-z]+)"),
    "os": pl.col("id_30").str.extract(r"^([A-Za-z]+)"),
    "browser": pl.col("id_31").str.to_lowercase().str.extract(r"^([a-z]+)"),
}


# ------------------------------------------------------------------------------------------------- of the rows seen


def _aggregate_names() -> list[str]:
    return [expression.meta.output_name() for expression in _aggregates("transductive")]


def _aggregates(scope: str) -> list[pl.Expr]:
    whole = scope == "transductive"
    made = [_share(columns, whole).alias(f"{name}_share") for name, columns in SHARES.items()]
    made += [_count(f"key_{key}", whole).alias(f"{key}_count") for key in ("card1", "account")]
    for key, columns in MOMENTS.items():
        for name in columns:
            mean, deviation = _moments(pl.col(name).cast(pl.Float64), f"key_{key}", whole)
            made += [mean.alias(f"{key}_{name}_mean"), deviation.alias(f"{key}_{name}_std")]
    for name in MEANS:
        column = pl.col(f"{name}_number" if name.startswith("M") else name).cast(pl.Float64)
        made.append(_moments(column, "key_account", whole)[0].alias(f"account_{name}_mean"))
    made.append(_moments(pl.col("C14").cast(pl.Float64), "key_account", whole)[1].alias("account_C14_std"))
    made += [_different(name, "key_account", whole).alias(f"account_{name}_different") for name in DIFFERENT]
    mean, deviation = _moments(_AMOUNT, "key_account", whole)
    made.append(((_AMOUNT - mean) / (deviation + 1)).alias("amount_unlike_account"))
    return made


def _count(key: str, whole: bool) -> pl.Expr:
    """Rows with the same key: earlier ones, or all of them."""
    return (pl.len().over(key) if whole else pl.int_range(pl.len()).over(key)).cast(pl.Float64)


def _share(columns: Sequence[str], whole: bool) -> pl.Expr:
    """Share of the rows seen that have this row's value; 0 where none has been seen."""
    same = pl.len().over(columns) if whole else pl.int_range(pl.len()).over(columns)
    seen = pl.len() if whole else pl.int_range(pl.len())
    return same / pl.max_horizontal(seen, pl.lit(1))


def _moments(x: pl.Expr, key: str, whole: bool) -> tuple[pl.Expr, pl.Expr]:
    """Mean and standard deviation (n - 1) of the known values with the same key; null where there are too few."""
    if whole:
        return x.mean().over(key), x.std().over(key)
    known = x.is_not_null().cum_sum().shift(1).over(key).cast(pl.Float64)
    sums, squares = (each.fill_null(0).cum_sum().shift(1).over(key) for each in (x, x * x))
    variance = pl.max_horizontal(squares - sums * sums / known, pl.lit(0.0)) / (known - 1)
    return pl.when(known > 0).then(sums / known), pl.when(known > 1).then(variance.sqrt())


def _different(name: str, key: str, whole: bool) -> pl.Expr:
    """How many different known values of ``name`` the rows with the same key have."""
    if whole:
        return pl.col(name).drop_nulls().n_unique().over(key).cast(pl.Float64)
    new = pl.struct(key, name).is_first_distinct() & pl.col(name).is_not_null()
    return new.cum_sum().shift(1).over(key).cast(pl.Float64)
