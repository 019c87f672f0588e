"""The time that ``python -m fraudlab.describe`` finds, in tables that are not as most are."""

import datetime
from pathlib import Path

import polars as pl
import pytest

from fraudlab.data.description import clock
from fraudlab.data.description import describe as describing
from fraudlab.data.sources.table.time_format import TimeFormat
from fraudlab.errors import UserError
from fraudlab.reporting.description import description_table
from tests.support.described import ROWS, START, described, roles, table, trains


def test_a_quote_in_the_name_of_the_time(tmp_path: Path) -> None:
    rows = table().rename({"paid_at": 'paid "at'})
    rows.with_columns(
        pl.when(pl.col("amount").rank("ordinal") > 2).then(pl.col('paid "at')).alias('paid "at')
    ).write_csv(tmp_path / "t.csv")
    found = described(tmp_path / "t.csv")
    assert found.config.where == '"paid ""at" IS NOT NULL'
    assert 'where      "paid ""at" IS NOT NULL (2 rows have no time)' in description_table(found)
    assert found.rows == len(trains(found, tmp_path)) == ROWS - 2


def test_how_a_time_is_read_may_be_given_without_its_column(tmp_path: Path) -> None:
    (table(step=range(ROWS))).write_csv(tmp_path / "t.csv")
    found = described(tmp_path / "t.csv", time_unit="hours")
    assert (found.config.time, found.config.time_unit) == ("step", "hours")
    table(paid_at=[f"{1 + n % 9:02}/{1 + n // 50:02}/2024" for n in range(ROWS)]).write_csv(tmp_path / "d.csv")
    with pytest.raises(UserError, match="can be read in several ways"):
        described(tmp_path / "d.csv")
    found = described(tmp_path / "d.csv", time_format="%d/%m/%Y", time_zone="Europe/Paris")
    assert (found.config.time, found.config.time_format, found.config.time_zone) == (
        "paid_at", "%d/%m/%Y", "Europe/Paris",
    )  # fmt: skip
    with pytest.raises(UserError, match="data.time_format=%H: no column.* name it: data.time=<column>"):
        described(tmp_path / "t.csv", time_format="%H")


@pytest.mark.parametrize("sampled", [False, True])
def test_the_hour_is_derived_only_where_every_row_tells_it(
    sampled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describing.sample, "_MOST_TYPED", 100)
    if sampled:
        monkeypatch.setattr(describing, "ALL_ROWS", 100)
        monkeypatch.setattr(describing.sample, "MOST_ROWS", 100)
    rows = table()
    rows.write_csv(tmp_path / "same.csv")
    assert "hour" in described(tmp_path / "same.csv").config.derive
    when = rows["paid_at"].to_list()
    when[201] = f"{when[201][:10]}T{when[201][11:-3]}"  # 2024-01-26T03:00
    rows.with_columns(pl.Series("paid_at", when)).write_csv(tmp_path / "mixed.csv")
    found = described(tmp_path / "mixed.csv")
    assert trains(found, tmp_path)["hour"].to_list() == [3 * n % 24 for n in range(ROWS)]
    when[201] = when[201][:10]
    rows.with_columns(pl.Series("paid_at", when)).write_csv(tmp_path / "t.csv")
    found = described(tmp_path / "t.csv")
    assert found.config.derive == {}
    assert len(trains(found, tmp_path)) == ROWS


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M"])
def test_a_time_that_is_not_taken_is_told(form: str, tmp_path: Path) -> None:
    when: list[str | None] = [f"{START + datetime.timedelta(hours=3 * n):{form}}" for n in range(ROWS)]
    for odd, said in (({7: "soon"}, "others not, such as 'soon'"), (dict.fromkeys(range(9)), "9 are empty")):
        rows = table(paid_at=[odd.get(n, moment) for n, moment in enumerate(when)])
        rows.write_csv(tmp_path / f"{len(odd)}.csv")
        found = described(tmp_path / f"{len(odd)}.csv")
        assert (found.config.time, found.split) == (None, "random")
        assert f"{ROWS - len(odd)} of {ROWS} values of paid_at are times, but {said}" in found.doubts[0]
    odd = pl.Series("paid_at", [f"{moment[:8]}W{n % 7}" for n, moment in enumerate(when) if moment])
    table(paid_at=odd).write_csv(tmp_path / "form.csv")
    assert (
        "values such as '" + odd[0] + "' are read; if it is the time, say data.time=paid_at and"
        in described(tmp_path / "form.csv").doubts[0]
    )
    rows = table().drop("paid_at")
    rows.write_csv(tmp_path / "none.csv")
    assert not any("no time is taken" in doubt for doubt in described(tmp_path / "none.csv").doubts)


