"""``python -m fraudlab.describe``: what it guesses, and what it writes."""

import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraudlab.config import ColumnsFeaturesConfig, HistoryFeaturesConfig, TableConfig
from fraudlab.data.description import clock
from fraudlab.data.description import describe as describing
from fraudlab.data.description.describe import Description
from fraudlab.data.description.label import meaning
from fraudlab.data.description.written import experiment, name_of
from fraudlab.data.prepared import prepared_table
from fraudlab.data.sources.table.time_format import TimeFormat
from fraudlab.errors import UserError
from fraudlab.features.history.proposal import proposal
from tests.conftest import Command
from tests.data.description.layouts import LAYOUTS
from tests.support.described import composed, described, roles


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Description, dict[str, str]]]:
    made = {}
    for name, layout in LAYOUTS.items():
        folder = tmp_path_factory.mktemp(name)
        text, right = layout()
        (folder / f"{name}.csv").write_text(text)
        made[name] = folder, described(folder / f"{name}.csv"), right
    return made


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_written_is_what_was_read(name: str, found: dict) -> None:
    folder, description, _ = found[name]
    settings = composed(description, folder)
    assert settings.data == description.config
    table = prepared_table(settings.data, ColumnsFeaturesConfig(), 7, folder / ".cache")
    split = table.split(settings.split, settings.label_delay_days)
    assert min(len(split.train), len(split.test)) > 100
    assert settings.split.name == "time_fraction"
    assert settings.features.name == "columns"


def test_nine_of_ten_roles_are_right(found: dict) -> None:
    wrong, all_of_them = [], 0
    for name, (_, description, right) in found.items():
        guessed = roles(description)
        assert set(right) <= set(guessed), name
        all_of_them += len(right)
        wrong += [
            (name, column, guessed[column]) for column, role in right.items() if guessed[column] not in role.split()
        ]
    assert len(wrong) <= 0.1 * all_of_them, wrong
    of_one = [(name, column) for name, column, role in wrong if {"label", "time"} & set(found[name][2][column].split())]
    assert not of_one


