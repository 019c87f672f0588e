"""The line to a challenger: what has been answered goes to it, and with its scores, or without, to the record.

Nothing waits for it but rows of the record, a moment. What it has no room for, fails at or is late with is dropped and
counted.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from prometheus_client import Counter as Total
from prometheus_client import Gauge, Histogram

from fraudlab.monitoring.journal import Journal, with_shadow
from fraudlab.serving.dispatch import LENGTH, message

_log = logging.getLogger(__name__)
_PATIENCE = 0.7  # seconds that rows wait for its scores: with the journal's pause less than a kill may cost
_GATHER = 0.02  # seconds that offers are gathered, so that they cost few messages
_LOOK = 0.1  # seconds between two looks for what is late
_MOST_BYTES = 2**24  # of bodies and rows that wait
_BATCH_RECORDS = 64
_BATCH_BYTES = 2**20
_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0)


@dataclass(eq=False)
class _Offer:
    """What was answered: the request's body, its rows for the record, the levels that were given, its past in JSON."""

    body: bytes
    rows: bytes
    levels: Sequence[str]
    past: bytes
    since: float
    kept: bool = False

    @property
    def size(self) -> int:
        return len(self.body) + len(self.rows) + len(self.past)


class Shadow:
    """The line, for the process that answers HTTP.

    Args:
        version: of the challenger.
        listener: that it connects to.
        journal: of the record.
        hung: seconds of a batch after which its process is killed.
    """

    def __init__(self, version: str, listener: socket.socket, journal: Journal, hung: float) -> None:
        self.version = version
        self._listener = listener
        self._journal = journal
        self._hung = hung
        self._held: deque[_Offer] = deque()  # whose rows the record may not have, the oldest first
        self._waiting: deque[_Offer] = deque()
        self._out: list[_Offer] = []
        self._sent = 0.0
        self._bytes = 0
        self._line: asyncio.StreamWriter | None = None
        self._pid = 0
        self._due: asyncio.TimerHandle | None = None
        self._levels = Total(
            "fraudlab_challenger_scores", "Records by both levels", ["champion", "challenger"], registry=None
        )
        self._dropped = Total("fraudlab_challenger_dropped", "Records that it did not score", ["reason"], registry=None)
        for reason in ("full", "late", "failed"):
            self._dropped.labels(reason)
        self._failures = Total("fraudlab_challenger_failures", "Times that its process died or hung", registry=None)
        self._up = Gauge("fraudlab_challenger_up", "1 while its process scores", registry=None)
        self._seconds = Histogram("fraudlab_challenger_seconds", "Of a batch", buckets=_SECONDS, registry=None)
        self._about = Gauge("fraudlab_challenger_bundle", "What scores in the shadow", ["version"], registry=None)
        self._about.labels(self.version).set(1)
        self.metrics = (self._levels, self._dropped, self._failures, self._up, self._seconds, self._about)

    async def listen(self) -> asyncio.Server:
        """Take its connection from now on."""
        self._watching = asyncio.get_running_loop().create_task(self._watch())
        return await asyncio.start_unix_server(self._serve, sock=self._listener)

    def offer(self, body: bytes, rows: bytes, levels: Sequence[str], past: Any = None) -> None:
        """Hand over what was answered; its rows go to the record with the challenger's scores, or soon without."""
        made = _Offer(body, rows, levels, orjson.dumps(past), time.monotonic())
        if self._line is None or self._bytes + made.size > _MOST_BYTES:
            self._keep(made, None, "failed" if self._line is None else "full")
            return
        self._bytes += made.size
        self._held.append(made)
        self._waiting.append(made)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_GATHER, self._send)

    async def close(self) -> None:
        """See that the record gets the rows that wait."""
        self._watching.cancel()
        while self._held:
            self._look()
            await asyncio.sleep(_GATHER)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self._pid = int.from_bytes(await reader.readexactly(LENGTH))
            self._line = writer
            self._up.set(1)
            while True:
                said = orjson.loads(await reader.readexactly(int.from_bytes(await reader.readexactly(LENGTH))))
                self._seconds.observe(said["seconds"])
                out, self._out = self._out, []
                for offer, answer in zip(out, said["answers"], strict=True):
                    if not offer.kept:
                        self._keep(offer, answer, "failed")
                self._send()
        except asyncio.CancelledError:
            pass  # the loop ends
        except Exception as error:  # its process is gone, or what it says is no answer
            if not isinstance(error, asyncio.IncompleteReadError | ConnectionError):
                _log.error("serving.challenger: no valid answer (%s); it is started again", type(error).__name__)
            self._failures.inc()
            self._line = None
            self._up.set(0)
            for offer in self._held:
                if not offer.kept:
                    self._keep(offer, None, "failed")
            self._out = []
            self._waiting.clear()
        finally:
            writer.close()

    def _send(self) -> None:
        """Send what waits as one batch, where there is none in work."""
        self._due = None
        if self._out or self._line is None:
            return
        records = size = 0
        now = time.monotonic()
        while self._waiting and records < _BATCH_RECORDS and size < _BATCH_BYTES:
            offer = self._waiting.popleft()
            if now - offer.since > _PATIENCE / 2 and not offer.kept:  # it would be late, and make the next ones late
                self._keep(offer, None, "late")
            if not offer.kept:
                self._out.append(offer)
                records, size = records + len(offer.levels), size + len(offer.body) + len(offer.past)
        if self._out:
            self._sent = now
            self._line.writelines(message([({"past": orjson.Fragment(offer.past)}, offer.body) for offer in self._out]))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            self._look()

    def _look(self) -> None:
        """Let go of rows that have waited too long, and of a process that hangs."""
        now = time.monotonic()
        while self._held and (self._held[0].kept or now - self._held[0].since > _PATIENCE):
            offer = self._held.popleft()
            self._bytes -= offer.size
            if not offer.kept:
                self._keep(offer, None, "late")
        while self._waiting and self._waiting[0].kept:
            self._waiting.popleft()
        if self._out and self._line is not None and now - self._sent > self._hung:
            _log.error("serving.challenger: no score for %.0f s; it is killed", now - self._sent)
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._sent = now

    def _keep(self, offer: _Offer, answer: Sequence[Sequence[Any]] | None, why: str) -> None:
        """Give the rows to the record, with the challenger's answer or, counted, without."""
        count = len(offer.levels)
        shadow = [b"null"] * count if answer is None else [orjson.dumps(each) for each in answer]
        pairs = Counter(zip(offer.levels, [each[2] for each in answer or ()], strict=answer is not None))
        rows = with_shadow(offer.rows, shadow)
        offer.kept = True  # not before: an answer that is none must not cost the rows
        self._journal.put(count, rows)
        for pair, times in pairs.items():
            self._levels.labels(*pair).inc(times)
        if answer is None:
            self._dropped.labels(why).inc(count)