@pytest.mark.parametrize("kind", ["text", "typed"])
def test_a_day_and_a_time_of_day_are_one_moment(kind: str, tmp_path: Path) -> None:
    moments = [START + datetime.timedelta(hours=3 * n, minutes=n % 60) for n in range(ROWS)]
    rows = table().drop("paid_at")
    if kind == "typed":
        both = [[m.date() for m in moments], [m.time() for m in moments]]
    else:
        both = [[f"{m:{form}}" for m in moments] for form in ("%m/%d/%Y", "%I:%M %p")]
    rows = rows.with_columns(pl.Series("date", both[0]), pl.Series("time", both[1]))
    path = tmp_path / "t.parquet"
    rows.write_parquet(path)
    found = described(path)
    assert (found.config.time, found.split) == ("when", "time_fraction")
    made = trains(found, tmp_path)
    assert made["when"].to_list() == moments
    assert made["hour"].to_list() == [m.hour for m in moments]
    assert roles(found)["amount"] == "amount"
    assert not {"date", "time"} & {name for name, role in roles(found).items() if role != "carried"}


def test_moments_and_amounts_as_numbers_and_text(tmp_path: Path) -> None:
    """Milliseconds in a column that no word calls a number, an amount that Parquet holds as text, and bytes."""
    rows = table().with_columns(pl.col("amount").cast(pl.String), pl.Series("blob", [b"\xff"] * ROWS))
    moments = pl.col("paid_at").str.to_datetime()
    rows.with_columns(moments.dt.epoch("ms").alias("paid_at")).write_parquet(tmp_path / "t.parquet")
    found = described(tmp_path / "t.parquet")
    assert (found.config.time, found.config.time_unit, found.config.amount) == ("paid_at", "milliseconds", "amount")
    made = trains(found, tmp_path)
    expected = rows.select(moments.dt.hour().alias("hour"), moments.dt.weekday().alias("weekday"))
    assert made.select("hour", "weekday").rows() == expected.rows()
    assert made["amount"].to_list() == table()["amount"].to_list()
    assert "blob" not in roles(found)
    assert any("not inputs: blob (bytes that are not text)" in doubt for doubt in found.doubts)


def test_the_time_of_a_sign_up_is_taken_where_rows_are_in_its_order(tmp_path: Path) -> None:
    """A number since 1970, which rises with the rows, is no input; where the order is another, that is told."""
    seconds = [1_704_067_200 + 3_600 * n for n in range(ROWS)]
    rows = table(signup_ts=seconds, dob_ts=[631_200_000 + 977 * (n * 31 % ROWS) for n in range(ROWS)]).drop("paid_at")
    rows.write_csv(tmp_path / "t.csv")
    found = described(tmp_path / "t.csv")
    assert (found.config.time, found.config.time_unit, found.split) == ("signup_ts", "epoch_seconds", "time_fraction")
    assert found.doubts[0].startswith("signup_ts is taken for the time, since the rows are in its order")
    assert roles(found)["dob_ts"] == "carried"
    rows.sample(fraction=1.0, shuffle=True, seed=0).write_csv(tmp_path / "u.csv")
    found = described(tmp_path / "u.csv")
    assert (found.config.time, found.split, roles(found)["signup_ts"]) == (None, "random", "carried")
    assert "say data.time=signup_ts" in found.doubts[0]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"account_opened": [f"{START + datetime.timedelta(days=n // 9)}" for n in range(ROWS)]}, []),
        ({"card_issued_date": [f"2024-01-{1 + n // 18:02}" for n in range(ROWS)]}, ["card_issued_date"]),
        ({"delivery_time": sorted(10 + n % 80 for n in range(ROWS)), "card_step": [n % 4 for n in range(ROWS)]}, []),
        ({"update_date": [1 + n for n in range(ROWS)], "policy_dt": [n % 400 for n in range(ROWS)]}, []),
    ],
)
def test_no_other_moment_or_number_is_the_time(columns: dict[str, list[int]], told: list[str]) -> None:
    """What is one for each customer, by whom the rows are sorted, and sorted numbers that are no moments."""
    rows = table(customer_id=[f"C{n // 9}" for n in range(ROWS)], **columns).drop("paid_at")
    assert clock.find(rows, ["fraud"], TimeFormat()) is None
    notes = list(clock.passed_over(rows, ["fraud"]))
    assert [next(name for name in rows.columns if f" {name} holds times" in note) for note in notes] == told


def test_a_unit_by_the_span_alone_is_told(tmp_path: Path) -> None:
    rows = table(step=[1 + n // 9 for n in range(ROWS)]).drop("paid_at")
    rows.write_csv(tmp_path / "t.csv")
    found = described(tmp_path / "t.csv")
    assert found.doubts[0].startswith(f"the unit of step is a guess, {found.config.time_unit}: data.time_unit=hours")
    names = {name: [f"C{n % 99}" for n in range(ROWS)] for name in ("nameOrig", "nameDest")}
    rows.with_columns(**{name: pl.Series(values) for name, values in names.items()}).write_csv(tmp_path / "u.csv")
    found = described(tmp_path / "u.csv")
    assert (found.config.time_unit, found.why["step"]) == ("hours", "by its name and values; PaySim counts hours")
    assert not any("is a guess" in doubt for doubt in found.doubts)
