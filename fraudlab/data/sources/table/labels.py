"""The label: which words mean fraud, which mean genuine, and how rows with neither are treated."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

import polars as pl

from fraudlab.config import TableConfig
from fraudlab.data.sources.table.label_words import Labels, words
from fraudlab.data.sources.table.time_format import ISO, TimeFormat
from fraudlab.data.sources.table.times import settle as settle_time
from fraudlab.errors import UserError
from fraudlab.features.categories import word
from fraudlab.features.values import is_text

_YAML = {"True": "Yes, On or true", "False": "No, Off or false"}
_SHOWN = 20
_OPPOSITE = {"1": "0", "true": "false"}  # words of fraud that need no setting, and those of none


def settle(
    frame: pl.LazyFrame, name: str, text: pl.Expr, fraud: Sequence[str], genuine: Sequence[str], unlabelled: str
) -> tuple[Labels, list[str]]:
    """The meaning of the words, and notes on them.

    Args:
        frame: the table.
        name: the label's column.
        text: its words.
        fraud: ``data.fraud_values``; empty: the label is 0 and 1, or false and true.
        genuine: ``data.genuine_values``; empty: the only other word.
        unlabelled: ``data.unlabelled``, for rows without a label or with another word.

    Raises:
        UserError: the label lacks a word of the settings, or the meaning of other words is not given.
    """
    counts = frame.select(text.alias("word")).collect(engine="streaming")["word"].value_counts(sort=True).sort(
        "count", "word", descending=[True, False]
    )  # fmt: skip
    found = {row[0]: row[1] for row in counts.iter_rows()}
    missing = found.pop(None, 0)
    shown = ", ".join(f"{value} ({count:,})" for value, count in list(found.items())[:_SHOWN])
    shown += f", … ({len(found)} words)" if len(found) > _SHOWN else ""
    if not found and not missing:
        return Labels(("1",), ("0",), unlabelled), []  # no rows, which the caller refuses
    given = bool(fraud)
    if not given:
        fraud, genuine = _of_itself(name, found, shown, genuine)
    fraud, genuine = (
        [*dict.fromkeys(each for value in values for each in _written(value, found))] for values in (fraud, genuine)
    )
    opposite = {_OPPOSITE.get(_plain(value)) for value in fraud}
    if not genuine and len(opposite) == 1:  # whatever the other words are
        genuine = [value for value in found if _plain(value) in opposite]
    absent = [*_absent(name, found, shown, {"fraud_values": fraud, "genuine_values": genuine})] if given else []
    if both := set(fraud) & set(genuine):
        raise UserError(
            f"data.fraud_values and data.genuine_values both name {', '.join(sorted(both))}; leave it in one"
        )
    others = [value for value in found if value not in fraud and value not in genuine]
    if not genuine and len(others) == 1:
        genuine, others = others, []
    left = missing + sum(found[value] for value in others)
    for key, values in {"fraud_values": fraud, "genuine_values": genuine}.items() if unlabelled != "refuse" else ():
        if like := [each for each in others if each.lower() in map(str.lower, values)]:
            named = ", ".join([*values, *like])
            raise UserError(f"data.label={name} holds: {shown}; name all ways to write it: data.{key}=[{named}]")
    if left and unlabelled == "refuse":
        raise UserError(_neither(name, others, missing, shown, bool(genuine)))
    if others and not genuine and unlabelled == "leave_out":
        raise UserError(
            f"data.label={name} holds: {shown}; data.unlabelled=leave_out would leave frauds alone: name the words of "
            f"the genuine rows, data.genuine_values=[…], of {', '.join(others[:_SHOWN])}"
        )
    notes = [f"data.label={name}: {shown}; fraud: {', '.join(fraud)}", *absent]
    if left:
        done = "are left out" if unlabelled == "leave_out" else "count as genuine"
        notes.append(f"{left:,} rows without a label ({_named(others, missing)}) {done}: data.unlabelled={unlabelled}")
    return Labels(tuple(fraud), tuple(genuine), unlabelled), notes


def labelled(frame: pl.LazyFrame, config: TableConfig) -> tuple[pl.LazyFrame, pl.Expr, Labels, list[str]]:
    """The rows with a label, as ``data.unlabelled`` says, the label, how it is read, and notes on its words."""
    text = words(config.label, frame.collect_schema()[config.label], config.missing_values)
    label, said = settle(frame, config.label, text, config.fraud_values, config.genuine_values, config.unlabelled)
    kept = frame.filter(label.values(text).is_not_null()) if config.unlabelled == "leave_out" else frame
    return kept, label.values(text), label, said


def _of_itself(
    name: str, found: dict[str, int], shown: str, genuine: Sequence[str]
) -> tuple[Sequence[str], Sequence[str]]:
    for yes, no in _OPPOSITE.items():
        spelled = {value: _plain(value) for value in found}
        if set(spelled.values()) <= {yes, no}:
            return (
                [value for value, low in spelled.items() if low == yes] or [yes],
                [value for value, low in spelled.items() if low == no] or [no],
            )
        frauds = [value for value, low in spelled.items() if low == yes]
        if frauds and (no in spelled.values() or {*found} <= {*frauds, *genuine}):  # others are unlabelled
            return frauds, [value for value, low in spelled.items() if value in genuine or low == no]
    raise UserError(
        f"data.label={name} must be 0 or 1 but holds: {shown}; say which values are fraud with data.fraud_values=[…]"
    )


def _absent(name: str, found: Mapping[str, int], shown: str, settings: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Notes on words of the settings that no row has; one that another word is like, or all of them, is refused."""
    known = {value for values in settings.values() for value in values}
    others = {value.lower(): value for value in found if value not in known}
    for key, values in settings.items():
        absent = [value for value in values if value not in found]
        for value in absent:
            near = get_close_matches(value.lower(), others, 1, 0.8)
            hint = f"; did you mean {others[near[0]]}?" if near else _as_yaml(value, others)
            if hint or (len(found) > 1 and len(absent) == len(values)):
                raise UserError(f"data.{key}: {value} is not among the values of {name}: {shown}{hint}")
        if absent:
            yield f"data.{key}: no row of {name} has {', '.join(absent)}"


