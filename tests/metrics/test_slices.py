"""Shares of groups of rows against SciPy, and intervals against draws from populations that are known."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score

from fraudlab.metrics.bootstrap import Resampled, drawn, share_interval
from fraudlab.metrics.slices import FEWEST_FRAUDS, Share, of_slice, ratio


@pytest.mark.parametrize(("hits", "rows"), [(0, 30), (1, 200), (37, 200), (200, 200)])
def test_of_independent_rows_a_share_has_wilsons_interval(hits: int, rows: int) -> None:
    hit = np.arange(rows) < hits
    share = Share.of(hit, np.arange(rows))
    known = binomtest(hits, rows).proportion_ci(method="wilson")
    assert share is not None
    assert (share.value, share.low, share.high) == pytest.approx((hits / rows, known.low, known.high), abs=1e-6)


def test_copies_of_rows_tell_no_more_than_the_rows() -> None:
    draw = np.random.default_rng(0)
    hit = draw.random(400) < 0.2
    one = Share.of(hit, np.arange(400))
    five = Share.of(np.repeat(hit, 5), np.repeat(np.arange(400), 5))
    assert one is not None
    assert five is not None
    assert five.worth == pytest.approx(one.worth * 399 / 400, rel=1e-9)  # as the variance of 400 groups is


@pytest.mark.parametrize(("rate", "groups", "rows"), [(0.02, 20, 50), (0.05, 12, 80), (0.3, 12, 5)])
def test_intervals_cover_where_the_rows_of_a_group_are_alike(rate: float, groups: int, rows: int) -> None:
    draw, group, covered = np.random.default_rng(4), np.repeat(np.arange(groups), rows), 0
    for _ in range(400):
        share = Share.of(np.repeat(draw.random(groups) < rate, rows), group)
        assert share is not None
        covered += share.low <= rate <= share.high
    assert covered / 400 > 0.9


def test_a_share_of_few_groups_is_not_told() -> None:
    assert Share.of(np.zeros(1000, bool), np.zeros(1000, int)) is None
    assert Share.of(np.zeros(0, bool), np.zeros(0, int)) is None


def test_intervals_cover_what_groups_of_rows_were_drawn_from() -> None:
    draw = np.random.default_rng(1)
    covered = np.zeros(3)
    group = np.repeat(np.arange(300), 8)
    inside = group < 100
    for _ in range(400):
        # A card's own rate: rows of one card are alike. The true rates are 0.05 and 0.02.
        rate = np.where(np.arange(300) < 100, draw.beta(0.3, 5.7, 300), draw.beta(0.3, 14.7, 300))
        flagged = draw.random(len(group)) < rate[group]
        found = of_slice(np.zeros(len(group)), flagged, group, inside)
        low, high = found["false_positive_rate"]["interval"]
        covered[0] += low <= 0.05 <= high
        low, high = found["ratio"]["interval"]
        covered[1] += low <= 2.5 <= high
        naive = binomtest(int(flagged[inside].sum()), int(inside.sum())).proportion_ci(method="wilson")
        covered[2] += naive.low <= 0.05 <= naive.high
    assert (covered[:2] / 400 > 0.9).all()
    assert (covered[:2] / 400 < 0.985).all()
    assert covered[2] / 400 < 0.87  # of rows that are taken for independent


def test_a_slice_is_what_its_rows_say() -> None:
    draw = np.random.default_rng(2)
    label, score = (draw.random(3000) < 0.05).astype(int), draw.random(3000)
    score[label == 1] += 0.3
    score /= score.max()
    flagged, inside, group = score > 0.6, draw.random(3000) < 0.4, draw.integers(0, 500, 3000)
    found = of_slice(label, flagged, group, inside, score)
    fraud = label == 1
    assert (found["rows"], found["frauds"]) == (inside.sum(), (inside & fraud).sum())
    assert found["recall"]["value"] == flagged[inside & fraud].mean()
    assert found["alerted"]["value"] == flagged[inside].mean()
    rates = flagged[inside & ~fraud].mean(), flagged[~inside & ~fraud].mean()
    assert found["ratio"]["value"] == pytest.approx(rates[0] / rates[1])
    assert found["average_precision"]["value"] == pytest.approx(average_precision_score(label[inside], score[inside]))
    assert found["roc_auc"]["value"] == pytest.approx(roc_auc_score(label[inside], score[inside]))
    few = inside & (~fraud | (np.cumsum(fraud & inside) < FEWEST_FRAUDS))
    told = of_slice(label, flagged, group, few, score)
    assert told["frauds"] == FEWEST_FRAUDS - 1
    assert [told[name] for name in ("recall", "average_precision", "roc_auc")] == [None] * 3
    assert told["false_positive_rate"] is not None


def test_no_ratio_to_or_of_nothing() -> None:
    none, some = Share.of(np.zeros(19, bool), np.arange(19)), Share.of(np.arange(19) < 3, np.arange(19))
    assert ratio(none, some) is None
    assert ratio(some, none) is None
    assert ratio(None, some) is None


def test_bands_cover_the_whole_populations_metrics() -> None:
    """Frauds at few terminals, as those of a week: 95 % of the draws are to be covered, 90 to 97 % of 250 are seen."""
    draw = np.random.default_rng(3)
    rows, terminals = 5, 60_000
    spoilt = draw.random(terminals) < 0.03
    label = (draw.random((terminals, rows)) < np.where(spoilt, 0.5, 0.0005)[:, None]).astype(int)
    score = draw.normal(0, 1, (terminals, rows)) + 2.2 * label + draw.normal(0, 0.7, (terminals, 1))
    whole = roc_auc_score(label.ravel(), score.ravel()), average_precision_score(label.ravel(), score.ravel())
    covered = np.zeros(2)
    group = np.repeat(np.arange(1200), rows)
    for number in range(250):
        some = draw.integers(0, terminals, 1200)
        ranked = Resampled(label[some].ravel(), score[some].ravel())
        values = ranked(np.ones(len(group), np.int64))
        draws = np.array([ranked(count) for count in drawn(group, 100, number)])
        for m in range(2):
            interval = share_interval(values[m], draws[:, m], len(np.unique(some[label[some].any(axis=1)])))
            assert interval is not None
            covered[m] += interval[0] <= whole[m] <= interval[1]
    assert (covered / 250 >= 0.9).all()
    assert (covered / 250 <= 0.97).all()
