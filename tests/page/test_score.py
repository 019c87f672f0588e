"""The view Score, used as an analyst would; what it shows is held against the endpoint's own answers."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from fraudlab import bundle as bundles
from fraudlab.serving import about
from tests.page.conftest import KEYS, Open, faults
from tests.support.server import Server, until

MOST_BYTES = 150_000  # of a first view, over the wire


def percent(text: str) -> float:
    """The number in ``12.3 %``."""
    found = re.search(r"([\d.]+) %", text)
    assert found, text
    return float(found[1])


def scored(page: Any) -> None:
    page.locator(".result .big").wait_for()
    page.locator(".what-if [aria-busy]").wait_for(state="detached")


@pytest.fixture(scope="module")
def busy(served: Server, page_bundle: bundles.Bundle) -> dict[str, Any]:
    """The server's own counts, once it has scored each golden record."""
    before = served.ask("/scores").said["rows"]
    golden = [row["record"] for row in page_bundle.golden()]
    assert served.predict(golden).status == 200
    until(lambda: served.ask("/scores").said["rows"] == before + len(golden))
    found: dict[str, Any] = served.ask("/statistics").said
    return found


def test_an_example_is_scored_as_the_endpoint_does_and_leaves_no_trace(
    served: Server, busy: dict[str, Any], page_bundle: bundles.Bundle, open_page: Open
) -> None:
    example = served.ask("/examples").said["examples"][0]
    assert example["risk_level"] == "high"
    answer = served.predict(example["record"], "?explain=8&dry_run=true").said
    scores = served.ask("/scores").said
    page = open_page(served)
    page.get_by_role("button", name=re.compile("^high ")).first.click()
    scored(page)
    assert percent(page.locator(".result .big").inner_text()) == pytest.approx(100 * answer["score"], rel=0.1)
    assert page.locator(".result .level").inner_text() == "High risk"
    rows = page.locator(".result .bars").first.locator("tbody tr")
    labels = [text.split("\n")[0] for text in rows.all_inner_texts()]
    assert [re.split(" = ", label)[0] for label in labels] == [reason["field"] for reason in answer["reasons"]]
    counts, cell = np.array(scores["counts"]), int(np.searchsorted(scores["edges"], answer["score"], side="right"))
    assert counts.sum() == scores["rows"]
    assert len(counts) == len(scores["edges"]) + 1
    ranked = page.get_by_text("Higher than at least").inner_text()
    assert percent(ranked) == pytest.approx(100 * counts[:cell].sum() / counts.sum(), rel=0.05)
    assert f"{scores['rows']} transactions" in ranked
    after = served.ask("/statistics").said
    assert (after["scored"], after["alerts_per_1000"]) == (busy["scored"], busy["alerts_per_1000"])
    assert served.ask("/scores").said["rows"] == scores["rows"]
    assert served.predict(example["record"], "?dry_run=yes").status == 422


def test_keyboard_alone_fills_the_form_and_scores(served: Server, open_page: Open) -> None:
    page = open_page(served)
    page.locator(".example").first.wait_for()
    page.locator(".example").last.focus()
    page.keyboard.press("Enter")
    scored(page)
    before = page.locator(".result").inner_text()
    page.get_by_role("searchbox").focus()
    page.keyboard.type("TransactionAmt")
    page.keyboard.press("Tab")  # the check box
    page.keyboard.press("Tab")  # the group
    page.keyboard.press("Tab")
    field = page.get_by_label(re.compile("^TransactionAmt"))
    assert field.evaluate("element => element === document.activeElement")
    page.keyboard.press("Control+A")
    page.keyboard.type("123456.789")
    with page.expect_request(lambda request: "predict?dry_run=true&explain" in request.url) as asked:
        page.keyboard.press("Enter")
    assert '"TransactionAmt":123456.789' in asked.value.post_data
    scored(page)
    page.locator(".result:not(.stale)").wait_for()
    assert page.locator(".result").inner_text() != before
    assert page.locator("#status").inner_text().endswith("%")


def test_what_if_moves_the_score(served: Server, open_page: Open) -> None:
    page = open_page(served)
    page.locator(".example").first.click()
    scored(page)
    with page.expect_response(lambda response: response.url.endswith("predict?dry_run=true")) as asked:
        page.locator(".what-if select").select_option("TransactionAmt")
    sent = json.loads(asked.value.request.post_data)
    expected = [each["score"] for each in asked.value.json()["predictions"]]
    assert 10 < len(sent) <= 100
    values = [row["TransactionAmt"] for row in sent]
    assert values == sorted(values)
    slider = page.get_by_role("slider", name="Value of TransactionAmt")
    slider.focus()
    page.keyboard.press("End")
    told = page.locator(".what-if output").inner_text()
    assert percent(told) == pytest.approx(100 * expected[-1], rel=0.1)
    assert page.locator(".what-if svg path.outline").count() == 1
    page.get_by_role("button", name="Use this value").click()
    scored(page)
    assert float(page.get_by_label(re.compile("^TransactionAmt")).input_value()) == values[-1]
    product = [reason for reason in page.locator(".what-if option").all_inner_texts() if reason == "ProductCD"]
    assert product
    page.locator(".what-if select").select_option("ProductCD")
    page.get_by_role("figure", name="Score by ProductCD").wait_for()
    assert page.locator(".what-if .bars tbody tr").count() >= 3


