"""A history in Redis or Valkey, for servers on many machines: one script, and one round trip, for each request.

A script runs alone, so what it reads and writes is of one moment. It writes nothing before it has checked all rows, and
a row that is sent again stays as it is. What a request that fails after all wrote is undone: labels that nobody has
changed since, rows that no other request has sent since. What cannot be undone, that older rows are forgotten, waits
until the next script.
"""

import itertools
import json
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fraudlab.errors import UserError
from fraudlab.features.live import DAY, SEPARATOR, Layout
from fraudlab.serving.history import redis_format, words
from fraudlab.serving.history.redis_format import FORMAT, MOST_TIME, Packed, day_of
from fraudlab.serving.history.redis_script import Script
from fraudlab.serving.history.store import (
    AT_ONCE,
    DISPUTE,
    LATE,
    SEVERAL,
    Asked,
    Found,
    Id,
    Labelled,
    NotTaken,
    Rule,
    Saying,
    StoreAway,
)

PASSWORD = "FRAUDLAB_REDIS_PASSWORD"  # noqa: S105
_IDS = 20  # that are erased in one go
_ROWS = 200  # of them, so that other scripts wait for milliseconds alone
ERASING = 60.0  # seconds for an answer then
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
_SECONDS = 1.0  # for an answer, unless the address says socket_timeout=
_PAUSE = 0.5  # seconds without another try after one that failed
_SCRIPT = Path(__file__).with_suffix(".lua").read_text()
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Address:
    """``redis://host:port/db?name=<history>``, with ``rediss://`` for TLS and ``unix://`` for a socket.

    Attributes:
        shown: without user and password.
        prefix: of all keys.

    Raises:
        UserError: it is none.
    """

    def __init__(self, text: str, seconds: float = _SECONDS) -> None:
        try:
            parts = urlsplit(text)
            query = parse_qsl(parts.query, strict_parsing=bool(parts.query))
            where = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}{parts.path}"
            name = dict(query).get("name", "fraudlab")
            rest = urlencode([(key, value) for key, value in query if key != "name"])
            url = urlunsplit(parts._replace(query=rest))
            given = {"password": os.environ[PASSWORD]} if PASSWORD in os.environ and parts.password is None else {}
            waits = float(dict(query).get("socket_timeout", seconds))
            self._pool = redis.ConnectionPool.from_url(
                url,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=waits,
                socket_connect_timeout=waits,  # or 5 s where nothing refuses
                **given,
            )
            self._pool.connection_class(**self._pool.connection_kwargs)  # it checks the options, and connects later
        except (ValueError, TypeError):  # whose text may hold the password
            raise UserError(
                "this is not the address of a history: write redis://host:port/db?name=<history>; characters such as / "
                f"@ : of a password as %2F %40 %3A, or the password in the environment's {PASSWORD}"
            ) from None
        if not _NAME.fullmatch(name):
            raise UserError(f"name={name!r} of a history must be 1 to 64 letters, digits, or . _ -")
        self.prefix = f"{name}:".encode()
        self.shown = f"{parts.scheme}://{where}{'' if name == 'fraudlab' else f'?name={name}'}"

    def client(self) -> "redis.Redis":
        return redis.Redis(connection_pool=self._pool)


