"""Estimates of metrics before labels are final, against simulations, plain loops and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from benchmarks.nowcast import HORIZON, NOW, known, replay, service
from fraudlab.metrics import nowcast
from fraudlab.metrics.label_delays import KnownRows, arrivals, told_by
from fraudlab.metrics.nowcast import learn

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def happened() -> dict[str, np.ndarray]:
    return service(seed=3, rows=3000, spread=0.3)


def test_intervals_hold_the_later_values() -> None:
    """A nominal 90 %: over 12 replays of 4 weeks and 6 metrics, whose errors go together."""
    held = [each[0] for seed in range(500, 512) for each in replay(seed, rows=1500, spread=0.2).values()]
    assert 0.82 <= np.mean(held) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.2, 0.4])
def test_intervals_hold_the_later_values_at_their_level(spread: float) -> None:
    held = [each[0] for seed in range(200) for each in replay(10_000 + seed, rows=3000, spread=spread).values()]
    assert 0.85 <= np.mean(held) <= 0.95


def test_the_curve_is_logistic_regression_with_a_level_a_week(happened: dict[str, np.ndarray]) -> None:
    rows = known(happened, 7.0 * NOW)
    past = learn(rows, HORIZON)
    assert past is not None
    mature = rows.week < NOW - HORIZON // 7
    odds = np.log(rows.score / (1 - rows.score))
    dummies = rows.week[mature, None] == np.unique(rows.week[mature])
    inputs = np.column_stack([odds[mature], np.log1p(rows.amount[mature]), dummies])
    fitted = LogisticRegression(C=1e6, fit_intercept=False, max_iter=5000, tol=1e-10)
    fitted.fit(inputs, (rows.told <= HORIZON)[mature] & ~(rows.revoked <= HORIZON)[mature])
    assert past.weeks == dummies.shape[1]
    assert past.slopes[0] == pytest.approx(fitted.coef_[0, :2], rel=0.01)
    levels = fitted.coef_[0, 2:] + past.centre @ fitted.coef_[0, :2]
    assert past.level[0] == pytest.approx(levels.mean(), abs=0.1)


def test_the_delay_is_that_of_all_frauds_and_not_of_those_told_so_far(happened: dict[str, np.ndarray]) -> None:
    """Young rows have only short delays: their mean is not the frauds'."""
    rows = known(happened, 7.0 * NOW)
    share = told_by(arrivals(rows, HORIZON), None)
    told = happened["told"][np.isfinite(happened["told"]) & ~np.isfinite(happened["revoked"])]
    for day in (14, 21, 30, 45, 60):
        assert share[day] == pytest.approx((told <= day).mean(), abs=0.06)
    so_far = rows.told[np.isfinite(rows.told) & ~np.isfinite(rows.revoked)]
    assert abs((so_far <= 30).mean() - (told <= 30).mean()) > abs(share[30] - (told <= 30).mean())


def test_arrivals_are_counted_as_a_plain_loop_does(happened: dict[str, np.ndarray]) -> None:
    rows = known(happened, 7.0 * NOW)
    told, could = arrivals(rows, HORIZON)
    frauds = [
        (int(np.ceil(delay)), int(age))
        for delay, age, back in zip(rows.told, rows.age, rows.revoked, strict=True)
        if delay <= HORIZON and not back <= HORIZON
    ]
    for day in range(HORIZON + 1):
        assert told[day] == sum(delay == day for delay, _ in frauds)
        assert could[day] == pytest.approx(sum(delay <= day <= min(age, HORIZON) for delay, age in frauds))


def test_final_labels_give_the_metric_itself(happened: dict[str, np.ndarray]) -> None:
    rows = known(happened, 7.0 * 30 + HORIZON)
    past = learn(rows, HORIZON)
    assert past is not None
    week = rows.where(rows.week == 20)
    fraud = week.final_fraud(HORIZON)
    found = nowcast.estimate(past, week, admin_cost=2.5, recovery_share=0.6)
    lost = week.amount * fraud
    expected = {
        "frauds": fraud.sum(),
        "average_precision": average_precision_score(fraud, week.score),
        "precision": fraud[week.alerted].mean(),
        "recall": week.alerted[fraud].mean(),
        "value_recall": lost[week.alerted].sum() / lost.sum(),
        "saved": 0.6 * lost[week.alerted].sum() - 2.5 * week.alerted.sum(),
    }
    assert found.keys() == expected.keys()
    for name, each in found.items():
        assert each.low == each.high == pytest.approx(each.value, rel=1e-12)
        assert each.value == pytest.approx(expected[name], rel=1e-12)


def test_without_mature_weeks_nothing_is_told(happened: dict[str, np.ndarray]) -> None:
    assert learn(known(happened, 7.0 * 15), HORIZON) is None
    rows = known(happened, 7.0 * NOW)
    none = KnownRows(**{**vars(rows), "told": np.full(len(rows.told), np.nan)})
    assert learn(none, HORIZON) is None


def test_a_shift_of_the_transactions_is_weighed(happened: dict[str, np.ndarray]) -> None:
    """The curve follows the rows that the week's are like."""
    rows = known(happened, 7.0 * NOW)
    alike = np.where(rows.amount > 60, 1.0, 0.0)
    those = rows.amount > 60
    weighed, expected = learn(rows, HORIZON, alike), learn(rows.where(those), HORIZON)
    assert weighed is not None
    assert expected is not None
    assert weighed.slopes[0] == pytest.approx(expected.slopes[0], rel=1e-6)
    assert weighed.level == pytest.approx(expected.level, rel=1e-6)
