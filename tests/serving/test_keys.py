"""Who may ask what: key files as operators write them, over a real server."""

import time
from pathlib import Path

import pytest

from fraudlab.errors import UserError
from fraudlab.serving.keys import Keys
from tests.support.server import Server

A, B, C, D = ("a" * 20, "b" * 20, "c" * 20, "d" * 20)
FILE = f"\ufeff# clients of staging\r\n\r\n{A}\r\n  shop:{B}\r\nops:read,metrics:{C}\r\nbank : label , score : {D}\r\n"


def _file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


def test_names_and_scopes_of_a_file(tmp_path: Path) -> None:
    keys = Keys(str(_file(tmp_path, FILE)))
    found = {value: keys.find([value.encode()]) for value in (A, B, C, D)}
    assert {value: (key.name, set(key.scopes)) for value, key in found.items() if key} == {
        A: ("key_1", {"score"}),
        B: ("shop", {"score"}),
        C: ("ops", {"read", "metrics"}),
        D: ("bank", {"label", "score"}),
    }
    for wrong in (b"", b"# clients of staging", A[:-1].encode(), f"shop:{B}".encode()):
        assert keys.find([wrong]) is None
    assert keys.find([]) is None


@pytest.mark.parametrize("value", [f"{A}\n", f"\ufeff{A}", f"  {A}\r\n"])
def test_a_variable_as_secrets_have_it_opens_everything(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FRAUDLAB_API_KEY", value)
    key = Keys(None).find([A.encode()])
    assert key is not None
    assert key.scopes == {"score", "label", "read", "metrics"}


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (FILE, 0o666, "can be written by every user.*chmod 600"),
        ("\n# none\n", 0o600, "has no key"),
        ("short", 0o600, "line 1: a key has at least 16 characters"),
        (f"\n{A} # of staging", 0o600, "line 2: a key has .* no blank"),
        (f"ops:metric:{A}", 0o600, "no scope 'metric'; did you mean metrics"),
        (f"a name:score:{A}", 0o600, "line 1: a name has"),
        (f"{A}\nops:{A}", 0o600, "line 2: this is the key of key_1 again"),
    ],
)
def test_a_file_that_says_something_else_than_meant_is_refused(
    tmp_path: Path, content: str, mode: int, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        Keys(str(_file(tmp_path, content, mode)))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xff\xfe" * 20)
    with pytest.raises(UserError, match="not UTF-8 text"):
        Keys(str(tmp_path / "keys"))


def test_a_server_asks_for_keys_counts_by_name_and_takes_new_ones(exported: tuple[Path, Path], tmp_path: Path) -> None:
    path = _file(tmp_path, FILE)
    with Server(exported[1], tmp_path, f"serving.api_key_file={path}", "serving.host=0.0.0.0") as server:

        def status(address: str, key: str, *, bearer: bool = False) -> int:
            headers = {"Authorization": f"bearer {key}"} if bearer else {"X-API-Key": key}
            return server.ask(address, key=None, headers=headers).status

        by_key = {
            value: [status(address, value) for address in ("/info", "/openapi.json", "/metrics", "/predict", "/labels")]
            for value in (A, C, D, "e" * 20)
        }
        assert by_key == {
            A: [200, 200, 403, 405, 403],
            C: [200, 200, 200, 403, 403],
            D: [200, 200, 403, 405, 405],
            "e" * 20: [401] * 5,
        }
        assert [status("/metrics", C, bearer=True), status("/metrics", A, bearer=True)] == [200, 403]
        assert server.ask("/metrics", key=None, headers={"Authorization": "Basic " + C}).status == 401
        assert server.ask("/info", key=None).headers["WWW-Authenticate"] == 'Bearer realm="fraudlab"'
        assert "invalid_token" in server.ask("/info", key="e" * 20).headers["WWW-Authenticate"]
        assert "scope metrics" in server.ask("/metrics", key=A).said["error"]
        counted = server.ask("/metrics", key=C).text
        assert 'fraudlab_key_requests_total{key="key_1",status="403"} 4.0' in counted

        replaced = tmp_path / "next"
        replaced.write_text(f"ops:metrics:{C}\nnew:{'n' * 20}\n")
        replaced.chmod(0o600)
        replaced.rename(path)  # as secrets are replaced
        until = time.monotonic() + 20
        while status("/info", "n" * 20) != 200:
            assert time.monotonic() < until
        assert status("/info", A) == 401
        path.write_text("broken")
        until = time.monotonic() + 20
        while "the keys stay as they were" not in server.log.read_text():
            assert status("/info", "n" * 20) == 200
            assert time.monotonic() < until
    log = server.log.read_text()
    assert "and no key" not in log
    assert C not in log


def test_a_server_that_everybody_can_ask_says_so(exported: tuple[Path, Path], tmp_path: Path) -> None:
    with Server(exported[1], tmp_path, "serving.host=0.0.0.0", env={"FRAUDLAB_API_KEY": ""}) as server:
        until = time.monotonic() + 20
        while "serving.host=0.0.0.0 and no key" not in server.log.read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        assert server.ask("/metrics", key=None).status == 200
