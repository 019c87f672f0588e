"""``python -m fraudlab.describe`` on tables and settings that are not as most are."""

import socket
import stat
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from fraudlab.data.description import describe as describing
from fraudlab.data.description.written import experiment, name_of
from fraudlab.data.sources.table.database import fetched, without_password
from fraudlab.errors import UserError
from fraudlab.reporting.description import description_table, write_description_page
from tests.conftest import Command
from tests.support.described import ROWS, composed, described, roles, table, trains


def test_no_name_or_word_ends_a_comment(tmp_path: Path) -> None:
    odd = {"a\nb: c": "x\x1b[31m", "d\x89\x7f": "\u2028e: f\x85", "id": "1"}
    rows = table(**{name: [f"{word} {n % 9}" for n in range(ROWS)] for name, word in odd.items()})
    rows = rows.with_columns(pl.Series("after_fraud\r\n- x", [f"{n % 7}" for n in range(ROWS)]))
    rows.write_parquet(tmp_path / "t.parquet")
    found = described(tmp_path / "t.parquet")
    text = experiment(found, "train")
    assert yaml.safe_load(text)["data"]["label"] == "fraud"
    assert composed(found, tmp_path).data == found.config
    assert set(odd) <= set(roles(found))
    for shown in (text, description_table(found)):
        assert all(each == "\n" or each.isprintable() for each in shown)


def test_nested_columns_are_described(tmp_path: Path) -> None:
    rows = table().with_columns(
        pl.struct("amount").alias("card_id"),
        pl.struct("amount").alias("event_time"),
        pl.concat_list("amount").alias("merchant_id"),
        pl.Series("user_id", np.zeros((ROWS, 2)), dtype=pl.Array(pl.Float64, 2)),
    )
    rows.write_parquet(tmp_path / "t.parquet")
    found = described(tmp_path / "t.parquet")
    assert found.config.time == "paid_at"
    assert "card" not in roles(found).values()


def test_rows_that_are_left_out_and_roles_that_are_given_count(tmp_path: Path) -> None:
    rows = table(acc=[f"{n} 000,5" if n % 3 else f"x{n}" for n in range(ROWS)])
    when = rows["paid_at"].to_list()
    when[7] = "soon"
    rows.with_columns(pl.Series("paid_at", when)).write_csv(tmp_path / "t.csv")
    found = described(tmp_path / "t.csv", where="paid_at <> 'soon'", carried=["acc"], time="paid_at")
    assert (found.config.time, found.rows, found.config.decimal) == ("paid_at", ROWS - 1, ".")
    assert len(trains(found, tmp_path)) == ROWS - 1
    with pytest.raises(UserError, match="has no rows left by data.where=amount < 0"):
        described(tmp_path / "t.csv", where="amount < 0")


@pytest.mark.parametrize("name", ["fraud", "made"])
@pytest.mark.parametrize("most", [100, 10_000])
def test_a_derived_label_is_counted_as_it_is_trained_on(
    name: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describing, "ALL_ROWS", most)
    rows = table(code=[n % 10 for n in range(ROWS)])
    rows.write_csv(tmp_path / "t.csv")
    derived = {name: "CASE WHEN code > 7 THEN 'fraud' ELSE 'genuine' END"}
    found = described(tmp_path / "t.csv", label=name, derive=derived, where="code <> 0")
    kept = rows.filter(pl.col("code") != 0)["code"].to_numpy()
    assert found.words == {"fraud": (kept > 7).sum(), "genuine": (kept <= 7).sum()}
    assert (found.rows, found.frauds) == (len(kept), (kept > 7).sum())


def test_passwords_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table().write_parquet(tmp_path / "answer.parquet")
    monkeypatch.setattr("fraudlab.data.sources.table.database.fetched", lambda *_: tmp_path / "answer.parquet")
    address = "postgresql://me:geheim@host/bank?sslmode=require&password=geheim"
    found = describing.describe(
        describing.TableConfig(path=address, query="SELECT * FROM tx", label="fraud"), tmp_path / ".cache"
    )
    write_description_page(tmp_path / "page.html", found, "train")
    text, page = experiment(found, "train"), (tmp_path / "page.html").read_text()
    assert "geheim" not in text + page + description_table(found) + name_of("postgresql://me:geheim@host")
    assert yaml.safe_load(text)["data"]["path"] == "postgresql://me@host/bank?sslmode=require"
    assert "PGPASSWORD or ~/.pgpass" in text
    assert "postgresql://me:...@host/bank?sslmode=require" in page


