"""What the record costs a server: its highest rate, and the slowest answers at 60 % of the rate without a record.

A server without a record and one with it take turns, each alone on the machine, either first as often as the other;
medians of the turns are compared. Many short turns: from one to the next a machine's own pace changes by a tenth.
"""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.serving import servers
from benchmarks.serving.load import Load, closed, opened
from benchmarks.serving.material import Material
from fraudlab.monitoring import records

_SHARE = 0.6
_CLIENTS = 100
PEAK, TAIL = "record, highest rate", "record, p99 at 60 % load"
BARS = {PEAK: ">= 0.9 x that without a record, none lost", TAIL: "<= 1.25 x that without a record, none lost"}


def measure(material: Material, seconds: float, turns: int) -> list[dict[str, Any]]:
    """Both lines of the table."""
    peaks: dict[str, list[Load]] = {"without": [], "with": []}
    tails: dict[str, list[Load]] = {"without": [], "with": []}
    lost = 0
    for turn in range(turns):
        for side in [*peaks][:: -1 if turn % 2 else 1]:
            with TemporaryDirectory(dir="outputs/benchmarks/serving") as folder:
                settings = [f"serving.record_to={Path(folder).absolute()}"] if side == "with" else []
                with servers.ours(material.bundle, *settings) as server:
                    warm = closed(server.address, material.requests, clients=10, seconds=seconds / 2)
                    peaks[side].append(closed(server.address, material.requests, clients=_CLIENTS, seconds=seconds))
                    rate = _SHARE * statistics.median(load.rate for load in peaks["without"])
                    tails[side].append(
                        opened(server.address, material.requests, rate=rate, connections=_CLIENTS, seconds=seconds)
                    )
                if side == "with":
                    answered = sum(
                        status == 200
                        for load in (warm, peaks[side][-1], tails[side][-1])
                        for status, *_ in load.answers
                    )
                    lost += answered - _rows(Path(folder))
    rates = {side: statistics.median(load.rate for load in loads) for side, loads in peaks.items()}
    p99 = {side: statistics.median(load.milliseconds(99) for load in loads) for side, loads in tails.items()}
    offered = statistics.median(load.offered for load in tails["with"])
    return [
        {
            "what": PEAK,
            "saw": f"{rates['with'] / rates['without']:.3f} x: {rates['with']:,.0f} and {rates['without']:,.0f} "
            f"requests/s, {lost} rows lost",
            "met": rates["with"] >= 0.9 * rates["without"] and not lost,
            "rates": {side: [load.rate for load in loads] for side, loads in peaks.items()},
        },
        {
            "what": TAIL,
            "saw": f"{p99['with'] / p99['without']:.2f} x: {p99['with']:.1f} and {p99['without']:.1f} ms at "
            f"{offered:,.0f} requests/s, {lost} rows lost",
            "met": p99["with"] <= 1.25 * p99["without"] and not lost,
            "p99": {side: [load.milliseconds(99) for load in loads] for side, loads in tails.items()},
        },
    ]


def _rows(folder: Path) -> int:
    return int(records.rows(folder).select("request_id").collect().height)
