"""``data=table``: any CSV or Parquet table, with the columns' roles given in the settings."""

from collections.abc import Iterable
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass
from polars.exceptions import InvalidOperationError, NoDataError, PolarsError

from fraudlab.config import TableConfig
from fraudlab.data.sources.contract import Source, contents_of, fingerprint_of
from fraudlab.errors import UserError
from fraudlab.features.missing import MissingValues
from fraudlab.files import make_once
from fraudlab.schema import Column, ColumnType, Role, TableSchema

VERSION = 2  # of the reading: raised with any change that gives other data from the same file

ROW_ID = "row_id"
_PARQUET, _CSV = (".parquet", ".pq"), (".csv", ".csv.gz")
_BEYOND_INT64 = (pl.UInt64, pl.Int128, pl.UInt128)
_DType = pl.DataType | DataTypeClass


def load(config: TableConfig, cache_dir: Path) -> Source:
    """The table at ``data.path``, in order and kept as Parquet in ``cache_dir``.

    All columns are read once here, to check them and to learn which of them have missing values. Columns without a
    role become ``numeric`` or ``categorical`` by their type; dates become ``carried``. Text in ``data.numeric`` or
    ``data.amount`` is turned into Float64, a date or ISO text in ``data.time`` into Datetime (microseconds; with a time
    zone: in UTC), NaN into null, whole numbers beyond 64 bits into Float64 or, of an id, a card or a category, into
    text. Without ``data.id``, the row's number in the file is the id ``row_id`` (Int64).

    Raises:
        UserError: there is no such file; a file cannot be read or has other columns than the first; the table is empty;
            a column is missing, is given two roles or does not suit its role; an id is doubled; an id, a time or a
            label is missing; a label is not 0 or 1; a value of a numeric column is no number; a time or an amount
            is infinite.
    """
    files = _files(config.path)
    raw = _as_int64_where_it_fits(_derived(_scan(files, config), config), config)
    if config.id is None:
        if ROW_ID in raw.collect_schema():
            raise UserError(f"the table has a column {ROW_ID} already: say data.id={ROW_ID}, or name the id column")
        raw = raw.with_row_index(ROW_ID).with_columns(pl.col(ROW_ID).cast(pl.Int64))
    types = raw.collect_schema()
    roles = _roles(config, types)
    settled = {name: _settled(name, types[name], role, config) for name, role in roles.items()}
    nulls = _check(raw, roles, settled, config)

    frame = raw.select(value.alias(name) for name, value in settled.items())
    order = [name for role in ("time", "id") for name, has in roles.items() if has == role]
    if order != [ROW_ID]:
        frame = frame.sort(order)
    marked = set(roles) - {config.label, config.id or ROW_ID, *config.derive}
    words = dict.fromkeys(marked, tuple(config.missing_values))
    columns = (
        Column(name, _column_type(dtype), roles[name], nullable=nulls[name] > 0, missing_values=words.get(name, ()))
        for name, dtype in frame.collect_schema().items()
    )
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    fingerprint = fingerprint_of({**asdict(config), "files": stats, "version": VERSION})
    path = cache_dir / f"{config.name}_{fingerprint}.parquet"
    make_once(path, lambda aside: frame.sink_parquet(aside, compression="lz4"))
    contents = path.with_suffix(".json")
    make_once(contents, lambda aside: aside.write_text(contents_of(files)))
    made_of = {**asdict(config), "path": None, "files": contents.read_text(), "version": VERSION}
    return Source(
        pl.scan_parquet(path, glob=False),
        TableSchema(config.name, tuple(columns)),
        fingerprint,
        data_fingerprint=fingerprint_of(made_of),
    )