def test_what_is_wrong_is_said_beside_the_field_and_stays(served: Server, open_page: Open) -> None:
    page = open_page(served, errors=("422",))
    page.locator(".example").first.click()
    scored(page)
    amount = page.get_by_label(re.compile("^TransactionAmt"))
    amount.fill("12,5")
    page.get_by_role("button", name="Score", exact=True).click()
    page.get_by_text("write a number, with a point for decimals").wait_for()
    assert amount.get_attribute("aria-invalid") == "true"
    assert amount.evaluate("element => element === document.activeElement")
    amount.fill("")  # needed, which the server says
    page.get_by_role("button", name="Score", exact=True).click()
    page.locator(".field .problem", has_text="required").first.wait_for()
    assert page.get_by_label("ProductCD").input_value() != ""
    page.get_by_text("Paste a record as JSON").click()
    page.get_by_label("Record").fill('{"TransactionAmt": 1, "nonsense": 2, "card1": 9007199254740993}')
    page.get_by_role("button", name="Fill the form").click()
    page.get_by_text("Left aside, since the bundle has no such field: nonsense.").wait_for()
    assert amount.input_value() == "1"
    page.get_by_text("card1 to card6").click()
    assert page.get_by_label(re.compile("^card1( needed)?$")).input_value() == "9007199254740993"


@pytest.mark.parametrize(("dark", "width"), [(False, 1200), (True, 360)])
def test_it_is_accessible_and_fits(served: Server, open_page: Open, dark: bool, width: int) -> None:
    page = open_page(served, dark=dark, width=width)
    page.locator(".example").first.click()
    scored(page)
    page.get_by_text("Ask the same from elsewhere").click()
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_first_view_is_small(served: Server, open_page: Open) -> None:
    page = open_page(served)
    page.locator(".example").first.wait_for()
    entries = "['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))"
    sizes = page.evaluate(f"{entries}.map((entry) => [entry.name, entry.transferSize])")
    files = {urlsplit(name).path: size for name, size in sizes}
    assert {"/", "/page/app.js", "/page/score.js", "/info", "/training"} <= files.keys()
    assert all(size > 0 for size in files.values())
    assert sum(files.values()) <= MOST_BYTES, files


def test_a_key_that_may_only_score_has_no_examples(served: Server, open_page: Open) -> None:
    page = open_page(served, key=KEYS["score"], errors=("403",))
    page.get_by_text("Examples are for keys with the scope read.").wait_for()
    assert served.ask("/examples", key=KEYS["score"]).status == 403
    for path in ("/training", "/scores", "/card"):
        assert served.ask(path, key=KEYS["score"]).status == 200
        assert served.ask(path, key=KEYS["label"]).status == 403


def test_the_training_rows_name_nobody(served: Server, page_bundle: bundles.Bundle) -> None:
    columns = served.ask("/training").said["columns"]
    assert {"words", "values"}.isdisjoint(columns["card1"])
    assert columns["ProductCD"]["all_words"]
    assert sum(columns["ProductCD"]["counts"]) == served.ask("/training").said["rows"]
    told = json.loads(about.training(page_bundle, ["TransactionAmt", "dist1", "ProductCD"]))["columns"]
    assert "edges" in columns["TransactionAmt"]
    for name in ("TransactionAmt", "dist1", "ProductCD"):  # of numbers, edges are values of somebody's rows
        assert {"words", "values", "edges"}.isdisjoint(told[name])
    assert sorted(columns["ProductCD"]["words"]) == sorted(page_bundle.encoder.words("ProductCD"))  # type: ignore[union-attr]


def test_how_far_members_lie_apart_and_what_an_alert_is_worth_are_told(
    by_money: tuple[Path, Path], open_page: Open, tmp_path: Path
) -> None:
    with Server(by_money[1], tmp_path) as server:
        record = next(row["record"] for row in bundles.load(by_money[1]).golden())
        page = open_page(server)
        for amount, words in ((0.01, "Not worth an alert"), (1e6, "Worth an alert")):
            asked = {**record, "TransactionAmt": amount}
            answer = server.predict(asked, "?dry_run=true").said
            page.get_by_text("Paste a record as JSON").click()
            page.get_by_label("Record", exact=True).fill(json.dumps(asked))
            page.get_by_role("button", name="Fill the form").click()
            page.get_by_role("button", name="Score", exact=True).click()
            page.get_by_text(re.compile(f"^{words}: ")).wait_for()
            scored(page)
            assert (answer["risk_level"] == "low") == (words == "Not worth an alert")
            said = page.get_by_text("The members of the model give from").inner_text()
            ends = [float(each) for each in re.findall(r"([\d.]+) %", said)]
            spread = [100 * answer["spread"][end] for end in ("low", "high")]
            assert ends == pytest.approx(spread, rel=0.1, abs=0.01)
            assert page.locator(".result .chart .spread").count() == 1
        assert faults(page) == []
