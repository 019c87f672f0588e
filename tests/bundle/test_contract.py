"""What a bundle asks of records and of files, and what it says where they are of another table."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab import bundle as bundles
from fraudlab.bundle import Bundle
from fraudlab.bundle.contract import Names, Refused, served
from fraudlab.bundle.scoring import score_file
from fraudlab.errors import UserError
from fraudlab.serving.contract import Contract
from tests.conftest import Command
from tests.support.bundles import signed

ROWS = 1500


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("balance", "Balance"),
        ("new balance-Orig", "newbalanceOrig"),
        ("newbalance_orig", "newbalanceOrig"),
        ("newbalancOrig", "newbalanceOrig"),
        ("newbalanceOrrig", "newbalanceOrig"),
        ("newbalanceOrgi", "newbalanceOrig"),
        ("id-01", "id_01"),
        ("La\u0308nge", "L\u00e4nge"),
        ("V2", None),
        ("V12", None),
        ("card2", None),
        ("bal", None),
        ("x" * 100_000, None),
        ("", None),
    ],
)
def test_which_field_a_wrong_name_stands_for(given: str, field: str | None) -> None:
    assert Names(["Balance", "newbalanceOrig", "id_01", "V1", "card1", "L\u00e4nge"]).near(given) == field


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """``amount`` and ``Kind`` are in every row, ``Balance`` and ``Score`` are not."""
    draw = random.Random(0)
    amounts = [round(draw.lognormvariate(3, 1), 2) for _ in range(ROWS)]
    balances = [None if draw.random() < 0.2 else float(draw.randrange(10)) for _ in range(ROWS)]
    scores = [None if draw.random() < 0.2 else draw.random() for _ in range(ROWS)]
    frauds = [int(draw.random() < 0.02 + 0.3 * (a > 60)) for a in amounts]
    kinds = [draw.choice("ABC") for _ in range(ROWS)]
    rows = {"n": range(ROWS), "amount": amounts, "Balance": balances, "Score": scores, "Kind": kinds, "y": frauds}
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def bundle(command: Command, table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("contract")
    table.write_csv(folder / "train.csv")
    of = ("experiment=none", "data=table", f"data.path={folder}/train.csv", "data.label=y", "data.carried=[n]")
    how = ("features=columns", "split=random", "model=mlp", "trainer.max_epochs=1", "report=false", "logger=none")
    done = command("train", *of, *how, "trainer.enable_progress_bar=false", f"hydra.run.dir={folder}/run")
    assert done.returncode == 0, done.stderr
    done = command("export", f"run={folder}/run", f"out={folder}/bundle")
    assert done.returncode == 0, done.stderr
    return bundles.load(folder / "bundle")


def test_what_every_training_row_had_is_required(bundle: Bundle) -> None:
    fields = {field["name"]: field for field in bundle.schema["fields"]}
    assert {name: field["required"] for name, field in fields.items() if name in ("amount", "Balance", "Kind")} == {
        "amount": True,
        "Balance": False,
        "Kind": True,
    }
    record = {"amount": 12.5, "Balance": 3.0, "Score": 0.5, "Kind": "A"}
    assert bundle.predict([record, {"amount": 12.5, "Kind": "A"}]).shape == (2,)
    for lacking in ("amount", "Kind"):
        for wrong in ({n: v for n, v in record.items() if n != lacking}, {**record, lacking: None}):
            for call in (bundle.predict, bundle.explain) if bundle.explains else (bundle.predict,):
                with pytest.raises(Refused, match=f"record 1 field {lacking}: required"):
                    call([record, wrong])
    with pytest.raises(Refused, match="required"):
        bundle.predict([{}])


def test_without_a_second_fit_the_rows_before_validation_decide(command: Command, tmp_path: Path) -> None:
    """Half of the validation rows lack ``number`` and ``word``, which all rows had that the model learnt from."""
    rows = 500
    lacking = [350 <= row < 425 and row % 2 == 0 for row in range(rows)]
    amounts = [row * 37 % 101 for row in range(rows)]
    table = {
        "day": [86_400 * row for row in range(rows)],
        "amount": amounts,
        "number": [None if lacks else float(row % 7) for row, lacks in enumerate(lacking)],
        "word": [None if lacks else "ab"[row % 2] for row, lacks in enumerate(lacking)],
        "y": [int(amount > 80) for amount in amounts],
    }
    pl.DataFrame(table).write_csv(tmp_path / "t.csv")
    of = ("experiment=none", "data=table", f"data.path={tmp_path}/t.csv", "data.label=y", "data.time=day")
    how = ("data.time_unit=seconds", "features=columns", "split=time_fraction", "label_delay_days=0", "refit=false")
    quick = ("model=logistic_regression", "report=false", "logger=none")
    done = command("train", *of, *how, *quick, f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    done = command("export", f"run={tmp_path}/run", f"out={tmp_path}/bundle")
    assert done.returncode == 0, done.stderr
    assert {"amount", "number", "word"} <= set(bundles.load(tmp_path / "bundle").never_missing)


RENAMES: list[tuple[dict[str, str], str]] = [
    ({"Balance": "balance", "Kind": "kind"}, r"balance \(did you mean Balance\?\).*kind \(did you mean Kind\?\)"),
    ({"Balance": "Balanc"}, r"Balanc \(did you mean Balance\?\)"),
    ({"amount": "Amount "}, "did you mean amount"),
    ({"amount": "sum_of_it"}, "lacks the columns amount"),
    ({"amount": "a", "Balance": "b", "Score": "c", "Kind": "d"}, "lacks the columns amount, Kind"),
]


@pytest.mark.parametrize(("renames", "said"), RENAMES)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_of_other_columns_is_refused(
    bundle: Bundle, table: pl.DataFrame, tmp_path: Path, renames: dict[str, str], said: str, kind: str
) -> None:
    path = tmp_path / f"t.{kind}"
    renamed = table.rename(renames)
    renamed.write_csv(path) if kind == "csv" else renamed.write_parquet(path)
    with pytest.raises(UserError, match=said):
        score_file(bundle, path, tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()


def test_an_optional_column_that_a_file_lacks_is_said(
    bundle: Bundle, table: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table.drop("Balance").write_csv(tmp_path / "t.csv")
    with caplog.at_level("WARNING"):
        scored = score_file(bundle, tmp_path / "t.csv", tmp_path / "scores.csv").collect()
    assert len(scored) == ROWS
    assert "no column Balance" in caplog.text


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(("column", "said"), [("amount", "row 1001: amount"), ("Kind", "row 1001: Kind has no value")])
def test_a_row_without_what_every_training_row_had_is_named(
    bundle: Bundle, table: pl.DataFrame, tmp_path: Path, kind: str, column: str, said: str
) -> None:
    rows = table.with_columns(pl.when(~pl.col("n").is_in([1000, 1200])).then(column).alias(column))
    rows.write_csv(tmp_path / "t.csv") if kind == "csv" else rows.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=f"{said}.*in 1 of the next"):
        score_file(bundle, tmp_path / f"t.{kind}", tmp_path / "scores.csv")


def test_a_request_of_other_names_is_told_which_it_may_mean(bundle: Bundle) -> None:
    contract = Contract(served(bundle.schema, bundle.features, history=False), max_records=9, refuse_unknown=False)
    record = {"amount": 12.5, "Balance": 3.0, "Kind": "A", "extra": 1}
    assert contract.check(json.dumps(record).encode()).records == [record]
    for wrong, field, near in (
        ("balance", "Balance", "Balance"),
        ("kind", "Kind", "Kind"),
        ("Amount", "amount", "amount"),
    ):
        renamed = {wrong if name == field else name: value for name, value in record.items()}
        with pytest.raises(Refused) as refused:
            contract.check(json.dumps([record, renamed]).encode())
        first = refused.value.problems[0]
        assert (first["record"], first["field"]) == (1, wrong)
        assert first["problem"] == f"unknown field; did you mean {near}?"


def test_a_bundle_of_before_is_read_and_judged_by_its_numbers(bundle: Bundle, tmp_path: Path) -> None:
    old = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    schema = json.loads((old / "schema.json").read_text())
    for field in schema["fields"]:
        del field["never_missing"]
        field["required"] = field["role"] in ("time", "amount")
        field["nullable"] = not field["required"]
    del schema["never_missing"], schema["least_known"]
    (old / "schema.json").write_text(json.dumps(schema))
    signed(old)
    loaded = bundles.load(old)
    loaded.check()
    with pytest.raises(Refused, match="field amount"):
        loaded.predict([{"Kind": "A"}])
    assert loaded.predict([{"amount": 12.5}]).shape == (1,)


def _knots(at: list[Any], values: list[Any]) -> dict[str, Any]:
    return {"map": "isotonic", "log_odds": at, "calibrated": values}


def _decision(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        content = json.loads((folder / "decision.json").read_text())
        change(content)
        (folder / "decision.json").write_text(json.dumps(content))

    return tamper


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (_decision(lambda d: d["thresholds"].update(high=-1.0)), "decision.json.*high below medium"),
        (_decision(lambda d: d["thresholds"].update(high=float("nan"))), "decision.json.*thresholds"),
        (_decision(lambda d: d["thresholds"].update(medium="0.5")), "decision.json.*thresholds"),
        (_decision(lambda d: d["thresholds"].pop("high")), "decision.json.*thresholds"),
        (
            _decision(lambda d: d.update(calibration={"map": "platt", "slope": float("inf"), "intercept": 0})),
            "decision.json.*slope",
        ),
        (_decision(lambda d: d.update(calibration={"map": "cubic", "slope": 1})), "decision.json.*none of platt"),
        (
            _decision(lambda d: d.update(calibration={"map": "beta", "a": 1, "b": -1, "c": 0})),
            "decision.json.*not rise",
        ),
        (_decision(lambda d: d.update(calibration=_knots([0, 1], [2, 1]))), "decision.json.*not rise"),
        (_decision(lambda d: d.update(calibration=_knots([0, 0], [1, 2]))), "decision.json.*not rise"),
        (_decision(lambda d: d.update(calibration=_knots([0, 1], [1, 2, 3]))), "decision.json.*equally many"),
        (_decision(lambda d: d.update(calibration=_knots([0, 1], [1, None]))), "decision.json.*no finite numbers"),
        (_decision(lambda d: d.update(calibrations={"beta": None})), "decision.json.*log losses"),
        (_decision(lambda d: d.pop("budget")), "decision.json"),
        (lambda folder: (folder / "decision.json").write_text("[]"), "decision.json"),
        (lambda folder: (folder / "schema.json").write_text("{}"), "schema.json"),
        (lambda folder: (folder / "features.json").write_text("{"), "features.json"),
        (lambda folder: (folder / "golden.jsonl").write_text(""), "golden.jsonl has no record"),
        (lambda folder: (folder / "golden.jsonl").write_text('{"record": {}, "score": NaN}'), "golden.jsonl"),
        (lambda folder: (folder / "golden.jsonl").write_text("[1]"), "golden.jsonl"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"no model"), "model.onnx cannot be run"),
    ],
)
def test_content_that_no_export_writes_is_refused_in_one_message(
    bundle: Bundle, tmp_path: Path, tamper: Callable[[Path], Any], said: str
) -> None:
    copy = Path(shutil.copytree(bundle.path, tmp_path / "bundle"))
    tamper(copy)
    signed(copy)
    with pytest.raises(UserError, match=said) as refused:
        bundles.load(copy).check()
    assert "\n" not in str(refused.value)