def _as_yaml(value: str, others: Mapping[str, str]) -> str:
    """What YAML may have made this value of, where the column has a word for it."""
    written = _YAML.get(value) if not {"true", "false"} & {*others} else None
    written = written or next(
        (word for word in others if re.fullmatch("0[0-7]+", word) and str(int(word, 8)) == value), None
    )
    return f"; YAML reads {written} as {value.lower()}: write it in quotes" if written else ""


def _plain(value: str) -> str:
    """A word in small letters, and 0.0 and 1.0 as whole numbers."""
    return value[0] if re.fullmatch(r"[01]\.0+", value) else value.lower()


def _written(value: str, found: dict[str, int]) -> list[str]:
    """A word of the settings as the label has it: 1.0 is 1, and true is TRUE, in each way in which it is written."""
    if _plain(value) in (*_OPPOSITE, *_OPPOSITE.values()):
        return [each for each in found if _plain(each) == _plain(value)] or [value]
    if value in found:
        return [value]
    try:
        number = word(float(value)) or value
    except ValueError:
        number = value
    return [number if number in found else value]


def _neither(name: str, others: Sequence[str], missing: int, shown: str, genuine: bool) -> str:
    if not others:
        return (
            f"data.label={name} is missing in {missing} rows; data.unlabelled=leave_out leaves them out, "
            "data.unlabelled=genuine counts them as genuine"
        )
    named = ", ".join(others[:_SHOWN])
    say = "" if genuine else "data.genuine_values=[…] names the genuine ones, "
    return (
        f"data.label={name} holds: {shown}; the meaning of {named} is not given: data.fraud_values=[…] names all words "
        f"of fraud, {say}"
        "data.unlabelled=leave_out leaves the rest out, data.unlabelled=genuine counts it as genuine"
    )


def _named(others: Sequence[str], missing: int) -> str:
    return ", ".join([*others[:_SHOWN], *(["nothing"] if missing else [])])


def known_when(
    frame: pl.LazyFrame, name: str | None, time: TimeFormat, immature: str
) -> tuple[TimeFormat, pl.LazyFrame, list[str]]:
    """How ``data.label_time`` is read, the rows that are kept, and notes on labels that are not known yet.

    It is read as ``time``, the form of the transaction's time, where all its values fit; else as they show.
    """
    if name is None:
        return TimeFormat(zone=time.zone), frame, []
    form, notes = _form(frame, name, time)
    unknown = frame.select(pl.col(name).null_count()).collect(engine="streaming").item()
    if unknown:
        done = "are left out" if immature == "leave_out" else "count as genuine, known after label_delay_days"
        notes.append(
            f"{unknown:,} rows whose label is not known yet ({name} is missing) {done}: data.immature={immature}"
        )
    return form, frame.filter(pl.col(name).is_not_null()) if immature == "leave_out" else frame, notes


def _form(frame: pl.LazyFrame, name: str, time: TimeFormat) -> tuple[TimeFormat, list[str]]:
    dtype, key = frame.collect_schema()[name], "data.label_time"
    if is_text(dtype) and time.format not in (None, ISO):
        value = pl.col(name).cast(pl.String)
        unread = value.is_not_null() & time.values(value, pl.String()).is_null()
        if not frame.select(unread.any()).collect(engine="streaming").item():
            return settle_time(frame, name, time, key)
    if dtype.is_numeric() and time.unit is not None:
        try:
            return settle_time(frame, name, time, key)
        except UserError:  # another unit, which its values may show
            pass
    try:
        return settle_time(frame, name, TimeFormat(zone=time.zone), key)
    except UserError as error:
        raise UserError(
            f"{error}; where data.time needs another one, derive a time, e.g. data.derive={{known_at: "
            f"\"STRPTIME({name}, '%d/%m/%Y')\"}} {key}=known_at"
        ) from error
