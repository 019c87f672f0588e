"""The roles that ``python -m fraudlab.describe`` gives to columns that are not as most are."""

import polars as pl
import pytest

from fraudlab.data.description.roles import candidates, find
from fraudlab.data.sources.table.kinds import Kinds
from fraudlab.features.values import Spelling


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
