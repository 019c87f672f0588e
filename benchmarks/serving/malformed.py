"""Requests that no client should send, drawn from a seed: broken JSON, broken records, broken addresses and headers.

Each is one whole HTTP request, so that a server that keeps the protocol has an answer to it.
"""

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.serving.load import post

Record = Mapping[str, Any]

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, -0.0, 1e308, -1e308, 5e-324, 2**31, 2**63, -(2**63) - 1, 10**400, "", " ", "NaN", "nan",
    "Infinity", "null", "0x1", "1e999", "1_000", "\x00", "\ud800", "\u202e", "🦀" * 50, "a" * 5000,
    "'; DROP TABLE t; --",
    "{{7*7}}", "../../etc/passwd", "9999-99-99T99:99:99", "2018-07-25T14:30:00+99:99", [], {}, [None], {"a": {"b": []}},
)  # fmt: skip
_RAW = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "01",
    "+1",
    ".5",
    "1.",
    "'a'",
    "undefined",
    "--1",
    '"\\x41"',
    '"\\ud800"',
)
_WHOLE = (
    b"", b" ", b"null", b"true", b"0", b'"text"', b"[]", b"{}", b"[[]]", b"[{}]", b"[null]", b"{", b"}", b"[", b"]",
    b"{]", b"{}{}", b"[,]", b'{"a":}', b'{"a" 1}', b"{'a': 1}", b"\xff\xfe", b"\xef\xbb\xbf{}", b"\x00",
    b"\x1f\x8b\x08\x00",
)  # fmt: skip


def requests(records: Sequence[Record], number: int, seed: int) -> list[bytes]:
    """So many malformed requests, the same for the same seed.

    Args:
        records: whole, sound transactions to break.
        number: of requests.
        seed: of what is broken, and how.
    """
    draw = random.Random(seed)  # noqa: S311 - the same ones each time
    kinds = (_value, _value, _text, _text, _bytes, _bytes, _shape, _nested, _whole, _head)
    return [draw.choice(kinds)(draw, draw.choice(records)) for _ in range(number)]


@dataclass(frozen=True)
class Drawn:
    """What schemathesis found: cases sent, whether all answers were as the OpenAPI page says, and its last line."""

    cases: int
    passed: bool
    says: str


def schemathesis(address: tuple[str, int], examples: int) -> Drawn:
    """Sound and broken requests made from the server's OpenAPI page: each boundary once, then ``examples`` at random.

    A record with too few values is refused with 422, which the page says in words, since no schema can: so a request
    that the schema allows may be refused.

    Args:
        address: host and port of a server without a key.
        examples: at most, of each address.
    """
    command = [str(Path(sys.executable).with_name("st")), "run", "http://{}:{}/openapi.json".format(*address)]
    command += [
        "--phases",
        "examples,coverage,fuzzing",
        "--mode",
        "all",
    ]
    command += ["--exclude-checks", "positive_data_acceptance"]
    command += ["--max-examples", str(examples), "--seed", "0", "--generation-database", "none", "--no-color"]
    with TemporaryDirectory() as folder:  # it leaves files where it runs
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    cases = re.search(r"([\d,]+) generated", done.stdout)
    last = done.stdout.strip().rpartition("\n")[2].strip("= ")
    return Drawn(int(cases[1].replace(",", "")) if cases else 0, done.returncode == 0, last)


def _value(draw: random.Random, record: Record) -> bytes:
    """Some fields hold what does not belong there, or are missing or unheard of."""
    broken = dict(record)
    for name in draw.sample(sorted(record), draw.randint(1, 5)):
        if draw.random() < 0.2:
            del broken[name]
        else:
            broken[name if draw.random() < 0.8 else name + draw.choice(("", " ", "\x00", "é"))] = draw.choice(_ODD)
    return post("/predict", json.dumps(broken).encode())


def _text(draw: random.Random, record: Record) -> bytes:
    """JSON that only a lenient reader takes: odd numbers, keys that come twice, commas too many."""
    pairs = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in record.items()]
    at = draw.randrange(len(pairs))
    name = pairs[at].split(":")[0]
    pairs[at] = draw.choice((f"{name}: {draw.choice(_RAW)}", f"{pairs[at]}, {pairs[at]}", f"{pairs[at]},", f"{name}"))
    return post("/predict", ("{" + ", ".join(pairs) + "}").encode())


def _bytes(draw: random.Random, record: Record) -> bytes:
    """Bytes of a sound body cut off, turned, doubled or put in."""
    body = bytearray(json.dumps(record).encode())
    for _ in range(draw.randint(1, 8)):
        at = draw.randrange(len(body))
        change: Callable[[], None] = draw.choice(
            (
                lambda at=at: body.__delitem__(slice(at + 1, None)),
                lambda at=at: body.__setitem__(at, draw.randrange(256)),
                lambda at=at: body.insert(at, draw.randrange(256)),
                lambda at=at: body.extend(body[at : at + 50]),
            )
        )
        change()
    return post("/predict", bytes(body))


def _shape(draw: random.Random, record: Record) -> bytes:
    """Lists of the wrong length, or of one broken record among sound ones."""
    items = draw.choice(
        (
            [dict(record)] * draw.choice((101, 150)),
            [dict(record), draw.choice(_ODD), dict(record)],
            [[dict(record)]],
            {"records": [dict(record)]},
            [dict(record), {**record, draw.choice(sorted(record)): draw.choice(_ODD)}],
        )
    )
    return post("/predict", json.dumps(items).encode())


def _nested(draw: random.Random, record: Record) -> bytes:
    depth = draw.choice((5, 100, 1000, 100_000))
    deep = draw.choice(("[" * depth + "]" * depth, "[" * depth, '{"a":' * depth + "1" + "}" * depth))
    name = json.dumps(draw.choice(sorted(record)))
    return post("/predict", draw.choice((deep, f"{{{name}: {deep}}}")).encode())


def _whole(draw: random.Random, record: Record) -> bytes:
    return post("/predict", draw.choice((*_WHOLE, b" " * 2_000_000, draw.randbytes(draw.randint(1, 2000)))))


def _head(draw: random.Random, record: Record) -> bytes:
    """A sound body sent to odd addresses, with odd methods and headers."""
    body = json.dumps(record).encode()
    path = draw.choice(
        (
            "/predict?explain=-1", "/predict?explain=abc", "/predict?explain=" + "9" * 20, "/predict?explain=1.5",
            "/predict?explain=", "/predict?explain=1&explain=2", "/predict/", "//predict", "/predict%00",
            "/predict/../info", "/" + "a" * 8000, "/%ff%fe", "/health/ready/x", "/.env", "/predict?" + "x=1&" * 500,
        )
    )  # fmt: skip
    header = draw.choice(
        (
            "X-Odd: 1",
            "Content-Encoding: gzip",
            "X-API-Key: ÿ",
            "X-Request-ID: " + "r" * 4000,
            "Accept: text/html",
            "Range: x",
        )
    )
    request = post(path, body, header)
    method = draw.choice(("POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "GET"))
    if draw.random() < 0.2:
        request = request.replace(b"application/json", draw.choice((b"text/plain", b"", b"application/xml", b"*/*")), 1)
    return request.replace(b"POST", method.encode(), 1)
