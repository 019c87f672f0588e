"""The role of each column: from the settings, else from its type and values."""

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

import polars as pl
from polars.exceptions import PolarsError

from fraudlab.config import TableConfig
from fraudlab.config.overrides import literal, literal_text
from fraudlab.data.sources.table.derive import read_by
from fraudlab.data.sources.table.names import quoted, to_type
from fraudlab.data.sources.table.times import is_time
from fraudlab.errors import UserError
from fraudlab.features.values import is_text
from fraudlab.schema import Role

ROW_ID = "row_id"
_SAMPLE = 2_000
_MANY_ROWS = 100  # with fewer rows, a different word in every row does not mean an identifier
_A_WORD_A_ROW = 0.5  # share of different words
# What pandas and Excel's reader call an index that had no name.
_INDEX = re.compile(
    r"unnamed: ?0(\.\d+)?|index|level_0|__index_level_0__|__unnamed__\d+|rownames|row\.names", re.IGNORECASE
)
_MAIL = r"^[^\s@]+@[^\s@]+\.(\p{L}{2,}|xn--[A-Za-z0-9-]+)$"
_EXPRESSIONS = {
    pl.Time: "EXTRACT(hour FROM {})",
    pl.List: "ARRAY_LENGTH({})",
    pl.Struct: "{}.<field>",
}


def given(config: TableConfig, columns: Collection[str]) -> dict[str, Role]:
    """The roles that the settings give, each to an existing column.

    Raises:
        UserError: a column does not exist or has two roles.
    """
    asked: list[tuple[str, Role, str]] = [("data.label", "label", config.label)]
    one_column: tuple[tuple[Role, str | None], ...] = (
        ("id", ROW_ID if config.id is None else config.id),
        ("time", config.time),
        ("card", config.card),
        ("terminal", config.terminal),
        ("amount", config.amount),
        ("label_time", config.label_time),
        ("weight", config.weight),
    )
    asked += [(f"data.{role}", role, name) for role, name in one_column if name is not None]
    many: tuple[tuple[Role, list[str]], ...] = (
        ("categorical", config.categorical),
        ("numeric", config.numeric),
        ("carried", config.carried),
    )
    asked += [(f"data.{role}", role, name) for role, names in many for name in names]
    roles: dict[str, Role] = {}
    for key, role, name in asked:
        if name not in columns:
            raise UserError(no_column(key, name, columns))
        if roles.setdefault(name, role) != role:
            raise UserError(f"column {name} has the role {roles[name]} and, in {key}, {role}; give it one of them")
    for name in config.ignored:
        if name not in columns:
            raise UserError(no_column("data.ignored", name, columns))
        if name in roles:
            raise UserError(f"column {name} has the role {roles[name]} and is in data.ignored; give it one of them")
    return roles


def no_column(key: str, name: str, have: Iterable[str]) -> str:
    """The message for a column that a setting names and the table lacks."""
    lower = {column.lower(): column for column in have}
    near = get_close_matches(name.lower(), lower, n=1)
    if not name:
        hint = f"a column without a name is called by its number: {', '.join(lower.values())}"
    else:
        hint = f"did you mean {lower[near[0]]}?" if near else f"the table has: {', '.join(lower.values())}"
    if len([column for column in lower if column != ROW_ID]) == 1:
        hint += "; if this should be several columns, say what separates them: data.separator"
    return f"{key}={name}: the table has no such column; {hint}"


def settle(
    frame: pl.LazyFrame, fixed: Mapping[str, Role], config: TableConfig, unnamed: Collection[str]
) -> tuple[dict[str, Role], dict[str, str]]:
    """The role of every kept column, in table order, and the reason for columns that are not inputs by themselves.

    Args:
        frame: the table, with derived columns.
        fixed: the roles that the settings give.
        config: the settings.
        unnamed: columns that no header names.
    """
    types = frame.collect_schema()
    makes = {
        name for name in config.derive if fixed.get(name) in ("label", "label_time", "time", "amount", "id", "weight")
    }
    sources = read_by(config.derive, makes) - makes
    roles: dict[str, Role] = {}
    left_out: dict[str, str] = {}
    own = [name for name in types if name not in fixed and name not in config.ignored]
    facts = _facts(frame, own, unnamed)
    head = frame.select(name for name in own if is_text(types[name])).head(_SAMPLE).collect()
    for name, dtype in types.items():
        if name in config.ignored:
            continue
        if name in fixed:
            if fixed[name] == "label" and (dtype.is_nested() or dtype in (pl.Duration, pl.Binary, pl.Time)):
                raise UserError(
                    f"{literal('data.label', name)} has type {dtype}, which is no label; make it text or a number in "
                    "the file, or derive one: data.derive"
                )
            roles[name] = fixed[name]
            continue
        role, why = _by_values(head, name, dtype, facts[name], name in unnamed, types)
        if name in sources and role is not None:
            role, why = "carried", "read by data.derive for a label, time, amount or id"
        if role is not None:
            roles[name] = role
        if why is not None:
            left_out[name] = why
    return roles, left_out


