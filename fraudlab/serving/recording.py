"""The record of inputs and answers: who makes its rows, and the process that makes Parquet of its journal.

A worker makes the rows of what it scores; the process that answers HTTP appends them to the journal once it has the
answer; see :mod:`fraudlab.monitoring.journal`. Nothing of it makes an answer wait.
"""

import hmac
import logging
import multiprocessing
import os
import random
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from fraudlab.errors import UserError
from fraudlab.files import write_json
from fraudlab.monitoring.journal import CHALLENGER, CONTRACT, FOLDER, FURTHER, Journal, instance_of
from fraudlab.monitoring.labels import Label, append
from fraudlab.serving import logs
from fraudlab.serving.lifetime import yield_to_others

if TYPE_CHECKING:
    from fraudlab.bundle import Bundle
    from fraudlab.config.serve import ServingConfig

_log = logging.getLogger(__name__)
_VARIABLE = "FRAUDLAB_HASH_KEY"
_CARD = re.compile(r"card\d*", re.IGNORECASE)
_PATIENCE = 10.0  # seconds for the disk, and for the writer, at the end
_LOOK = 1.0  # seconds between two looks at the journal
_KNOWN_HASHES = 2**14  # that a worker keeps: most fields of cards have few values
TimesOf = Callable[[Sequence[Any]], Sequence[str | None]]
_FURTHER: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "rule": lambda answer: answer["rule"],
    "spread_low": lambda answer: answer["spread"]["low"],
    "spread_high": lambda answer: answer["spread"]["high"],
}


def hash_key() -> bytes:
    """The key that card fields are hashed with.

    Raises:
        UserError: the environment has none of at least 16 characters.
    """
    key = os.environ.get(_VARIABLE, "")
    if len(key) < 16:
        raise UserError(
            f"serving.record_to hashes cards with a key: set {_VARIABLE} to 16 characters or more "
            "(openssl rand -hex 32)"
        )
    return key.encode()


def hashed_columns(schema: Mapping[str, Any], further: Sequence[str]) -> list[str]:
    """Names of the fields that are recorded as keyed hashes.

    They are the one with the role card, those that are called card and a number, as IEEE-CIS has them, and ``further``.

    Raises:
        UserError: ``further`` names a field that the contract has not, or the transactions' id.
    """
    names = [field["name"] for field in schema["fields"]]
    if unknown := [name for name in further if name not in names]:
        raise UserError(
            f"serving.hash_columns: the bundle has no field {', '.join(unknown)}; it has: {', '.join(names)}"
        )
    roles = {field["name"]: field["role"] for field in schema["fields"]}
    if ids := [name for name in further if roles[name] == "id"]:
        raise UserError(
            f"serving.hash_columns: {ids[0]} is the transactions' id, and labels find them by it; take it out"
        )
    return [name for name in names if roles[name] == "card" or _CARD.fullmatch(name) or name in further]


