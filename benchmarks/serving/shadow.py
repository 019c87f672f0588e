"""What a challenger costs those who are answered, and bundles that are swapped under load."""

import json
import shutil
import signal
import statistics
import threading
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.serving import servers
from benchmarks.serving.load import Load, closed, opened, post
from benchmarks.serving.material import Material
from fraudlab import bundle as bundles
from fraudlab.bundle import manifest

_SHARE = 0.6
_CLIENTS = 100
_SWAP_CLIENTS = 8
TAIL, SWAPS = "challenger, p99 at 60 % load", "bundles swapped under load"
BARS = {TAIL: "<= 1.25 x that without it", SWAPS: "no request lost, none answered by a mix"}
Line = dict[str, Any]


def measure(material: Material, seconds: float, turns: int) -> list[Line]:
    """Servers with a record take turns, without and with a challenger: the same bundle once more."""
    loads: dict[str, list[Load]] = {"without": [], "with": []}
    rates, scored = [], []
    for _ in range(turns):
        for side in loads:
            with TemporaryDirectory(dir="outputs/benchmarks/serving") as folder:
                settings = [f"serving.record_to={Path(folder).absolute()}"]
                settings += [f"serving.challenger={material.bundle.absolute()}"] if side == "with" else []
                with servers.ours(material.bundle, *settings) as server:
                    warm = closed(server.address, material.requests, clients=_CLIENTS, seconds=seconds / 3)
                    if side == "without":
                        rates.append(warm.rate)
                    rate = _SHARE * statistics.median(rates)
                    before = _scored(server)
                    load = opened(server.address, material.requests, rate=rate, connections=_CLIENTS, seconds=seconds)
                    loads[side].append(load)
                    if side == "with":
                        scored.append((_scored(server) - before) / len(load.answers))
    p99 = {side: statistics.median(load.milliseconds(99) for load in each) for side, each in loads.items()}
    errors = sum(load.errors for load in loads["with"])
    return [
        {
            "what": TAIL,
            "saw": f"{p99['with'] / p99['without']:.2f} x: {p99['with']:.1f} and {p99['without']:.1f} ms at "
            f"{statistics.median(load.offered for load in loads['with']):,.0f} requests/s, {errors} errors, "
            f"{statistics.median(scored):.0%} scored in the shadow",
            "met": p99["with"] <= 1.25 * p99["without"],
            "p99": {side: [load.milliseconds(99) for load in each] for side, each in loads.items()},
        }
    ]


def _scored(server: servers.Server) -> float:
    lines = server.get("/metrics")[1].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("fraudlab_challenger_scores_total"))


def swap(material: Material, times: int) -> list[Line]:
    """SIGHUP after SIGHUP, each with the other bundle behind the link that is served."""
    with TemporaryDirectory(dir="outputs/benchmarks/serving") as name:
        folder = Path(name).absolute()
        pair = [material.bundle.absolute(), _other(material.bundle, folder / "other")]
        record = material.records[0]
        want = {found.version: found.predict([record])[0] for found in map(bundles.load, pair)}
        body = post("/predict", json.dumps(record, allow_nan=False).encode())
        link = folder / "live"
        link.symlink_to(pair[0])
        wrong: list[Any] = []
        seen: list[str] = []
        with servers.ours(link) as server:
            over = threading.Event()

            def look() -> None:  # asks one by one, and reads each answer
                while not over.is_set():
                    found = server.ask(body)
                    seen.append(found["bundle_version"])
                    if abs(found["score"] - want[found["bundle_version"]]) > 1e-6:
                        wrong.append(found)

            looking = threading.Thread(target=look)
            looking.start()
            done: list[int] = []

            def swaps() -> None:
                for number in range(times):
                    aside = folder / "aside"
                    aside.symlink_to(pair[(number + 1) % 2])
                    aside.replace(link)
                    server.process.send_signal(signal.SIGHUP)
                    version = list(want)[(number + 1) % 2]
                    while json.loads(server.get("/info")[1])["bundle_version"] != version:
                        time.sleep(0.05)
                    done.append(number)

            swapping = threading.Thread(target=swaps)
            swapping.start()
            load = Load()
            while swapping.is_alive():
                part = closed(server.address, material.requests, clients=_SWAP_CLIENTS, seconds=2.0)
                load.answers += part.answers
                load.lost += part.lost
                load.refused += part.refused
            over.set()
            looking.join()
    changes = sum(one != other for one, other in pairwise(seen))
    return [
        {
            "what": SWAPS,
            "saw": f"{len(done)} times, {len(load.answers) + len(seen):,} answers, {load.errors} lost or refused, "
            f"{len(wrong)} of {len(seen):,} with the score of another bundle than they name, {changes} changes seen",
            "met": len(done) == times and not load.errors and not wrong,
        }
    ]


def _other(bundle: Path, folder: Path) -> Path:
    """A bundle whose scores are others: the same model, read with another calibration."""
    shutil.copytree(bundle, folder)
    decision = json.loads((folder / "decision.json").read_text())
    (folder / "decision.json").write_text(
        json.dumps({**decision, "calibration": {"map": "platt", "slope": 0.5, "intercept": 1.0}})
    )
    facts = json.loads((folder / manifest.NAME).read_text())
    facts = {key: value for key, value in facts.items() if key not in ("files", "format")}
    manifest.write(folder, facts)
    made = bundles.load(folder)
    golden = [row["record"] for row in made.golden()]
    rows = [{"record": record, "score": score} for record, score in zip(golden, made.predict(golden), strict=True)]
    (folder / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest.write(folder, facts)
    return folder