def test_the_driver_asks_the_environment_for_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("adbc_driver_postgresql")
    monkeypatch.setenv("PGPASSWORD", "geheim")
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            taken, _ = server.accept()
            with taken:
                taken.recv(4096)  # who it is
                taken.sendall(b"R\0\0\0\x08\0\0\0\x03")  # the password, in clear text
                said.append(taken.recv(4096))

        thread = threading.Thread(target=answer)
        thread.start()
        options = "sslmode=disable&gssencmode=disable&connect_timeout=5"
        whole = f"postgresql://me:other@127.0.0.1:{server.getsockname()[1]}/bank?{options}"
        with pytest.raises(UserError, match="does not answer"):
            fetched(without_password(whole), "SELECT 1", tmp_path)
        thread.join(10)
    assert said == [b"p\0\0\0\x0bgeheim\0"]


def test_a_header_that_was_not_found_is_told_with_the_label(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("amount,2024,fraud\n" + "3.5,1,0\n4.5,2,1\n" * 20)
    with pytest.raises(UserError, match=r"name it: data.label=<column>.*no header was found"):
        described(tmp_path / "t.csv")


def test_an_address_that_is_signed_stays_with_its_owner(tmp_path: Path, command: Command) -> None:
    table().write_csv(tmp_path / "t.csv")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/t.csv"
        done = command("describe", f"data.path='{address}?sig=geheim'", cwd=tmp_path)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    written, page = tmp_path / "my" / "experiment" / "t.yaml", (tmp_path / "my" / "t.html").read_text()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert yaml.safe_load(written.read_text())["data"]["path"] == f"{address}?sig=geheim"
    assert "keep this file private" in written.read_text()
    assert "geheim" not in page + done.stdout
    assert f"<h1>{address}</h1>" in page


def test_it_runs_without_standard_output(tmp_path: Path) -> None:
    table().write_csv(tmp_path / "t.csv")
    words = [sys.executable, "-m", "fraudlab.describe", f"data.path={tmp_path}/t.csv", f"out={tmp_path}/my"]
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert (tmp_path / "my" / "t.html").is_file()


def test_weights_of_rows_are_no_inputs(tmp_path: Path) -> None:
    """Weights by their name, those that cannot be weights left as inputs."""
    draw = np.random.default_rng(0)
    weights = {"sample_weight": draw.integers(1, 9, ROWS) / 2, "parcel_weight": draw.random(ROWS) * 30}
    table(**weights).write_csv(tmp_path / "t.csv")
    found = described(tmp_path / "t.csv")
    assert found.config.weight == "sample_weight"
    assert roles(found)["parcel_weight"] == "numeric"
    assert trains(found, tmp_path)["sample_weight"].to_list() == weights["sample_weight"].tolist()
    table(sample_weight=draw.normal(size=ROWS)).write_csv(tmp_path / "u.csv")
    assert described(tmp_path / "u.csv").config.weight is None


def labelled(path: Path, name: str, words: list[Any]) -> Any:
    rows = table(**{name: words}).drop("fraud")
    rows.write_csv(path)
    return described(path, label=name)


def test_a_label_of_minus_one_and_one_has_the_rarer_as_fraud(tmp_path: Path) -> None:
    found = labelled(tmp_path / "t.csv", "class", [-1 if n % 10 == 0 else 1 for n in range(ROWS)])
    assert (found.config.fraud_values, found.frauds) == (["-1"], ROWS // 10)


@pytest.mark.parametrize("name", ["not_fraud", "is_genuine"])
def test_a_label_that_says_what_is_no_fraud(name: str, tmp_path: Path) -> None:
    found = labelled(tmp_path / "t.csv", name, [0 if n % 10 == 0 else 1 for n in range(ROWS)])
    assert (found.config.fraud_values, found.frauds) == (["0"], ROWS // 10)


def test_more_frauds_than_not_are_doubted(tmp_path: Path) -> None:
    found = labelled(tmp_path / "t.csv", "outcome", [0 if n % 10 == 0 else 1 for n in range(ROWS)])
    assert any("90% of the training rows are frauds, over half" in doubt for doubt in found.doubts)


def test_codes_of_frauds_alone_are_no_label_by_themselves(tmp_path: Path) -> None:
    codes = ["10.4" if n % 40 == 0 else "13.1" if n % 50 == 0 else None for n in range(ROWS)]
    with pytest.raises(UserError, match=r"empty in .*data.fraud_values=\[.*\] data.unlabelled=genuine"):
        labelled(tmp_path / "t.csv", "chargeback_code", codes)
    for word, say in (("1", "say data.unlabelled=genuine"), ("fraud", r"say data.fraud_values=\[fraud\] data.unl")):
        with pytest.raises(UserError, match=f"is empty in 390 of 400 rows and says fraud in the others: .*{say}"):
            labelled(tmp_path / f"{word}.csv", "outcome", [word if n % 40 == 0 else None for n in range(ROWS)])
    found = described(tmp_path / "1.csv", label="outcome", unlabelled="genuine")
    assert (found.rows, found.frauds) == (ROWS, ROWS // 40)


def test_points_beside_commas_are_carried(tmp_path: Path) -> None:
    rows = table(lat=[48 + n % 97 / 1000 for n in range(ROWS)])
    text = rows.with_columns(pl.col("amount").cast(pl.String).str.replace(".", ",", literal=True))
    text.write_csv(tmp_path / "t.csv", separator=";")
    found = described(tmp_path / "t.csv")
    assert (found.config.decimal, found.config.amount, found.config.carried) == (",", "amount", ["lat"])


def test_different_values_are_counted_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.concat([table(customer=[f"c{(7 * n + k) % 390}" for n in range(ROWS)]) for k in range(40)])
    rows.write_csv(tmp_path / "t.csv")
    found = described(tmp_path / "t.csv")
    (facts,) = [facts for facts in found.columns if facts.column.name == "customer"]
    assert facts.shown == "390"
    assert found.why["customer"].endswith("390 different ones")
    monkeypatch.setattr("fraudlab.data.description.sample.MOST_ROWS", 1000)
    monkeypatch.setattr(describing, "ALL_ROWS", 1000)
    (tmp_path / "u.csv").write_bytes((tmp_path / "t.csv").read_bytes())
    sampled = described(tmp_path / "u.csv")
    assert "about 3" in sampled.why["customer"] or "about 4" in sampled.why["customer"]
    (facts,) = [facts for facts in sampled.columns if facts.column.name == "customer"]
    assert facts.shown.startswith("at least ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "a,b,fraud\n", "t.csv has no rows"),
        ("t.csv", "<!DOCTYPE html>\n<html><body>log in</body></html>\n", "is a web page or XML, not a table"),
        ("t.json", '{"data": [{"a": 1, "fraud": 0}, {"a": 2, "fraud": 1}], "count": 2}', "with its rows under 'data'"),
        ("t.jsonl", '{"error": "not found"}', "name it: data.label=<column>; the table has: error"),
        ("t.csv", "\x81\x8d\x8f,b\n", "is not UTF-8; .*cp1252 does not read it either"),
    ],
)
def test_what_is_no_table_is_said(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        described(tmp_path / name)


def test_a_country_called_na_is_none_that_is_missing(tmp_path: Path) -> None:
    words = {"country": ("DE", "NA", "FR"), "plan": ("a1", "NA")}
    rows = table(**{name: [of[n % len(of)] for n in range(ROWS)] for name, of in words.items()})
    rows.drop("plan").write_csv(tmp_path / "t.csv")
    assert described(tmp_path / "t.csv").config.missing_values == []
    rows.drop("country").write_csv(tmp_path / "u.csv")
    assert described(tmp_path / "u.csv").config.missing_values == ["NA"]
    rows.write_csv(tmp_path / "v.csv")
    found = described(tmp_path / "v.csv")
    assert found.doubts[0].startswith("NA is a word like the others in plan, since it may be a country in country")
    assert trains(found, tmp_path).select("country", "plan").rows() == rows.select("country", "plan").rows()


def test_the_domain_of_an_address_of_mail_is_an_input(tmp_path: Path) -> None:
    mail = [f"u{n}@{('a.de', 'B.com', 'b.com', 'a.de')[n % 4]}" for n in range(ROWS)]
    table(mail=mail).write_csv(tmp_path / "t.csv")
    found = described(tmp_path / "t.csv")
    assert (roles(found)["mail"], roles(found)["mail_domain"]) == ("carried", "categorical")
    assert trains(found, tmp_path)["mail_domain"].to_list() == ["a.de", "b.com", "b.com", "a.de"] * (ROWS // 4)
    assert not any("derive" in doubt for doubt in (*found.doubts, found.why["mail"]))
