"""``python -m benchmarks.monitor``: the loop after deployment, on this machine, with simulated transactions.

Trains on the Handbook's weeks, serves the bundle with a record, and replays the weeks after the training day by day,
with labels that come one to three weeks late. Prometheus and Alertmanager watch where they are installed (apt-get
install prometheus prometheus-alertmanager); what they tell is printed. At the end drift and performance are reported.
The server stays until Ctrl-C, or ends with ``--once``.
"""

import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.serving import servers
from benchmarks.watching import ALERTMANAGER, PROMETHEUS, watched
from fraudlab.config import DataPlaceConfig
from fraudlab.exporter.golden import records_of
from fraudlab.files import write_text
from fraudlab.runs.data import table_of
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.settings import load_config

_DELAYS = (7.0, 21.0)  # days from a fraud to its label
_AT_ONCE = 100  # records of a request
_KEY = "monitor" * 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/monitor"))
    parser.add_argument("--share", type=float, default=0.1, help="of the transactions that are replayed")
    parser.add_argument("--weeks", type=int, default=9, help="after the training that are replayed")
    parser.add_argument("--once", action="store_true", help="end when all is reported")
    given = parser.parse_args()
    out: Path = given.out
    if out.exists():
        sys.exit(f"error: {out} exists; remove it, or give another --out")
    os.environ.setdefault("FRAUDLAB_HASH_KEY", _KEY)  # with which the record hashes cards
    _command("train", "experiment=handbook_book", "model=lightgbm", "report=false", f"hydra.run.dir={out}/run")
    _command("export", f"run={out}/run", f"out={out}/bundle", "calibration=platt")
    days = _days(out, given.share, given.weeks)
    write_text(out / "keys", f"monitor:score,label,read,metrics:{_KEY}\n")
    (out / "keys").chmod(0o600)
    settings = (f"serving.record_to={out}/record", f"serving.api_key_file={out}/keys", "serving.record_reasons=3")
    with servers.ours(out / "bundle", *settings) as server, _watched(out, server.port) as watching:
        told = _replay(server, days)
        last = max(days)
        print(f"\nreplayed {sum(len(rows) for rows, _ in days.values()):,} transactions and {told:,} labels, to {last}")
        record = (f"bundle={out}/bundle", f"records={out}/record")
        _command(
            "performance", *record, "mature_days=21", "clock=transaction", f"as_of={last}", f"out={out}/performance"
        )
        _command("drift", *record, f"out={out}/drift")
        places = {
            "performance by week": (out / "performance" / "performance.html").absolute(),
            "drift": (out / "drift" / "drift.html").absolute(),
            "the server's metrics": f"http://127.0.0.1:{server.port}/metrics (X-API-Key: {_KEY})",
            **watching,
        }
        print("\nwhere to look (simulated data):")
        for name, place in places.items():
            print(f"  {name:22} {place}")
        if not given.once:
            print("\nCtrl-C ends all of it")
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()


def _command(name: str, *words: str) -> None:
    done = subprocess.run([sys.executable, "-m", f"fraudlab.{name}", *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def _days(out: Path, share: float, weeks: int) -> dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """By day: the transactions after the training, and what is told on it of earlier ones."""
    run = RunFolder.find(out / "run")
    config = load_config(run.config_path)
    table = table_of(run, config, DataPlaceConfig(), Path(config.paths.data_dir))
    chance = np.random.default_rng(0)
    split = table.split(config.split, config.label_delay_days)
    time, number = table.schema.time, table.schema.id
    assert time is not None
    assert number is not None
    times = table.column(time)
    assert times is not None
    start = datetime.combine(times.gather(split.test)[0].date(), datetime.min.time())
    within = times.is_between(start, start + timedelta(weeks=weeks), closed="left").to_numpy()
    rows = np.flatnonzero(within & (chance.random(len(times)) < share))
    schema = json.loads((out / "bundle" / "schema.json").read_text())
    names = [field["name"] for field in schema["fields"]]
    records = records_of(table, rows, names, {})
    moments, fraud = times.gather(rows).to_list(), table.label.gather(rows).to_list()
    days: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = defaultdict(lambda: ([], []))
    for record, moment, is_fraud in zip(records, moments, fraud, strict=True):
        days[f"{moment:%Y-%m-%d}"][0].append(record)
        if is_fraud:
            told = moment + timedelta(days=chance.uniform(*_DELAYS))
            label = {"id": record[number], "fraud": True, "source": "bank", "event_time": told.isoformat() + "Z"}
            days[f"{told:%Y-%m-%d}"][1].append(label)
    return dict(sorted(days.items())[: 7 * weeks])


def _replay(server: servers.Server, days: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]) -> int:
    connection = http.client.HTTPConnection(*server.address, timeout=30)
    headers = {"Content-Type": "application/json", "X-API-Key": _KEY}

    def post(path: str, content: Any) -> None:
        connection.request("POST", path, json.dumps(content), headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            sys.exit(f"error: {path}: {answer.status} {said.decode()}")

    for transactions, labels in tqdm(days.values(), desc="days"):
        for at in range(0, len(transactions), _AT_ONCE):
            post("/predict?explain=3", transactions[at : at + _AT_ONCE])
        for at in range(0, len(labels), _AT_ONCE):
            post("/labels", labels[at : at + _AT_ONCE])
    return sum(len(labels) for _, labels in days.values())


@contextlib.contextmanager
def _watched(out: Path, port: int) -> Iterator[dict[str, str]]:
    """Prometheus and Alertmanager where they are installed, and where they answer."""
    if PROMETHEUS is None or ALERTMANAGER is None:
        print("Prometheus and Alertmanager are not installed: apt-get install prometheus prometheus-alertmanager")
        yield {}
        return
    told = ThreadingHTTPServer(("127.0.0.1", 0), _Told)
    threading.Thread(target=told.serve_forever, daemon=True).start()
    folder = out / "monitoring"
    folder.mkdir()
    with watched(folder, [port], _KEY, f"http://127.0.0.1:{told.server_port}", 600) as ports:
        yield {
            "Prometheus": f"http://127.0.0.1:{ports.prometheus}/alerts",
            "Alertmanager": f"http://127.0.0.1:{ports.alertmanager}",
        }
    told.shutdown()


class _Told(BaseHTTPRequestHandler):
    """Prints what Alertmanager tells."""

    def do_POST(self) -> None:
        for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
            words = alert["annotations"]
            tqdm.write(f"{datetime.now():%H:%M:%S} {alert['status']:8} {self.path[1:]:6} {words['summary']}")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


if __name__ == "__main__":
    main()