def no_inputs(why: Mapping[str, str]) -> list[str]:
    """Notes on columns that are not inputs, grouped by reason."""
    together: dict[str, list[str]] = {}
    for name, reason in why.items():
        together.setdefault(reason, []).append(name)
    return [f"not inputs: {', '.join(names)} ({reason})" for reason, names in together.items()]


def domain_of_mail(name: str, values: pl.Series, columns: Collection[str]) -> tuple[str, str] | None:
    """A column for the domain of addresses of mail, and its SQL.

    Args:
        name: the column of addresses.
        values: its text.
        columns: names that are taken.

    Returns:
        None if the values are no addresses or have one domain, or if the column is there.
    """
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    made = (plain if plain[:1].isalpha() else f"mail_{plain}".rstrip("_")) + "_domain"
    text = values.cast(pl.String).drop_nulls()
    if made in columns or not len(text) or not text.str.contains(_MAIL).all():
        return None
    several = text.str.extract("@(.*)$").str.to_lowercase().n_unique() > 1
    return (made, f"LOWER(SPLIT_PART({quoted(name)}, '@', 2))") if several else None


def _by_values(
    head: pl.DataFrame,
    name: str,
    dtype: pl.DataType,
    fact: Mapping[str, int | None],
    unnamed: bool,
    columns: Collection[str],
) -> tuple[Role | None, str | None]:
    """The role of a column that the settings do not name; None: left out."""
    rows, known = fact["rows"] or 0, fact["known"] or 0
    if not (is_text(dtype) or dtype.is_numeric() or dtype in (pl.Boolean, pl.Null, pl.Datetime, pl.Date, pl.Binary)):
        expression = next((made for kind, made in _EXPRESSIONS.items() if dtype == kind), "")
        make = f'; derive: {{{name}_of: "{expression.format(name)}"}} makes a column of it' if expression else ""
        return None, f"{name} has type {dtype}, which is not used{make}"
    if dtype == pl.Binary and not fact["text"]:
        return None, "bytes that are not text"
    if unnamed and not known:
        return None, "an empty column without a name"
    if (rows >= _MANY_ROWS and fact["first"] in (0, 1)) or (unnamed and dtype.is_integer()) or fact["index"]:
        return "carried", f"the number of the row; data.numeric=[{literal_text(name)}] makes it an input"
    if dtype.is_temporal():
        return "carried", "a time; derive e.g. its hour with data.derive"
    if not is_text(dtype):
        return ("numeric" if dtype.is_numeric() else "categorical"), None
    different = min(fact["different"] or 0, known)  # the count is approximate
    many = known >= _MANY_ROWS and different > _A_WORD_A_ROW * known
    if is_time(head[name].cast(pl.String).drop_nulls().unique(maintain_order=True)):
        return "carried", f"a date as text; {literal('data.time', name)}, or derive e.g. its hour with data.derive"
    if many:
        said = f"nearly a word a row ({different:,} in {known:,}); data.categorical=[{literal_text(name)}] keeps it"
        if domain := domain_of_mail(name, head[name], columns):
            said += f", {to_type(f'+data.derive.{domain[0]}', domain[1])} has the domains of the addresses"
        return "carried", said
    return "categorical", None


def holds_text(frame: pl.LazyFrame, name: str) -> bool:
    """Whether a column of bytes holds text alone; Polars refuses others even where a cast is not strict."""
    try:
        frame.select(pl.col(name).cast(pl.String).count()).collect()
    except PolarsError:
        return False
    return True


def _facts(frame: pl.LazyFrame, names: Collection[str], unnamed: Collection[str]) -> dict[str, dict[str, int | None]]:
    types = frame.collect_schema()
    parts = []
    for name in names:
        value = pl.col(name)
        behind = value.cast(pl.Int64, strict=False) - pl.int_range(pl.len(), dtype=pl.Int64)
        steady = (behind.min() == behind.max()) & (value.null_count() == 0)
        text = is_text(types[name])
        index: pl.Expr = pl.lit(value=False)
        if (name in unnamed or _INDEX.fullmatch(name)) and (types[name].is_integer() or types[name].is_float()):
            # A table that was shuffled or filtered keeps the numbers that its rows had.
            index = (value.n_unique() == pl.len()) & (value.null_count() == 0) & (value == value.floor()).all()
        parts.append(
            pl.struct(
                rows=pl.len(),
                known=value.count(),
                index=index,
                first=pl.when(steady).then(behind.first()) if types[name].is_integer() else pl.lit(None, pl.Int64),
                text=types[name] != pl.Binary or holds_text(frame, name),
                different=value.cast(pl.String).approx_n_unique() if text else pl.lit(None, pl.UInt32),
            ).alias(name)
        )
    return frame.select(parts).collect(engine="streaming").row(0, named=True) if parts else {}