def _files(path: str) -> list[Path]:
    given = Path(path).expanduser()
    if given.is_file():
        found = [given]
        if not given.name.endswith(_PARQUET + _CSV):
            raise UserError(f"data.path={path} is neither CSV nor Parquet by its name (.csv, .csv.gz or .parquet)")
    elif given.is_dir():
        found = [file for file in given.iterdir() if file.name.endswith(_PARQUET + _CSV)]
        if not found:
            raise UserError(f"data.path={path} is a folder without any .csv, .csv.gz or .parquet file")
    elif any(mark in path for mark in "*?["):
        found = list(Path(given.anchor).glob(str(given.relative_to(given.anchor))))
        found = [file for file in found if file.is_file() and file.name.endswith(_PARQUET + _CSV)]
        if not found:
            raise UserError(f"data.path={path} matches no .csv, .csv.gz or .parquet file; searched {given.absolute()}")
    else:
        raise UserError(f"data.path={path} does not exist ({given.absolute()}); give a file, a folder or a glob")
    if len({file.name.endswith(_CSV) for file in found}) > 1:
        raise UserError(f"data.path={path} holds both CSV and Parquet files; give a glob, e.g. {given / '*.parquet'}")
    return sorted(found)


def _scan(files: list[Path], config: TableConfig) -> pl.LazyFrame:
    frames: list[pl.LazyFrame] = []
    for file in files:
        try:
            if file.name.endswith(_CSV):
                # The whole file settles the types: a decimal in its last row must not break the first 100 rows' guess.
                frame = pl.scan_csv(
                    file, null_values=config.missing_values or None, infer_schema_length=None, glob=False
                )
            else:
                frame = pl.scan_parquet(file, glob=False, hive_partitioning=False)
            names = frame.collect_schema().names()
        except NoDataError as error:
            raise UserError(f"{file} is empty; give a file with a header and rows") from error
        except (PolarsError, OSError) as error:
            raise _unreadable(str(file), error) from error
        if frames:
            first = frames[0].collect_schema().names()
            if different := sorted(set(first) ^ set(names)):
                raise UserError(
                    f"{file} and {files[0]} do not have the same columns (only one has {', '.join(different)}); "
                    "narrow data.path down to files of one table"
                )
            frame = frame.select(first)
        frames.append(_without_missing(frame, config))
    return pl.concat(_numbers_as_text(frames), how="vertical_relaxed")


def _numbers_as_text(frames: list[pl.LazyFrame]) -> list[pl.LazyFrame]:
    """Where a column is text in some file, 150.0 of another is 150: pandas makes whole numbers with gaps decimals."""
    types = [frame.collect_schema() for frame in frames]
    text = {name for schema in types for name, dtype in schema.items() if _is_text(dtype)}
    return [
        frame.with_columns(_as_text(pl.col(name)) for name in text if schema[name].is_float())
        for frame, schema in zip(frames, types, strict=True)
    ]


def _as_text(number: pl.Expr) -> pl.Expr:
    known = number.fill_nan(None)
    whole = known.cast(pl.Int128, strict=False)
    return pl.when(known == whole.cast(pl.Float64)).then(whole.cast(pl.String)).otherwise(known.cast(pl.String))


def _without_missing(frame: pl.LazyFrame, config: TableConfig) -> pl.LazyFrame:
    """Null for ``data.missing_values``, but in a label of numbers: where 0 means missing, it is an answer there."""
    types = frame.collect_schema()
    names = [name for name, dtype in types.items() if name != config.label or _is_text(dtype)]
    numeric = [name for name in (*config.numeric, config.amount) if name is not None]
    return MissingValues(config.missing_values, names, numeric).out_of_rows(frame)


def _derived(frame: pl.LazyFrame, config: TableConfig) -> pl.LazyFrame:
    for name, expression in config.derive.items():
        have = frame.collect_schema().names()
        try:
            frame = frame.with_columns(pl.sql_expr(expression).alias(name))
            frame.collect_schema()
        except PolarsError as error:
            raise UserError(
                f"data.derive.{name}: {_first_line(error)}; give a SQL expression over the columns {', '.join(have)}"
            ) from error
    return frame


def _as_int64_where_it_fits(frame: pl.LazyFrame, config: TableConfig) -> pl.LazyFrame:
    wide = [name for name, dtype in frame.collect_schema().items() if dtype in _BEYOND_INT64]
    if not wide:
        return frame
    value = pl.col(wide)
    facts = _facts(frame.select((value.cast(pl.Int64, strict=False).is_not_null() | value.is_null()).all()), config)
    return frame.with_columns(pl.col(name).cast(pl.Int64) for name, fits in facts.items() if fits)


