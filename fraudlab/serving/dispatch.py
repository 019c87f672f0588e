"""Dynamic batching between the process that answers HTTP and the workers that LitServe keeps.

LitServe hands each request on through a queue process, some ten calls between processes and threads each way (0.2.19,
``litserve/loops/base.py``). On a machine whose processors are all busy, each of these calls waits for its turn: that,
not the model, decided how long a batch took. Here a worker holds one Unix socket to the process that answers HTTP,
read by its event loop without a thread. A request waits in that process, where a bound, a deadline and a count cost
nothing; whenever a worker has room, all that wait go to it as one batch. A lone client waits for nothing, and batches
grow with the load by themselves. A worker that dies closes its socket: what it had goes to the next at once.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

_log = logging.getLogger(__name__)
_AT_HAND = 2  # batches a worker has at a time: one in work, one at hand
_BATCH_BYTES = 2**20  # of the bodies of a batch, unless one job has more
_MOST_TRIES = 2
_AHEAD = 2**20  # bytes of an answer that are read ahead: with the record's rows it is long
LENGTH = 8  # bytes before each part of a message


class Overloaded(Exception):
    """As many records wait as may: try again later."""


class WorkerFailed(Exception):
    """No worker could score the request: it broke one, or the one that had it died, and so did the next."""


@dataclass(eq=False)
class _Job:
    body: bytes
    records: int
    asked: Mapping[str, Any]
    answer: "asyncio.Future[Answer]"
    tries: int = 0


class Answer(NamedTuple):
    """A worker's answer to a job, and the lines that it made for the record."""

    said: Any
    rows: bytes


@dataclass(frozen=True)
class ScoredBatch:
    """What became of a batch: its size, the seconds of its stages, and the unknown categories' columns."""

    records: int
    seconds: dict[str, float]
    unknown: list[str]


@dataclass(eq=False)
class _Worker:
    """A worker's connection, and the batches that it has; ``since`` is when it began the first of them."""

    writer: asyncio.StreamWriter
    pid: int
    out: deque[list[_Job]] = field(default_factory=deque)
    since: float = 0.0

    def send(self, jobs: list[_Job]) -> None:
        if not self.out:
            self.since = time.monotonic()
        self.out.append(jobs)
        self.writer.writelines(message([(job.asked, job.body) for job in jobs]))

    def seconds(self) -> float:
        """How long it has been at the batch that it has in work; 0 without one."""
        return time.monotonic() - self.since if self.out else 0.0


