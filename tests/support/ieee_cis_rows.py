"""Random rows of the joined IEEE-CIS table."""

import numpy as np
import polars as pl

from fraudlab.data.sources.ieee_cis_columns import IDENTITY, TRANSACTION, table_schema

SCHEMA = table_schema("ieee_cis", simulated=False)
WORDS = {
    "P_emaildomain": ["gmail.com", "yahoo.co.uk", None],
    "R_emaildomain": ["gmail.com", "mail.com", None],
    "DeviceInfo": ["SAMSUNG SM-G892A Build/NRD90M", "Windows", None],
    "id_30": ["Android 7.0", "iOS 11.1.2", None],
    "id_31": ["samsung browser 6.2", "chrome 62.0", None],
    "id_33": ["2220x1080", "1334x750", None],
    **{f"M{n}": ["T", "F", None] for n in range(1, 10)},
    "M4": ["M0", "M1", "M2", None],
}


def table(rows: int, seed: int) -> pl.DataFrame:
    """Random rows of the joined table in order of time; a few clients, many missing values."""
    draw = np.random.default_rng(seed)
    columns: dict[str, pl.Series] = {}
    for name, dtype in {**TRANSACTION, **IDENTITY, "client": pl.Int32()}.items():
        if name in WORDS:
            values = pl.Series(draw.choice(np.array(WORDS[name], dtype=object), rows).tolist(), dtype=pl.String)
        elif dtype == pl.String:
            values = pl.Series(draw.choice(["a", "b"], rows).tolist())
        else:
            values = pl.Series(draw.integers(0, 6, rows).astype(float)).cast(dtype)
            if name[0] in "DCVi" and name != "isFraud":
                values = values.set(pl.Series(draw.random(rows) < 0.3), None)
        columns[name] = values
    frame = pl.DataFrame(columns)
    return frame.with_columns(
        TransactionID=pl.Series(np.arange(rows)).cast(pl.Int32),
        TransactionDT=pl.Series(86400 + np.sort(draw.integers(0, 100 * 86400, rows))).cast(pl.Int32),
        TransactionAmt=pl.Series(draw.integers(1, 200_000, rows) / 1000),
        card1=pl.Series(draw.integers(0, 4, rows)).cast(pl.Int32),
        addr1=pl.Series(draw.integers(0, 2, rows)).cast(pl.Float32),
        D1=pl.Series(draw.integers(0, 3, rows)).cast(pl.Float32),
    )
