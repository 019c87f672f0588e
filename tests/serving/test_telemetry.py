"""Counts over a reload: what a chain of processes shows is what one process would that had seen all."""

import random
from pathlib import Path

from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from fraudlab.serving.telemetry import STAGES, Telemetry


def _something_happens(draw: random.Random, *seen_by: Telemetry) -> None:
    path, status = draw.choice(["/predict", "/info"]), draw.choice([200, 422, 429])
    stage, seconds, name = draw.choice(STAGES), draw.randint(1, 2000) / 1024, draw.choice("abcdef")
    for telemetry in seen_by:
        telemetry.answered(path, status)
        telemetry.took(stage, seconds)
        telemetry.scored(["low", "high"], [name])
        telemetry.asked_by(name, status)
        telemetry.refused(status)
        telemetry.restarts.inc()


def _counts(telemetry: Telemetry) -> dict[tuple, float]:
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(telemetry.page().decode())
        for sample in family.samples
        if family.type in ("counter", "histogram") and not sample.name.endswith("_created")
    }


def _with_more(telemetry: Telemetry) -> Telemetry:
    """As a challenger's counts are added."""
    count = Counter("fraudlab_challenger_scores", "Records", ["champion"], registry=None)
    telemetry.count(count)
    count.labels("low").inc(3)
    return telemetry


def test_each_process_counts_on_from_the_one_before(tmp_path: Path) -> None:
    draw, files = random.Random(0), [tmp_path / f"{number}.json" for number in range(4)]
    whole = Telemetry("v", None, tmp_path / "whole.json")
    before = None
    for number, after in enumerate(files):
        one = Telemetry(f"v{number}", before, after)
        for _ in range(200):
            _something_happens(draw, one, whole)
        assert _counts(one) == _counts(whole)
        assert f'fraudlab_bundle{{version="v{number}"}} 1.0' in one.page().decode()
        assert 'version="v0"' not in one.page().decode() or number == 0
        one.hand_over()
        before = after
    full = tmp_path / "full.json"
    full.write_bytes(b"")  # what a full disk leaves
    after_full = Telemetry("v", full, tmp_path / "after.json")
    _something_happens(draw, after_full)
    assert _counts(after_full)
    after_full.hand_over()
    assert _counts(Telemetry("v", tmp_path / "after.json", full)) == _counts(after_full)
    Telemetry("v", None, tmp_path / "no folder" / "0.json").hand_over()  # which nothing may end by
    _with_more(Telemetry("v", None, files[2])).hand_over()
    assert (
        _counts(_with_more(Telemetry("v", files[2], files[3])))["fraudlab_challenger_scores_total", ("champion", "low")]
        == 6
    )
    # What the former one still answers, while its successor answers too, counts for both.
    former, successor = Telemetry("v", None, files[0]), Telemetry("v", files[0], files[1])
    files[0].unlink()
    assert successor.waits
    for _ in range(3):
        _something_happens(draw, former)
        former.hand_over()
        assert not successor.waits
        assert _counts(successor) == _counts(former)