def make_folder(folder: Path) -> None:
    """Make the folder, for its owner alone, and see whether a file can be written there.

    Raises:
        UserError: it cannot.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"serving.record_to={folder} cannot be written ({error.strerror}); give a folder that this user may write"
        ) from error


class Form(NamedTuple):
    """What rows are made by, in a worker.

    Attributes:
        hashed: see :func:`hashed_columns`.
        key: see :func:`hash_key`.
        reasons: how many a row has; 0: none.
        decisions: what is done about a level, by its name.
        further: columns that rows of this bundle have besides.
    """

    hashed: Sequence[str]
    key: bytes
    reasons: int
    decisions: Mapping[str, str | None]
    further: Sequence[str] = ()


def form_of(loaded: "Bundle", settings: "ServingConfig") -> Form | None:
    """How ``settings`` want rows to be made; None without a record.

    Raises:
        UserError: a field to hash is not there, there is no key, or reasons are wanted of a model that has none.
    """
    if settings.record_to is None:
        return None
    if settings.record_reasons and not loaded.explains:
        raise UserError(
            f"serving.record_reasons={settings.record_reasons}: the bundle's model does not explain scores; set 0"
        )
    hashed = hashed_columns(loaded.schema, settings.hash_columns)
    has = {"rule": loaded.decision.money, "spread_low": loaded.has_members, "spread_high": loaded.has_members}
    further = [name for name in has if has[name]]
    return Form(hashed, hash_key(), settings.record_reasons, settings.decisions, further)


class Rows:
    """Makes lines of the journal, in a worker.

    Args:
        schema: content of the bundle's ``schema.json``.
        form: how.
        times_of: gives the ISO 8601 of values of the contract's time; None for what is none.
    """

    def __init__(self, schema: Mapping[str, Any], form: Form, times_of: TimesOf) -> None:
        fields = schema["fields"]
        self.reasons = form.reasons
        self._decisions = form.decisions
        self._further = [_FURTHER[name] for name in form.further]
        self._hash = hmac.new(form.key, digestmod="sha256")
        self._hash_of = lru_cache(_KNOWN_HASHES, typed=True)(self._hashed_value)
        self._names = [field["name"] for field in fields]
        # 4497 and 4497.0 are one card.
        kinds = {field["name"]: {"integer": int, "number": float}.get(field["type"], str) for field in fields}
        self._hashed = [(self._names.index(name), kinds[name]) for name in form.hashed]
        roles = {field["role"]: position for position, field in enumerate(fields)}
        self._id = roles.get("id")
        self._time = roles.get("time")
        self._times_of = times_of

    def lines(
        self,
        request_id: str,
        records: Sequence[Mapping[str, Any]],
        raw: Sequence[float],
        answers: Sequence[Mapping[str, Any]],
    ) -> bytes:
        """The rows of a request; with the first of the answers' reasons, where rows have any."""
        now = time.time_ns() // 1000
        inputs = [self._inputs(record) for record in records]
        times = [None] * len(inputs) if self._time is None else self._times_of([its[self._time] for its in inputs])
        return b"".join(
            self._line((request_id, position), its, (at, now), score, answer)
            for position, (its, at, score, answer) in enumerate(zip(inputs, times, raw, answers, strict=True))
        )

    def _line(
        self, of: tuple[str, int], inputs: list[Any], at: tuple[str | None, int], raw: float, answer: Mapping[str, Any]
    ) -> bytes:
        hashes: dict[str, str] = {}
        for place, kind in self._hashed:
            if (value := inputs[place]) is not None:
                inputs[place] = hashes[self._names[place]] = self._hash_of(kind, value)
        number = None if self._id is None else inputs[self._id]
        if type(number) is float and number.is_integer():
            number = int(number)  # as labels name it
        why = answer["reasons"][: self.reasons] if self.reasons else None
        level = answer["risk_level"]
        further = [[value_of(answer) for value_of in self._further]] if self._further else []
        row = [
            *of,
            None if number is None else str(number),
            *at,
            raw,
            answer["score"],
            level,
            why and [_reason(one, hashes) for one in why],
            self._decisions.get(level),
            *further,
        ]
        return b"%b\t%b" % (orjson.dumps(row), orjson.dumps(inputs, option=orjson.OPT_APPEND_NEWLINE))

    def _inputs(self, record: Mapping[str, Any]) -> list[Any]:
        """The fields' values in the contract's order, a copy; most of a row's time goes here."""
        names = list(record)
        if names != self._names:
            return list(map(record.get, self._names))
        self._names = names  # orjson gives one field the same object each time, which is equal at a glance
        return list(record.values())

    def _hashed_value(self, kind: Callable[[Any], Any], value: Any) -> str:
        hashed = self._hash.copy()  # four times as fast as hmac.digest, which sets up its key each time
        hashed.update(str(kind(value)).encode())
        return hashed.hexdigest()


def _reason(one: Mapping[str, Any], hashes: Mapping[str, str]) -> dict[str, Any]:
    """A reason as it is recorded: of a field that is hashed the hash."""
    name, value = one["field"], one["value"]
    text = None if value is None else hashes.get(name, str(value))
    return {"feature": name, "value": text, "share": one["share"]}


def _types(contract: Path, types: Mapping[str, str]) -> dict[str, list[str]]:
    """All types that each field has had, with those of a new bundle: values are hashed by them."""
    try:
        before = dict(orjson.loads(contract.read_bytes()).get("types", {}))
    except (OSError, orjson.JSONDecodeError):
        before = {}
    return before | {name: sorted({*before.get(name, ()), kind}) for name, kind in types.items()}


