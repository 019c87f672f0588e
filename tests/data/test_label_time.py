"""When each label became known, row by row: splits go by it."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fraudlab.config import ColumnsFeaturesConfig, TableConfig, TimeFractionConfig, TimeWindowsConfig
from fraudlab.data.prepared import PreparedTable, prepared_table

DAYS = 60
START = datetime.datetime(2024, 1, 1)


def written(path: Path, seed: int = 0) -> pl.DataFrame:
    """Ten transactions a day; a fraud becomes known after 1 to 20 days, some not yet; a genuine one after 3."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(DAYS), 10)
    fraud = random.random(len(day)) < 0.3
    known = day + np.where(fraud, random.integers(1, 21, len(day)), 3)
    unknown = fraud & (random.random(len(day)) < 0.2)
    rows = pl.DataFrame(
        {
            "when": [START + datetime.timedelta(days=int(d), minutes=int(n)) for n, d in enumerate(day)],
            "known": [
                None if u else START + datetime.timedelta(days=int(k)) for k, u in zip(known, unknown, strict=True)
            ],
            "card": random.integers(0, 40, len(day)),
            "size": random.normal(size=len(day)).round(3),
            "fraud": fraud.astype(int),
        }
    )
    rows.write_csv(path)
    return rows


def prepared(folder: Path, **settings: Any) -> PreparedTable:
    config = TableConfig(
        path=str(folder / "t.csv"), label="fraud", time="when", card="card", label_time="known", **settings
    )
    return prepared_table(config, ColumnsFeaturesConfig(), 7, folder / "cache")


@pytest.mark.parametrize("immature", ["leave_out", "genuine"])
def test_no_fit_uses_a_label_before_it_is_known(
    immature: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = written(tmp_path / "t.csv")
    table = prepared(tmp_path, immature=immature)
    missing = rows["known"].null_count()
    assert f"{missing} rows whose label is not known yet (known is missing)" in caplog.text
    assert table.label.len() == (len(rows) - missing if immature == "leave_out" else len(rows))
    assert table.schema.label_time == "known"
    assert "known" not in (*table.categorical, *table.numeric)
    derived = prepared(tmp_path, immature=immature, derive={"size": "size * 2"})
    assert derived.label.len() == table.label.len()
    if immature == "genuine":
        assert table.label.filter(table.column("known").is_null()).sum() == 0
    split = table.split(TimeFractionConfig(), 7)
    when, known = table.column("when"), table.column("known")
    late = known.fill_null(when + datetime.timedelta(days=7))
    for part, until in ((split.selection_train, split.validation), (split.validation, split.test)):
        assert (late.gather(part) <= when[int(until[0])]).all()
    # Nothing that is known is left out.
    before = np.arange(int(split.validation[0]))
    usable = before[(late.gather(before) <= when[int(split.validation[0])]).to_numpy()]
    assert np.array_equal(split.selection_train, usable)


def test_a_card_is_known_from_the_day_on_which_its_fraud_is(tmp_path: Path) -> None:
    written(tmp_path / "t.csv")
    table = prepared(tmp_path)
    windows = TimeWindowsConfig(train_start="2024-01-15", train_days=20, test_days=7, validation_shift_days=14)
    split = table.split(windows, 7)
    frame = table.source.select("when", "known", "card", "fraud").collect()
    day = ((frame["when"] - START).dt.total_days()).to_list()
    known = ((frame["known"] - START).dt.total_days()).to_list()
    first_test = 14 + 20 + 7
    expected = [
        row
        for row in range(len(frame))
        if first_test <= day[row] < first_test + 7
        and not any(
            frame["card"][other] == frame["card"][row]
            and frame["fraud"][other] == 1
            and day[other] >= 14
            and known[other] < day[row]
            for other in range(row)
        )
    ]
    assert split.test.tolist() == expected
    assert 0 < len(expected) < 70
