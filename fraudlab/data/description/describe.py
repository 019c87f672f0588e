"""From the address of a table to settings that train on it, and facts about the table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from fraudlab.config import ColumnsFeaturesConfig, RandomConfig, TableConfig, TimeFractionConfig
from fraudlab.data.checks import too_good
from fraudlab.data.description import clock, facts, label, roles, sample
from fraudlab.data.description.facts import ColumnFacts, Maturity
from fraudlab.data.prepared import prepared_table
from fraudlab.data.sources.contract import Source
from fraudlab.data.sources.table import derive, dialect, label_words, source
from fraudlab.data.sources.table import moments as moments_of_table
from fraudlab.data.sources.table import roles as roles_of_table
from fraudlab.data.sources.table.dialect import NotUTF8
from fraudlab.data.sources.table.files import Found, head
from fraudlab.data.sources.table.names import enclosed
from fraudlab.data.sources.table.scan import Raw, scan
from fraudlab.data.splits.known import clock as clock_of
from fraudlab.errors import UserError
from fraudlab.features.history.proposal import proposal
from fraudlab.features.values import clean, is_text

ALL_ROWS = 200_000
"""The largest table of which all rows are read."""

_ENCODING = "cp1252"  # of text that is not UTF-8, unless the settings give another
_DELAYS = (7, 3, 1, 0)  # days after which a label may be known
_DELAYS_A_SPAN = 8
_LEAST_KNOWN = 0.5  # share of rows that say when their label became known


@dataclass(frozen=True)
class Description:
    """A table, the settings that train on it, and the reasons for them.

    Attributes:
        config: settings of ``data=table``; those that differ from the defaults are written.
        why: the reason for a setting (``time``) or a column's role.
        split: ``time_fraction`` or ``random``.
        label_delay_days: after how many days labels are taken to be known.
        words: rows of each word of the label.
        rows, frauds: counts in the table used for training.
        sampled: rows of the sample on which everything except rows, frauds and words is measured; else all rows.
        duplicates: those of them that equal another row in all but the id.
        span: the first and the last moment.
        columns: facts of each column.
        maturity: whether the last labels are known.
        history: the definition of ``features=history`` for card and terminal; None if the table has neither.
        doubts: what to check, each with the setting that decides it.
    """

    config: TableConfig
    why: Mapping[str, str]
    split: str
    label_delay_days: int
    words: Mapping[str, int]
    rows: int
    frauds: int
    sampled: int
    duplicates: int
    span: tuple[Any, Any] | None
    columns: Sequence[ColumnFacts]
    maturity: Maturity | None
    history: Mapping[str, Any] | None
    doubts: Sequence[str]


def describe(config: TableConfig, cache_dir: Path) -> Description:
    """Describe the table of ``config``. Settings it already has are kept; ``label=""`` means: find the label.

    Of a table with more than :data:`ALL_ROWS` rows, a sample is read; rows, words of the label, the uniqueness of ids
    and missing times are still counted on all rows.

    Raises:
        UserError: the table cannot be read, or a setting cannot be guessed; the message names it.
    """
    why: dict[str, str] = {}
    files, raw, config = _laid_out(config, cache_dir, why)
    rows = sample.take(raw, files)
    if not config.label:
        config = replace(config, label=_label(rows))
        why["label"] = "guessed by its name and words"
    elif config.label not in (*rows.text.columns, *config.derive):
        source.check_head(config, files, cache_dir)  # refuses an unknown column and suggests a name
    rows = sample.typed(rows, config)
    config = replace(config, **{f.name: getattr(rows.spelling, f.name) for f in fields(rows.spelling)})
    given, form = source.named(config) | set(config.derive), moments_of_table.form_of(config)
    doubts: list[str] = []
    config, typed = sample.marked(config, rows.typed, why, doubts)
    read = _read(typed, config)
    typed = _collected(_kept(typed.lazy(), config, read), typed.lazy(), config, read)
    if typed.is_empty():
        left = config.where and f" left by data.where={config.where}; change it"
        raise UserError(f"data.path={config.path} has no rows{left or ''}")
    time = _clock(typed, config, given)
    words, counts = _counts(rows, config, typed, time, read)
    config, said = _labelled(config, words)
    why.update(said)
    config, said = _roles(config, rows, typed, time, given, counts)
    why.update(said)
    if counts["rows"] <= ALL_ROWS or any(found.partition for found in files):
        found = _looked_at(config, config, cache_dir, words, why)
    else:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".described_", dir=cache_dir) as scratch:
            found = _looked_at(config, sample.written(rows, config, Path(scratch)), Path(scratch), words, why)
    told = clock.guessed_unit(config, form, typed.columns) if config.time else clock.passed_over(typed, given)
    return replace(found, doubts=[*([time.doubt] if time and time.doubt else []), *told, *doubts, *found.doubts])


def _looked_at(
    config: TableConfig, look: TableConfig, place: Path, words: Mapping[str | None, int], why: dict[str, str]
) -> Description:
    """The description of ``config`` by a reading of ``look``, its table or a sample of it, kept in ``place``."""
    read = source.read(look, place)
    schema = read.source.schema
    told = read.source.frame.select(name for name in (schema.label, schema.time) if name is not None).collect()
    moments = None if schema.time is None else told[schema.time]
    split, delay, doubts = _split(read.source, moments, place)
    columns, duplicates = facts.measure(read.source, look is not config)
    rows, frauds = looked = len(told), int(told[schema.label].sum())
    if look is not config:
        rows, frauds = label.counted(words, config.fraud_values, config.genuine_values, config.unlabelled)
    left_out = {name: reason for name, reason in read.why.items() if name not in {c.name for c in schema.columns}}
    notes = [note for note in read.notes if note not in roles_of_table.no_inputs(read.why)]
    notes += roles_of_table.no_inputs(left_out)  # they stand in no list of columns
    for key in ("label", "time", "label_time"):  # a note on a setting is written beside it
        start = f"data.{key}={getattr(config, key)}"
        own = [note for note in notes if note.startswith(start)]
        notes = [note for note in notes if note not in own]
        if own and key != "label":
            why[key] = "; ".join(note.removeprefix(start).lstrip(" :,") for note in own)
    return Description(
        config=config,
        why={**read.why, **why},
        split=split,
        label_delay_days=delay,
        words={word: count for word, count in words.items() if word is not None},
        rows=rows,
        frauds=frauds,
        sampled=looked[0],
        duplicates=duplicates,
        span=None if moments is None else (moments[0], moments[-1]),
        columns=columns,
        maturity=facts.maturity(told[schema.label], moments),
        history=proposal(schema, delay) if schema.time and (schema.card or schema.terminal) else None,
        doubts=[*notes, *doubts],
    )


def _laid_out(config: TableConfig, cache_dir: Path, why: dict[str, str]) -> tuple[list[Found], Raw, TableConfig]:
    """The files, their rows as they stand in them, and the settings with how text is laid out."""
    files = source.files_of(config, cache_dir)
    try:
        raw = scan(files, source.layout_of(config), source.named(config), cache_dir)
    except NotUTF8 as error:
        if config.encoding is not None:
            raise
        config, why["encoding"] = replace(config, encoding=_ENCODING), f"guessed; {error}"
        try:
            raw = scan(files, source.layout_of(config), source.named(config), cache_dir)
        except UserError as also:
            raise UserError(f"{error}; {_ENCODING} does not read it either: {also}") from also
    if [found.kind for found in files] == ["text"] and config.separator is None:
        file = files[0].path
        found = dialect.find(file, head(file), source.layout_of(config), source.named(config))
        config = replace(config, separator=found.separator, header=None if found.header else False)
    return files, raw, config


def _label(rows: sample.Sample) -> str:
    try:
        return label.column(rows.text)
    except UserError as error:  # the layout may be the cause
        raise UserError("; ".join([str(error), *rows.raw.notes])) from error


def _read(typed: pl.DataFrame, config: TableConfig) -> derive.Time | None:
    """The time that the settings name, if their expressions may read it."""
    time = moments_of_table.of(config)
    if time is None or time.column not in typed.columns or not (config.derive or config.where):
        return None
    read = any(map(time.is_read_by, (*config.derive.values(), config.where)))
    return derive.Time(time.column, clock.of(typed, time.column, time.form)) if read else time


def _kept(frame: pl.LazyFrame, config: TableConfig, time: derive.Time | None) -> pl.LazyFrame:
    """The rows and derived columns that the settings ask for."""
    return derive.where(derive.derived(frame, config.derive, time), config.where, time)


def _collected(asked: pl.LazyFrame, frame: pl.LazyFrame, config: TableConfig, time: derive.Time | None) -> pl.DataFrame:
    """The values of the expressions ``asked`` over ``frame``; an error names the expression that fails."""
    try:
        return asked.collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        if (own := derive.failed(frame, config.derive, time)) is not None:
            raise own from error
        raise


def _clock(typed: pl.DataFrame, config: TableConfig, given: set[str]) -> clock.Clock | None:
    form = moments_of_table.form_of(config)
    if config.time is None:
        return clock.find(typed, given, form)
    if config.time in typed.columns:
        return clock.Clock(config.time, clock.of(typed, config.time, form), "given")
    return None


def _counts(
    rows: sample.Sample, config: TableConfig, typed: pl.DataFrame, time: clock.Clock | None, read: derive.Time | None
) -> tuple[dict[str | None, int], dict[str, Any]]:
    """Rows of each word of the label, and the facts needed of whole columns, in one pass."""
    whole = rows.whole(config) if config.derive or config.where else rows.raw.frame
    frame = _kept(whole, config, read)
    types = frame.collect_schema()
    plain = [n for n in typed.columns if n in types and n != config.label and not types[n].is_nested()]
    wanted = sorted(roles.candidates(plain))
    asked = {f"different {name}": rows.different(name) for name in wanted}
    sampled = [name for name in wanted if typed[name].n_unique() == len(typed)]
    asked |= {f"unique {n}": (pl.col(n).n_unique() == pl.len()) & (pl.col(n).null_count() == 0) for n in sampled}
    timed = pl.lit(value=True)
    if time is not None and time.column in types:
        timed = pl.col(time.column).is_not_null()
        asked["no time"] = pl.col(time.column).null_count()
        if is_text(types[time.column]):
            text = clean(pl.col(time.column), config.missing_values)
            asked["other times"] = (text.is_not_null() & time.form.values(text, pl.String).is_null()).sum()
            asked["days"] = (text.is_not_null() & ~text.str.contains(r"\d[ T]+\d")).sum()
    if config.label in types:
        word = label_words.words(config.label, types[config.label], config.missing_values).filter(timed).alias("word")
        asked["words"] = word.value_counts(sort=True, name="rows").implode()
    found = frame.select(pl.len().alias("rows"), *(each.alias(key) for key, each in asked.items()))
    counts = _collected(found, whole, config, read).row(0, named=True)
    return {each["word"]: each["rows"] for each in counts.pop("words", [])}, counts


def _labelled(config: TableConfig, words: Mapping[str | None, int]) -> tuple[TableConfig, dict[str, str]]:
    """The settings with the meaning of the label's words, where it is not given."""
    if config.fraud_values or not words:
        return config, {}
    missing = words.get(None, 0) if config.unlabelled == "refuse" else 0
    found = label.meaning(config.label, {word: n for word, n in words.items() if word is not None}, missing)
    unlabelled = found.unlabelled if config.unlabelled == "refuse" else config.unlabelled
    made = replace(
        config,
        fraud_values=list(found.fraud_values),
        genuine_values=list(found.genuine_values) if found.fraud_values else config.genuine_values,
        unlabelled=unlabelled,
    )
    return made, {"fraud_values": "; ".join(found.guessed)} if found.guessed else {}