@pytest.mark.parametrize(
    ("counts", "fraud", "unlabelled"),
    [
        ({"0": 90, "1": 10}, (), "refuse"),
        ({"False": 90, "True": 10}, (), "refuse"),
        ({"No": 90, "Yes": 10}, ("Yes",), "refuse"),
        ({"unknown": 70, "2": 20, "1": 10}, ("1",), "leave_out"),
        ({"licit": 20, "illicit": 10, "unknown": 70}, ("illicit",), "leave_out"),
        ({"ok": 80, "fraud_atm": 12, "fraud_web": 8}, ("fraud_atm", "fraud_web"), "refuse"),
        ({"non-fraud": 80, "fraud": 20}, ("fraud",), "refuse"),
        ({"Not Fraud": 80, "Fraudulent": 20}, ("Fraudulent",), "refuse"),
        ({"NoFraud": 80, "Fraud": 20}, ("Fraud",), "refuse"),
        ({"nofraud": 80, "fraud": 20, "open": 5}, ("fraud",), "leave_out"),
        ({"Cleared, not fraud": 80, "Fraud, closed": 15, "isNotFraud": 5}, ("Fraud, closed",), "refuse"),
        ({"ok": 80, "casino fraud": 15, "fraud never shown": 5}, ("casino fraud",), "leave_out"),
        ({"good": 30, "bad": 70}, ("bad",), "refuse"),
        ({"a": 90, "b": 10}, ("b",), "refuse"),
        ({"paid": 90, "lost": 10}, ("lost",), "refuse"),
        ({"fraud": 5, "legit": 90, "pending": 3, "odd": 2}, ("fraud",), "leave_out"),
        ({"0": 80, "1": 10, "NA": 10}, ("1",), "leave_out"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_words_of_a_label_mean(counts: dict[str, int], fraud: tuple[str, ...], unlabelled: str) -> None:
    found = meaning("y", counts, 0)
    assert (found.fraud_values, found.unlabelled) == (fraud, unlabelled)
    assert not set(found.genuine_values) & set(fraud)


def test_words_that_say_nothing_are_shown(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.label=y holds: a \(5\), b \(4\), c \(3\); .*data.fraud_values"):
        meaning("y", {"a": 5, "b": 4, "c": 3}, 0)
    (tmp_path / "t.csv").write_text("size,kind\n1,a\n2,b\n3,a\n")
    with pytest.raises(UserError, match="no column has the name of a label; .*; columns with two values: kind"):
        described(tmp_path / "t.csv")
    with pytest.raises(UserError, match="data.label=kin: the table has no such column; did you mean kind"):
        described(tmp_path / "t.csv", label="kin")


def claims(seed: int, late: float = 1.0, rows: int = 3_000) -> pl.DataFrame:
    """Claims over 300 days; of the frauds of the last 30 days only the share ``late`` is known."""
    draw = np.random.default_rng(seed)
    day = np.sort(draw.integers(0, 300, rows))
    fraud = (draw.random(rows) < 0.1) & ((day < 270) | (draw.random(rows) < late))
    start = datetime.date(2023, 1, 1)
    return pl.DataFrame(
        {
            "Filed": [f"{start + datetime.timedelta(days=int(d)):%d.%m.%Y}" for d in day],
            "Paid": [f"{value:,.2f} €".translate(str.maketrans(",.", ".,")) for value in draw.gamma(2, 900, rows)],
            "City": draw.choice(["München", "Köln", "?"], rows),
            "Reported": [f"{start + datetime.timedelta(days=int(d) + 9):%d.%m.%Y}" for d in day],
            "Outcome": np.where(fraud, "fraudulent", "genuine"),
        }
    )


def test_how_a_table_is_written_is_found(tmp_path: Path) -> None:
    text = claims(1).write_csv(separator=";")
    (tmp_path / "claims.csv").write_bytes(text.encode("cp1252"))
    found = described(tmp_path / "claims.csv")
    assert found.config == TableConfig(
        path=str(tmp_path / "claims.csv"), label="Outcome", fraud_values=["fraudulent"], genuine_values=["genuine"],
        time="Filed", time_format="%d.%m.%Y", label_time="Reported", amount="Paid", decimal=",", thousands=".",
        currency=True, encoding="cp1252", separator=";", missing_values=["?"],
        derive={"weekday": 'EXTRACT(isodow FROM "Filed")'},
    )  # fmt: skip
    assert "would read '€'" in found.why["encoding"]
    assert composed(found, tmp_path).data == found.config


def test_a_table_too_small_to_train_on_is_described_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size,kind,y\n1,a,0\n2,b,1\n3,a,0\n")
    found = described(tmp_path / "t.csv")
    assert roles(found) == {"size": "numeric", "kind": "categorical", "y": "label"}
    assert "training on it is not possible: split=random leaves no rows" in found.doubts[-1]
    (tmp_path / "o.csv").write_text("tx_id,y\n4,0\n7,1\n9,1\n")
    assert any("no column is left to learn from" in doubt for doubt in described(tmp_path / "o.csv").doubts)


@pytest.mark.parametrize("seed", range(5))
def test_labels_that_are_not_known_yet_are_told(seed: int, tmp_path: Path) -> None:
    for late in (0.1, 1.0):
        claims(seed, late).drop("Reported").write_csv(tmp_path / f"{late}.csv")
    found = described(tmp_path / "0.1.csv")
    assert found.maturity is not None
    assert 20 <= found.maturity.days <= 40
    assert "LOOK: " in experiment(found, "train")
    assert described(tmp_path / "1.0.csv").maturity is None


def test_a_large_table_is_described_by_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims(2).write_csv(tmp_path / "t.csv")
    whole = described(tmp_path / "t.csv")
    monkeypatch.setattr(describing, "ALL_ROWS", 1_000)
    monkeypatch.setattr(describing.sample, "MOST_ROWS", 1_000)
    found = described(tmp_path / "t.csv")
    assert (found.rows, found.frauds, found.words) == (whole.rows, whole.frauds, whole.words)
    assert found.sampled == 1_000
    assert found.config == whole.config
    assert roles(found) == roles(whole)
    assert "from a sample of 1,000 rows" in experiment(found, "train")
    assert not list((tmp_path / ".cache").glob(".described*"))


def test_the_hour_and_the_past_are_offered(found: dict) -> None:
    folder, description, _ = found["sparkov"]
    assert {"hour", "weekday"} <= {name for name, role in roles(description).items() if role == "numeric"}
    when = pl.col("trans_date_trans_time")
    read = prepared_table(description.config, ColumnsFeaturesConfig(), 7, folder / ".cache").source
    hours = read.select(pl.col("hour") == when.dt.hour(), pl.col("weekday") == when.dt.weekday()).collect()
    assert hours.select(pl.all().all()).row(0) == (True, True)
    assert "add features=history to the command" in experiment(description, "train")
    table = prepared_table(description.config, HistoryFeaturesConfig(), 7, folder / ".cache")
    assert description.history == proposal(table.schema, 7)
    assert len(table.numeric) > len([role for role in roles(description).values() if role in ("numeric", "amount")])


def test_what_is_given_stays(tmp_path: Path) -> None:
    claims(3).with_row_index("Claim").write_csv(tmp_path / "t.csv")
    given = {"label": "Outcome", "fraud_values": ["genuine"], "genuine_values": ["fraudulent"], "carried": ["City"]}
    found = described(
        tmp_path / "t.csv", **given, derive={"Cost": "Paid * 2"}, currency=True, decimal=",", thousands="."
    )
    assert {key: getattr(found.config, key) for key in given} == {**given, "carried": ["City", "Claim"]}
    assert roles(found)["Cost"] == "numeric"
    assert composed(found, tmp_path).data == found.config


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/My claims.csv.gz", "My_claims"), ("s3://b/tx/**/*.parquet", "tx"), ("x/", "x"), ("*.csv", "table"),
     ("https://h/t.csv?v=1", "t"), ("postgresql://u@h/bank", "bank")],
)  # fmt: skip
def test_the_name_is_the_tables(path: str, name: str) -> None:
    assert name_of(path) == name


def test_the_command_writes_settings_and_a_page(command: Command, tmp_path: Path) -> None:
    claims(4).write_csv(tmp_path / "claims.csv")
    done = command("describe", "data.path=claims.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "use        python -m fraudlab.train --config-dir my experiment=claims" in done.stdout
    assert "Outcome (guessed by its name and words): genuine" in done.stdout
    page = (tmp_path / "my" / "claims.html").read_text(encoding="utf-8")
    assert page.count("<svg") == page.count("<figure") == 6
    written = tmp_path / "my" / "experiment" / "claims.yaml"
    written.write_text(written.read_text().replace("label_delay_days: 7", "label_delay_days: 9"))
    again = command("describe", "data.path=claims.csv", cwd=tmp_path)
    assert again.returncode == 1
    assert "replace=true writes it anew" in again.stderr
    assert "label_delay_days: 9" in written.read_text()
    again = command("describe", "data.path=claims.csv", "data.label=Outcom", cwd=tmp_path)
    assert "data.label=Outcom: the table has no such column; did you mean Outcome?" in again.stderr
    taken = command("describe", "data.path=claims.csv", "name=handbook", cwd=tmp_path)
    assert "name=handbook is an experiment of fraudlab itself" in taken.stderr
    (tmp_path / "claims.csv").rename(tmp_path / "ieee_cis.csv")
    done = command("describe", "data.path=ieee_cis.csv", cwd=tmp_path)
    assert "experiment=ieee_cis_table" in done.stdout


def test_a_time_that_is_the_first_of_each_month_has_no_weekday() -> None:
    firsts = pl.DataFrame({"year": [2020] * 12, "month": list(range(1, 13))})
    found = clock.find(firsts, [], TimeFormat())
    assert found is not None
    assert clock.parts(firsts, found) == {}
    days = pl.DataFrame({"when": [datetime.datetime(2020, 1, day) for day in range(1, 10)]})
    found = clock.find(days, [], TimeFormat())
    assert found is not None
    assert set(clock.parts(days, found)) == {"weekday"}


@pytest.mark.parametrize(
    ("columns", "taken"),
    [
        (["session_time", "transaction_time"], "transaction_time"),
        (["time", "order_time"], "order_time"),
        (["opening_hours", "time_of_day"], "time_of_day"),
        (["avg_time_on_page", "delivery_time"], None),
    ],
)
def test_a_time_of_day_is_of_the_same_event(columns: list[str], taken: str | None) -> None:
    days = {"date": [f"2024-05-{day:02}" for day in range(1, 21)]}
    table = pl.DataFrame(days | {name: [f"{n % 12:02}:{n:02}" for n in range(20)] for name in columns})
    found = clock.find(table, [], TimeFormat())
    assert found is not None
    assert found.why == (f"from date and {taken}" if taken else "by its name and values")
