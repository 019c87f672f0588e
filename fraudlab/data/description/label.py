"""Finds the label column and which of its words mean fraud, where the settings do not say."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from fraudlab.config.overrides import literal_text
from fraudlab.data.sources.table import label_words
from fraudlab.data.sources.table.names import is_after, words
from fraudlab.errors import UserError
from fraudlab.features.values import is_text

_NAMES = ("isfraud", "fraud", "fraudulent", "isfraudulent", "class", "label", "target", "y", "outcome", "status")
_NOT_A_LABEL = {
    *("flagged", "scenario", "score", "count", "type", "time", "date", "id", "probability", "rate", "rule", "amount"),
    *("device", "reason", "prediction", "predicted", "weight", "channel", "number", "code", "days"),
}
_FRAUD = re.compile(
    r"1|true|t|yes|y|illicit|bad|charge_?back|scam|stolen|suspicious|anomal\w*|malicious|positive|lost|default\w*|"
    r"(?!(.*[^a-z])?(is|was)?(no|not|non|never|without)([^a-z]|fraud)).*fraud.*",
    re.IGNORECASE,
)
_GENUINE = re.compile(
    r"0|false|f|no|n|genuine|legit\w*|licit|good|ok|okay|normal|valid|paid|approved|clean|negative|benign|accepted|settled|"
    r"-1|(.*[^a-z])?(is|was)?[ _-]*(no|not|non)[ _-]*(an? )?fraud.*",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"unknown|pending|n/?a|nan|none|null|\?|-|open|undecided|unlabel\w*|(in|under)[ _-]?review|missing", re.IGNORECASE
)
_MOST_WORDS = 20
_NEGATED = {"not", "non", "no", "nonfraud", "notfraud", "genuine", "legit", "legitimate", "valid", "licit"}


@dataclass(frozen=True)
class Label:
    """A label's column and words; ``guessed`` says what was guessed and from what."""

    column: str
    fraud_values: tuple[str, ...] = ()
    genuine_values: tuple[str, ...] = ()
    unlabelled: str = "refuse"
    guessed: tuple[str, ...] = ()


def column(sample: pl.DataFrame) -> str:
    """The column with the name and words of a label.

    Args:
        sample: rows as they stand in the files.

    Raises:
        UserError: no column has such a name.
    """
    named = {name: rank for name in sample.columns if (rank := _by_name(name))}
    few = _few(sample, named)
    ranks = {name: named[name] + _by_words(name, values) for name, values in few.items()}
    if ranks and max(ranks.values()) > 0:
        return max(ranks, key=lambda name: ranks[name])
    two = [name for name, values in _few(sample, sample.columns).items() if len(values) == 2]
    names = two or sample.columns
    hint = f"; {'columns with two values' if two else 'the table has'}: {', '.join(names[:20])}"
    raise UserError(f"no column has the name of a label; name it: data.label=<column>{hint}")


def _few(sample: pl.DataFrame, names: Iterable[str]) -> dict[str, list[str]]:
    """The words of columns with few words."""
    types = sample.schema
    plain = [n for n in names if is_text(types[n]) or types[n].is_numeric() or types[n] == pl.Boolean]
    text = sample.select(label_words.words(name, types[name], ()).alias(name) for name in plain)
    words_of = {name: text[name].drop_nulls().unique().to_list() for name in plain}
    return {name: values for name, values in words_of.items() if len(values) <= _MOST_WORDS}


def _by_name(name: str) -> float:
    parts = words(name)
    if not parts or _NOT_A_LABEL & set(parts):
        return 0.0
    plain = "".join(part for part in parts if part not in ("tx", "is", "has", "potential"))
    by_list = 5.0 - _NAMES.index(plain) / 10 if plain in _NAMES else 0.0
    return max(by_list, 6.0 if "fraud" in plain else 0.0)


def _by_words(name: str, values: Sequence[str]) -> float:
    told = [value for value in values if _FRAUD.fullmatch(value) or _GENUINE.fullmatch(value)]
    as_label = len(told) == len(values) or (bool(told) and len(values) <= 3) or set(values) <= {"1", "2", "unknown"}
    return 2.0 if as_label else -4.0 if words(name)[-1] in ("y", "outcome", "status") else 0.0


