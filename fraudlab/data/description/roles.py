"""Finds the id, card, terminal, amount, codes, and columns that no model should learn from."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from fraudlab.data.description.facts import number_of
from fraudlab.data.description.time_columns import is_temporal
from fraudlab.data.sources.table.kinds import PHONE
from fraudlab.data.sources.table.names import MEASURES, is_after, is_code, words
from fraudlab.data.sources.table.roles import domain_of_mail
from fraudlab.features.values import NA_WORDS, clean, is_text

# Words of names with their weights.
_CARD = {
    **dict.fromkeys(("cc", "card", "pan", "cardnumber"), 5),
    **dict.fromkeys(("customer", "client", "cust", "cardholder", "caller", "subscriber", "msisdn", "imsi"), 4),
    **dict.fromkeys(
        ("user", "member", "buyer", "account", "acct", "iban", "orig", "payer", "sender", "holder", "from"), 3
    ),
}
_TERMINAL = {
    **dict.fromkeys(("terminal", "pos", "atm"), 5),
    **dict.fromkeys(("merchant", "shop", "store", "outlet", "retailer", "seller", "vendor"), 4),
    **dict.fromkeys(("payee", "receiver", "recipient", "beneficiary", "dest", "counterparty", "callee", "to"), 3),
}
_AMOUNT = {"amount": 5, "amt": 5, "paid": 3, "price": 3, "total": 2, "value": 2, "spend": 2, "sum": 2}
_WEIGHT = ({"sample", "weight"}, {"row", "weight"}, {"case", "weight"}, {"instance", "weight"}, {"sampling", "weight"})
_ID = {
    "transaction": 3,
    "trans": 3,
    "tx": 3,
    "txn": 3,
    "id": 2,
    "uuid": 3,
    "key": 1,
    "ref": 1,
    "reference": 2,
    "hash": 1,
}
_IDS = {"id", "num", "number", "no", "nr", "key", "uuid", "ref", "reference", "hash", "index"}
_NOT_A_KEY = {
    *("type", "brand", "category", "country", "state", "city", "zip", "zipcode", "gender", "segment", "network"),
    *("bank", "status", "present", "level", "tier", "code", "os", "time", "date", "region", "street", "job"),
}
_NOT_AN_AMOUNT = {
    *(MEASURES - {"amount", "amt", "sum"}),
    *("old", "new", "oldbalance", "newbalance", "tax", "fee", "intended", "credit", "income", "id", "type", "gas"),
}
_ENDS_OF_TRANSFER = {"from", "to", "address", "addr", "wallet", "account", "iban", "id"}
_LEAST_KEYS = 20  # fewer different values are categories, not cards or terminals
_MOST_KEYS = 0.9  # share of rows: with more, hardly any key has a history
_MOST_WORDS = 1_000  # of places that still work as a categorical input
_MANY_WORDS = 0.3  # share of rows, of a small table
_FEW = 0.5  # share of different values of a code
_COPY = 0.995  # rank correlation with the time


@dataclass
class Roles:
    """Settings of ``data`` and the reasons: one column each in ``one``, several in ``many``."""

    one: dict[str, str] = field(default_factory=dict)
    many: dict[str, list[str]] = field(default_factory=lambda: {"categorical": [], "numeric": [], "carried": []})
    why: dict[str, str] = field(default_factory=dict)

    @property
    def named(self) -> set[str]:
        return {*self.one.values(), *(name for names in self.many.values() for name in names)}

    def give(self, role: str, name: str, why: str) -> None:
        if role in self.many:
            self.many[role].append(name)
        else:
            self.one[role] = name
        self.why[name] = why


def candidates(names: Collection[str]) -> set[str]:
    """The columns whose number of different values in the whole table is needed."""
    return {name for name in names if _is_key(name, {**_CARD, **_TERMINAL}) or is_code(name) or _may_be_id(name)}


def owners(sample: pl.DataFrame) -> list[str]:
    """Columns of cards or customers of which the sample has several rows each."""
    names = [name for name in sample.columns if _is_key(name, _CARD) and _is_discrete(sample[name])]
    return [name for name in names if sample[name].n_unique() <= _MOST_KEYS * len(sample)]


def find(
    sample: pl.DataFrame,
    taken: Collection[str],
    different: Mapping[str, int],
    rows: int,
    unique: Collection[str],
    counted: str = "",
) -> Roles:
    """The roles that names and values suggest for columns that are not ``taken``.

    Args:
        sample: rows in types.
        taken: columns that have a role.
        different: number of values of each of :func:`candidates` in the whole table.
        rows: of the whole table.
        unique: columns with a different value in every row.
        counted: what stands before the numbers of ``different``: "about " if they are approximate.
    """
    found = Roles()
    left = [name for name in sample.columns if name not in taken]
    ids = [name for name in left if name in unique and _may_be_id(name) and not sample[name].dtype.is_float()]
    if ids:
        found.give("id", max(ids, key=_id_weight), "unique in every row, by its name")
    for name in (name for name in left if is_after(name) and name not in found.named):
        found.give("carried", name, "by its name known only after a fraud")
    for role, names in (("card", _CARD), ("terminal", _TERMINAL)):
        keys = [
            name for name in left if name not in found.named and _is_key(name, names) and _is_discrete(sample[name])
        ]
        keys = [name for name in keys if _LEAST_KEYS <= different[name] < max(_MOST_KEYS * rows, _LEAST_KEYS + 1)]
        if role == "terminal":  # with few values it is an input, which a terminal never is
            keys = [name for name in keys if different[name] > min(_MOST_WORDS, _MANY_WORDS * rows)]
        if keys:
            best = max(keys, key=lambda name: max(names.get(word, 0) for word in words(name)))
            who = "who pays" if role == "card" else "where"
            found.give(role, best, f"{who}, by its name; {number_of(different[best], counted)} different ones")
    amounts = [n for n in left if n not in found.named and _amount_weight(n)]
    amounts = [
        n for n in amounts if sample[n].dtype.is_numeric() or (is_text(sample[n].dtype) and _is_number(sample[n]))
    ]
    if amounts:
        found.give("amount", max(amounts, key=_amount_weight), "by its name")
    weights = [n for n in left if n not in found.named and sample[n].dtype.is_numeric() and set(words(n)) in _WEIGHT]
    if weights and not sample[weights[0]].null_count() and float(sample[weights[0]].min()) >= 0:  # type: ignore[arg-type]
        found.give("weight", weights[0], "a row's weight in training, by its name")
    for name in left:  # text of files that have types
        if name not in found.named and is_text(sample[name].dtype) and not is_code(name) and _is_number(sample[name]):
            found.give("numeric", name, "text that is numbers throughout")
    for name in left:
        if name not in found.named and is_code(name) and _is_whole(sample[name]):
            if different[name] > max(_FEW * rows, _LEAST_KEYS):
                found.give(
                    "carried", name, f"whole numbers that are ids, {number_of(different[name], counted)} different ones"
                )
            else:
                found.give("categorical", name, "whole numbers that are codes by their name")
    return found


def domains(sample: pl.DataFrame, taken: Collection[str]) -> dict[str, str]:
    """SQL for the domain of each column of addresses of mail, which come back where the addresses do not."""
    found: dict[str, str] = {}
    for name in (name for name in sample.columns if name not in taken and is_text(sample[name].dtype)):
        if made := domain_of_mail(name, sample[name], {*sample.columns, *found}):
            found[made[0]] = made[1]
    return found


def copies_of_time(sample: pl.DataFrame, time: pl.Series, taken: Collection[str]) -> Iterator[str]:
    """Columns of numbers that increase with the time: their training values never occur again."""
    names = [n for n in sample.columns if n not in taken and sample[n].dtype.is_numeric() and sample[n].n_unique() > 2]
    if not names or time.n_unique() < 3:
        return
    moment = (time.dt.epoch("us") if time.dtype.is_temporal() else time).rename("\0time")
    frame = sample.select(names).hstack([moment])
    found = frame.select(pl.corr(name, "\0time", method="spearman").alias(name) for name in names).row(0, named=True)
    yield from (name for name, correlation in found.items() if correlation is not None and correlation > _COPY)


def _is_key(name: str, known: Mapping[str, int]) -> bool:
    parts = set(words(name))
    if any(part.isdigit() for part in parts) or parts & (MEASURES | _NOT_A_KEY):  # card1, card2: kinds of cards
        return False
    if side := parts & {"from", "to"}:  # from_account pays, to_account is paid; days_to_pay and member_from are neither
        whose = words(name)[0] in side and parts & (set(_CARD) | set(_TERMINAL)) - side
        return len(side) == 1 and side <= set(known) and bool(whose or parts <= _ENDS_OF_TRANSFER)
    return bool(parts & set(known))


def _is_discrete(values: pl.Series) -> bool:
    return not is_temporal(values) if is_text(values.dtype) else _is_whole(values)


def _is_whole(values: pl.Series) -> bool:
    if values.dtype.is_float():
        known = values.drop_nulls().drop_nans()
        return bool(len(known)) and bool((known == known.floor()).all()) and float(known.max()) > 1  # type: ignore[arg-type]
    return values.dtype.is_integer() and not (values.min() in (0, 1) and values.max() == 1)


def _is_number(values: pl.Series) -> bool:
    text = values.to_frame("text").select(clean(pl.col("text"), NA_WORDS)).to_series().drop_nulls()
    if not len(text) or text.str.contains(r"^0\d").any() or text.str.contains(PHONE).all():
        return False
    return text.cast(pl.Float64, strict=False).null_count() == 0


def _may_be_id(name: str) -> bool:
    return bool(_IDS & set(words(name)))


def _id_weight(name: str) -> int:
    return sum(_ID.get(word, 0) for word in words(name))


def _amount_weight(name: str) -> int:
    parts = words(name)
    return 0 if _NOT_AN_AMOUNT & set(parts) else max((_AMOUNT.get(word, 0) for word in parts), default=0)
