"""Times with the year first are read alike, whichever form stands first and however forms are mixed."""

import datetime

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudlab.data.sources.table.time_format import TimeFormat

MOMENTS = st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(2099, 12, 31))
FORMS = {  # how a moment is written, and what of it stays
    "{0:%Y-%m-%d %H:%M:%S}": {"microsecond": 0},
    "{0:%Y-%m-%dT%H:%M:%S}": {"microsecond": 0},
    "{0:%Y-%m-%dT%H:%M:%S}Z": {"microsecond": 0},
    "{0:%Y-%m-%d %H:%M:%S.%f}": {},
    "{0:%Y-%m-%dT%H:%M:%S.%f}": {},
    "{0:%Y-%m-%dT%H:%M:%S.%f}789": {},
    "{0:%Y/%m/%d %H:%M}": {"second": 0, "microsecond": 0},
    "{0:%Y%m%dT%H%M%S} UTC": {"microsecond": 0},
    "{0:%Y-%m-%d}": {"hour": 0, "minute": 0, "second": 0, "microsecond": 0},
}
WRONG = ["2024-13-01 00:00:00", "2024-02-30", "2024-01-01 24:00:00", "2024-01-01T10:00:60", "soon", "2024-1-1x"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(MOMENTS, st.sampled_from(sorted(FORMS))), min_size=1, max_size=12), st.sampled_from(WRONG))
def test_every_form_of_iso_gives_its_moment(drawn: list[tuple[datetime.datetime, str]], wrong: str) -> None:
    text = [form.format(moment) for moment, form in drawn]
    expected = [moment.replace(**FORMS[form]) for moment, form in drawn]
    frame = pl.DataFrame({"t": [*text, None, wrong, text[0]]})
    read = frame.select(TimeFormat("iso").values(pl.col("t"), pl.String)).to_series().to_list()
    assert read == [*expected, None, None, expected[0]]
    backwards = frame.reverse().select(TimeFormat("iso").values(pl.col("t"), pl.String)).to_series().to_list()
    assert backwards == read[::-1]
