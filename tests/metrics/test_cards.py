import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudlab.metrics.cards import card_days, card_precision_at_k


def book(day, card, label, score, k):
    """The book's rule, one day and one card at a time."""
    detected, precision = set(), []
    for today in sorted(set(day)):
        cards = {}
        for d, c, fraud, s in zip(day, card, label, score, strict=True):
            if d == today and c not in detected:
                highest, compromised = cards.get(c, (-1.0, False))
                cards[c] = max(highest, s), compromised or bool(fraud)
        ranked = sorted(cards, key=lambda c: (-cards[c][0], c))[:k]
        hits = {c for c in ranked if cards[c][1]}
        detected |= hits
        precision.append(len(hits) / k)
    return sum(precision) / len(precision)


@given(st.data())
def test_equals_the_book(data):
    rows = data.draw(st.integers(1, 120))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    day = rng.integers(-2, data.draw(st.integers(-1, 6)), rows)
    card = rng.integers(0, data.draw(st.sampled_from([1, 3, 30])), rows)
    label = (rng.random(rows) < 0.3).astype(int)
    score = rng.integers(0, data.draw(st.sampled_from([1, 4, 1000])), rows) / 1000
    k = data.draw(st.sampled_from([1, 2, 5, 100]))
    expected = book(day.tolist(), card.tolist(), label.tolist(), score.tolist(), k)
    assert card_precision_at_k(day, card, label, score, k) == pytest.approx(expected)
    names = np.array([f"card {number:04d}" for number in card], dtype=object)
    order = rng.permutation(rows)
    assert card_precision_at_k(day[order], names[order], label[order], score[order], k) == pytest.approx(expected)


def test_by_hand():
    #                 day 1            day 2            day 3
    day = np.array([1, 1, 1, 1, 2, 2, 2, 2, 3, 3])
    card = np.array([7, 7, 8, 9, 7, 8, 9, 6, 7, 6])
    label = np.array([1, 0, 0, 0, 1, 1, 0, 1, 1, 1])
    score = np.array([0.1, 0.9, 0.5, 0.2, 0.99, 0.2, 0.8, 0.7, 0.9, 0.1])
    days = card_days(day, card, label, score, k=2)
    # Day 1: 7 (0.9, fraud in its other transaction) and 8. Day 2: without 7: 9 and 6, and 8 is missed.
    # Day 3: without 7 and 6, nothing is left.
    assert days.day.tolist() == [1, 2, 3]
    assert days.detected.tolist() == [1, 1, 0]
    assert days.compromised.tolist() == [1, 2, 0]
    assert days.precision.tolist() == [0.5, 0.5, 0.0]
    assert card_precision_at_k(day, card, label, score, k=2) == pytest.approx(1 / 3)


def test_a_missed_card_stays_and_a_fraud_of_another_day_does_not_count():
    day, card = np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2])
    label, score = np.array([1, 0, 1, 0]), np.array([0.1, 0.9, 0.9, 0.1])
    assert card_days(day, card, label, score, k=1).detected.tolist() == [0, 1]
    assert card_days(day, card, np.array([0, 0, 1, 0]), np.array([0.9, 0.1, 0.1, 0.9]), k=1).detected.tolist() == [0, 0]


def test_ties_stand_in_order_of_card():
    day, score = np.array([1, 1]), np.array([0.5, 0.5])
    assert card_precision_at_k(day, np.array([1, 2]), np.array([1, 0]), score, k=1) == 1.0
    assert card_precision_at_k(day, np.array([2, 1]), np.array([0, 1]), score, k=1) == 1.0
    assert card_precision_at_k(day, np.array([1, 2]), np.array([0, 1]), score, k=1) == 0.0


def test_fewer_cards_than_k_still_divides_by_k():
    assert card_precision_at_k(np.array([1]), np.array(["a"]), np.array([1]), np.array([0.5])) == pytest.approx(0.01)


@pytest.mark.parametrize("card", [np.array(["a", None, None], dtype=object), np.array([1.0, np.nan, np.nan])])
def test_rows_without_a_card_are_left_out(card):
    days = card_days(np.array([1, 1, 2]), card, np.array([1, 1, 1]), np.array([0.1, 0.9, 0.9]), k=1)
    assert days.detected.tolist() == [1, 0]


def test_no_rows_is_nan():
    empty = np.empty(0, int)
    assert math.isnan(card_precision_at_k(empty, empty, empty, empty.astype(float)))
