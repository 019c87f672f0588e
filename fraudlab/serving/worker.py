"""What a worker process does: a batch of checked bodies in, scores out."""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import litserve
import numpy as np
import orjson
from litserve.loops import LitLoop

from fraudlab.bundle.contract import Refused, computed, problem
from fraudlab.bundle.levels import decided
from fraudlab.config.plugins import load_plugins
from fraudlab.errors import UserError
from fraudlab.features.encoder import Arrays
from fraudlab.features.live import WrongField, live
from fraudlab.features.narrow import NARROW, narrowed
from fraudlab.monitoring.drift import Reference
from fraudlab.serving import logs
from fraudlab.serving.dispatch import answer_message, connect, jobs_of, part
from fraudlab.serving.drift import Tally
from fraudlab.serving.history import History
from fraudlab.serving.history.store import StoreAway
from fraudlab.serving.labels import checked
from fraudlab.serving.lifetime import end_with_parent
from fraudlab.serving.recording import Form, Rows

if TYPE_CHECKING:
    from fraudlab.bundle import Bundle

_log = logging.getLogger(__name__)
_PATIENCE = 10.0  # seconds without a server until a worker ends by itself
_UNKNOWN = 1  # the encoder's id of a category that the training rows have not


class _LineLoop(LitLoop):
    """What LitServe's worker does instead of reading LitServe's queue: see :mod:`fraudlab.serving.dispatch`."""

    def __init__(self, line: Path) -> None:
        super().__init__()
        self._line = line

    def run(self, lit_api: "FraudAPI", *queues: Any) -> None:  # type: ignore[override]
        """Score batches until the line breaks; LitServe calls it again then."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
        line = connect(self._line, _PATIENCE)
        if line is None:
            os._exit(1)  # the server is gone without its workers
        # The server may be gone before it has read an answer.
        with suppress(BrokenPipeError, ConnectionResetError), line, line.makefile("rb") as came:
            while (head := part(came)) is not None and (bodies := part(came)) is not None:
                answer = lit_api.predict(lit_api.decode_request(jobs_of(head, bodies)))
                line.sendall(b"".join(answer_message(lit_api.encode_response(answer), answer["rows"])))


def open_history(address: str, bundle: "Bundle", *, wait: bool) -> History:
    """The history at ``address`` with the features of ``bundle``; see :meth:`.History.open`.

    Raises:
        UserError: it cannot be used, or the bundle's features have no past that a store keeps.
    """
    return History.open(address, live(bundle.features, f"bundle {bundle.path}"), wait=wait)


class Job(NamedTuple):
    """What the process that answers HTTP asks for, and the items of the request's body.

    Attributes:
        asked: for scores ``{"explain": number of reasons, "request_id", "record": whether to make rows of them, "past":
            whether to tell what was looked up, "dry_run": whether they leave no trace}``, for labels ``{"source", of
            those that name none, "skip_unknown": whether some may be of unknown transactions}``.
        records: transactions, or labels.
    """

    asked: dict[str, Any]
    records: list[dict[str, Any]]


class FraudAPI(litserve.LitAPI):
    """LitServe's worker: loads the bundle, proves it on its golden records, scores batches.

    What crosses the border between processes is bytes: in, the clients' own bodies; out, one JSON text a batch.

    Args:
        bundle: where it lies.
        version: that the server answers under; what has taken the bundle's place since then is not served.
        history: address of the past, where records do not carry theirs.
        history_required: whether to refuse while it does not answer; else records are scored without their past.
        line: address of the Unix socket that the batches come from.
        form: of the record's rows, where there is a record.
        plugins: modules to import before the bundle is loaded.
    """

    def __init__(
        self,
        bundle: str,
        version: str,
        history: str | None,
        line: Path,
        form: Form | None = None,
        plugins: Sequence[str] = (),
        *,
        history_required: bool = True,
    ) -> None:
        super().__init__(api_path="/predict", loop=_LineLoop(line))
        self._path = bundle
        self._version = version
        self._history_address = history
        self._history_required = history_required
        self._form = form
        self._plugins = plugins

    def setup(self, device: str) -> None:
        from fraudlab import bundle

        if (parent := multiprocessing.parent_process()) is not None and parent.pid is not None:
            end_with_parent(parent.pid)
        logs.configure()
        load_plugins(self._plugins)
        self._bundle: Bundle = bundle.load(self._path)
        if self._bundle.version != self._version:
            raise UserError(
                f"the bundle {self._path} was replaced: it is version {self._bundle.version}, and the server answers "
                f"under {self._version}; send it SIGHUP, or start it again"
            )
        self._bundle.check()
        schema, times_of = self._bundle.schema, self._bundle.reading.times_of
        self._rows = None if self._form is None else Rows(schema, self._form, times_of)
        address = self._history_address  # it may be away now: each request tries again
        self._past = [] if address is None else computed(self._bundle.features)
        self._history = None if address is None else open_history(address, self._bundle, wait=True)
        self._tally = None if self._bundle.reference["columns"] is None else Tally(Reference(self._bundle))

    def decode_request(self, request: list[tuple[dict[str, Any], bytes]]) -> list[Job]:
        read = ((asked, orjson.loads(body)) for asked, body in request)
        return [Job(asked, found if type(found) is list else [found]) for asked, found in read]

    def predict(self, x: list[Job]) -> dict[str, Any]:
        """Answers to a batch of jobs.

        Returns:
            ``answers``: one a job: a list of ``{"score", "risk_level", "rule"?, "spread"?, "reasons"?}`` for records,
            ``{"new", …}`` for labels, ``{"problems"}`` where the job is refused, ``{"away"}`` where it needs a history
            that does not answer; None where it broke what scores it.
            ``rows``: lines for the record, one bytes object a job.
            ``unknown``: names of columns whose category the training rows have not, one for each time.
            ``seconds``: of the stages.
        """
        if not x:
            return {"answers": [], "rows": [], "unknown": [], "seconds": {}}  # the server asks whether it lives
        try:
            answered = self._with_history(x)
            if self._tally is not None:
                self._tally.keep()
            return answered
        except StoreAway:
            return {"answers": [{"away": True}] * len(x), "rows": [b""] * len(x), "unknown": [], "seconds": {}}
        except Refused as error:
            said: dict[str, Any] | None = {"problems": error.problems}
        except UserError as error:
            said = {"problems": [problem(None, None, str(error))]}
        except Exception:  # let it not end the worker: the same request would end the next one too
            if len(x) == 1:
                _log.exception("no score")
            said = None
        if len(x) == 1:
            return {"answers": [said], "rows": [b""], "unknown": [], "seconds": {}}
        alone = [self.predict([job]) for job in x]  # one bad job must not fail the others
        return {
            "answers": [one["answers"][0] for one in alone],
            "rows": [one["rows"][0] for one in alone],
            "unknown": list(chain.from_iterable(one["unknown"] for one in alone)),
            "seconds": {},
        }

    def encode_response(self, output: dict[str, Any]) -> bytes:
        """A batch's answers, with what was counted for drift where that is due."""
        said = {name: each for name, each in output.items() if name != "rows"}
        return orjson.dumps(said if self._tally is None else {**said, "counts": self._tally.due()})

    def _with_history(self, jobs: list[Job]) -> dict[str, Any]:
        if self._history is None:
            return self._answers(jobs)
        try:
            with self._history.transaction():  # what is refused leaves nothing behind
                return self._answers(jobs)
        except StoreAway as error:
            _log.warning("the history: %s", error)
            if self._history_required:
                raise
        told = [job for job in jobs if "source" in job.asked]  # labels cannot do without it
        scored = self._answers([job for job in jobs if "source" not in job.asked], without_history=True)
        answers, rows = iter(scored["answers"]), iter(scored["rows"])
        return {
            **scored,
            "answers": [{"away": True} if job in told else next(answers) for job in jobs],
            "rows": [b"" if job in told else next(rows) for job in jobs],
        }

    def _labelled(self, job: Job) -> dict[str, Any]:
        """Take the labels of a job."""
        assert self._history is not None
        labels = checked(job.records, job.asked["source"])
        return self._history.tell(labels, skip_unknown=job.asked["skip_unknown"])._asdict()

    def _with_past(self, jobs: Sequence[Job], *, without_history: bool = False) -> list[Mapping[str, Any]]:
        """The jobs' records with the features of their past, which they join; what a record carries already stays."""
        records = [record for job in jobs for record in job.records]
        if self._history is None or not records:
            return list(records)
        places = [(job.asked["request_id"], position) for job in jobs for position in range(len(job.records))]
        asked = [(self._typed(record, place[1]), *place) for record, place in zip(records, places, strict=True)]
        if without_history:
            made = self._history.without_past(asked)
        else:
            dry = [job.asked["dry_run"] for job in jobs for _ in job.records]
            looked_up = iter(self._history.features_of([each for each, leave in zip(asked, dry, strict=True) if leave]))
            add = [each for each, leave in zip(asked, dry, strict=True) if not leave]
            added = iter(self._history.features_and_add(add))
            made = [next(looked_up if leave else added) for leave in dry]
        return [
            {**record, **{name: value for name, value in features.items() if record.get(name) is None}}
            for record, features in zip(records, made, strict=True)
        ]

    def _typed(self, record: Mapping[str, Any], position: int) -> Mapping[str, Any]:
        lookups = self._bundle.lookups
        try:
            typed = self._bundle.reading.with_time(self._bundle.typed(record))
            return narrowed(typed, lookups) if NARROW in lookups else typed
        except UserError as error:
            field = error.field if isinstance(error, WrongField) else None
            raise Refused([problem(position, field, str(error))]) from error

    def _answers(self, jobs: Sequence[Job], *, without_history: bool = False) -> dict[str, Any]:
        started = time.perf_counter()
        labelled = [self._labelled(job) if "source" in job.asked else None for job in jobs]
        scored = [job for job in jobs if "source" not in job.asked]
        counted = [not job.asked["dry_run"] for job in scored for _ in job.records]
        records = self._with_past(scored, without_history=without_history)
        arrays = self._bundle.encode(records)
        encoded = time.perf_counter()
        raw, spread = self._bundle.probability_and_spread(arrays)
        scores = self._bundle.calibrated(raw)
        finished = time.perf_counter()
        about = {"without_history": True} if without_history else {}
        names = self._bundle.encoder.categorical
        # Each once a record: a blend may encode a column in several ways.
        unknown = {(row, names[i]) for row, i in np.argwhere(arrays.categorical == _UNKNOWN).tolist()}
        levels = decided(self._bundle, scores, records)
        answers: list[dict[str, Any]] = [
            {"score": score, **level, **about} for score, level in zip(scores.tolist(), levels, strict=True)
        ]
        if spread is not None:
            for answer, low, high in zip(answers, spread.low.tolist(), spread.high.tolist(), strict=True):
                answer["spread"] = {"low": low, "high": high}
        start = 0
        by_job: list[Any] = []
        rows = []
        for job, told in zip(jobs, labelled, strict=True):
            if told is not None:
                by_job.append(told)
                rows.append(b"")
                continue
            stop = start + len(job.records)
            recorded = self._rows if job.asked["record"] else None
            if explain := max(job.asked["explain"], recorded.reasons if recorded is not None else 0):
                own = Arrays(arrays.categorical[start:stop], arrays.numeric[start:stop])
                reasons = self._bundle.explain(records[start:stop], explain, own)
                for row, (answer, why) in enumerate(zip(answers[start:stop], reasons, strict=True), start):
                    answer["reasons"] = [
                        {
                            "field": reason.column,
                            "value": reason.value,
                            "share": reason.share,
                            "contribution": reason.contribution,
                            **({"unseen": True} if (row, reason.column) in unknown else {}),
                        }
                        for reason in why
                    ]
            own_answers = answers[start:stop]
            rows.append(
                b""
                if recorded is None
                else recorded.lines(job.asked["request_id"], records[start:stop], raw[start:stop].tolist(), own_answers)
            )
            if (asked := job.asked["explain"]) < explain:  # the record wanted more
                own_answers = [_with_reasons(answer, asked) for answer in own_answers]
            if job.asked["past"]:
                for answer, record in zip(own_answers, records[start:stop], strict=True):
                    answer["past"] = {name: record.get(name) for name in self._past}
            by_job.append(own_answers)
            start = stop
        if self._tally is not None:
            kept = np.flatnonzero(counted)
            of_kept = Arrays(arrays.categorical[kept], arrays.numeric[kept])
            self._tally.hold(of_kept, scores[kept], [answers[row] for row in kept])
        return {
            "answers": by_job,
            "rows": rows,
            "unknown": [name for row, name in unknown if counted[row]],
            "seconds": {"encode": encoded - started, "model": finished - encoded} if scored else {},
        }


def _with_reasons(answer: dict[str, Any], number: int) -> dict[str, Any]:
    """The answer with the first reasons alone, and without any where none were asked for."""
    others = {name: said for name, said in answer.items() if name != "reasons"}
    return {**others, "reasons": answer["reasons"][:number]} if number else others