def _roles(
    config: TableConfig,
    rows: sample.Sample,
    typed: pl.DataFrame,
    time: clock.Clock | None,
    given: set[str],
    counts: Mapping[str, Any],
) -> tuple[TableConfig, dict[str, str]]:
    """The settings with the roles of columns, where they are not given, and the reasons."""
    settings: dict[str, Any] = {}
    why: dict[str, str] = {}
    taken = given | {config.label}
    plain = typed.select(name for name, kind in typed.schema.items() if not kind.is_nested() and kind != pl.Time)
    made: dict[str, Mapping[str, str]] = {}
    if of_mail := roles.domains(plain, taken):
        made[f"{', '.join(of_mail)}, of addresses of mail"] = of_mail
    if time is not None:
        taken.add(time.column)
        why[time.column] = time.why
        mixed = counts.get("other times") or 0 < counts.get("days", 0) < counts["rows"] - counts["no time"]
        of_time = {**time.derive, **({} if mixed else clock.parts(typed, time))}
        if of_time:
            made[f"{', '.join(of_time)}, from the time"] = of_time
        settings |= {"time": time.column, **clock.setting(time.form)}
        taken |= derive.read_by(time.derive, time.derive)
        if counts.get("no time") or time.gaps:
            known_time = f"{enclosed(time.column)} IS NOT NULL"
            settings["where"] = f"({config.where}) AND {known_time}" if config.where else known_time
            lacking = counts.get("no time") or (time.gaps if len(typed) == counts["rows"] else 0)
            rows_have = "1 row has" if lacking == 1 else f"{lacking:,} rows have" if lacking else "some rows have"
            why["where"] = f"{rows_have} no time"
    if made:
        why["derive"] = "; ".join(made)
        settings["derive"] = {**config.derive, **{name: sql for each in made.values() for name, sql in each.items()}}
    known = config.label_time
    for name in [] if known is not None or time is None else clock.moments(plain):
        if name not in taken and label.is_known_at(name) and plain[name].null_count() < _LEAST_KNOWN * len(plain):
            settings["label_time"] = name
            why[name] = "when the label became known, by its name"
            taken.add(name)
            break
    different = {key.removeprefix("different "): n for key, n in counts.items() if key.startswith("different ")}
    unique = {key.removeprefix("unique ") for key, is_so in counts.items() if key.startswith("unique ") and is_so}
    found = roles.find(plain, taken | set(rows.unread), different, counts["rows"], unique, rows.counted)
    why |= found.why
    for role, name in found.one.items():
        if getattr(config, role) is None:
            settings[role] = name
    carried = [*config.carried, *found.many["carried"], *(name for name in rows.unread if name not in taken)]
    why |= dict.fromkeys(rows.unread, "numbers in another format than the others")
    for name in clock.as_numbers(plain, {*taken, *found.named, *carried}):
        carried.append(name)
        why[name] = "a moment as a number; derive e.g. its hour with data.derive"
    if time is not None and not time.derive:
        moments = typed.select(time.form.values(pl.col(time.column), typed.schema[time.column])).to_series()
        for name in roles.copies_of_time(plain, moments, taken | found.named | {*carried}):
            carried.append(name)
            why[name] = "increases with the time: its training values never occur again"
    described = replace(
        config,
        categorical=[*config.categorical, *found.many["categorical"]],
        numeric=[*config.numeric, *found.many["numeric"]],
        carried=carried,
        **settings,
    )
    return described, why


def _split(source: Source, time: pl.Series | None, place: Path) -> tuple[str, int, list[str]]:
    """The split that the table allows, its label delay in days, and warnings about it."""
    moment, day = clock_of(pl.Series([0]) if time is None or not len(time) else time)
    days = float(moment[-1] - moment[0]) / day
    delays = [delay for delay in _DELAYS if delay * _DELAYS_A_SPAN <= days or not delay]
    in_time = [] if time is None else [(TimeFractionConfig(), delay) for delay in delays]
    said: list[str] = []
    try:
        table = prepared_table(source, ColumnsFeaturesConfig(), 0, place)
        for config, delay in in_time:
            try:
                return config.name, delay, list(too_good(table, table.split(config, delay)))
            except UserError as error:
                said = [f"a split in time is not possible: {error}"]
        return "random", _DELAYS[0], [*said, *too_good(table, table.split(RandomConfig(), 0))]
    except UserError as error:
        return "time_fraction" if in_time else "random", delays[0], [f"training on it is not possible: {error}"]
