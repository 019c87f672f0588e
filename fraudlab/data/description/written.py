"""A description as YAML that trains: an experiment with every setting that was found, and the reason."""

import re
from collections.abc import Iterator
from dataclasses import fields

import yaml

from fraudlab.config import TableConfig
from fraudlab.data.description.describe import Description
from fraudlab.data.description.facts import ColumnFacts, by_role
from fraudlab.data.sources.table.database import shown, without_password

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_ENDINGS = re.compile(
    r"(\.(csv|tsv|tab|psv|txt|data|dat|jsonl?|ndjson|parquet|pq|arrow|feather|ipc|xls[xbm]?|ods|gz|zip|zst))+$", re.I
)
_LINE_ENDS = re.compile(r"\s*[^\S ]\s*")
_UNPRINTABLE = re.compile("[^ -~\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n", "nan", "inf", "infinity"}
_ROLES = ("id", "time", "label_time", "card", "terminal", "amount", "weight")
_WIDTH = 110
_LEAST_KEYS = 100  # words of a column whose history may be useful


def name_of(path: str) -> str:
    """A name for the experiment of the table at ``path``: the name of its file or folder.

    >>> name_of("exports/2024/My claims.csv.gz"), name_of("s3://bucket/tx/**/*.parquet")
    ('My_claims', 'tx')
    """
    parts = [part for part in re.split(r"[/\\\\]", shown(path).partition("?")[0]) if part and "*" not in part]
    stem = _ENDINGS.sub("", parts[-1]) if parts else ""
    return re.sub(r"\W+", "_", stem).strip("_") or "table"


def experiment(found: Description, use: str) -> str:
    """The text of an experiment's YAML.

    Args:
        found: the description.
        use: the command that trains with it.
    """
    lines = [*_head(found, use), *_settings(found), *_columns(found), *_history(found)]
    return "".join(f"{one_line(line)}\n" for line in lines)  # of values, nothing: they are escaped


def _head(found: Description, use: str) -> Iterator[str]:
    yield "# @package _global_"
    yield "# Written by python -m fraudlab.describe: check it, correct what is wrong, then run"
    yield f"#   {use}"
    span = "" if found.span is None else f", {_moment(found.span[0])} to {_moment(found.span[1])}"
    copies = f", {found.duplicates:,} duplicate rows" if found.duplicates else ""
    looked = f" Facts are from a sample of {found.sampled:,} rows." if found.sampled < found.rows else ""
    yield f"# {found.rows:,} rows{span}, {found.frauds:,} frauds ({found.frauds / found.rows:.3%}){copies}.{looked}"
    if found.maturity is not None:
        late = found.maturity
        yield from _wrapped(
            f"LOOK: {late.last:.3%} of the rows of the last {late.days:.3g} days are frauds, {late.before:.3%} before: "
            "not all labels may be known yet. data.where leaves these days out, label_delay_days sets how long labels "
            "take."
        )
    for doubt in found.doubts:
        yield from _wrapped(f"LOOK: {doubt}")
    yield "defaults:"
    yield "  - override /data: table"
    yield "  - override /features: columns"
    split = "the last rows are the test" if found.split == "time_fraction" else "random rows, since no time is known"
    yield f"  - override /split: {found.split} # {split}"
    yield f"label_delay_days: {found.label_delay_days} # days from a transaction until its label is known"


def _settings(found: Description) -> Iterator[str]:
    yield "data:"
    default = TableConfig(path="", label="")
    for each in fields(TableConfig):
        value = getattr(found.config, each.name)
        if each.name == "name" or (value == getattr(default, each.name) and each.name not in ("path", "label")):
            continue
        column = value if isinstance(value, str) and each.name in _ROLES else ""
        why = "; ".join(dict.fromkeys(found.why[key] for key in (column, each.name) if key in found.why))
        if each.name == "label":
            words = ", ".join(f"{word} ({rows:,})" for word, rows in list(found.words.items())[:10])
            why = "; ".join(filter(None, [words, why]))
        if each.name == "path" and isinstance(value, str) and shown(value) != value:
            address, why = value, "the whole address, which may grant access: keep this file private"
            if found.config.query is not None and (value := without_password(address)) != address:
                why = "without its password: set PGPASSWORD or ~/.pgpass"
        comment = f" # {why}" if why else ""
        if isinstance(value, dict):
            yield f"  {each.name}:{comment}"
            yield from (f"    {_text(key)}: {_text(inner)}" for key, inner in value.items())
        elif isinstance(value, list) and each.name in ("categorical", "numeric", "carried", "ignored"):
            yield f"  {each.name}:"
            yield from (f"    - {_text(name)}" + _why(found, name) for name in value)
        else:
            yield f"  {each.name}: {_value(value)}{comment}"


def _why(found: Description, name: str) -> str:
    return f" # {found.why[name]}" if name in found.why else ""


def _columns(found: Description) -> Iterator[str]:
    """The role of each column, and its reason."""
    yield "# Roles of the columns. To change one, add its name to categorical, numeric, carried or ignored above."
    width = min(30, max(len(facts.column.name) for facts in found.columns))
    for role, columns in by_role(found.columns).items():
        yield f"# {role}{' (kept, not an input)' if role == 'carried' else ''}:"
        yield from (f"#   {facts.column.name:{width}} {_facts(facts)}{_reason(found, facts)}" for facts in columns)


def _facts(facts: ColumnFacts) -> str:
    missing = f", {facts.missing:.1%} missing" if facts.missing else ""
    return f"{facts.column.type}, {facts.shown} different{missing}; {facts.examples}"


def _reason(found: Description, facts: ColumnFacts) -> str:
    why = found.why.get(facts.column.name)
    return f" ({why})" if why and facts.column.role == "carried" else ""


def _history(found: Description) -> Iterator[str]:
    """The history features that the roles allow, and further keys for them."""
    if found.history is not None:
        yield "# For features of the history of card and terminal, add features=history to the command. It then uses:"
        plain = yaml.safe_dump({"features": dict(found.history)}, sort_keys=False, default_flow_style=None, width=100)
        yield from (f"#   {line}" for line in plain.splitlines())
    further = [f.column.name for f in by_role(found.columns).get("categorical", []) if f.different >= _LEAST_KEYS]
    if further and found.config.time is not None:
        yield f"# Columns with many words whose history may be useful, too: {', '.join(further)}"


def _wrapped(text: str) -> Iterator[str]:
    """A comment of several lines."""
    line = "#"
    for word in one_line(text).split(" "):
        if len(line) + len(word) >= _WIDTH:
            yield line
            line = "#  "
        line += f" {word}"
    yield line


def one_line(text: str) -> str:
    """Without line ends, and with ? for characters that neither YAML nor a terminal should get."""
    return _UNPRINTABLE.sub("?", _LINE_ENDS.sub(" ", text))


def _moment(value: object) -> str:
    return f"day {value / 86_400:.1f}" if isinstance(value, int | float) else str(value)


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_text(each) for each in value)}]"
    if isinstance(value, str):
        return _text(value)
    return "null" if value is None else str(value).lower()


def _text(value: str) -> str:
    """A string as YAML: quoted wherever it could be taken for something else; no interpolation."""
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return yaml.safe_dump(escaped, default_style='"' if "\n" in value or "\t" in value else "'", width=10**6).strip()
