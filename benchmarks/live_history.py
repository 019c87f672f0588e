"""``python -m benchmarks.live_history --store sqlite|redis``: a server's history, measured and compared with the batch.

``latency``: each of several processes looks 30 aggregates of a card with 1,000 transactions in 29 days up and adds the
transaction, in one step, so many times a second on average, at random moments. ``replay``: transactions in order, in
lists of one to twenty, labels told as they go; every feature must be the one that the batch has, bit for bit.
``memory``: what Redis keeps of the replay. Redis is one that this command starts, with ``appendonly yes``, in a folder
of its own.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.history import SCHEMA, WINDOWS, table
from fraudlab.features.contract import with_features
from fraudlab.features.history import HistoryFeatures
from fraudlab.schema import Column, TableSchema
from fraudlab.serving.history import History, build
from fraudlab.serving.labels import Label
from tests.support.redis_server import PROGRAM, RedisServer

MOST_MS = {"sqlite": 2.0, "redis": 3.0}  # that the project asks of itself, 99 of 100 times
CARDS = 100  # so that what is added while it is measured makes their pasts little longer
_SETTINGS = {"windows": WINDOWS, "decimals": 2, "prior": 20.0, "delay_days": 7}


def of_a_card() -> HistoryFeatures:
    """30 aggregates."""
    of = {"count": [], "amount": ["sum", "mean", "std", "min", "max", "ratio_to_mean"]}
    of["label"] = ["rate", "count", "known"]
    return HistoryFeatures({**_SETTINGS, "keys": {"card": ["card"]}, "of": of}, SCHEMA)


def of_everything() -> HistoryFeatures:
    """Aggregates of every kind, of two keys."""
    columns = (*SCHEMA.columns, Column("shop", "string", "terminal"), Column("country", "string", "categorical"))
    of: dict[str, Any] = {"count": [], "amount": ["sum", "mean", "std", "min", "max", "last", "ratio_to_genuine_mean"]}
    of |= {"time": ["since_last", "since_first"], "country": ["nunique", "is_new", "share"]}
    of["label"] = ["rate", "count", "known", "since_first", "since_last", "run_length", "run_age", "run_ended"]
    settings = {**_SETTINGS, "keys": {"card": ["card"], "shop": ["shop"]}, "windows": ["1d", "30d"], "of": of}
    return HistoryFeatures(settings, TableSchema("transactions", columns))


def ask(address: str, number: int, last: dict[str, Any], asked: int, rate: float, begin: Any, took: Any) -> None:
    """One server's look-ups; the wall and processor seconds of each go to ``took``."""
    history = History.open(address, of_a_card())
    found: list[tuple[float, float]] = []
    draw = np.random.default_rng(number)  # servers are asked at random moments, not all at one
    begin.wait()
    due = time.perf_counter()
    for each in range(asked):
        if rate:
            due += draw.exponential(1 / rate)
            time.sleep(max(0.0, due - time.perf_counter()))
        record = {**last, "id": 10**6 * (number + 1) + each, "card": each % CARDS}
        started = time.perf_counter(), time.thread_time()
        with history.transaction():
            features = history.features_and_add([(record, f"{number}-{each}", 0)])
        found.append((time.perf_counter() - started[0], time.thread_time() - started[1]))
        assert len(features[0]) == 30
    took.put(found)


def latency(arguments: argparse.Namespace, address: str) -> None:
    events = 50 if arguments.quick else 1_000
    rows = table(CARDS * events).with_columns(card=pl.Series(np.arange(CARDS * events) % CARDS))
    second = pl.col("time").dt.epoch("s") % (29 * 86_400)
    rows = rows.with_columns(time=pl.from_epoch(second).cast(pl.Datetime("us"))).sort("time")
    rows = rows.with_columns(id=np.arange(len(rows)))
    build(address, rows, of_a_card())
    last = rows.to_dicts()[-1]
    context = multiprocessing.get_context("spawn")
    begin, took = context.Barrier(arguments.servers), context.Queue()
    servers = [
        context.Process(target=ask, args=(address, n, last, arguments.asked, arguments.rate, begin, took))
        for n in range(arguments.servers)
    ]
    for server in servers:
        server.start()
    seconds = np.concatenate([took.get(timeout=600) for _ in servers])
    for server in servers:
        server.join()
    (p50, cpu50), (p99, cpu99) = 1000 * np.percentile(seconds, [50, 99], axis=0)
    most = MOST_MS[arguments.store]
    often = f"{arguments.rate:g} a second each" if arguments.rate else "one after the other"
    print(
        f"{arguments.store}: {len(seconds):,} look-ups with append, {arguments.servers} processes, {often}: "
        f"p50 {p50:.2f} ms, p99 {p99:.2f} ms of {most} at most; processor time of the process p50 {cpu50:.2f} ms, "
        f"p99 {cpu99:.2f} ms"
    )
    print(f"p99_ms {p99:.3f}")


