"""``python killed.py <overrides>``: a command that gets a signal when it has taken so many batches.

Batches of training, validation and scoring count alike, in each process for itself. From the environment: ``DOOR``,
``BATCHES`` (0: nothing happens, and their number is printed at the end), ``SIGNAL`` (SIGKILL if not given),
``ONLY`` (the local rank of the one process that gets it; all do if not given) and ``FULL`` (the local rank of the one
that finds no memory free).
"""

import atexit
import importlib
import os
import signal
from types import SimpleNamespace

import psutil

from fraudlab.data import batches

rank = os.environ.get("LOCAL_RANK", "0")
limit = int(os.environ["BATCHES"]) if os.environ.get("ONLY", rank) == rank else 0
taken = 0
cut = batches.Batches._batch


def counted(self, order, index):
    global taken
    taken += 1
    if taken == limit:
        os.kill(os.getpid(), getattr(signal, os.environ.get("SIGNAL", "SIGKILL")))
    return cut(self, order, index)


batches.Batches._batch = counted
if os.environ.get("FULL") == rank:
    psutil.virtual_memory = lambda: SimpleNamespace(available=0)
    batches.BLOCK = 64  # so that a table of tests has several
if not limit:
    atexit.register(lambda: print(f"batches: {taken}"))
importlib.import_module(f"fraudlab.{os.environ.get('DOOR', 'train')}").main()
