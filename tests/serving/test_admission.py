"""How many requests are let in."""

import time

from fraudlab.serving.admission import Admission


def test_a_rate_is_not_taken_from_the_time_between_bursts() -> None:
    admission = Admission(wait=0.2, most=256)
    for _ in range(4):
        in_work = 0
        for _ in range(300):
            in_work += admission.admits(in_work)
        for _ in range(in_work):
            admission.answered()
        time.sleep(0.26)
    assert in_work == 256


def test_the_limit_follows_the_rate_under_more_than_can_be_answered() -> None:
    admission = Admission(wait=0.2, most=10_000)
    until = time.monotonic() + 20
    while admission.limit > 1000 and time.monotonic() < until:  # at most 1,000 answers a second: 200 in the time
        assert not admission.admits(admission.limit)
        time.sleep(0.001)
        admission.answered()
    assert 8 <= admission.limit <= 1000