def replay(arguments: argparse.Namespace, address: str) -> None:
    count = arguments.replay
    draw = np.random.default_rng(1)
    second = np.sort(draw.integers(0, 120 * 86_400, count) // 60 * 60)  # whole minutes: many rows share an instant
    frame = table(count).with_columns(
        time=pl.Series(second * 1_000_000).cast(pl.Datetime("us")),
        card=pl.Series(draw.integers(0, max(count // 50, 1), count)),
        shop=pl.Series([f"s{n}" for n in draw.integers(0, max(count // 200, 1), count)]),
        country=pl.Series([None if n > 8 else f"c{n}" for n in draw.integers(0, 10, count)]),
    )
    features = of_everything()
    expected = with_features(features, frame.lazy()).select(features.computed)
    build(address, frame[:0], features)
    history = History.open(address, features)
    started, place, apart = time.perf_counter(), 0, 0
    while place < count:
        some = frame[place : place + int(draw.integers(1, 21))]
        found = history.features_and_add([(row, f"r{place}", n) for n, row in enumerate(some.to_dicts())])
        wanted = expected[place : place + len(some)].to_dicts()
        apart += sum(got != want for got, want in zip(found, wanted, strict=True))
        labels = some.select("id", "fraud").rows()
        history.tell([Label(number, None, None, bool(fraud), "bank", None) for number, fraud in labels])
        place += len(some)
    seconds = time.perf_counter() - started
    print(f"{arguments.store}: {count:,} transactions replayed in {seconds:,.0f} s, {len(features.computed)} features "
          f"each; {apart:,} transactions differ from the batch")  # fmt: skip
    if arguments.store == "redis":
        memory(address)
    if apart:
        sys.exit("error: the history does not give what the batch gives")


def memory(address: str) -> None:
    """What each kind of key takes."""
    import redis

    client = redis.Redis.from_url(address.partition("?")[0])
    kinds: dict[str, list[tuple[int, int]]] = {}
    for name in client.scan_iter("fraudlab:*", count=1_000):
        kind = name.split(b":")[1].decode()
        held = client.strlen(name) if kind[0] in "kt" else 0
        kinds.setdefault(kind, []).append((client.memory_usage(name, samples=0) or 0, held))  # type: ignore[arg-type]
    for kind, sizes in sorted(kinds.items()):
        used, held = np.array(sizes).sum(axis=0)
        each = f"{used / len(sizes):8,.0f} bytes each, {held / len(sizes):8,.0f} of them data"
        print(f"  {kind:9} {len(sizes):9,} keys, {each}")
    print(f"  in all {sum(size for sizes in kinds.values() for size, _ in sizes) / 2**20:,.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=tuple(MOST_MS), default="sqlite")
    parser.add_argument("--only", choices=("latency", "replay"))
    parser.add_argument("--servers", type=int, help="processes at once (default: 1, of redis 4)")
    parser.add_argument("--asked", type=int, default=2_000, help="look-ups of each process")
    parser.add_argument("--rate", type=float, default=50.0, help="look-ups a second of each; 0: as fast as they can")
    parser.add_argument("--replay", type=int, default=100_000, help="transactions")
    parser.add_argument("--fsync", choices=("always", "everysec"), default="everysec", help="appendfsync of Redis")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    arguments = parser.parse_args()
    arguments.servers = arguments.servers or (4 if arguments.store == "redis" else 1)
    if arguments.quick:
        arguments.asked, arguments.replay, arguments.rate = 20, 300, 0.0
    if arguments.store == "redis" and PROGRAM is None:
        sys.exit("error: no Redis here: apt-get install redis-server")
    cases = {"latency": latency, "replay": replay}
    for name in [arguments.only] if arguments.only else cases:
        with tempfile.TemporaryDirectory() as folder:
            if arguments.store == "sqlite":
                cases[name](arguments, str(Path(folder) / "history.sqlite"))
            else:
                with RedisServer(Path(folder), "--appendfsync", arguments.fsync) as server:
                    cases[name](arguments, server.url())


if __name__ == "__main__":
    main()