class Dispatcher:
    """Sends what waits to the workers.

    Args:
        listener: a listening Unix socket, to which the workers connect when they are ready to score.
        workers: how many there should be.
        max_batch_size: records of a batch, unless one job has more.
        max_queue: records that may wait.
        late: seconds of a batch after which its worker does not count as ready.
        hung: seconds of a batch after which its worker is killed.
        on_batch: told of each batch that came back.
        on_counts: told of what a worker has counted, now and then.
        on_failure: told of each worker that died.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        workers: int,
        max_batch_size: int,
        max_queue: int,
        late: float,
        hung: float,
        on_batch: Callable[[ScoredBatch], None],
        on_counts: Callable[[Mapping[str, Any]], None],
        on_failure: Callable[[], None],
    ) -> None:
        self._listener = listener
        self.wanted = workers
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._late = late
        self._hung = hung
        self._on_batch = on_batch
        self._on_counts = on_counts
        self._on_failure = on_failure
        self._waiting: deque[_Job] = deque()
        self._workers: list[_Worker] = []
        self.waiting_records = 0

    @property
    def connected(self) -> int:
        """Workers that are ready to score: the others have not come yet, or do not answer in time."""
        return sum(worker.seconds() <= self._late for worker in self._workers)

    async def listen(self) -> asyncio.Server:
        """Take the workers' connections from now on; for the process that answers HTTP."""
        return await asyncio.start_unix_server(self._serve, sock=self._listener, limit=_AHEAD)

    def look_after_workers(self) -> None:
        """Kill the workers that hang; ask the idle ones for an answer, which tells of those that hang unasked.

        To be called about each second. Who kills it need not replace it: the first process does.
        """
        for worker in self._workers:
            if worker.seconds() > self._hung:
                _log.error("a worker has not answered for %.0f s; it is killed and replaced", worker.seconds())
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)
            elif not worker.out:
                worker.send([])

    async def score(self, body: bytes, records: int, asked: Mapping[str, Any]) -> Answer:
        """A worker's answer to the items of ``body``; ``asked`` says what is wanted of them.

        Raises:
            Overloaded: no room.
            WorkerFailed: it could not, or died twice over this request.
        """
        if self.waiting_records + records > self._max_queue:
            raise Overloaded
        job = _Job(body, records, asked, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self.waiting_records += records
        self._send_more()
        try:
            return await job.answer
        except asyncio.CancelledError:  # its client's time is up: it must not hold its bytes any longer
            if job in self._waiting:
                self._waiting.remove(job)
                self.waiting_records -= job.records
            raise

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A worker's connection, from its first batch to its end."""
        worker = _Worker(writer, 0)
        try:
            worker.pid = int.from_bytes(await reader.readexactly(LENGTH))
            self._workers.append(worker)
            self._send_more()
            while True:
                said = await reader.readexactly(int.from_bytes(await reader.readexactly(LENGTH)))
                lengths = orjson.loads(await reader.readexactly(int.from_bytes(await reader.readexactly(LENGTH))))
                lines = await reader.readexactly(sum(lengths))
                rows = [lines[end - length : end] for length, end in zip(lengths, accumulate(lengths), strict=True)]
                self._answer(worker.out.popleft(), said, rows)
                worker.since = time.monotonic()
                self._send_more()
        except (asyncio.IncompleteReadError, ConnectionError):
            if worker in self._workers:
                self._workers.remove(worker)
            self._on_failure()
            self._requeue(worker.out)
            self._send_more()
        except asyncio.CancelledError:
            pass  # the loop ends and all is answered; asyncio's streams would log it as an error
        finally:
            writer.close()

    def _send_more(self) -> None:
        while self._waiting and self._workers:
            worker = min(self._workers, key=lambda worker: len(worker.out))
            if len(worker.out) >= _AT_HAND:
                return
            if jobs := self._next_batch():
                worker.send(jobs)

    def _next_batch(self) -> list[_Job]:
        jobs: list[_Job] = []
        size = length = 0
        while self._waiting and (
            not jobs
            or (
                size + self._waiting[0].records <= self._max_batch_size
                and length + len(self._waiting[0].body) <= _BATCH_BYTES
            )
        ):
            if jobs and (jobs[0].tries or self._waiting[0].tries):
                break  # alone, since one of those that a dead worker had may have killed it
            job = self._waiting.popleft()
            self.waiting_records -= job.records
            if not job.answer.done():  # its client's time is up otherwise
                jobs.append(job)
                size += job.records
                length += len(job.body)
        return jobs

    def _answer(self, jobs: list[_Job], data: bytes, rows: list[bytes]) -> None:
        came = orjson.loads(data)
        if (counts := came.get("counts")) is not None:
            self._on_counts(counts)
        if not jobs:
            return  # it lives
        self._on_batch(ScoredBatch(sum(job.records for job in jobs), came["seconds"], came["unknown"]))
        for job, answer, lines in zip(jobs, came["answers"], rows, strict=True):
            if job.answer.done():
                continue
            if answer is None:
                job.answer.set_exception(WorkerFailed())
            else:
                job.answer.set_result(Answer(answer, lines))

    def _requeue(self, batches: deque[list[_Job]]) -> None:
        """Put what a dead worker had before all that waits; a job that was in work at two deaths fails."""
        if batches:  # the first is in work; what was at hand behind it has killed nobody
            for job in batches[0]:
                job.tries += 1
        for job in reversed([job for jobs in batches for job in jobs]):
            if job.tries < _MOST_TRIES:
                self._waiting.appendleft(job)
                self.waiting_records += job.records
            elif not job.answer.done():
                job.answer.set_exception(WorkerFailed())


def message(jobs: list[tuple[Mapping[str, Any], bytes]]) -> list[bytes]:
    """A batch as bytes: length, JSON of ``[what is wanted, bytes of the body]`` a job, then length and bodies."""
    head = orjson.dumps([(asked, len(body)) for asked, body in jobs])
    bodies = [body for _, body in jobs]
    return [len(head).to_bytes(LENGTH), head, sum(map(len, bodies)).to_bytes(LENGTH), *bodies]


def answer_message(said: bytes, rows: list[bytes]) -> list[bytes]:
    """A batch's answer as bytes: length and JSON, then length and JSON of the rows' lengths, then these."""
    lengths = orjson.dumps([len(lines) for lines in rows])
    return [len(said).to_bytes(LENGTH), said, len(lengths).to_bytes(LENGTH), lengths, *rows]


def part(came: BinaryIO) -> bytes | None:
    """The next part of a message, None where the line has ended."""
    length = came.read(LENGTH)
    if len(length) < LENGTH:
        return None
    size = int.from_bytes(length)
    found = came.read(size)
    return found if len(found) == size else None


def jobs_of(head: bytes, bodies: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """What :func:`message` was given."""
    jobs, start = [], 0
    for asked, length in orjson.loads(head):
        jobs.append((asked, bodies[start : start + length]))
        start += length
    return jobs


def connect(path: Path, patience: float) -> socket.socket | None:
    """A worker's end of the line, which it begins with its process's id; None without a server for that long."""
    until = time.monotonic() + patience
    while True:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.connect(str(path))
        except OSError:
            line.close()
            if time.monotonic() > until:
                return None
            time.sleep(0.05)
        else:
            line.sendall(os.getpid().to_bytes(LENGTH))
            return line