@dataclass
class _Done:
    """What was done within a transaction: how to undo it, the newest time, and the number of rows."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    labels: list[tuple[Any, ...]] = field(default_factory=list)
    newest: int | None = None
    number: int = 0

    def add(self, newest: int | None, number: int) -> None:
        if newest is not None:
            self.newest = newest if self.newest is None else max(newest, self.newest)
        self.number += number


class RedisStore:
    """See :class:`.store.Store`; it connects when it is first asked for something.

    Args:
        address: of the history.
        rule: what the features need.
        seconds: for an answer, unless the address says socket_timeout=.

    Raises:
        UserError: the address is none.
    """

    most_time = MOST_TIME

    def __init__(self, address: str, rule: Rule, seconds: float = _SECONDS) -> None:
        self._address = Address(address, seconds)
        self.shown = self._address.shown
        self._rule = rule
        self._client = self._address.client()
        self._script = Script(self._client.connection_pool, _SCRIPT)
        self._packed: Packed | None = None
        self._meta = b""
        self._done: _Done | None = None  # within a transaction
        self._kept = _Done()  # of transactions that the next script is told are over
        self._again = 0.0  # when another try may be made

    @property
    def layout(self) -> Layout:
        return self._known.layout

    @property
    def _known(self) -> Packed:
        if self._packed is None:
            meta: Any = self._asked(lambda: self._client.get(self._address.prefix + b"meta"))
            if meta is None:
                raise UserError(
                    f"no history at {self.shown}; make one with python -m fraudlab.history bundle=<bundle> "
                    f"transactions=<Parquet file> \"out='{self.shown}'\""
                )
            plain = json.loads(meta)
            if plain["format"] != FORMAT:
                raise UserError(
                    f"{self.shown} is not a history of format {FORMAT}; make one with python -m fraudlab.history"
                )
            self._packed, self._meta = Packed(Layout.from_dict(plain["layout"])), meta
        return self._packed

    def _asked(self, ask: Callable[[], _T]) -> _T:
        """An answer; after a failure the next ones fail at once, so that requests need not wait in turn."""
        shown = self.shown
        if time.monotonic() < self._again:
            raise StoreAway(f"{shown} did not answer a moment ago")
        try:
            return ask()
        except redis.ResponseError as error:
            if str(error) != "GONE":
                raise StoreAway(f"{shown} refuses: {error}") from error
            raise StoreAway(
                f"{shown} has lost its history, or has another one now: make it again with python -m fraudlab.history, "
                "and start the server again"
            ) from error
        except (redis.RedisError, OSError) as error:
            self._again = time.monotonic() + _PAUSE
            raise StoreAway(f"{shown} does not answer: {error}") from error

    def _call(self, what: str, *args: Any) -> Any:
        known = self._known
        layout = known.layout
        about = [
            *(len(layout.keys), known.width, known.record.itemsize, int(layout.text_ids)),
            *(int(layout.delay is not None), int(layout.label_times), self._rule.delay),
        ]
        return self._asked(lambda: self._script(self._address.prefix, [what, self._meta, *about, *args]))

    def concerns(self) -> list[str]:
        info = self._asked(lambda: {**self._client.info("persistence"), **self._client.info("memory")})
        found = []
        if not info.get("aof_enabled"):
            found.append(f"{self.shown} runs without appendonly yes: a crash loses what it was told")
        if info.get("maxmemory") and info.get("maxmemory_policy") != "noeviction":
            policy = info.get("maxmemory_policy")
            found.append(f"{self.shown} has maxmemory-policy {policy}: it may drop the past; set noeviction")
        return found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._done is not None:  # part of a larger one
            yield
            return
        self._done = done = _Done()
        try:
            yield
        except BaseException:
            self._undo(done)
            raise
        else:
            self._kept.add(done.newest, done.number)
        finally:
            self._done = None

    def _undo(self, done: _Done) -> None:
        for change in reversed(done.labels):
            self._call("settle", 1, *change)
        if done.rows:
            self._call("drop", len(done.rows), *(part for row in reversed(done.rows) for part in row))

    def take(self, asked: Sequence[Asked], *, look_up: bool, add: bool) -> list[Found]:
        known, reach = self._known, self._rule.reach
        layout = known.layout
        tomorrow = time.time_ns() // 1000 + DAY
        ttl = "" if reach is None else (max(reach + LATE, DISPUTE if layout.label_times else 0)) // 1_000_000
        args: list[Any] = [int(look_up), int(add), len(asked), _text(reach), _text(self._rule.ahead), tomorrow]
        args += [LATE, DISPUTE, AT_ONCE, ttl]
        done, kept = self._done, self._kept
        args += [int(done is not None), _text(None if done is None else done.newest)]
        args += [_text(kept.newest), min(kept.number, _ROWS)]
        days = []
        for which, (event, request_id, position) in enumerate(asked):
            if abs(event.time) >= MOST_TIME:
                raise NotTaken(which, "beyond")
            rest = known.rest(event)
            days.append((day_of(event.time), day_of(event.time + (layout.delay or 0))))
            own = b"" if event.id is None else known.id(event.id)
            args += [own, redis_format.word(event.id), *days[-1], known.sent(event, rest), rest]
            args += [request_id or "", position, *map(redis_format.key, event.keys)]
        answers = self._call("take", *args)
        self._kept = _Done()
        if answers and isinstance(answers[0], int):
            which, why, by = answers
            raise NotTaken(which, why.decode(), int(by))
        if add and done is not None:
            done.add(max((each.event.time for each in asked), default=None), len(asked))
            for each, (_, label_day), (_, _, fresh, own, undo, *_) in zip(asked, days, answers, strict=True):
                done.rows.append((own, label_day, fresh, each.request_id or "", each.position, undo))
        return [self._found(each, answer) for each, answer in zip(asked, answers, strict=True)] if look_up else []

    def _found(self, asked: Asked, answer: Sequence[Any]) -> Found:
        labels, frauds, _, _, _, *pasts = answer
        known, delay = self._known, self._rule.delay
        present = asked.event._replace(categories=words.as_kept(asked.event.categories))
        return Found(present, lambda key: known.earlier(pasts[key], delay), (labels, frauds))

    def named(self, places: Sequence[tuple[str, int]]) -> list[Any]:
        known, prefix = self._known, self._address.prefix

        def ask() -> list[Any]:
            with self._client.pipeline(transaction=False) as line:
                for request_id, position in places:
                    line.hget((prefix + b"q:" + request_id.encode()).decode(), str(position))
                packed = line.execute()
                for each in packed:
                    line.get(prefix + b"t:" + (each or b""))
                return list(zip(packed, line.execute(), strict=True))

        found = self._asked(ask) if places else []
        return [
            SEVERAL if packed == b"" else None if packed is None or row is None else known.id_of(packed, row)
            for packed, row in found
        ]

    def labels(self, ids: Sequence[Id]) -> Mapping[Id, Labelled]:
        known, prefix = self._known, self._address.prefix

        def ask() -> list[Any]:
            with self._client.pipeline(transaction=True) as line:  # rows and what was said of them, of one moment
                for number in ids:
                    line.mget([prefix + b"t:" + known.id(number), prefix + b"l:" + known.id(number)])
                return line.execute()

        found = {}
        for number, (row, said) in zip(ids, self._asked(ask) if ids else [], strict=True):
            if row is not None:
                moment, fraud, own = redis_format.label_of(row)
                sayings = tuple(Saying(*each) for each in json.loads(said or b"[]"))
                found[number] = Labelled(own, moment, fraud, sayings, (row, said or b""))
        return found

    def settle(self, changes: Mapping[Id, tuple[Labelled, Labelled]]) -> bool:
        args: list[Any] = []
        back = []
        for number, (before, now) in changes.items():
            row, said = before.raw
            label, says = redis_format.label(now.known, now.fraud), json.dumps(now.said)
            own, was, becomes = self._known.id(number), (self._day(before), before.fraud), (self._day(now), now.fraud)
            args += [own, row, said, says, label, *was, *becomes]
            back.append((own, label + row[len(label) :], says, said, row[: len(label)], *becomes, *was))
        if changes and not self._call("settle", len(changes), *args):
            return False
        if self._done is not None:
            self._done.labels += back
        return True

    def erase(self, ids: Collection[str]) -> int:
        """Take out the transactions of these ids, and those with one of them as a key; gives how many those are.

        The append-only file is written anew, so that it holds nothing of them either.
        """
        texts = {each: each.encode("utf-8", "surrogatepass") for each in ids}
        about = [(self._known.id_in_text(each), text) for each, text in texts.items()]
        about += [(b"", key) for key in self._asked(lambda: list(self._keys_with(set(texts.values()))))]
        erased = 0
        for start in range(0, len(about), _IDS):
            some = about[start : start + _IDS]
            more = True
            while more:
                number, more = self._call("erase", _ROWS, len(some), *(part for each in some for part in each))
                erased += number
        requests = iter(self._asked(lambda: list(self._client.scan_iter(self._address.prefix + b"q:*", count=1000))))
        while some := list(itertools.islice(requests, _ROWS)):
            self._call("sweep", len(some), *some)
        with suppress(StoreAway):  # it is being written already
            self._asked(self._client.bgrewriteaof)
        return erased

    def _keys_with(self, parts: Collection[bytes]) -> Iterator[bytes]:
        """Values of keys of several columns, one of whose parts is among these."""
        for position, columns in enumerate(self.layout.keys, start=1):
            start = self._address.prefix + b"k%d:" % position
            for name in self._client.scan_iter(start + b"*", count=1000) if len(columns) > 1 else ():
                key = name[len(start) :]
                if any(part in parts for part in key.split(SEPARATOR.encode())):
                    yield key

    def _day(self, row: Labelled) -> int:
        """On which a label becomes known."""
        return day_of(row.time + (self.layout.delay or 0) if row.known is None else row.known)

    def close(self) -> None:
        self._script.close()
        self._client.connection_pool.disconnect()


def _text(number: int | None) -> str | int:
    return "" if number is None else number
