"""The types of columns of text: numbers where (nearly) all values are numbers, else words."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import polars as pl

from fraudlab.config.overrides import literal_text
from fraudlab.data.sources.table.names import is_code
from fraudlab.data.sources.table.spelt import (
    MOST_ODD,
    advice,
    are_measured,
    numbers_of,
    odd_numbers,
    settings,
    spellings,
)
from fraudlab.errors import UserError
from fraudlab.features.values import NA_WORDS, RawColumns, Spelling, clean, is_text
from fraudlab.schema import Column, ColumnType, Role

_MOST_WORDS = 100  # different ones among those
_SAMPLE = 5_000
_MIXED = 0.5  # share of numbers above which a column of words is asked about
_THIRDS = r"^[+-]?\d{1,3}\.\d{3}$"
PHONE = r"^\+[1-9]\d{6,14}$"  # a telephone's number, which is no quantity
_BOOLEANS = ("true", "false", "True", "False", "TRUE", "FALSE")


class Kinds:
    """Facts about the columns of text, from all rows.

    Args:
        frame: raw columns.
        untyped: columns whose types are to be found.
        roles: the roles that the settings give.
        missing_values: words for a missing value.
        spelling: how numbers are written.
    """

    def __init__(
        self,
        frame: pl.LazyFrame,
        untyped: Collection[str],
        roles: Mapping[str, Role],
        missing_values: Collection[str],
        spelling: Spelling,
    ) -> None:
        self.notes: list[str] = []
        self._frame = frame
        self._types = frame.collect_schema()
        self._roles = roles
        self._words = tuple(missing_values)
        self._spelling = spelling
        # Text that is typed elsewhere has to be read where a role wants numbers.
        wanted = [
            n for n, dtype in self._types.items() if is_text(dtype) and roles.get(n) in ("numeric", "amount", "weight")
        ]
        self._read = [n for n in self._types if (n in untyped and is_text(self._types[n])) or n in wanted]
        self._typed_text = [n for n, t in self._types.items() if is_text(t) and n not in (*self._read, *roles)]
        self._facts = self._counts(self._read)

    def columns(self) -> list[Column]:
        """Every raw column with its type and its words for a missing value.

        Raises:
            UserError: a column of numbers holds other words, or a setting would make it a column of numbers.
        """
        found: list[Column] = []
        odd: dict[str, ColumnType] = {}
        strange: dict[str, list[str]] = {}
        mixed: list[str] = []
        for name, dtype in self._types.items():
            if name not in self._facts:
                found.append(Column(name, column_type(dtype), "carried", missing_values=self._words))
                continue
            kind = self._kind(name)
            if kind in ("integer", "number") and self._odd(name, False):
                odd[name] = kind
            if kind is None:
                strange[name] = self._sample(name)
            if kind == "string" and name not in self._roles:
                mixed += self._mixed(name)
            found.append(Column(name, kind or "string", "carried", missing_values=self._words))
        self._refuse(strange)
        if mixed:
            raise UserError("; ".join(mixed))
        self._of_typed_text()
        words = self._odd_words(odd)
        return [
            Column(c.name, c.type, c.role, missing_values=(*c.missing_values, *words.get(c.name, ()))) for c in found
        ]

    def _kind(self, name: str) -> ColumnType | None:
        """The type of the values; None if numbers are meant or likely and this number format reads none."""
        fact, role = self._facts[name], self._roles.get(name)
        if role == "label":
            return "string"
        known, numbers = fact["known"], fact["numbers"]
        exact = role in ("categorical", "id", "card", "terminal")
        if known and fact["booleans"] == known and role not in ("id", "card", "terminal", "time"):
            return "boolean"
        if not numbers or self._odd(name, exact) > (0 if exact else MOST_ODD * known):
            if role in ("numeric", "amount", "weight"):
                return None if known > fact["na"] else "number"
            return "string" if role is not None or not known or not self._looks_like_numbers(name) else None
        if (fact["zeros"] or 0 < fact["phones"] == known - fact["na"]) and role not in ("numeric", "amount", "weight"):
            if role is None:
                has = f"zeros before its numbers ({fact['zero']})" if fact["zeros"] else "numbers of telephones"
                self.notes.append(
                    f"column {name} has {has}: they are codes, categorical; "
                    f"data.numeric=[{literal_text(name)}] makes them numbers"
                )
            return "string"
        if fact["whole"] == numbers and (exact or fact["points"] == 0):
            return "integer"
        if fact["points"] > 1 and fact["thirds"] == fact["points"] and self._spelling == Spelling():
            self.notes.append(
                f"column {name}: every fraction has three digits, as 1.234: if these are thousands, say "
                "data.decimal=',' data.thousands='.'"
            )
        if role in ("id", "card", "terminal") or (exact and fact["large"]):
            return "string"
        return "number"

    def _odd(self, name: str, exact: bool) -> int:
        fact = self._facts[name]
        return int(fact["known"] - fact["numbers"] - (0 if exact else fact["na"]))

    def _counts(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """Counts of cells by the types that can read them; regular expressions only if cheaper counts do not decide."""
        text = {name: pl.col(f"{name}\0text") for name in names}
        cleaned = self._frame.select(clean(pl.col(name), self._words).alias(f"{name}\0text") for name in names)
        parsed = cleaned.with_columns(self._spelling.number(text[name]).alias(f"{name}\0number") for name in names)
        plain = self._spelling == Spelling()  # whole numbers that have a point are counted below
        facts = self._row(
            parsed,
            {
                name: {
                    "known": text[name].count(),
                    "numbers": pl.col(f"{name}\0number").count(),
                    "large": (pl.col(f"{name}\0number").abs() >= 2**53).sum(),
                    "points": text[name].str.contains(self._spelling.decimal, literal=True).sum(),
                    "zeros": (text[name].str.starts_with("0") & ~text[name].str.starts_with("0.")).sum(),
                    "zero": (text[name] == "0").sum(),
                    "na": text[name].is_in(NA_WORDS).sum(),
                    "phones": text[name].str.starts_with("+").sum(),
                    "booleans": text[name].is_in(_BOOLEANS).sum(),
                    "whole": (text[name].cast(pl.Int64, strict=False) if plain else self._spelling.integer(text[name]))
                    .count(),
                }
                for name in names
            },
        )  # fmt: skip
        numbers = [name for name in names if facts[name]["numbers"]]
        asked: dict[str, dict[str, pl.Expr]] = {name: {} for name in numbers}
        for name in numbers:
            if facts[name]["zeros"] > facts[name]["zero"]:
                zeros = text[name].str.contains(r"^0\d+$")
                asked[name] |= {"zeros": zeros.sum(), "zero": text[name].filter(zeros).first()}
            if 0 < facts[name]["phones"] == facts[name]["known"] - facts[name]["na"]:
                asked[name]["phones"] = text[name].str.contains(PHONE).sum()
            if facts[name]["points"] and plain:
                asked[name]["whole"] = self._spelling.integer(text[name]).count()
        for name in self._with_thirds([name for name in numbers if facts[name]["points"] > 1 and plain]):
            asked[name]["thirds"] = text[name].str.contains(_THIRDS).sum()
        exact = ("categorical", "id", "card", "terminal")
        asked = {n: each for n, each in asked.items() if {*each} - {"whole"} or (each and self._roles.get(n) in exact)}
        more = self._row(cleaned, asked)
        return {name: {**facts[name], "zeros": 0, "thirds": 0, **more.get(name, {})} for name in names}

    def _with_thirds(self, names: Collection[str]) -> list[str]:
        """Columns in whose first rows every fraction has three digits."""
        cells = {name: clean(pl.col(name), self._words) for name in names}
        pointed = self._head.select(cell.filter(cell.str.contains(".", literal=True)).str.contains(_THIRDS).all()
                                    .alias(name) for name, cell in cells.items())  # fmt: skip
        return [name for name in names if pointed[name].item()]

    def _row(self, frame: pl.LazyFrame, asked: Mapping[str, Mapping[str, pl.Expr]]) -> dict[str, dict[str, Any]]:
        parts = [pl.struct(value.alias(key) for key, value in each.items()).alias(name) for name, each in asked.items()]
        return frame.select(parts).collect(engine="streaming").row(0, named=True) if parts else {}

    def _sample(self, name: str) -> list[str]:
        text = clean(pl.col(name), {*self._words, *NA_WORDS})
        found = self._head.select(text).drop_nulls()
        if not len(found):  # it begins with gaps
            found = self._frame.select(text).drop_nulls().head(_SAMPLE).collect()
        return found[name].unique(maintain_order=True).to_list()

    def _mixed(self, name: str) -> list[str]:
        """The refusal of a column of words most of which are numbers; a note where they are plainly codes."""
        fact, sample = self._facts[name], self._sample(name)
        known = fact["known"] - fact["na"]
        if fact["zeros"] or fact["phones"] == known or not known:
            return []
        plain, spelt = self._told_apart(sample)
        likely = len(plain) + len(spelt) >= (1 - MOST_ODD) * len(sample)
        if not fact["numbers"]:
            return [self._spelt(name, plain, spelt)] if likely and are_measured(spelt, self._spelling.decimal) else []
        if not likely and fact["numbers"] <= _MIXED * known:
            return []
        counts = self._unread(name, "number").head(_SAMPLE)
        words, cells = counts[name].to_list(), dict(counts.iter_rows())
        spelt = odd_numbers(words)
        if sum(cells[word] for word in {*words} - {*spelt}) <= MOST_ODD * known:
            return [self._spelt(name, plain, spelt)]
        if fact["numbers"] <= _MIXED * known:
            return []
        shown = ", ".join(f"{word!r} {count} times" for word, count in counts.head(5).iter_rows())
        holds = f"column {name} holds {fact['numbers']} numbers and {known - fact['numbers']} other cells ({shown})"
        as_words = sum(count for word, count in cells.items() if not any(map(str.isdigit, word)))
        if (
            len(words) <= _MOST_WORDS
            and are_measured(plain, self._spelling.decimal)
            and 2 * as_words > sum(cells.values())
        ):
            more = "" if len(words) <= 20 else ", and so on with the other words"
            return [f"{holds}: data.missing_values={yaml_list(words[:20])}{more} counts them as missing, "
                    f"data.categorical=[{literal_text(name)}] keeps the column as text"]  # fmt: skip
        self.notes.append(f"{holds}: it is categorical; data.categorical=[{literal_text(name)}] says so")
        return []

    def _spelt(self, name: str, plain: Collection[str], odd: Collection[str]) -> str:
        """The refusal of numbers that are not written as the settings say."""
        ways = advice(plain, odd) if len(odd) else []
        first = ", ".join(map(repr, [*list(plain)[:1], *list(odd)[:2]]))
        how = f"say {' or '.join(sorted(ways))}" if ways else "write all of them as -1234.5 in the file"
        text = literal_text(name)
        return (
            f"column {name} holds numbers that are not all written in one known way ({first}): {how}, or "
            f"give a role, data.categorical=[{text}] or data.carried=[{text}]"
        )

    def _told_apart(self, sample: Collection[str]) -> tuple[list[str], list[str]]:
        """The numbers that the settings read, and those that are written otherwise."""
        plain = numbers_of(sample, self._spelling)
        known = set(plain)
        return plain, odd_numbers([word for word in sample if word not in known])

    def _of_typed_text(self) -> None:
        """Notes on numbers that a file of types holds as text."""
        for name in (name for name in self._typed_text if not is_code(name)):
            words = self._head.select(clean(pl.col(name), {*self._words, *NA_WORDS}).drop_nulls())
            sample = words[name].unique(maintain_order=True).to_list()
            plain, odd = self._told_apart(sample)
            zeros = any(len(word) > 1 and word[0] == "0" and word.isdigit() for word in sample)
            phones = all(re.match(PHONE, word) for word in sample)
            if sample and not (zeros or phones) and len(plain) + len(odd) >= (1 - MOST_ODD) * len(sample):
                ways = [*advice(plain, odd), ""][0] if odd else ""
                text = literal_text(name)
                self.notes.append(
                    f"column {name} is text that holds numbers ({', '.join(map(repr, sample[:3]))}): {ways}"
                    f"{' ' if ways else ''}data.numeric=[{text}] reads them, data.categorical=[{text}] keeps the text"
                )

    def _unread(self, name: str, kind: ColumnType) -> pl.DataFrame:
        """The words of a column that are not of this type, and how often each occurs."""
        raw = RawColumns([Column(name, kind, "carried", missing_values=self._words)], self._spelling)
        unread = self._frame.filter(raw.unread(self._types)[name]).select(raw.text(name))
        return unread.collect()[name].value_counts(sort=True)

    @cached_property
    def _head(self) -> pl.DataFrame:
        return self._frame.select([*self._read, *self._typed_text]).head(_SAMPLE).collect()

    def _looks_like_numbers(self, name: str) -> bool:
        return bool(spellings(self._sample(name)))

    def _refuse(self, strange: Mapping[str, list[str]]) -> None:
        """One message for all columns whose numbers are written in another way."""
        said: list[str] = []
        asked: set[str] = set()
        for name, sample in strange.items():
            found = spellings(sample)
            role = self._roles.get(name)
            if not found and len(odd_numbers(sample)) == len(sample):
                raise UserError(self._spelt(name, [], sample))
            if not found:
                text = clean(pl.col(name), {*self._words, *NA_WORDS})
                odd = self._frame.select(text.filter(self._spelling.number(text).is_null()).drop_nulls().first())
                raise UserError(
                    f"column {name} is {role} but holds {odd.collect().item()!r}, which is not a number; if that means "
                    "missing, add it to data.missing_values, else give the column another role"
                )
            asked.update(settings(spelling) for spelling in found)
            said.append(f"column {name} looks like numbers ({', '.join(map(repr, sample[:3]))})")
        if said:
            names = ", ".join(map(literal_text, strange))
            raise UserError(
                f"{'; '.join(said)}: say how they are written, {' or '.join(sorted(asked))}, or give a role, "
                f"data.categorical=[{names}] or data.carried=[{names}]"
            )

    def _odd_words(self, kinds: Mapping[str, ColumnType]) -> dict[str, list[str]]:
        """The words in columns of numbers that are not numbers, and the notes on them."""
        found: dict[str, list[str]] = {}
        for name, kind in kinds.items():
            counts = self._unread(name, kind)
            words = counts[name].to_list()
            if spelt := odd_numbers(words):
                ways = advice(numbers_of(self._sample(name), self._spelling), spelt)
                how = f"{' or '.join(sorted(ways))} reads them" if ways else "write them as the others in the file"
                raise UserError(
                    f"column {name} holds numbers, {len(spelt)} of which are written otherwise "
                    f"({', '.join(map(repr, spelt[:3]))}): {how}; data.missing_values={yaml_list(spelt[:20])} counts "
                    "them as missing"
                )
            if len(words) > _MOST_WORDS:
                raise UserError(
                    f"column {name}: {counts['count'].sum()} cells are not numbers, with {len(words)} different words "
                    f"({', '.join(map(repr, words[:3]))}, …); data.categorical=[{literal_text(name)}] or "
                    f"data.carried=[{literal_text(name)}] keeps the column as text"
                )
            if words:
                shown = ", ".join(f"{word!r} {count} times" for word, count in counts.head(5).iter_rows())
                self.notes.append(
                    f"column {name} holds numbers and {counts['count'].sum()} other cells ({shown}), which count as "
                    f"missing: data.missing_values={yaml_list(words[:5])} says so, "
                    f"data.categorical=[{literal_text(name)}] keeps them"
                )
            found[name] = words
        return found

    def na_words(self) -> Iterator[str]:
        """Notes on the words that programs write for a missing number."""
        for name, fact in self._facts.items():
            if self._roles.get(name) == "label":
                continue
            if fact["na"] and fact["numbers"] and fact["na"] + fact["numbers"] >= (1 - MOST_ODD) * fact["known"]:
                yield f"column {name}: {fact['na']} cells such as NA, N/A or null count as missing numbers"


def yaml_list(words: Iterable[str]) -> str:
    """Words as a YAML flow list, quoted where necessary."""
    quoted = ("'" + word.replace("'", "''") + "'" for word in words)
    return f"[{', '.join(quoted)}]"


def column_type(dtype: pl.DataType) -> ColumnType:
    """The JSON type of a record's field for a column of this type."""
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_temporal() and dtype not in (pl.Time, pl.Duration):
        return "datetime"
    if dtype.is_integer():
        return "integer"
    return "number" if dtype.is_numeric() else "string"
