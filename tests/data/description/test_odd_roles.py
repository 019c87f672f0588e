"""The roles that ``python -m fraudlab.describe`` gives to columns that are not as most are."""

import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fraudlab.data.description.roles import candidates, domains, find
from fraudlab.data.sources.table.kinds import Kinds
from fraudlab.features.values import Spelling
from tests.support.tables import load


@pytest.mark.parametrize(
    ("card", "terminal", "neither"),
    [
        ("from_account_number", "to_account_number", "account_to_customer"),
        ("fromCustomer", "to_merchant_id", "member_from"),
        ("from_acct", "to_user_id", "days_to_pay"),
        ("from", "to", "shipping_to"),
    ],
)
def test_who_pays_and_who_is_paid(card: str, terminal: str, neither: str) -> None:
    names = (neither, terminal, card)
    rows = pl.DataFrame({name: [f"K{7 * n % 190}" for n in range(400)] for name in names})
    one = find(rows, (), dict.fromkeys(candidates(names), 190), 400, ()).one
    assert one == {"card": card, "terminal": terminal}


def test_numbers_of_telephones_are_never_numeric() -> None:
    rows = pl.DataFrame({name: [f"+49{1_000_000 + 37 * n % 999}" for n in range(400)] for name in ("contact", "value")})
    found = find(rows, (), {}, 400, ())
    assert (found.one, found.many["numeric"]) == ({}, [])
    gaps = rows.vstack(pl.DataFrame({"contact": ["NA"], "value": ["N/A"]}))
    assert [made.type for made in Kinds(gaps.lazy(), rows.columns, {}, (), Spelling()).columns()] == ["string"] * 2
    kinds = Kinds(rows.lazy(), (), {}, (), Spelling())  # of a file of types
    assert ({made.type for made in kinds.columns()}, kinds.notes) == ({"string"}, [])


@pytest.mark.parametrize("ends", [("1.2", "1.3"), ("a.de", "A.de"), ("b.c", "d.e")])
def test_no_domain_of_what_is_no_address_or_one_alone(ends: tuple[str, str]) -> None:
    rows = pl.DataFrame({"version": [f"app{n}@{ends[n % 2]}" for n in range(400)]})
    assert domains(rows, ()) == {}


@pytest.mark.parametrize("name", ["E-Mail Address", "Почта", "2nd.mail"])
def test_the_column_of_a_domain_can_be_typed(name: str, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    rows = pl.DataFrame({name: [f"u{n}@{('a.de', 'b.com')[n % 2]}" for n in range(400)], "y": [0, 1] * 200})
    rows.write_csv(tmp_path / "t.csv")
    load(tmp_path / "t.csv", label="y")
    (typed,) = re.findall(r'(?:"|)\+?data\.derive\..*(?= has the domains)', caplog.text)
    (word,) = shlex.split(typed)
    override = OverridesParser.create().parse_override(word)
    made = override.key_or_group.removeprefix("data.derive.")
    frame = load(tmp_path / "t.csv", label="y", derive={made: override.value()}).frame.collect()
    assert frame[made].to_list() == ["a.de", "b.com"] * 200
    assert caplog.text.count("has the domains") == 1