def _facts(query: pl.LazyFrame, config: TableConfig) -> dict[str, Any]:
    """The one row of ``query``."""
    try:
        return query.collect(engine="streaming").row(0, named=True)
    except (PolarsError, OSError) as error:
        if isinstance(error, InvalidOperationError) and config.derive:
            raise UserError(f"data.derive: {_first_line(error)}; mend the expression") from error
        raise _unreadable(config.path, error) from error


def _roles(config: TableConfig, types: pl.Schema) -> dict[str, Role]:
    """The role of every column, in table order."""
    given: list[tuple[str, Role, str]] = [("data.label", "label", config.label)]
    one_column: tuple[tuple[Role, str | None], ...] = (
        ("id", config.id or ROW_ID),
        ("time", config.time),
        ("card", config.card),
        ("amount", config.amount),
    )
    given += [(f"data.{role}", role, name) for role, name in one_column if name is not None]
    many: tuple[tuple[Role, list[str]], ...] = (
        ("categorical", config.categorical),
        ("numeric", config.numeric),
        ("carried", config.carried),
    )
    given += [(f"data.{role}", role, name) for role, names in many for name in names]

    roles: dict[str, Role] = {}
    for key, role, name in given:
        if name not in types:
            raise UserError(_no_column(key, name, types))
        if roles.setdefault(name, role) != role:
            raise UserError(f"column {name} has the role {roles[name]} and, in {key}, {role}; give it one of them")
    return {name: roles.get(name) or _role_by_type(dtype) for name, dtype in types.items()}


def _role_by_type(dtype: pl.DataType) -> Role:
    if dtype.is_temporal():
        return "carried"
    return "numeric" if dtype.is_numeric() else "categorical"


def _no_column(key: str, name: str, have: Iterable[str]) -> str:
    lower = {column.lower(): column for column in have}
    near = get_close_matches(name.lower(), lower, n=1)
    hint = f"did you mean {lower[near[0]]}?" if near else f"the table has: {', '.join(lower.values())}"
    return f"{key}={name}: the table has no such column; {hint}"


def _settled(name: str, dtype: pl.DataType, role: Role, config: TableConfig) -> pl.Expr:
    """Column ``name`` as its role wants it; a value that cannot be turned becomes null (``_check`` refuses it)."""
    value = pl.col(name)
    if role == "label":
        return _label(value, dtype, config.fraud_value)
    if role in ("numeric", "amount"):
        if _is_text(dtype):
            value, dtype = value.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False), pl.Float64()
        elif dtype == pl.Boolean:
            value, dtype = value.cast(pl.Float64), pl.Float64()
        elif not dtype.is_numeric():
            raise UserError(f"column {name} has type {dtype} and cannot be {role}; derive a number with data.derive")
    elif role == "time" and _is_text(dtype):
        # Only the year first: polars would also read 01/02/2020, and take it for the 1st of February.
        iso = value.cast(pl.String).str.extract(r"^\s*(\d{4}-\d\d-\d\d.*?)\s*$")
        value, dtype = iso.str.to_datetime(time_unit="us", time_zone="UTC", strict=False), pl.Datetime("us", "UTC")
    if isinstance(dtype, pl.Datetime):
        value = value if dtype.time_zone is None else value.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        value, dtype = value.cast(pl.Datetime("us")), pl.Datetime("us")
    elif dtype == pl.Date:
        value, dtype = value.cast(pl.Datetime("us")), pl.Datetime("us")
    elif dtype == pl.Null or _is_text(dtype):
        value, dtype = value.cast(pl.String), pl.String()
    elif dtype in _BEYOND_INT64 and role in ("id", "card", "categorical", "carried"):
        value, dtype = value.cast(pl.String), pl.String()  # as a record and a file to be scored can have it
    elif isinstance(dtype, pl.Decimal) or dtype in _BEYOND_INT64:
        value, dtype = value.cast(pl.Float64), pl.Float64()

    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Datetime)):
        raise UserError(
            f"column {name} has type {dtype}, which cannot be used; make it text or a number with data.derive.{name}, "
            "or leave it out of the file"
        )
    if role == "time" and not (dtype.is_numeric() or dtype == pl.Datetime):
        raise UserError(f"data.time={name}: type {dtype} is no time; give a date, ISO text or a number of seconds")
    if role == "categorical" and dtype == pl.Datetime:
        raise UserError(f"column {name} is a time and cannot be categorical; derive e.g. its hour with data.derive")
    return value.fill_nan(None) if dtype.is_float() else value


