"""IEEE-CIS features of the row alone, as Polars expressions; :mod:`.record` has their twins for one record."""

import polars as pl

from fraudlab.features.ieee_cis.columns import DAY, DRIFTING, ROW_CATEGORICAL, ROW_NUMERIC

_AMOUNT, _TIME = pl.col("TransactionAmt"), pl.col("TransactionDT")


def _drift_free(name: str) -> pl.Expr:
    """The day, since the table's start, on which the clock of ``name`` started: it no longer grows with time.

    Multiplied, not divided: Polars divides one row and many by different ways, which differ in the last bit.
    """
    return pl.col(name) - _TIME * (1 / DAY)


EXPRESSIONS: dict[str, pl.Expr] = {
    **{f"{name}_start": _drift_free(name) for name in DRIFTING},
    "cents": ((_AMOUNT - _AMOUNT.floor()) * 1000).round() * 0.001,
    "hour": (_TIME // 3600 % 24).cast(pl.Float64),
    "weekday": (_TIME // DAY % 7).cast(pl.Float64),
    "outsider15": ((pl.col("D1") - pl.col("D15")).abs() > 3).fill_null(False).cast(pl.Float64),
    "screen_width": pl.col("id_33").str.extract(r"^([0-9]+)x").cast(pl.Float64, strict=False),
    "screen_height": pl.col("id_33").str.extract(r"x([0-9]+)$").cast(pl.Float64, strict=False),
    "missing": pl.sum_horizontal(pl.col(f"D{n}").is_null().cast(pl.Float64) for n in range(1, 16)),
    "P_email_vendor": pl.col("P_emaildomain").str.extract(r"^([^.]+)"),
    "P_email_suffix": pl.col("P_emaildomain").str.extract(r"([^.]+)$"),
    "R_email_vendor": pl.col("R_emaildomain").str.extract(r"^([^.]+)"),
    "R_email_suffix": pl.col("R_emaildomain").str.extract(r"([^.]+)$"),
    "emails_agree": (pl.col("P_emaildomain") == pl.col("R_emaildomain")).cast(pl.String),
    "device_maker": pl.col("DeviceInfo").str.to_lowercase().str.extract(r"^([a-z]+)"),
    "os": pl.col("id_30").str.extract(r"^([A-Za-z]+)"),
    "browser": pl.col("id_31").str.to_lowercase().str.extract(r"^([a-z]+)"),
}
assert set(EXPRESSIONS) == {*ROW_NUMERIC, *ROW_CATEGORICAL}
