"""What containers, proxies, browsers and operators take for granted."""

import dataclasses
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fraudlab import bundle as bundles
from fraudlab.config.environment import with_environment
from fraudlab.config.serve import ServingConfig
from fraudlab.errors import UserError
from fraudlab.serving.addresses import bind
from tests.support.server import free_port

ORIGIN = "https://app.example"
TRACE = f"00-{11:032x}-{7:016x}-01"
NOWHERE = "/proc"  # nobody can write there, not even root


@pytest.fixture(scope="module")
def port(exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a server that is told of it by the environment, in a folder that cannot be written."""
    port, log = free_port(), tmp_path_factory.mktemp("conventions") / "log"
    settings = ["serving.host=localhost", "serving.root_path=/fraud", f"serving.cors_origins=[{ORIGIN}]"]
    settings.append("serving.access_log=true")
    environment = {"PORT": str(port), "FRAUDLAB_SERVING_KEEP_ALIVE": "7", "FRAUDLAB_SERVING_SERVICE_PORT": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fraudlab.serve", f"bundle={exported[1]}", *settings],
            cwd=NOWHERE,
            env={**os.environ, "PYTHONPATH": str(Path(bundles.__file__).parents[2]), **environment},
            stdout=output,
            stderr=output,
        )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://localhost:{port}/health/ready", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
        assert f"http://localhost:{port}/fraud" in log.read_text()
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    traced = [line["path"] for line in lines if line.get("traceparent") == TRACE]
    assert traced == ["/predict"] * 2  # those that a test has sent it with


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib.request.urlopen(urllib.request.Request(url, body, given, method=method), timeout=10)


def test_it_answers_at_every_address_of_its_host(port: int) -> None:
    found = socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
    assert found
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as client:
            failed = client.connect_ex(address)
            if failed and family == socket.AF_INET6:
                continue  # localhost may have an address that the machine has not
            assert not failed
            client.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("prefix", ["", "/fraud"])  # a proxy may pass its prefix on, or take it off
def test_a_path_may_have_a_prefix(port: int, prefix: str, exported: tuple[Path, Path]) -> None:
    golden = bundles.load(exported[1]).golden()[0]
    body = json.dumps(golden["record"]).encode()
    url = f"http://localhost:{port}{prefix}/predict?explain=2"
    with ask(url, "POST", body, Content_Type="application/json", traceparent=TRACE) as answer:
        said = json.load(answer)
        assert said["score"] == pytest.approx(golden["score"], abs=1e-6)
        assert len(said["reasons"]) == 2
        assert answer.headers["traceparent"] == TRACE


def test_a_kept_connection_says_how_long(port: int) -> None:
    client = http.client.HTTPConnection("localhost", port, timeout=10)
    for _ in range(2):
        client.request("GET", "/health/live")
        answer = client.getresponse()
        answer.read()
        assert answer.headers["Keep-Alive"] == "timeout=7"
    client.close()


def test_a_trace_that_is_none_is_not_passed_on(port: int) -> None:
    with ask(f"http://localhost:{port}/health/live", traceparent="00-x") as answer:
        assert answer.headers["traceparent"] is None


def test_a_page_of_an_origin_that_may_ask_can(port: int) -> None:
    url = f"http://localhost:{port}/predict"
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x-api-key,content-type"}
    with ask(url, "OPTIONS", Origin=ORIGIN, **asked) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "x-api-key" in answer.headers["Access-Control-Allow-Headers"].lower()
    with ask(f"http://localhost:{port}/health/live", Origin=ORIGIN) as answer:
        assert answer.headers.get_all("Access-Control-Allow-Origin") == [ORIGIN]
    with ask(f"http://localhost:{port}/health/live", Origin="https://other.example") as answer:
        assert answer.headers["Access-Control-Allow-Origin"] is None


def test_a_port_in_use_is_told_with_what_to_type(port: int, exported: tuple[Path, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fraudlab.serve", f"bundle={exported[1]}", f"serving.port={port}"],
        cwd=NOWHERE,
        env={**os.environ, "PYTHONPATH": str(Path(bundles.__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"serving.port={port}: the port is in use" in done.stderr
    assert f"serving.port={port + 1}" in done.stderr


@pytest.mark.parametrize(("host", "says"), [("no.such.host.invalid", "give a name"), ("192.0.2.1", "no such address")])
def test_a_host_that_is_not_here_is_told(host: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        bind(host, free_port())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "0.0.0.0"])
def test_any_host_of_the_machine_is_taken(host: str) -> None:
    sockets = bind(host, free_port())
    assert sockets
    for each in sockets:
        each.listen()
        with socket.create_connection(each.getsockname()[:2]), each.accept()[0] as accepted:
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # or else one client makes the kernel keep 6 MB
                assert accepted.getsockopt(socket.SOL_SOCKET, buffer) <= 300_000
        each.close()


def test_the_environment_sets_what_was_not_typed() -> None:
    given = {
        "FRAUDLAB_SERVING_TIMEOUT": "3.5",
        "FRAUDLAB_SERVING_WORKERS": "4",
        "FRAUDLAB_SERVING_HOST": "0.0.0.0",
        "FRAUDLAB_SERVING_API_KEY_FILE": "/run/secrets/1e5",
        "FRAUDLAB_SERVING_HASH_COLUMNS": "[a, b]",
        "FRAUDLAB_SERVING_HISTORY": "null",
        "FRAUDLAB_SERVING_MAX_RECORDS": "7",
        "PORT": "80",
        "FRAUDLAB_API_KEY": "not a setting",
    }
    found = with_environment(ServingConfig(max_records=5), given, ["max_records"])
    wanted = {"timeout": 3.5, "workers": 4, "host": "0.0.0.0", "api_key_file": "/run/secrets/1e5"}
    wanted |= {"hash_columns": ["a", "b"], "history": None, "max_records": 5, "port": 80}
    assert {key: getattr(found, key) for key in wanted} == wanted
    assert dataclasses.replace(found, **{key: getattr(ServingConfig(), key) for key in wanted}) == ServingConfig()


@pytest.mark.parametrize(
    ("given", "port"),
    [
        ({"PORT": "8080", "FRAUDLAB_SERVING_PORT": "9090"}, 9090),
        ({"PORT": ""}, 8000),
        ({"FRAUDLAB_SERVING_PORT": "tcp://10.0.0.1:80", "FRAUDLAB_SERVING_PORT_80_TCP_ADDR": "10.0.0.1"}, 8000),
    ],
)
def test_a_port_of_the_environment(given: dict[str, str], port: int) -> None:
    assert with_environment(ServingConfig(), given, []).port == port
    assert with_environment(ServingConfig(port=1234), given, ["port"]).port == 1234


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("FRAUDLAB_SERVING_PROT", "1", "Did you mean FRAUDLAB_SERVING_PORT"),
        ("FRAUDLAB_SERVING_ZZZ", "1", "There are: host, port"),
        ("FRAUDLAB_SERVING_WORKERS", "many", "FRAUDLAB_SERVING_WORKERS=many"),
        ("FRAUDLAB_SERVING_TIMEOUT", "-1", "FRAUDLAB_SERVING_TIMEOUT=-1: serving.timeout"),
        ("FRAUDLAB_SERVING_HASH_COLUMNS", "[a", "FRAUDLAB_SERVING_HASH_COLUMNS"),
        ("PORT", "70000", "PORT=70000: serving.port"),
        ("PORT", "http", "PORT=http"),
    ],
)
def test_what_the_environment_cannot_set_is_told(variable: str, value: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        with_environment(ServingConfig(), {variable: value}, [])
