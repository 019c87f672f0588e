"""The meaning of column names, by the words that people use in them."""

import re
import shlex
import unicodedata
from collections.abc import Collection, Iterable

import polars as pl
from polars.exceptions import PolarsError

from fraudlab.config.overrides import literal

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_SQL = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]*")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# Words for fields that are filled in once a fraud is known.
_AFTER = re.compile(
    r"fraud|flagged|charge_?back|dispute|refund|recover|investigat|confirmed|review|resolution|outcome|decision|disposition|"
    r"blocked|charge_?off|written_?off|reported|verdict|closed",
    re.IGNORECASE,
)
_CODES = {
    *("zip", "zipcode", "postal", "postcode", "postalcode", "mcc", "bin", "code", "id", "uid", "addr", "ip"),
    *("user", "customer", "client", "card", "account", "acct", "device", "phone"),
    *("merchant", "terminal", "store", "shop", "branch", "bank", "city", "state", "region"),
    *("product", "category", "type"),
}
_NUMBERS = {"no", "nr", "number"}  # at the end of a name
_NUMBERED = {"cc", "card", "account", "acct", "trans", "transaction", "policy", "phone", "invoice", "order"}
MEASURES = {
    *(
        "count",
        "cnt",
        "age",
        "days",
        "months",
        "years",
        "hours",
        "minutes",
        "seconds",
        "velocity",
        "distance",
        "length",
    ),
    *("lat", "lon", "long", "latitude", "longitude", "pop", "population", "limit", "score", "balance", "similarity"),
    *("avg", "mean", "median", "std", "max", "min", "sum", "ratio", "rate", "share", "pct", "percent", "distinct"),
    *("amount", "amt", "since"),
}
"""Words in names of counts and measurements."""


def quoted(name: str) -> str:
    """A column's name in SQL.

    >>> quoted("amount"), quoted("Trans Date"), quoted("order")
    ('amount', '"Trans Date"', '"order"')
    """
    if _PLAIN.fullmatch(name):
        try:
            pl.sql_expr(f"{name} IS NOT NULL")
        except PolarsError:  # a word of SQL
            pass
        else:
            return name
    return enclosed(name)


def enclosed(name: str) -> str:
    """A column's name in SQL, with quotes whatever it is."""
    return '"' + name.replace('"', '""') + '"'


def to_type(key: str, value: str) -> str:
    r"""A setting whose value is SQL, as a shell takes it.

    >>> print(to_type("data.where", "day IS NOT NULL"))
    data.where="day IS NOT NULL"
    >>> print(to_type("data.where", "day NOT IN ('1900-01-01')"))
    "data.where='day NOT IN (\'1900-01-01\')'"
    >>> print(to_type("data.where", '"Trans Date" IS NOT NULL'))
    "data.where='\"Trans Date\" IS NOT NULL'"
    """
    if _PLAIN_SQL.fullmatch(value):
        return f'{key}="{value}"'
    setting = literal(key, value)
    return (
        shlex.quote(setting)
        if set(setting) & set("$`!") or "\\\\" in setting
        else '"' + setting.replace('"', '\\"') + '"'
    )


def words(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case.

    >>> words("nameOrig"), words("TX_DATETIME"), words("card1")
    (('name', 'orig'), ('tx', 'datetime'), ('card', '1'))
    """
    return tuple(word.lower() for word in _WORD.findall(name))


def is_after(name: str) -> bool:
    """Whether a name means a value that is known only after a fraud."""
    return _AFTER.search(name) is not None


def is_measure(name: str) -> bool:
    """Whether a name means a count or a measurement."""
    return bool(MEASURES & set(words(name)))


def is_code(name: str) -> bool:
    """Whether whole numbers of this name are codes, not amounts."""
    parts = [part.removesuffix("s") if part.removesuffix("s") in _CODES else part for part in words(name)]
    if is_measure(name):
        return False
    if len(parts) > 1 and parts[-1] == "num" and parts[-2] in _NUMBERED:
        return True
    return bool(_CODES & set(parts)) or (bool(parts) and parts[-1] in _NUMBERS)


def composed(name: str, known: Collection[str]) -> str:
    """A column's name with its letters and accents in one (NFC), as most programs write it, unless it is ``known``."""
    return name if name.isascii() or name in known else unicodedata.normalize("NFC", name)


def distinct(wanted: Iterable[str], header: Collection[str]) -> tuple[list[str], list[str]]:
    """Every name once: a repeated one gets a number, with which it is not in ``header``; and notes on those.

    >>> distinct(["a", "a", "a_2"], ["a", "a", "a_2"])
    (['a', 'a_3', 'a_2'], ['several columns are called a: a further one is a_3'])
    """
    names: list[str] = []
    notes = []
    for name in wanted:
        if name in names:
            doubled, copies = name, 2
            while (name := f"{doubled}_{copies}") in names or name in header:
                copies += 1
            notes.append(f"several columns are called {doubled}: a further one is {name}")
        names.append(name)
    return names, notes
