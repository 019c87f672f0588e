"""The view Health shows what the endpoints say, and asks only while somebody looks."""

from typing import Any

from fraudlab import bundle as bundles
from fraudlab.monitoring import kept
from tests.page.conftest import Open, faults
from tests.support.server import Server, until


def week(day: str, **more: Any) -> dict[str, Any]:
    return {
        **{"week": day, "bundle_version": "b", "rows": 900.0, "alerts": 9.0, "frauds_told": 5.0, "mature": True},
        **{"realised": None, "estimated": None, "told_share": {"value": 1.0, "low": 1.0, "high": 1.0}},
        **more,
    }


REPORT: dict[str, Any] = {
    **{"as_of": "2026-02-01T00:00:00+00:00", "clock": "received", "mature_days": 45, "admin_cost": 0.0},
    "weeks": [
        week("2026-01-05", realised={"recall": {"value": 0.751, "low": 0.6, "high": 0.8}}),
        week(
            "2026-01-12",
            mature=False,
            estimated={"recall": {"value": 0.682, "low": 0.5, "high": 0.9}},
            told_share={"value": 0.4, "low": 0.3, "high": 0.5},
        ),
    ],
    "past_estimates": {"recall": {"estimates": 12, "held": 11 / 12}},
}


def test_what_the_endpoints_say_is_shown(served: Server, page_bundle: bundles.Bundle, open_page: Open) -> None:
    kept.keep(served.log.parent / "record", REPORT)
    records = [row["record"] for row in page_bundle.golden()]
    for _ in range(4):
        assert served.predict(records).status == 200
    assert served.predict({"nonsense": 1}).status == 422
    until(lambda: served.ask("/drift").said["rows"] == served.ask("/statistics").said["scored"])  # workers tell later
    page = open_page(served, "health")
    page.get_by_text("ready", exact=True).wait_for()
    said = served.ask("/statistics").said
    facts = page.get_by_role("region", name="Now").inner_text()
    assert f"scored {said['scored']:,}" in facts.replace("\n", " ")
    assert page_bundle.version in facts
    assert "1 of 1" in facts
    requests = page.get_by_role("region", name="Requests")
    requests.get_by_role("row", name="contract").wait_for()
    requests.get_by_text("Answers by address and status").click()
    count = said["requests"]["/predict"]["200"]
    requests.get_by_role("row", name=f"/predict 200 {count}").wait_for()
    p99 = f"{round(1e4 * said['seconds']['total']['p99']) / 10:.4g} ms"
    assert page.get_by_role("row", name="since the start, whole request").inner_text().split("\t")[-1] == p99
    drift = served.ask("/drift").said
    high = drift["alerts_per_1000"]["high"]
    alerts = page.get_by_role("region", name="Alerts per 1,000, last 24 hours")
    alerts.get_by_text(f"budget {high['budget']:g}").first.wait_for()
    first = next(iter(drift["columns"]))
    assert f"{drift['columns'][first]['psi']:.3f}" in page.get_by_role("region", name="Drift by column").inner_text()
    performance = page.get_by_role("region", name="Performance by week")
    performance.get_by_text("91.7 % of 12 held the final value").wait_for()
    table = performance.get_by_role("region", name="By week and bundle").inner_text()
    assert "2026-01-12" in table
    assert "68.2 % (50 % to 90 %)" in table
    assert "40 %" in table
    assert faults(page) == []


def test_it_asks_only_while_somebody_looks(served: Server, open_page: Open) -> None:
    page = open_page(served, "batch", width=360, errors=("404",))  # no report may be kept
    page.get_by_role("heading", name="Batch").wait_for()
    page.clock.install()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_response("**/performance"):
        page.get_by_role("link", name="Health").click()
    for _ in range(2):
        with page.expect_response("**/statistics"), page.expect_response("**/health/ready"):
            page.clock.run_for(6_000)
    page.get_by_role("img", name="Scored requests a second").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("link", name="Batch").click()
    page.get_by_role("heading", name="Batch").wait_for()
    asked.clear()
    page.clock.run_for(120_000)
    assert asked == []
    with page.expect_response("**/drift"):
        page.get_by_role("link", name="Health").click()
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")
    page.get_by_text("Updated every 5 s").wait_for()
    page.clock.run_for(1_000)
    asked.clear()
    page.clock.run_for(120_000)
    assert asked == []
