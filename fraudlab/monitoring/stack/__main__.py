"""``python -m fraudlab.monitoring.stack <folder>``: write rules, routes and dashboards for a server's metrics."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fraudlab.files import write_json, write_text
from fraudlab.monitoring.stack.dashboards import dashboards
from fraudlab.monitoring.stack.rules import alertmanager, prometheus, rules, run_monitoring

_HEAD = "# Made by python -m fraudlab.monitoring.stack; change fraudlab/monitoring/stack and make it again.\n"


def write(
    folder: Path, targets: Sequence[str], alertmanagers: Sequence[str], key_file: str, urls: Sequence[str], speed: float
) -> None:
    """Write ``rules.yml``, ``prometheus.yml``, ``alertmanager.yml``, ``run_monitoring.yml`` and ``dashboards/``."""
    (folder / "dashboards").mkdir(parents=True, exist_ok=True)
    _yaml(folder / "rules.yml", rules(speed))
    _yaml(folder / "prometheus.yml", prometheus(list(targets), list(alertmanagers), key_file, speed))
    _yaml(folder / "alertmanager.yml", alertmanager(urls[0], urls[1], speed))
    _yaml(folder / "run_monitoring.yml", run_monitoring())
    for name, content in dashboards().items():
        write_json(folder / "dashboards" / f"{name}.json", content)


def _yaml(path: Path, content: Any) -> None:
    write_text(path, _HEAD + yaml.safe_dump(content, sort_keys=False, width=120))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", nargs="+", default=["localhost:8000"], help="host:port of each server")
    parser.add_argument("--alertmanager", nargs="+", default=["localhost:9093"], help="host:port")
    parser.add_argument("--key-file", default="/etc/prometheus/fraudlab.key", help="with the key for /metrics")
    parser.add_argument("--page", default="http://localhost:9999/page", help="webhook for what cannot wait")
    parser.add_argument("--ticket", default="http://localhost:9999/ticket", help="webhook for what can")
    parser.add_argument("--speed", type=float, default=1.0, help="by which durations are divided, for a replay")
    given = parser.parse_args()
    write(given.folder, given.target, given.alertmanager, given.key_file, (given.page, given.ticket), given.speed)


if __name__ == "__main__":
    main()
