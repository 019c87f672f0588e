"""The view Cases: alerts of the record are looked at and marked, by the keyboard, and the word reaches the labels."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fraudlab import bundle as bundles
from fraudlab.monitoring import labels
from tests.page.conftest import KEYS, Open, faults
from tests.support.server import Server

FIRST = 2**62 + 1  # as a double it would be another one
NASTY = '<img src=x onerror=console.error(1)> "é" 😀 שלום'


@pytest.fixture(scope="module")
def alerts(served: Server, page_bundle: bundles.Bundle) -> list[dict[str, Any]]:
    """What the golden records gave of alerts, under ids of their own."""
    records = [row["record"] | {"TransactionID": FIRST + n} for n, row in enumerate(page_bundle.golden())]
    said = served.predict(records).said
    told = [{"id": str(FIRST + n), **each} for n, each in enumerate(said["predictions"]) if each["risk_level"] != "low"]
    assert {"high", "medium"} == {each["risk_level"] for each in told}
    return told


def shown(page: Any) -> list[str]:
    """Transactions of the list, in its order."""
    return [text.split("\t")[0] for text in page.locator(".cases tbody tr").all_inner_texts()]


def word_of(served: Server, number: str) -> tuple[bool, str] | None:
    """Fraud or not, and who says so; None where nothing is said, or was taken back."""
    known = labels.as_of(served.log.parent / "record", datetime.now(UTC)).iter_rows(named=True)
    return next(((row["fraud"], row["source"]) for row in known if row["transaction_id"] == number), None)


def test_alerts_are_filtered_sorted_and_marked_by_keyboard(
    served: Server, alerts: list[dict[str, Any]], open_page: Open
) -> None:
    page = open_page(served, "cases")
    page.get_by_label("Search").fill(str(FIRST)[:10])
    page.get_by_label("Order").select_option("oldest")
    ids = [each["id"] for each in alerts]
    page.get_by_role("cell", name=ids[0], exact=True).wait_for()
    assert shown(page) == ids[:20]
    page.get_by_label("Level").select_option("high")
    assert shown(page) == [each["id"] for each in alerts if each["risk_level"] == "high"]
    page.get_by_label("Order").select_option("score")
    high = sorted((each for each in alerts if each["risk_level"] == "high"), key=lambda each: -each["score"])
    assert shown(page) == [each["id"] for each in high]

    button = page.get_by_role("button", name=high[0]["id"], exact=True)
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_text("Nobody has labelled it yet.").wait_for()
    page.get_by_text("Inputs as recorded").click()
    page.get_by_label("Search the fields").fill("card1")
    assert page.get_by_role("row", name="card1 hash").count() == 1  # the record has no card in the clear
    case = page.get_by_role("region", name="Open case")
    case.focus()
    late: list[Any] = []
    page.route("**/alerts?limit=1000", lambda route: late.append(route))
    with page.expect_request("**/alerts?limit=1000"):
        page.keyboard.press("f")
    page.keyboard.press("n")  # before the answer to F is drawn
    case.get_by_role("heading", name=f"Transaction {high[1]['id']}").wait_for()
    with page.expect_response("**/alerts?limit=1000"):
        late.pop().continue_()
    page.unroute("**/alerts?limit=1000")
    posted: list[str] = []
    page.on("request", lambda request: posted.append(request.url) if request.method == "POST" else None)
    for _ in range(3):
        page.keyboard.down("g")  # held down
    page.keyboard.up("g")
    case.get_by_text("Last label: genuine, by analyst").wait_for()
    assert len(posted) == 1
    case.get_by_role("heading", name=f"Transaction {high[1]['id']}").wait_for()
    assert word_of(served, high[0]["id"]) == (True, "analyst")
    assert word_of(served, high[1]["id"]) == (False, "analyst")
    assert high[0]["id"] not in shown(page)  # what is marked leaves the list of what is not
    assert faults(page) == []
    page.keyboard.press("Escape")
    assert case.is_hidden()

    page.reload()
    page.get_by_label("Label", exact=True).select_option("marked")
    page.get_by_role("cell", name=high[0]["id"], exact=True).wait_for()
    page.get_by_role("row", name=high[0]["id"]).get_by_text("fraud", exact=True).wait_for()
    page.get_by_role("button", name=high[0]["id"], exact=True).click()
    page.get_by_role("button", name="Take back").click()
    page.get_by_text("Last label: taken back, by analyst").wait_for()
    assert word_of(served, high[0]["id"]) is None


def test_a_key_without_the_scope_is_told_so(served: Server, alerts: list[dict[str, Any]], open_page: Open) -> None:
    page = open_page(served, "cases", key=KEYS["read"], errors=("403",))
    page.get_by_label("Search").fill(alerts[-1]["id"])
    page.get_by_role("button", name=alerts[-1]["id"], exact=True).click()
    page.get_by_role("button", name="Genuine").click()
    page.get_by_text("does not have the scope label").wait_for()
    assert page.get_by_role("button", name="Genuine").get_attribute("aria-pressed") == "false"
    refused = open_page(served, "cases", key=KEYS["score"], errors=("403",))
    refused.get_by_text("does not have the scope read").wait_for()


def test_values_of_strangers_are_shown_and_not_run(
    served: Server, page_bundle: bundles.Bundle, open_page: Open
) -> None:
    sent = [row["record"] | {"P_emaildomain": NASTY} for row in page_bundle.golden()]
    sent = [record | {"TransactionID": FIRST - 1 - n} for n, record in enumerate(sent)]
    said = served.ask("/predict", json.dumps(sent).encode(), headers={"X-Request-ID": "shop-1"}).said
    at = next(n for n, each in enumerate(said["predictions"]) if each["risk_level"] != "low")
    page = open_page(served, "cases", width=360, dark=True)
    page.get_by_label("Search").fill("shop-1")
    page.get_by_role("button", name=str(FIRST - 1 - at), exact=True).click()
    page.get_by_text("Inputs as recorded").click()
    page.get_by_label("Search the fields").fill("onerror")
    assert page.get_by_role("cell", name=NASTY).inner_text() == NASTY
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert faults(page) == []
