"""The time of a record in the table's own form, for a history and for the record of inputs."""

import datetime
import zoneinfo
from pathlib import Path
from typing import Any

import orjson
import pytest

from fraudlab.errors import UserError
from fraudlab.features.live import WrongField
from fraudlab.serving.recording import Form, Rows
from tests.bundle.test_same_rules import ISO, MOMENTS, TRAINED, timed

NOON = datetime.datetime(2024, 7, 1, 12)
OWN_FORMS: dict[str, tuple[list[Any], dict[str, Any], Any, datetime.datetime]] = {
    "day first": (TRAINED["day first"][0], {}, "01.07.2024 12:00", NOON),
    "day first, in a zone": (TRAINED["day first"][0], {"time_zone": "Europe/Paris"}, "01.07.2024 14:00", NOON),
    "slashes": ([f"{moment:%Y/%m/%d %H:%M}" for moment in MOMENTS], {}, "2024/07/01 12:00", NOON),
    "a number": ([int(f"{m:%Y%m%d}") for m in MOMENTS], {"time_unit": "yyyymmdd", "derive": {}}, 20240701,
                 NOON.replace(hour=0)),
}  # fmt: skip


@pytest.mark.parametrize("form", OWN_FORMS)
def test_a_history_is_asked_by_a_time_in_the_tables_form(form: str, tmp_path: Path) -> None:
    """Text with the year first, and a moment, are left to what reads them anyway."""
    when, settings, value, moment = OWN_FORMS[form]
    reading = timed(tmp_path, when, **settings).reading
    assert reading.with_time({"when": value, "a": 1}) == {"when": moment.replace(tzinfo=datetime.UTC), "a": 1}
    told = reading.times_of([None, value, "soon", True, value])
    assert [text and datetime.datetime.fromisoformat(text) for text in told] == [None, moment, None, None, moment]
    for plain in (None, NOON, 7.5 if isinstance(value, str) else "2024-07-01"):
        assert reading.with_time({"when": plain})["when"] == plain
    with pytest.raises(UserError, match="when is 'soon', which is not a time; write it"):
        reading.with_time({"when": "soon"})


def in_unit(unit: str, values: list[int], **settings: Any) -> dict[str, Any]:
    return {"when": values, "time_unit": unit, "derive": {}, **settings}


EPOCHS = [(moment - datetime.datetime(1970, 1, 1)) // datetime.timedelta(seconds=1) for moment in MOMENTS]
BEYOND: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "seconds": (in_unit("epoch_seconds", EPOCHS), 1719835200, 1719835200000),
    "nanoseconds": (in_unit("nanoseconds", [second * 10**9 for second in EPOCHS]), 1719835200 * 10**9, 2**70),
    "excel": (in_unit("excel", [45_292 + n for n in range(60)]), 45_474.5, 1e15),
    "day first": ({"when": TRAINED["day first"][0]}, "01.07.2024 12:00", "1.1.0000 00:00"),
}


@pytest.mark.parametrize("form", BEYOND)
def test_a_time_beyond_the_calendar_is_none_and_costs_the_others_nothing(form: str, tmp_path: Path) -> None:
    settings, value, beyond = BEYOND[form]
    reading = timed(tmp_path, **settings).reading
    assert reading.times_of([beyond, value]) == [None, NOON.isoformat()]
    if form != "seconds":  # which a history reads itself
        with pytest.raises(WrongField, match="when is .* is not a time"):
            reading.with_time({"when": beyond})


@pytest.mark.parametrize("moments", [False, True])
def test_a_record_has_one_clock_however_its_times_are_written(moments: bool, tmp_path: Path) -> None:
    """That of the zone, as a history reads them; a table of moments has a contract of moments."""
    paris = zoneinfo.ZoneInfo("Europe/Paris")
    when: list[Any] = [moment.replace(tzinfo=paris) for moment in MOMENTS] if moments else ISO
    bundle = timed(tmp_path, when, **({} if moments else {"time_zone": "Europe/Paris"}))
    sent = ["2024-07-01 14:00", "2024/07/01 14:00", "2024-07-01T12:00Z", "2024-07-01T14:00:00+02:00"]
    (kind,) = {field["type"] for field in bundle.schema["fields"] if field["role"] == "time"}
    assert kind == ("datetime" if moments else "string")
    rows = Rows(bundle.schema, Form((), b"", 0, {}), bundle.reading.times_of)
    answers = [{"score": 0.5, "risk_level": "low"}] * len(sent)
    lines = rows.lines("r", [{"when": text} for text in sent], [0.5] * len(sent), answers).splitlines()
    assert [orjson.loads(line.partition(b"\t")[0])[3] for line in lines] == [NOON.isoformat()] * len(sent)
