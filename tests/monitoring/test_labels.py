"""What was known at a time: never what came later, whatever order it came in."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fraudlab.monitoring import labels, records
from fraudlab.monitoring.labels import Label
from fraudlab.monitoring.summary import label_lines
from tests.monitoring.test_records import journal, row

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(day: float | None) -> datetime:
    return START + timedelta(days=day or 0)


def micros(day: float | None) -> int | None:
    return None if day is None else (at(day) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


Saying = tuple[str, bool | None, str, int | None, int]
sayings = st.lists(
    st.tuples(
        st.sampled_from(["1", "2"]),
        st.sampled_from([True, False, None]),
        st.sampled_from(["bank", "analyst"]),
        st.one_of(st.none(), st.integers(0, 9)),
        st.integers(0, 9),
    ),
    max_size=12,
)


def expected(said: list[Saying], day: float, clock: str) -> dict[str, tuple[bool, int]]:
    """The rules, one saying after the other: transaction to label and number of sayings that count."""
    kept: dict[str, list[tuple[int, tuple[bool, bool], bool | None]]] = {}
    for number in {each[0] for each in said}:
        counted = []
        for source in {each[2] for each in said}:
            own = set()
            for name, fraud, by, event, told in said:
                moment = told if event is None else event
                if (name, by) == (number, source) and moment <= day and (told <= day or clock == "event_time"):
                    own.add((moment, (fraud is not None, fraud is True), fraud))
            timed = {
                (event, fraud)
                for name, fraud, by, event, told in said
                if (name, by) == (number, source) and event is not None and (told <= day or clock == "event_time")
            }
            last: object = "nothing"
            for moment, rank, fraud in sorted(own, key=lambda each: each[:2]):
                if fraud is last and (moment, fraud) not in timed:
                    continue  # repeats, at no time of its own
                last = fraud
                counted.append((moment, rank, fraud))
        if counted:
            kept[number] = counted
    found = {number: max(counted, key=lambda each: each[:2])[2] for number, counted in kept.items()}
    return {number: (fraud, len(kept[number])) for number, fraud in found.items() if fraud is not None}


def frame(said: list[Saying]) -> pl.DataFrame:
    rows = [
        (number, None, None, fraud, source, None if event is None else at(event), at(told))
        for number, fraud, source, event, told in said
    ]
    return pl.DataFrame(rows, schema=labels.told(Path("/nowhere")).schema, orient="row")


@settings(max_examples=150, deadline=None)
@given(sayings, st.integers(0, 9), st.sampled_from(["told_at", "event_time"]), st.randoms(use_true_random=False))
def test_what_is_known_is_what_the_rules_say_in_any_order(
    said: list[Saying], day: int, clock: labels.Clock, draw: random.Random
) -> None:
    shuffled = [*said, *said[:3]]  # some twice
    draw.shuffle(shuffled)
    found = labels.known(frame(shuffled), at(day), clock=clock)
    have = {each["transaction_id"]: (each["fraud"], each["revision"]) for each in found.iter_rows(named=True)}
    want = expected(said, day, clock)
    assert {number: fraud for number, (fraud, _) in have.items()} == {n: fraud for n, (fraud, _) in want.items()}
    if clock == "told_at":  # nothing of it rests on what came later
        earlier = [each for each in shuffled if each[4] <= day and (each[3] is None or each[3] <= day)]
        assert_frame_equal(found, labels.known(frame(earlier), at(day)))


def test_a_label_by_request_and_one_by_id_are_of_one_transaction(tmp_path: Path) -> None:
    journal(tmp_path, "1", [row("r1", 0, "7", 1.0), row("r1", 1, "8", 2.0), row("again", 0, "7", 1.0)])
    journal(tmp_path, "2", [row("r5", 0, None, 5.0)])
    by_request = Label(None, "r1", 0, True, "analyst", micros(1))
    labels.append(tmp_path, [by_request, Label(None, "r5", 0, True, "analyst", None)], "a", at(1))
    labels.append(tmp_path, [Label("7.0", None, None, False, "bank", micros(3))], "b", at(4))  # as pandas writes ids
    labels.append(tmp_path, [Label(None, "again", 0, True, "analyst", micros(2))], "b", at(5))
    labels.append(tmp_path, [Label(99, None, None, True, "bank", micros(90))], "b", at(6))  # unknown, of the future
    assert labels.as_of(tmp_path, at(0.5)).is_empty()
    early, late = labels.as_of(tmp_path, at(2)), labels.as_of(tmp_path, at(7))
    assert early["transaction_id"].to_list() == [None, "7"]
    assert early["contradicted"].to_list() == [False, False]
    seven = late.row(by_predicate=pl.col("transaction_id") == "7", named=True)
    assert (seven["fraud"], seven["source"], seven["revision"], seven["contradicted"]) == (False, "bank", 3, True)
    assert "99" not in late["transaction_id"].to_list()
    assert "99" in labels.as_of(tmp_path, at(100))["transaction_id"].to_list()
    joined = labels.with_labels(records.scan(tmp_path), late).collect()
    assert dict(joined.select("request_id", "fraud").filter(pl.col("request_id") != "r1").iter_rows()) == {"r5": True}
    assert joined.filter(pl.col("transaction_id") == "7")["fraud"].to_list() == [False]
    assert joined.filter(pl.col("transaction_id") == "8")["fraud"].to_list() == [None]


def test_a_label_that_a_crash_cut_off_costs_itself_alone(tmp_path: Path) -> None:
    label = Label(1, None, None, True, "bank", None)
    labels.append(tmp_path, [label], "a", at(1))
    (path,) = labels.files(tmp_path)
    path.write_bytes(path.read_bytes() + json.dumps(["2", None]).encode()[:-3])
    labels.append(tmp_path, [Label(3, None, None, False, "bank", None)], "a", at(1))
    assert labels.told(tmp_path)["transaction_id"].to_list() == ["1", "3"]


def test_a_label_whose_place_several_transactions_have_marks_none(tmp_path: Path) -> None:
    rows = [row("same", 0, "1", 1.0), row("same", 0, "2", 2.0), row("nameless", 0, None, 3.0)]
    rows += [row("nameless", 0, None, 4.0), row("one", 0, None, 5.0), row("one", 0, None, 5.0)]  # the last sent again
    journal(tmp_path, "1", rows)
    said = [Label(None, request, 0, True, "bank", None) for request in ("same", "nameless", "one", "gone")]
    labels.append(tmp_path, said, "a", at(1))
    known = labels.as_of(tmp_path, at(2))
    joined = labels.with_labels(records.scan(tmp_path), known).collect()
    assert joined.filter(pl.col("fraud").is_not_null())["request_id"].to_list() == ["one"]
    told = "\n".join(label_lines(tmp_path))
    assert "2 of a request id and position that several transactions share" in told
    assert "1 of transactions that the record lacks" in told


def test_an_id_is_a_number_only_where_the_contract_says_so(tmp_path: Path) -> None:
    for kind, found in (("string", "1001.0"), ("integer", "1001"), ("number", "1001")):
        contract = {"roles": {"tx": "id", "shop": "categorical"}, "types": {"tx": [kind], "shop": ["string"]}}
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "_contract.json").write_text(json.dumps(contract))
        labels.append(tmp_path / kind, [Label("1001.0", None, None, True, "bank", None)], "a", at(1))
        assert labels.told(tmp_path / kind)["transaction_id"].to_list() == [found]


def test_lines_that_do_not_fit_cost_themselves_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels.append(tmp_path, [Label(1, None, None, True, "bank", None)], "a", at(1))
    (path,) = labels.files(tmp_path)
    good = json.loads(path.read_text())
    wrong = [[None, "r", 2**31, *good[3:]], [7, *good[1:]], [*good[:6], None]]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*wrong, good, good[:3], [None, "r", 0, *good[3:]]]))
    assert labels.told(tmp_path)["request_id"].to_list() == [None, "r"]
    assert "3 labels" in caplog.text
