"""A challenger: a second bundle that scores the same traffic without answering, in its own process.

It runs while no other process needs the processor, and rests after each batch; see :mod:`.shadow` for who asks it.
"""

import itertools
import logging
import multiprocessing
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from fraudlab.bundle.contract import computed
from fraudlab.bundle.levels import decided
from fraudlab.config import plugins
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from fraudlab.features.live import live
from fraudlab.monitoring.rest import Rest
from fraudlab.serving import logs
from fraudlab.serving.dispatch import LENGTH, connect, jobs_of, part
from fraudlab.serving.lifetime import end_with_parent, yield_to_others

if TYPE_CHECKING:
    from fraudlab.bundle import Bundle
    from fraudlab.config.serve import ServingConfig

_log = logging.getLogger(__name__)
_failures = itertools.count(1)
_SOON = 60.0  # seconds after its start within which an end is a failed start, besides those that it may hang
_IDLE = 6.0  # times serving.worker_timeout that it may take: it gets the processor last
_END = 3.0  # seconds to end by itself
_REST, _SHARE = 1, 3  # times as long as a batch took, and as the system let it wait for a processor, it rests
_MOST_REST = 0.25  # seconds: what waits longer is not scored
_WIDER = {("integer", "number")}  # types of the champion's and its own field that go together


class Challenger:
    """Its process, for the server's first process, which starts, tends and closes it.

    Args:
        champion: what answers.
        settings: of the server.
        line: address of the Unix socket that it will be asked on.

    Attributes:
        version: of its bundle.
        listener: what listens on that socket.
        hung: seconds of a batch after which it is to be killed.

    Raises:
        UserError: there is no record for its scores, the bundle cannot be used, or it reads what records have not.
    """

    def __init__(self, champion: "Bundle", settings: "ServingConfig", line: Path) -> None:
        from fraudlab import bundle

        assert settings.challenger is not None
        if settings.record_to is None:
            raise UserError("serving.challenger scores for the record: also set serving.record_to=<folder>")
        loaded = bundle.load(settings.challenger)
        loaded.check()
        _fits(champion, loaded)
        if settings.history is not None:
            _has_its_past(champion, loaded)
        self.version = loaded.version
        line.unlink(missing_ok=True)  # of a generation that could not start
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(line))
        self.listener.listen()
        reasons = settings.record_reasons if loaded.explains else 0
        self._arguments = (str(loaded.path.resolve()), loaded.version, plugins.loaded(), line, reasons)
        self.hung = _IDLE * settings.worker_timeout
        self._starts = settings.worker_starts
        self._failed = 0
        self._process: Any = None

    def start(self) -> None:
        self._process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(os.getpid(), *self._arguments), name="challenger"
        )
        self._since = time.monotonic()
        self._process.start()

    def tend(self) -> None:
        """Start it again where it has ended, unless it ends again and again; the server goes on without it then."""
        if self._process is None or self._process.is_alive():
            return
        self._failed = self._failed + 1 if time.monotonic() - self._since < _SOON + self.hung else 1
        if self._failed < self._starts:
            _log.error("serving.challenger: it ended (%s) and is started again", self._process.exitcode)
            self.start()
        else:
            _log.error(
                "serving.challenger: it ended %d times, the log above may say why; the challenger scores nothing "
                "until the server is reloaded",
                self._failed,
            )
            self._process = None

    def close(self) -> None:
        self.listener.close()
        if self._process is not None:
            self._process.terminate()
            self._process.join(_END)
            self._process.kill()  # one that is suspended
            self._process.join()


def _fits(champion: "Bundle", challenger: "Bundle") -> None:
    """Refuse a challenger that reads what the champion's records have not."""
    has = {field["name"]: field["type"] for field in champion.schema["fields"]}
    reads = [field for field in challenger.schema["fields"] if field["role"] != "id"]
    lacking = [field["name"] for field in reads if field["name"] not in has]
    if lacking:
        raise UserError(
            f"serving.challenger={challenger.path} reads {', '.join(lacking)}, which the contract of the bundle "
            "that answers does not have; export a challenger of the same table and features, or serve it by itself"
        )
    for field in reads:
        pair = has[field["name"]], field["type"]
        if pair[0] != pair[1] and pair not in _WIDER:
            raise UserError(
                f"serving.challenger={challenger.path} reads {field['name']} as {pair[1]}, and the bundle that answers "
                f"has it as {pair[0]}; export a challenger of the same table"
            )