def _label(value: pl.Expr, dtype: pl.DataType, fraud_value: str | None) -> pl.Expr:
    if fraud_value is None:
        number = value.cast(pl.String).cast(pl.Float64, strict=False) if _is_text(dtype) else value.cast(pl.Float64)
        return pl.when(number.is_in([0.0, 1.0])).then(number.cast(pl.Int8, strict=False))
    if dtype.is_numeric():
        try:
            return (value == float(fraud_value)).cast(pl.Int8)
        except ValueError as error:
            raise UserError(f"data.fraud_value={fraud_value} is no number, but the label's type is {dtype}") from error
    return (value.cast(pl.String) == (fraud_value.lower() if dtype == pl.Boolean else fraud_value)).cast(pl.Int8)


def _check(
    raw: pl.LazyFrame, roles: dict[str, Role], settled: dict[str, pl.Expr], config: TableConfig
) -> dict[str, int]:
    """Refuse what cannot be trained on; gives the number of missing values of each column, in one pass."""
    label, id_ = config.label, config.id or ROW_ID
    parsed = [label, *(name for name, dtype in raw.collect_schema().items() if _is_text(dtype))]
    parsed = [name for name in roles if name in parsed and roles[name] in ("label", "time", "numeric", "amount")]
    unread = (pl.col(name).filter(pl.col(name).is_not_null() & settled[name].is_null()).first() for name in parsed)
    types = raw.select(value.alias(name) for name, value in settled.items()).collect_schema()
    finite = [name for name in roles if roles[name] in ("time", "amount") and types[name].is_float()]
    infinite = (pl.when(settled[name].is_infinite().any()).then(pl.lit(name)) for name in finite)
    query = raw.select(
        rows=pl.len(),
        missing=pl.struct(value.null_count().alias(name) for name, value in settled.items()),
        unread=pl.struct(first.cast(pl.String) for first in unread),
        labels=pl.col(label).cast(pl.String).drop_nulls().unique().sort().head(10).implode(),
        frauds=settled[label].sum(),
        doubled=pl.col(id_).filter(pl.col(id_).is_duplicated()).first(),
        infinite=pl.coalesce(*infinite, pl.lit(None, pl.String)),
    )
    facts = _facts(query, config)
    if not facts["rows"]:
        raise UserError(f"data.path={config.path} has no rows")
    labels = ", ".join(facts["labels"])
    if facts["unread"].pop(label) is not None:
        raise UserError(
            f"data.label={label} must be 0 or 1 but holds: {labels}; say which value is fraud with data.fraud_value"
        )
    if config.fraud_value is not None and not facts["frauds"] and len(facts["labels"]) > 1:
        raise UserError(f"data.fraud_value={config.fraud_value} is not among the values of {label}: {labels}")
    for name, value in facts["unread"].items():
        if value is None:
            continue
        if roles[name] == "time":
            raise UserError(
                f"data.time={name}: {value!r} is no time; give ISO text such as 2018-04-01T12:30:00 or a number of "
                "seconds, or make one with data.derive"
            )
        raise UserError(
            f"column {name} is {roles[name]} but holds {value!r}, which is no number; if that means missing, add it to "
            "data.missing_values, else give the column another role"
        )
    if (name := facts["infinite"]) is not None:
        raise UserError(
            f"data.{roles[name]}={name} holds infinite values; correct or drop these rows, or derive a column that "
            "has none with data.derive"
        )
    missing: dict[str, int] = facts["missing"]
    for key, required in (("label", label), ("id", id_), ("time", config.time)):
        if required is not None and missing[required]:
            raise UserError(f"data.{key}={required} is missing in {missing[required]} rows; fill it in or drop them")
    if facts["doubled"] is not None:
        raise UserError(
            f"data.id={id_}: {facts['doubled']} stands in several rows; name a column that is unique, or none "
            "(data.id=null numbers the rows)"
        )
    return missing


def _column_type(dtype: _DType) -> ColumnType:
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == pl.String:
        return "string"
    if dtype == pl.Datetime:
        return "datetime"
    return "integer" if dtype.is_integer() else "number"


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _unreadable(path: str, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be read ({_first_line(error)}); it may be damaged or cut short: make or fetch it again"
    )
