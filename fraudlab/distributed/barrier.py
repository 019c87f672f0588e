"""A barrier for the processes of one machine: microseconds where all are about to come, and it notices who is gone."""

import os
import select
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SPIN_SECONDS = 0.02  # looked for so long before this process sleeps: being woken takes up to a tick of the scheduler
_yield = getattr(os, "sched_yield", lambda: None)  # macOS has none


class Barrier:
    """Where processes wait for each other.

    The first process holds a Unix socket to each of the others; one byte says that a process has come, one that all
    have. What a process wrote to shared memory before :meth:`wait`, all others see after it: the calls into the kernel
    order memory on every processor.

    Args:
        rank: number of this process.
        num_ranks: number of processes.
        broadcast: gives every process the string of the first.
        timeout: seconds for which a process waits for another.

    Attributes:
        peers: the first process's sockets to all others, or each other's to the first.
    """

    def __init__(self, rank: int, num_ranks: int, broadcast: Callable[[str], str], timeout: float) -> None:
        self.rank = rank
        self.timeout = timeout
        self.peers: list[socket.socket] = []
        if rank > 0:
            self.peers.append(socket.socket(socket.AF_UNIX))
            self.peers[0].connect(broadcast(""))
            return
        folder = tempfile.mkdtemp(prefix="fraudlab-")  # for this user alone
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(Path(folder, "ranks")))
                listener.listen(num_ranks)
                listener.settimeout(timeout)
                broadcast(str(Path(folder, "ranks")))
                for _ in range(num_ranks - 1):
                    self.peers.append(listener.accept()[0])
        finally:
            shutil.rmtree(folder)

    def wait(self) -> None:
        """Come back when every process is here.

        Raises:
            ConnectionError: another process has ended.
            TimeoutError: another process has not come in time.
        """
        try:
            if self.rank > 0:
                self._tell()
            for peer in self.peers:
                self._hear(peer)
            if self.rank == 0:
                self._tell()
        except ConnectionError as error:
            raise ConnectionError("another process of this fit has ended") from error

    def _tell(self) -> None:
        for peer in self.peers:
            peer.send(b"\0")

    def _hear(self, peer: socket.socket) -> None:
        sleep_at = time.perf_counter() + SPIN_SECONDS
        while True:
            try:
                heard = peer.recv(1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if time.perf_counter() < sleep_at:
                    _yield()
                elif not select.select([peer], [], [], self.timeout)[0]:
                    raise TimeoutError(f"another process of this fit has not come in {self.timeout:.0f} s") from None
                continue
            if not heard:
                raise ConnectionResetError
            return
