"""Debian's Prometheus (apt-get install prometheus) reads /metrics with a key of its own."""

import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.server import Server, free_port

KEY = "m" * 32


@pytest.mark.slow
def test_prometheus_reads_the_metrics_with_a_key(exported: tuple[Path, Path], tmp_path: Path) -> None:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("no Prometheus here: apt-get install prometheus")
    keys = tmp_path / "keys"
    keys.write_text(f"prometheus:metrics:{KEY}\n")
    keys.chmod(0o600)
    port = free_port()
    with Server(exported[1], tmp_path, f"serving.api_key_file={keys}") as server:
        targets = f"static_configs: [{{targets: ['127.0.0.1:{server.port}']}}]"
        (tmp_path / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\nscrape_configs:\n"
            f"- {{job_name: fraudlab, authorization: {{type: Bearer, credentials: {KEY}}}, {targets}}}\n"
        )
        command = [prometheus, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}/api/v1/query?query=fraudlab_ready"
            until = time.monotonic() + 60
            found: list = []
            while not found:
                assert time.monotonic() < until, (tmp_path / "log").read_text()
                try:
                    with urllib.request.urlopen(address, timeout=5) as answer:
                        found = json.load(answer)["data"]["result"]
                except OSError:
                    assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
            assert found[0]["value"][1] == "1"
            assert found[0]["metric"]["job"] == "fraudlab"
        finally:
            process.terminate()
            process.wait(20)