class Recorder:
    """The record of one bundle in service: its journal, and the process that makes Parquet of it.

    Made in the server's first process, which tends and closes it; the journal is for the one that answers HTTP.

    Args:
        loaded: the bundle.
        form: of the rows that workers make.
        settings: of the server.
        challenger: version of what scores in the shadow.

    Raises:
        UserError: the folder cannot be written, or its copy in the cloud not be asked.
    """

    def __init__(self, loaded: "Bundle", form: Form, settings: "ServingConfig", challenger: str | None = None) -> None:
        assert settings.record_to is not None
        self.folder = Path(settings.record_to).absolute()
        make_folder(self.folder)
        if settings.record_upload is not None:
            from fraudlab.bundle.cloud import Uploads

            Uploads("serving.record_upload", settings.record_upload)
        self.instance = instance_of(self.folder, settings.port)
        self._share = settings.record_share
        types = {field["name"]: field["type"] for field in loaded.schema["fields"]}
        facts = {
            "bundle_version": loaded.version,
            "instance": self.instance,
            "high_threshold": loaded.decision.thresholds["high"],
            "medium_threshold": loaded.decision.thresholds["medium"],
            "sample_weight": 1 / self._share if self._share else None,
            "types": {**types, **dict.fromkeys(form.hashed, "string")},
            **({FURTHER: list(form.further)} if form.further else {}),
            **({} if challenger is None else {CHALLENGER: challenger}),
        }
        roles = {field["name"]: field["role"] for field in loaded.schema["fields"]}
        write_json(self.folder / CONTRACT, {"roles": roles, "types": _types(self.folder / CONTRACT, types)})
        (self.folder / CONTRACT).chmod(0o600)
        self.journal = Journal(self.folder / FOLDER / self.instance, facts, settings.record_bytes)
        self._told = (0, 0)
        self._arguments = (self.folder, settings.record_days, settings.record_bytes, settings.record_upload)
        self._start()

    def _start(self) -> None:
        # Spawned: the process that answers HTTP is a fork, where Polars must not run.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._writer = context.Process(target=write, args=(theirs, *self._arguments), name="record")
        self._writer.start()
        theirs.close()
        self._line = ours

    def wanted(self) -> bool:
        """Whether the next request is among those to be recorded."""
        return random.random() < self._share  # noqa: S311 - a sample, not a secret

    def news(self) -> tuple[int, int]:
        """Rows that were written, and rows that could not be, since the last call; where the journal is."""
        now = self.journal.written, self.journal.lost
        self._told, before = now, self._told
        return now[0] - before[0], now[1] - before[1]

    def keep(self, told: Sequence[Label]) -> None:
        """Keep labels; they are on the disk when this returns.

        Raises:
            OSError: they cannot be written.
        """
        append(self.folder, told, self.instance)

    def tend(self) -> None:
        """Start the writer again where it has died."""
        if not self._writer.is_alive():
            _log.error("serving.record_to: the writer died (%s); it is started again", self._writer.exitcode)
            self._line.close()
            self._start()

    def flush(self) -> None:
        """Wait until the journal has all, but not for ever; for the process that put it in, before it ends."""
        self.journal.close(_PATIENCE)

    def close(self) -> None:
        """Wait until Parquet has all, but not for ever; for the process that made it, once nobody puts rows in."""
        with suppress(OSError):  # the writer has died
            self._line.send_bytes(b"end")  # closing does not tell it: a process that was forked since has this end, too
        self._line.close()
        self._writer.join(_PATIENCE)
        if self._writer.exitcode != 0:
            _log.error(
                "serving.record_to: the writer did not stop cleanly; the journal keeps its rows until the next start"
            )
            self._writer.kill()


def write(line: Any, folder: Path, days: int, most_bytes: int, upload: str | None) -> None:
    """The writing process: make Parquet of the journal until ``line`` says something, or ends."""
    logs.configure()
    os.umask(0o077)  # the files hold what clients sent: for their owner alone
    yield_to_others()
    os.environ["POLARS_MAX_THREADS"] = "1"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end is told through the line
    from fraudlab.monitoring.store import Store

    store = Store(folder, days, most_bytes, upload, wait=line.poll)  # once it is told to end it rests no more
    ended = False
    while not ended:
        ended = line.poll(_LOOK)
        try:
            store.tend(datetime.now(UTC), whole=ended)
        except Exception as error:  # a disk that is full now may have room later; the journal keeps the rows
            why = error.strerror if isinstance(error, OSError) else type(error).__name__  # no client's values
            _log.error("serving.record_to: the journal could not be written to Parquet: %s", why)
