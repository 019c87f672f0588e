"""How a setting is written so that Hydra's grammar and a shell read it as it is."""

import re
import shlex

Value = float | int | str | bool | None

_PLAIN = re.compile(r"([A-Za-z_/]|\.{1,2}/)[A-Za-z0-9_./-]*\Z")
_WORDS = ("null", "true", "false", "nan", "inf")  # which Hydra takes for something else unless quoted


def key_of(given: str) -> str:
    """The key of an override.

    >>> key_of("+data.derive.hour=EXTRACT(hour FROM day)")
    'data.derive.hour'
    """
    return given.lstrip("+~").partition("=")[0]


def override(key: str, value: Value) -> str:
    """``key=value``, where a text may hold an interpolation, ``${...}``, or be a list, ``[...]``."""
    return f"{key}={text(value)}"


def literal(key: str, value: object) -> str:
    """``key=value`` for a path or a name: every character stands for itself.

    >>> literal("paths.data_dir", "my project (1), a")
    "paths.data_dir='my project (1), a'"
    """
    return f"{key}={literal_text(value)}"


def literal_text(value: object) -> str:
    """The value of :func:`literal`, also as an item of a list."""
    return _quoted(re.sub(r"(\\*)\$\{", r"\1\1\\${", str(value)))


def text(value: Value) -> str:
    """The value of :func:`override`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    return value if value[:1] in ("[", "{") and value[-1:] in ("]", "}") else _quoted(value)


def _quoted(value: str) -> str:
    if _PLAIN.match(value) and value.lower() not in _WORDS:
        return value
    # Backslashes stand for themselves but before a quote.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    return "'" + re.sub(r"(\\+)\Z", r"\1\1", escaped) + "'"


def to_type(command: str, *words: str) -> str:
    """``python -m fraudlab.<command> <words>`` as a shell takes it."""
    return shlex.join(["python", "-m", f"fraudlab.{command}", *words])
