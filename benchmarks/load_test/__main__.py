"""``python -m benchmarks.load_test``: Locust's users against a server that this command starts itself on a free port.

The users send the bundle's golden records, rows of its run's validation days, each user one after the other with a
pause between them. The folder of the report gets ``report.md``, ``latency.png``, ``answers.csv`` and Locust's own
``locust.html``. Users and server share this machine's processors: for the server's limits use
``python -m benchmarks.serving``, whose load generator costs less.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from benchmarks.load_test import report
from benchmarks.serving import servers
from fraudlab import bundle as bundles
from fraudlab.errors import UserError
from fraudlab.serve import newest_bundle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", help="folder or gs:// address (default: the newest under outputs/)")
    parser.add_argument("--users", type=int, default=100, help="at the same time (default 100)")
    parser.add_argument("--seconds", type=int, default=30, help="of load (default 30)")
    parser.add_argument("--wait", type=float, default=0.2, help="mean seconds between a user's requests (default 0.2)")
    parser.add_argument("--out", type=Path, help="folder of the report (default outputs/load_test/<date>_<time>)")
    arguments = parser.parse_args()
    if arguments.users < 1 or arguments.seconds < 1 or arguments.wait < 0:
        parser.error("--users and --seconds must be at least 1, --wait at least 0")
    out = arguments.out or Path(f"outputs/load_test/{datetime.now():%Y-%m-%d_%H-%M-%S}")
    try:
        path = arguments.bundle or newest_bundle()
        bundle = bundles.load(path)
    except UserError as error:
        sys.exit(f"error: {error}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "records.json").write_text(json.dumps([row["record"] for row in bundle.golden()]))
    with servers.ours(path) as server:
        failed = _locust(server, arguments, out)
    simulated = " (simulated data)" if bundle.schema["simulated"] else ""
    users = f"{arguments.users} users, each with pauses of {arguments.wait:g} s in the mean"
    title = f"{bundle.schema['name']}{simulated}: {users}"
    print(report.write(out, title))
    print(f"\nwritten to {out}: report.md, latency.png, answers.csv, locust.html")
    if failed:
        sys.exit("error: not every request was answered with 200; see locust.html")


def _locust(server: servers.Server, arguments: argparse.Namespace, out: Path) -> bool:
    """Let the users run; whether a request failed."""
    command = [sys.executable, "-m", "locust", "--headless", "--only-summary", "--loglevel", "WARNING"]
    command += ["--locustfile", str(Path(__file__).with_name("users.py")), "--html", str(out / "locust.html")]
    command += ["--users", str(arguments.users), "--spawn-rate", str(max(1.0, arguments.users / 3))]
    command += ["--run-time", f"{arguments.seconds}s", "--host", "http://{}:{}".format(*server.address)]
    environment = {
        "LOAD_TEST_RECORDS": str(out / "records.json"),
        "LOAD_TEST_ANSWERS": str(out / "answers.csv"),
        "LOAD_TEST_WAIT": str(arguments.wait),
    }
    print(f"{arguments.users} users for {arguments.seconds} s ...", file=sys.stderr, flush=True)
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode not in (0, 1) or not (out / "answers.csv").is_file():
        sys.exit(f"error: locust ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.returncode == 1


if __name__ == "__main__":
    main()
