"""Dynamic batching in front of LitServe's queue: requests that wait become the next batch.

LitServe's own batching sends each request through a queue process by itself, six calls between processes each, and
polls for more (0.2.19, ``litserve/loops/base.py``). Here a request waits in this process,
where a bound, a deadline and a count cost nothing; whenever a worker has room, all that wait go as one item. A lone
client waits for nothing, and batches grow with the load by themselves.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson
from litserve.specs.base import LitSpec
from litserve.utils import LitAPIStatus, ResponseBufferItem

_LOST = "LOST"


class Overloaded(Exception):
    """As many records wait as may: try again later."""


class WorkerFailed(Exception):
    """The worker that had the request died, and so did the next."""


class Bridge(LitSpec):
    """LitServe's own seam to its queues, as its OpenAI endpoints use it; adds no endpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.api_path = "/predict"

    def decode_request(self, request: Any, context_kwargs: Any = None) -> Any:
        return request

    def encode_response(self, output: Any, context_kwargs: Any = None) -> Any:
        return output


@dataclass
class _Job:
    body: bytes
    records: int
    explain: int
    answer: "asyncio.Future[list[dict[str, Any]] | str]"
    since: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class Batch:
    """What became of a batch: its size, the seconds of its stages, and the unknown categories' columns."""

    records: int
    seconds: dict[str, float]
    unknown: list[str]


class Dispatcher:
    """Sends what waits to the workers, at most two batches a worker at a time: one in work, one at hand.

    Args:
        bridge: the seam to LitServe's queues.
        workers: number of worker processes.
        max_batch_size: records of a batch, unless one job has more.
        max_queue: records that may wait.
        on_batch: told of each batch that came back.
    """

    def __init__(
        self, bridge: Bridge, *, workers: int, max_batch_size: int, max_queue: int, on_batch: Callable[[Batch], None]
    ) -> None:
        self._bridge = bridge
        self._slots = 2 * workers
        self._max_batch_size = max_batch_size
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._waiting: deque[_Job] = deque()
        self._out: dict[asyncio.Task[None], ResponseBufferItem | None] = {}
        self.waiting_records = 0
        # A put is a call to LitServe's queue process; the event loop must not wait for it.
        self._sender = ThreadPoolExecutor(1, "queue-sender")

    @property
    def full(self) -> bool:
        return self.waiting_records >= self._max_queue

    async def score(self, body: bytes, records: int, explain: int) -> list[dict[str, Any]] | str:
        """The worker's answers to the records of ``body``, or why there are none.

        Raises:
            Overloaded: no room.
            WorkerFailed: it died twice over this request.
        """
        if self.waiting_records + records > self._max_queue:
            raise Overloaded
        job = _Job(body, records, explain, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self.waiting_records += records
        self._send_more()
        return await job.answer

    def resend(self) -> None:
        """Send all that is out once more: a worker died and may have taken some with it, and a new one is up."""
        for item in self._out.values():
            if item is not None and not item.event.is_set():
                item.response = (b"", _LOST)
                item.event.set()

    def _send_more(self) -> None:
        while self._waiting and len(self._out) < self._slots:
            jobs: list[_Job] = []
            size = 0
            while self._waiting and (not jobs or size + self._waiting[0].records <= self._max_batch_size):
                job = self._waiting.popleft()
                self.waiting_records -= job.records
                if not job.answer.done():  # its client's time is up otherwise
                    jobs.append(job)
                    size += job.records
            if jobs:
                task = asyncio.create_task(self._send(jobs))
                self._out[task] = None
                task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        del self._out[task]
        self._send_more()

    async def _send(self, jobs: Sequence[_Job]) -> None:
        try:
            for _ in range(2):
                data, status = await self._ask([(job.explain, job.body) for job in jobs])
                if status != _LOST:
                    break
            if status != LitAPIStatus.OK:
                raise WorkerFailed
            came = orjson.loads(data)
        except Exception as error:
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(error if isinstance(error, WorkerFailed) else WorkerFailed())
            if not isinstance(error, WorkerFailed):
                raise
            return
        self._on_batch(Batch(sum(job.records for job in jobs), came["seconds"], came["unknown"]))
        for job, answer in zip(jobs, came["answers"], strict=True):
            if not job.answer.done():
                job.answer.set_result(answer)

    async def _ask(self, payload: list[tuple[int, bytes]]) -> tuple[bytes, str]:
        task = asyncio.current_task()
        assert task is not None
        uid = uuid4().hex
        item = ResponseBufferItem(asyncio.Event())
        self._out[task] = self._bridge.response_buffer[uid] = item
        try:
            message = (self._bridge.response_queue_id, uid, time.monotonic(), payload)
            self._sender.submit(self._put, message, item, asyncio.get_running_loop())
            await item.event.wait()
            return item.response
        finally:
            del self._bridge.response_buffer[uid]

    def _put(self, message: Any, item: ResponseBufferItem, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._bridge.request_queue.put(message)
        except Exception:  # the queue process is gone, and the server with it
            item.response = (b"", LitAPIStatus.ERROR)
            loop.call_soon_threadsafe(item.event.set)
