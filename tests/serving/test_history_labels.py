"""Labels in the store of transactions: which of them counts."""

import random

import pytest

from fraudlab.bundle.contract import Refused
from fraudlab.monitoring.labels import Label
from tests.serving.conftest import Place
from tests.support.histories import DAY, RECORD, empty, label


@pytest.mark.parametrize("seed", range(6))
def test_the_label_of_the_latest_event_counts_in_any_order_and_however_often_it_is_told(
    place: Place, seed: int
) -> None:
    store = empty(place())
    store.add(RECORD)
    later = {**RECORD, "TRANSACTION_ID": 8, "TX_DATETIME": "2018-08-02T00:00:00"}
    said = [
        label(7, 1, DAY, "bank"),
        label(7, 0, 2 * DAY, "customer"),
        label(7, 1, 3 * DAY, "bank"),
        Label(7, None, None, None, "bank", 4 * DAY),  # takes it back
        label(7, 1, 5 * DAY, "customer"),
    ]
    draw = random.Random(seed)
    draw.shuffle(said)
    for number, one in enumerate(said):
        assert store.tell([one]).new == 1
        assert store.tell(draw.sample(said[: number + 1], number + 1)).new == 0
        newest = max(said[: number + 1], key=lambda each: each.event_time or 0)
        assert store.features(later)["CUSTOMER_ID_NB_FRAUD_14DAY_WINDOW"] == float(newest.fraud is True)
    with pytest.raises(Refused, match="bank contradicts its own label with the same event_time"):
        store.tell([label(7, 0, DAY, "bank")])


def test_a_label_names_its_transaction_by_the_request_that_it_came_in(place: Place) -> None:
    store = empty(place())
    for number in range(3):
        store.add({**RECORD, "TRANSACTION_ID": 7 + number, "TERMINAL_ID": number}, "request-1", number)
    store.add({**RECORD, "TRANSACTION_ID": 7, "TERMINAL_ID": 0}, "request-2", 0)  # sent again
    store.tell([Label(None, "request-1", 1, True, "bank", None)])
    later = {**RECORD, "TRANSACTION_ID": 80, "TX_DATETIME": "2018-08-02T00:00:00"}
    risk = [store.features({**later, "TERMINAL_ID": t})["TERMINAL_ID_RISK_7DAY_WINDOW"] for t in range(3)]
    assert risk == [0.0, 1.0, 0.0]
    store.tell([Label(None, "request-2", 0, True, "bank", None)])
    assert store.features({**later, "TERMINAL_ID": 0})["TERMINAL_ID_RISK_7DAY_WINDOW"] == 1.0
    with pytest.raises(Refused, match="no position 3 of request request-1"):
        store.tell([Label(None, "request-1", 3, True, "bank", None)])
    store.add({**RECORD, "TRANSACTION_ID": 90}, "request-1", 0)  # a client that uses its request id again
    with pytest.raises(Refused, match="several transactions were at position 0 of request request-1"):
        store.tell([Label(None, "request-1", 0, True, "bank", None)])