def _has_its_past(champion: "Bundle", challenger: "Bundle") -> None:
    """Refuse a challenger one of whose features of the past the champion's worker looks up otherwise."""
    whose = "whose bundle serving.history does not fit"
    ours, theirs = live(champion.features, whose), computed(challenger.features)
    other = live(challenger.features, whose) if theirs else ours
    used = {*challenger.encoder.categorical, *challenger.encoder.numeric}.intersection(theirs)
    differ = sorted(name for name in used if name not in ours.computed or ours.meaning(name) != other.meaning(name))
    if differ:
        raise UserError(
            f"serving.challenger={challenger.path} computes {', '.join(differ)} of the past otherwise than the bundle "
            "that answers (label_delay_days, features.prior, windows, or a limit that was learnt), whose values it "
            "would get; compare it offline with python -m fraudlab.predict history=<history>, or serve it by itself"
        )


def _run(parent: int, path: str, version: str, modules: Sequence[str], line: Path, reasons: int) -> None:
    """The process that scores."""
    end_with_parent(parent)
    logs.configure()
    yield_to_others()
    from fraudlab import bundle

    plugins.load_plugins(modules)
    loaded = bundle.load(path)
    if loaded.version != version:
        raise SystemExit(f"serving.challenger={path} was replaced; send the server SIGHUP")
    loaded.check()
    connection = connect(line, _SOON)
    if connection is None:
        return
    with suppress(BrokenPipeError, ConnectionResetError), connection, connection.makefile("rb") as came:
        while (head := part(came)) is not None and (bodies := part(came)) is not None:
            rest = Rest(time.sleep, worked=_REST, waited=_SHARE, most=_MOST_REST)
            started = time.perf_counter()
            jobs = [_records(asked, body) for asked, body in jobs_of(head, bodies)]
            answers = _scores(loaded, jobs, reasons)
            said = orjson.dumps({"answers": answers, "seconds": time.perf_counter() - started})
            connection.sendall(len(said).to_bytes(LENGTH) + said)
            rest()


def _records(asked: Mapping[str, Any], body: bytes) -> list[dict[str, Any]]:
    """The records of a body, with the features of the past that the champion's worker has looked up."""
    found = orjson.loads(body)
    records = found if type(found) is list else [found]
    past = asked.get("past") or [{}] * len(records)
    return [{**record, **its} for record, its in zip(records, past, strict=True)]


def _scores(loaded: "Bundle", jobs: Sequence[list[dict[str, Any]]], reasons: int) -> list[Any]:
    """``[raw_score, score, risk_level, names of reasons]`` a record of each job; None for a job that it fails at.

    Alerts alone have reasons: they cost more than the score.
    """
    records = [record for job in jobs for record in job]
    try:
        arrays = loaded.encode(records)
        raw = loaded.probability(arrays)
        scores = loaded.calibrated(raw)
        levels = [each["risk_level"] for each in decided(loaded, scores, records)]
        alerts = [place for place, level in enumerate(levels) if level != "low"] if reasons else []
        names: list[list[str] | None] = [None] * len(records)
        if alerts:
            own = Arrays(arrays.categorical[alerts], arrays.numeric[alerts])
            why = loaded.explain([records[place] for place in alerts], reasons, own)
            for place, its in zip(alerts, why, strict=True):
                names[place] = [reason.column for reason in its]
    except Exception as error:  # whatever it is: the champion has answered
        if len(jobs) > 1:
            return [_scores(loaded, [job], reasons)[0] for job in jobs]
        count = next(_failures)
        if count.bit_count() == 1:  # the 1st, 2nd, 4th, 8th ...: a client that keeps sending such ones fills no disk
            kind = type(error).__name__  # no client's values
            _log.error("serving.challenger: no score for a request: %s; %d such requests so far", kind, count)
        return [None]
    rows = iter([list(each) for each in zip(raw.tolist(), scores.tolist(), levels, names, strict=True)])
    return [[next(rows) for _ in job] for job in jobs]
