"""Every n-th row of a table, as text and with types, and the format of its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from fraudlab.config import TableConfig
from fraudlab.data.sources.table import roles, source
from fraudlab.data.sources.table.columns import is_plain
from fraudlab.data.sources.table.files import Found, head
from fraudlab.data.sources.table.kinds import Kinds
from fraudlab.data.sources.table.scan import Raw
from fraudlab.data.sources.table.spelt import MOST_ODD, spellings
from fraudlab.features.values import NA_WORDS, RawColumns, Spelling, clean, is_text
from fraudlab.schema import Column, Role

MOST_ROWS = 100_000
"""Approximate number of rows of a sample."""
_MOST_TYPED = 20_000
_COMPRESSION = 6  # bytes of a table for one of its compressed file
_WORDS_OF_THEIR_OWN = ("None", "none", "nil", "-", "missing")  # in a column of words, a category like the others
_VALUES = 2_000  # of a column, different ones


@dataclass(frozen=True)
class Sample:
    """Every n-th row of a table.

    Attributes:
        raw: the whole table.
        text: the rows as written in the files.
        typed: fewer of the rows, with types; none until :func:`typed` has been called.
        columns: the types of the columns.
        spelling: how numbers are written.
        unread: columns that look like numbers in another format.
        complete: whether these are all rows of the table.
    """

    raw: Raw
    text: pl.DataFrame
    typed: pl.DataFrame = field(default_factory=pl.DataFrame)
    columns: Sequence[Column] = ()
    spelling: Spelling = field(default_factory=Spelling)
    unread: tuple[str, ...] = ()
    complete: bool = False

    @property
    def counted(self) -> str:
        """What stands before a number of :meth:`different` values."""
        return "" if self.complete else "about "

    def different(self, name: str) -> pl.Expr:
        """The number of different values in the whole table; of a large one, an approximation."""
        return pl.col(name).drop_nulls().n_unique() if self.complete else pl.col(name).approx_n_unique()

    def whole(self, config: TableConfig) -> pl.LazyFrame:
        """The whole table with types."""
        words = tuple(config.missing_values)
        columns = [replace(each, missing_values=(*each.missing_values, *words)) for each in self.columns]
        return RawColumns(columns, self.spelling).of_rows(self.raw.frame.drop(config.ignored, strict=False))


def take(raw: Raw, files: Sequence[Found]) -> Sample:
    """About :data:`MOST_ROWS` rows, every n-th; all of a small table."""
    every = max(1, _rows(raw, files) // MOST_ROWS)
    rows = raw.frame
    if every > 1:
        rows = rows.with_row_index("\0row").filter(pl.col("\0row") % every == 0).drop("\0row")
    return Sample(raw, rows.collect(engine="streaming"), complete=every == 1)


def _rows(raw: Raw, files: Sequence[Found]) -> int:
    """The approximate number of rows."""
    if not any(found.kind == "text" for found in files):
        return int(raw.frame.select(pl.len()).collect().item())
    rows = 0.0
    for found in files:
        start, size = head(found.path), found.path.stat().st_size
        packed = _COMPRESSION if found.path.suffix.lower() in (".gz", ".zst", ".zip") else 1
        rows += packed * size / max(1, len(start)) * start.count(b"\n")
    return int(rows)


def typed(sample: Sample, config: TableConfig) -> Sample:
    """The sample with typed rows, in the number format that reads most of its columns of numbers.

    Args:
        sample: rows.
        config: the settings; the label stays as it is, unless it is derived.

    Raises:
        UserError: the settings name a column that the table does not have, or give one two roles.
    """
    text = sample.text.gather_every(max(1, len(sample.text) // _MOST_TYPED)).drop(config.ignored, strict=False)
    given = roles.given(config, [*sample.text.columns, *config.derive, roles.ROW_ID])
    own = {name: role for name, role in given.items() if name not in config.derive}
    open_ = [n for n in text.columns if n in sample.raw.untyped and own.get(n) in (None, "numeric", "amount")]
    spelling = source.spelling_of(config)
    unread: tuple[str, ...] = ()
    if spelling == Spelling():
        spelling, unread = _spelling(text.select(open_), semicolons=config.separator == ";")
    of_unread: dict[str, Role] = dict.fromkeys(unread, "carried")
    kinds = Kinds(text.lazy(), sample.raw.untyped, {**of_unread, **own}, config.missing_values, spelling)
    columns = [c for c in kinds.columns() if is_plain(text.schema[c.name]) and own.get(c.name) != "label"]
    rows = RawColumns(columns, spelling).of_rows(text)
    return replace(sample, typed=rows, columns=columns, spelling=spelling, unread=unread)


def marked(
    config: TableConfig, typed: pl.DataFrame, why: dict[str, str], doubts: list[str]
) -> tuple[TableConfig, pl.DataFrame]:
    """The settings with the words for a missing value that columns of words hold, and the rows without them."""
    text = [name for name, dtype in typed.schema.items() if is_text(dtype) and name != config.label]
    marks = [word for word in NA_WORDS if word not in _WORDS_OF_THEIR_OWN]
    if config.missing_values or not text:
        return config, typed
    here = typed.select(pl.col(text).cast(pl.String)).unpivot().filter(pl.col("value").is_in(marks))
    if "NA" in here["value"]:  # Namibia among countries
        codes = typed.select(pl.col(text).cast(pl.String).str.contains(r"^[A-Z]{2}$").all()).row(0, named=True)
        have = here.filter(pl.col("value") == "NA")["variable"].unique(maintain_order=True)
        values, gaps = ([name for name in have if codes[name] == is_code] for is_code in (True, False))
        if values:  # a word is missing in all columns or in none
            here = here.filter(pl.col("value") != "NA")
        if values and gaps:
            doubts.append(
                f"NA is a word like the others in {', '.join(gaps)}, since it may be a country in {', '.join(values)}: "
                "data.missing_values=[NA] makes it a missing value in all of them"
            )
    if not len(here):
        return config, typed
    words, names = (here[key].unique(maintain_order=True).to_list() for key in ("value", "variable"))
    why["missing_values"] = f"in all columns; found in {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
    known = (pl.when(~pl.col(name).cast(pl.String).is_in(words)).then(pl.col(name)).alias(name) for name in names)
    return replace(config, missing_values=words), typed.with_columns(known)


def written(sample: Sample, config: TableConfig, folder: Path) -> TableConfig:
    """The rows as a file in ``folder``, and the settings that read it as ``config`` reads the whole table."""
    if not sample.raw.untyped:
        sample.text.write_parquet(folder / "rows.parquet")
        return replace(config, path=str(folder / "rows.parquet"), query=None)
    sample.text.write_csv(folder / "rows.csv")
    layout: dict[str, Any] = {"separator": ",", "quote": '"', "encoding": None, "header": True, "columns": []}
    return replace(config, path=str(folder / "rows.csv"), query=None, **layout)


def _spelling(text: pl.DataFrame, semicolons: bool) -> tuple[Spelling, tuple[str, ...]]:
    """The number format that reads most columns, and the columns of numbers that it does not read."""
    found: dict[str, list[Spelling]] = {}
    plain: dict[str, pl.DataFrame] = {}
    for name in text.columns:
        values = text.select(clean(pl.col(name), NA_WORDS).drop_nulls().unique().head(_VALUES).alias("value"))
        if not len(values) or not values["value"].str.contains(r"\d").any():
            continue
        plain[name] = values
        if not _reads(Spelling(), values) and (made := spellings(values["value"].to_list())):
            found[name] = made
    if not found:
        return Spelling(), ()
    every = [spelling for made in found.values() for spelling in made]
    flags = {key: any(getattr(s, key) for s in every) for key in ("currency", "percent", "brackets")}
    pairs = dict.fromkeys([(".", ""), *((s.decimal, s.thousands) for s in every)])
    first = "," if semicolons else "."  # decides between two that read equally many
    best = max(
        (Spelling(decimal, thousands, **flags) for decimal, thousands in pairs),
        key=lambda spelling: (sum(_reads(spelling, values) for values in plain.values()), spelling.decimal == first),
    )
    # Also those that the usual format reads and the best one does not: 48.021 beside 12,50.
    read = [name for name in plain if name in found or _reads(Spelling(), plain[name])]
    return best, tuple(name for name in read if not _reads(best, plain[name]))


def _reads(spelling: Spelling, values: pl.DataFrame) -> bool:
    read = values.select(spelling.number(pl.col("value")).null_count()).item()
    return bool(read <= MOST_ODD * len(values))
