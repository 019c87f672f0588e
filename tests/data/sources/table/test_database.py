"""A query of a real PostgreSQL as a table."""

import datetime
from pathlib import Path

import pytest

from fraudlab.data.sources.contract import Source
from fraudlab.errors import UserError
from tests.support.tables import load, roles

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("adbc_driver_postgresql")

ROWS = """CREATE TABLE tx (id uuid, amount numeric(10, 2), paid timestamptz, kind text, big bigint, fraud boolean);
INSERT INTO tx VALUES
('00000000-0000-0000-0000-00000000000a', 2.50, '2024-01-02 10:00+02', 'a', 9007199254740993, false),
('00000000-0000-0000-0000-00000000000b', 3.25, '2024-01-01 10:00+00', NULL, NULL, true)"""


def test_a_query_is_a_table(postgresql: str, tmp_path: Path) -> None:
    with psycopg.connect(postgresql) as connection:
        connection.execute(ROWS)
    query = "SELECT * FROM tx ORDER BY id"

    def asked(**settings: str) -> Source:
        return load(postgresql, query=query, cache=tmp_path, **settings)

    source = asked(id="id", time="paid", amount="amount")
    frame = source.frame.collect()
    assert frame.select("paid", "amount", "kind", "big", "fraud").rows() == [
        (datetime.datetime(2024, 1, 1, 10), 3.25, None, None, 1),
        (datetime.datetime(2024, 1, 2, 8), 2.5, "a", 9007199254740993, 0),
    ]
    assert frame["id"].str.slice(-1).to_list() == ["b", "a"]
    assert roles(source)["amount"] == "amount"
    assert asked().data_fingerprint == asked().data_fingerprint
    assert asked().fingerprint == asked().fingerprint  # the same rows are not made a table again
    with psycopg.connect(postgresql) as connection:
        connection.execute("UPDATE tx SET amount = 7")
    assert asked(amount="amount").frame.collect()["amount"].to_list() == [7.0, 7.0]


def test_what_a_database_refuses_is_said_without_the_password(postgresql: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='does not answer data.query .*"nothing" does not exist'):
        load(postgresql, query="SELECT * FROM nothing", cache=tmp_path)
    with pytest.raises(UserError, match=r"data.path=postgresql://me:\.\.\.@127.0.0.1:9/none") as refused:
        load("postgresql://me:secret@127.0.0.1:9/none", query="SELECT 1", cache=tmp_path)
    assert "secret" not in str(refused.value)
    with pytest.raises(UserError, match="cast it in the SQL"):
        load(postgresql, query="SELECT interval '1 day' AS wait, 1 AS fraud", cache=tmp_path)
    with pytest.raises(UserError, match="belong together"):
        load(postgresql, cache=tmp_path)