def is_known_at(name: str) -> bool:
    """Whether a date of this name says when a label became known."""
    return is_after(name) or "label" in words(name)


def meaning(name: str, counts: Mapping[str, int], missing: int) -> Label:
    """The meaning of a label's words.

    Args:
        name: the column.
        counts: rows of each word.
        missing: rows without one.

    Raises:
        UserError: the words do not show which of them mean fraud.
    """
    guessed: list[str] = []
    known = [word for word in counts if not _UNKNOWN.fullmatch(word)]
    left = missing + sum(counts[word] for word in counts if word not in known)
    plain = {word.lower() for word in known} <= {"0", "1"} or {word.lower() for word in known} <= {"false", "true"}
    fraud = [] if plain else [word for word in known if _FRAUD.fullmatch(word)]
    genuine = [] if plain else [word for word in known if _GENUINE.fullmatch(word)]
    if plain and _NEGATED & set(words(name)):
        fraud = [word for word in known if word.lower() in ("0", "false")]
        genuine = [word for word in known if word not in fraud]
        guessed.append(f"{', '.join(fraud)} is taken as fraud: the name {name} says what is none")
    elif not plain:
        if not fraud and not genuine and missing > sum(counts.values()):
            words_ = ", ".join(map(literal_text, known[:20]))
            raise UserError(
                f"data.label={name} is empty in {missing:,} of {missing + sum(counts.values()):,} rows: if its words "
                f"mean fraud and none means genuine, say data.fraud_values=[{words_}] data.unlabelled=genuine"
            )
        coded = set(known) in ({"1", "2"}, {"-1", "1"})
        if coded or (len(known) == 2 and not (fraud and genuine)):
            rare, common = sorted(known, key=lambda word: (counts[word], word))
            if coded or not (genuine == [rare] or fraud == [common]):
                fraud, genuine = [rare], [common]
                guessed.append(f"{rare} is taken as fraud: it is the rarer of two words")
            else:
                fraud, genuine = [common], [rare]
        elif genuine and not fraud and len(known) - len(genuine) == 1:
            fraud = [word for word in known if word not in genuine]
        if not fraud:
            shown = ", ".join(f"{word} ({counts[word]:,})" for word in list(counts)[:20])
            raise UserError(f"data.label={name} holds: {shown}; say which values are fraud: data.fraud_values=[…]")
        if others := [word for word in known if word not in fraud and word not in genuine]:
            left += sum(counts[word] for word in others)
            guessed.append(f"{', '.join(others[:10])}: neither fraud nor genuine, left out")
        guessed = guessed or [f"by their words: {', '.join(fraud)} are fraud"]
    elif len(known) < len(counts):
        genuine = [word for word in known if word.lower() in ("0", "false")]
        fraud = [word for word in known if word.lower() in ("1", "true")]
    yes = [word for word in known if word.lower() in ("1", "true")] if plain else fraud
    if missing and known and {*yes} == {*known}:  # leaving the others out would leave frauds alone
        said = "" if plain else f"data.fraud_values=[{', '.join(map(literal_text, yes))}] "
        raise UserError(
            f"data.label={name} is empty in {missing:,} of {missing + sum(counts.values()):,} rows and says fraud in "
            f"the others: if none means genuine, say {said}data.unlabelled=genuine"
        )
    unlabelled = "leave_out" if left else "refuse"
    return Label(name, tuple(fraud), tuple(genuine), unlabelled, tuple(guessed))


def counted(
    words: Mapping[str | None, int], fraud: Sequence[str], genuine: Sequence[str], unlabelled: str
) -> tuple[int, int]:
    """Rows and frauds of a table after the settings are applied, from the rows of each word of its label."""
    frauds = sum(n for word, n in words.items() if word is not None and (word in fraud or _is_yes(word, fraud)))
    if not fraud or not genuine or unlabelled == "genuine":
        return sum(n for word, n in words.items() if word is not None or unlabelled == "genuine"), frauds
    return frauds + sum(words.get(word, 0) for word in genuine), frauds


def _is_yes(word: str, fraud: Sequence[str]) -> bool:
    return not fraud and word.lower() in ("1", "true")
