"""Who gets what when workers die: the dispatcher against workers of the test's own, over a real socket."""

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import orjson
import pytest

from fraudlab.serving.dispatch import LENGTH, Answer, Dispatcher, Overloaded, WorkerFailed, answer_message, jobs_of


class Worker:
    """Scores each body by its length, or dies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def of(cls, path: Path, pid: int = 0) -> "Worker":
        made = cls(*await asyncio.open_unix_connection(path))
        made._writer.write(pid.to_bytes(LENGTH))
        return made

    async def takes(self) -> list[bytes]:
        """The bodies of the next batch."""
        head, bodies = [
            await self._reader.readexactly(int.from_bytes(await self._reader.readexactly(LENGTH))) for _ in range(2)
        ]
        return [body for _, body in jobs_of(head, bodies)]

    async def answers(self, bodies: list[bytes]) -> None:
        said = orjson.dumps({"answers": [[{"score": len(body)}] for body in bodies], "seconds": {}, "unknown": []})
        self._writer.writelines(answer_message(said, bodies))
        await self._writer.drain()

    async def dies(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@pytest.fixture
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("d") / "s"  # short: a socket's path has about 100 bytes


def dispatcher(path: Path, deaths: list[int], **limits: Any) -> Dispatcher:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    return Dispatcher(
        listener,
        on_batch=lambda batch: None,
        on_counts=lambda counts: None,
        on_failure=lambda: deaths.append(1),
        **{"workers": 1, "max_batch_size": 10, "max_queue": 100, "late": 5, "hung": 10, **limits},
    )


def test_the_request_that_kills_workers_fails_and_the_others_get_their_score(socket_path: Path) -> None:
    async def story() -> tuple[list[Any], int]:
        deaths: list[int] = []
        server = dispatcher(socket_path, deaths)
        async with await server.listen():
            bodies = [b"deadly", b"fine", b"fine too"]
            asked = [asyncio.create_task(server.score(body, 1, 0)) for body in bodies]
            await asyncio.sleep(0)
            first = await Worker.of(socket_path)
            assert await first.takes() == bodies  # all that waits, as one batch
            await first.dies()
            second = await Worker.of(socket_path)
            assert await second.takes() == [b"deadly"]  # alone now
            await second.dies()
            third = await Worker.of(socket_path)
            for _ in range(2):
                await third.answers(await third.takes())
            return await asyncio.gather(*asked, return_exceptions=True), len(deaths)

    (deadly, *others), deaths = asyncio.run(asyncio.wait_for(story(), 20))
    assert isinstance(deadly, WorkerFailed)
    assert others == [Answer([{"score": 4}], b"fine"), Answer([{"score": 8}], b"fine too")]
    assert deaths == 2


def test_no_more_waits_than_may(socket_path: Path) -> None:
    async def story() -> Any:
        server = dispatcher(socket_path, [], max_queue=3)
        async with await server.listen():
            waits = asyncio.create_task(server.score(b"two", 2, 0))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await server.score(b"two more", 2, 0)
            worker = await Worker.of(socket_path)
            await worker.answers(await worker.takes())
            assert server.waiting_records == 0
            return await waits

    assert asyncio.run(asyncio.wait_for(story(), 20)) == Answer([{"score": 3}], b"two")


def test_a_worker_that_does_not_answer_is_not_ready_and_is_killed(socket_path: Path) -> None:
    async def story() -> None:
        deaths: list[int] = []
        server = dispatcher(socket_path, deaths, late=0.05, hung=0.2)
        process = await asyncio.create_subprocess_exec("sleep", "60")
        async with await server.listen():
            worker = await Worker.of(socket_path, process.pid)
            while not server.connected:
                await asyncio.sleep(0.01)
            server.look_after_workers()
            assert await worker.takes() == []  # nobody has asked for a score: only whether it lives
            await worker.answers([])
            asked = asyncio.create_task(server.score(b"body", 1, 0))
            assert await worker.takes() == [b"body"]
            await asyncio.sleep(0.1)
            server.look_after_workers()
            assert server.connected == 0
            assert process.returncode is None
            await asyncio.sleep(0.15)
            server.look_after_workers()
            assert await process.wait() == -signal.SIGKILL
            await worker.dies()  # as the kernel closes what a killed process had
            following = await Worker.of(socket_path)
            await following.answers(await following.takes())
            assert (await asked).said == [{"score": 4}]
            assert (server.connected, deaths) == (1, [1])

    asyncio.run(asyncio.wait_for(story(), 20))


def test_what_nobody_waits_for_any_more_holds_no_room(socket_path: Path) -> None:
    async def story() -> None:
        server = dispatcher(socket_path, [], max_queue=1)
        async with await server.listen():
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(server.score(b"body", 1, 0), 0.01)
            assert server.waiting_records == 0

    asyncio.run(asyncio.wait_for(story(), 20))


def test_a_batch_is_bounded_in_bytes(socket_path: Path) -> None:
    async def story() -> list[int]:
        server = dispatcher(socket_path, [])
        async with await server.listen():
            bodies = [b"x" * 600_000, b"x" * 300_000, b"x" * 300_000, b"x" * 3_000_000]
            asked = [asyncio.create_task(server.score(body, 1, 0)) for body in bodies]
            await asyncio.sleep(0)
            worker, taken = await Worker.of(socket_path), []
            while sum(taken) < len(bodies):
                came = await worker.takes()
                taken.append(len(came))
                await worker.answers(came)
            await asyncio.gather(*asked)
            return taken

    assert asyncio.run(asyncio.wait_for(story(), 20)) == [2, 1, 1]
