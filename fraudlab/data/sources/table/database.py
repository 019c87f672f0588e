"""The answer of a database as a Parquet file."""

import re
from pathlib import Path
from uuid import uuid4

import polars as pl

from fraudlab.errors import UserError
from fraudlab.files import sha256_of

_PASSWORD = re.compile(r"(?<=//)([^:/@]*):[^@]*@")
_OF_HTTP = re.compile(r"(?<=//)([^:/@]*):[^@/]*@")  # with a port, a path may have an @
_AS_OPTION = re.compile(r"(?<=[?&])password=[^&]*&?")


def fetched(address: str, query: str, cache_dir: Path) -> Path:
    """The rows that ``query`` gives now, in a file named by its content: the same rows are the same file.

    Args:
        address: ``postgresql://user@host/database``.
        query: SQL; with an ORDER BY where rows are to be numbered alike each time.
        cache_dir: where the file is kept.

    Raises:
        UserError: the database cannot be reached, or does not understand the query.
    """
    try:
        rows = pl.read_database_uri(query, address, engine="adbc")
    except ImportError as error:
        raise UserError(
            f"data.path={shown(address)} needs adbc-driver-postgresql; pip install 'fraudlab[data]'"
        ) from error
    except pl.exceptions.PanicException as error:
        raise UserError(
            f"data.query gives a column of a type that cannot be read ({error}); cast it in the SQL, e.g. "
            "EXTRACT(epoch FROM duration) or CAST(duration AS text)"
        ) from error
    except Exception as error:  # each driver has errors of its own
        said = _PASSWORD.sub(r"\1:...@", str(error).strip().partition("\n")[0])
        raise UserError(
            f"data.path={shown(address)} does not answer data.query ({said}); check the address, the password and "
            "the SQL"
        ) from error
    folder = cache_dir / "queries"
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{uuid4().hex}.parquet"
    rows.with_columns(_plain(column) for column in rows).write_parquet(aside)
    file = folder / f"{sha256_of(aside)[:16]}.parquet"
    if file.exists():  # kept as it is: when it was written is part of the table's fingerprint
        aside.unlink()
        return file
    return aside.replace(file)


def _plain(column: pl.Series) -> pl.Series:
    """PostgreSQL's numeric as numbers, uuid and bytea in hexadecimal digits, its further types as they are written."""
    if column.dtype.is_extension():
        about = str(column.dtype)
        column = column.ext.storage()
        return column.cast(pl.Float64) if "numeric" in about else column
    return column.bin.encode("hex") if column.dtype == pl.Binary else column


def shown(address: str) -> str:
    """An address to print: without its password and, of HTTP, without its query, which may sign it.

    >>> shown("postgresql://me:secret@host/bank"), shown("https://host/t.csv?sig=secret")
    ('postgresql://me:...@host/bank', 'https://host/t.csv')
    """
    if address.startswith(("http://", "https://")):
        return _OF_HTTP.sub(r"\1:...@", address.partition("?")[0])
    return _PASSWORD.sub(r"\1:...@", _AS_OPTION.sub("", address))


def without_password(address: str) -> str:
    """The address of a database as libpq takes it where the environment or ``~/.pgpass`` has the password."""
    return _AS_OPTION.sub("", _PASSWORD.sub(r"\1@", address)).rstrip("?&")
