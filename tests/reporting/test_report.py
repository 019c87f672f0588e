import json
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from fraudlab.errors import UserError
from fraudlab.metrics.metrics import compute_metrics
from fraudlab.reporting.report import write_report

pytestmark = pytest.mark.long

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Tags that are open, the text seen, the attributes of every tag."""

    def __init__(self, path):
        super().__init__()
        self.open, self.words, self.tags = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)


def predictions(seed, rows=3000):
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.03).astype(np.int8)
    return pl.DataFrame(
        {
            "transaction_id": np.arange(rows),
            "time": [
                datetime(2018, 8, 8) + timedelta(minutes=int(m)) for m in np.sort(rng.integers(0, 7 * 1440, rows))
            ],
            "card_id": rng.integers(0, 800, rows),
            "amount": np.round(rng.gamma(1, 50, rows), 2),
            "label": label,
            "score": np.clip(rng.beta(1, 25, rows) + 0.5 * label * rng.random(rows), 0, 1),
        }
    )


def write_predictions(run, **splits):
    (run / "predictions").mkdir(exist_ok=True)
    metrics = {}
    for name, frame in splits.items():
        frame.write_parquet(run / f"predictions/{name}.parquet")
        metrics[name] = compute_metrics(frame["label"].to_numpy(), frame["score"].to_numpy())
    (run / "metrics.json").write_text(json.dumps(metrics))
    return metrics


@pytest.fixture
def run(tmp_path):
    metrics = write_predictions(tmp_path, val=predictions(0), test=predictions(1))
    metrics["test"]["card_precision_at_100"] = 0.2468
    metrics["train"] = {"seconds": 41.25, "epochs": 20, "rows_per_second": 812345.6, "peak_memory_bytes": 734003200}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    about = {
        "experiment": "<script>alert(1)</script>",
        "model": "tabnet",
        "data": "handbook",
        "simulated": True,
        "published": "handbook",
        "git_commit": "abc123",
        "versions": {"numpy": "2.4.0"},
        "data_fingerprint": "sha256:1234",
        "seed": 7,
        "device": "cpu",
        "wall_seconds": 50.5,
        "command": "python -m fraudlab.train model=tabnet",
    }
    (tmp_path / "run.json").write_text(json.dumps(about))
    (tmp_path / "config.yaml").write_text('model:\n  name: tabnet\n  note: "a < b & </pre>"\n')
    (tmp_path / "csv").mkdir()
    rows = ["epoch,step,train/loss,val/average_precision"]
    for epoch in range(3):
        rows += [f"{epoch},{epoch * 10},{1 / (epoch + 1)},", f"{epoch},{epoch * 10 + 9},,{0.2 * (epoch + 1)}"]
    (tmp_path / "csv/metrics.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_the_page_says_what_the_run_folder_says(run):
    path = write_report(run)
    assert path == run / "report.html"
    page = Page(path)
    assert page.open == []
    assert path.stat().st_size < 1_000_000
    metrics = json.loads((run / "metrics.json").read_text())
    for split in ("val", "test"):
        for key in ("roc_auc", "average_precision", "recall_at_fpr_0.01", "brier"):
            assert f"{metrics[split][key]:.4f}" in page.text
    for shown in (
        "0.2468",
        "Simulated data.",
        "best published 0.687",
        "XGBoost, tuned ( ch. 5 )",
        "trained for 41.2 s, 20 epochs, 812,346 rows a second, peak memory 0.68 GiB",
        "versions.numpy 2.4.0",
        "sha256:1234",
        "python -m fraudlab.train model=tabnet",
        "value_detection_rate_at_budget_0.01",
        'note: "a < b & </pre>"',
    ):
        assert shown in page.text


def test_the_page_stands_alone_and_escapes_what_it_shows(run):
    page = Page(write_report(run))
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script>" in page.text
    for tag, attributes in page.tags:
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            target = attributes.get(name)
            assert target is None or target.startswith("#") or (tag == "a" and target.startswith("https://"))
    assert not re.search(r"@import|url\((?!#)", page.source)


def test_plots_are_well_formed_named_and_do_not_share_ids(run):
    page = Page(write_report(run))
    drawings = re.findall(r"<svg.*?</svg>", page.source, flags=re.DOTALL)
    assert len(drawings) == 7
    for drawing in drawings:
        root = ElementTree.fromstring(drawing.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1))
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert "#0a0b0" not in drawing  # every stand-in colour became a variable of the page
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', page.source))
    assert used <= set(ids)


def test_the_same_run_gives_the_same_page(run):
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_operating_points_are_chosen_on_validation_and_measured_on_test(run):
    val, test = (pl.read_parquet(run / f"predictions/{name}.parquet") for name in ("val", "test"))
    page = Page(write_report(run))
    row = re.search(r"Operating points .*? 10 ([\d.]+) ([\d.]+) ([\d.]+)% ([\d.]+)% ([\d.]+)%", page.text)
    threshold = val["score"].sort(descending=True)[29]  # 10 of 1,000 in 3,000 rows
    flagged = test.filter(pl.col("score") >= threshold)
    caught, frauds = flagged["label"].sum(), test["label"].sum()
    expected = (
        f"{threshold:.4f}",
        f"{1000 * flagged.height / 3000:.2f}",
        f"{100 * caught / flagged.height:.2f}",
        f"{100 * caught / frauds:.2f}",
        f"{100 * (flagged.height - caught) / (3000 - frauds):.3f}",
    )
    assert row is not None
    assert row.groups() == expected


def test_thresholds_are_of_the_tested_models_own_scores_where_it_is_another_one(run):
    recent = predictions(5, rows=2000).with_columns(score=pl.col("score") / 2)
    recent.write_parquet(run / "predictions/recent.parquet")
    page = Page(write_report(run))
    row = re.search(r"Operating points .*? 10 ([\d.]+) ([\d.]+) ", page.text)
    threshold = recent["score"].sort(descending=True)[19]  # 10 of 1,000 in 2,000 rows
    flagged = (pl.read_parquet(run / "predictions/test.parquet")["score"] >= threshold).sum()
    assert row is not None
    assert row.groups() == (f"{threshold:.4f}", f"{1000 * flagged / 3000:.2f}")
    assert "the tested model's scores of 2,000 rows before the test that it was not fitted on" in page.text


def test_intervals_of_the_savings_are_those_of_the_cards_drawn_again(run):
    test, metrics = pl.read_parquet(run / "predictions/test.parquet"), json.loads((run / "metrics.json").read_text())
    metrics["test"] |= {"cost_savings": 0.123456, "cost_threshold": 0.2}
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run / "config.yaml").write_text("admin_cost: 5.0\nrecovery_share: 0.5\n")
    page = Page(write_report(run))
    numbers = [float(n) for n in re.findall(r"-?\d\.\d+", page.text.split("95 % interval, test")[1])[:6]]
    assert "0.1235" in page.text
    by_card = test.with_columns(
        saved=(pl.col("score") >= 0.2) * (0.5 * pl.col("amount") * pl.col("label") - 5.0),
        lost=0.5 * pl.col("amount") * pl.col("label"),
    ).group_by("card_id").agg(pl.col("saved", "lost").sum(), n=pl.len())  # fmt: skip
    saved, lost, rows = (by_card[name].to_numpy() for name in ("saved", "lost", "n"))
    random = np.random.default_rng(9)
    drawn = [random.integers(0, len(saved), len(saved)) for _ in range(2000)]
    base = [min(lost[d].sum(), 5.0 * rows[d].sum()) for d in drawn]
    shares = [1 - (lost[d].sum() - saved[d].sum()) / b for d, b in zip(drawn, base, strict=True)]
    assert numbers[4:6] == pytest.approx(np.quantile(shares, [0.025, 0.975]), abs=0.03)


def test_a_bare_run_of_real_data(tmp_path):
    bare = predictions(2).select("label", "score").with_columns(card_id=pl.lit(None, pl.Int64))
    write_predictions(tmp_path, test=bare)
    page = Page(write_report(tmp_path))
    assert "Simulated" not in page.source
    assert "published" not in page.text.lower()
    assert page.source.count("<svg") == 5
    assert "no run.json" in page.text


@pytest.mark.parametrize("label", [0, 1])
def test_a_split_of_one_class(tmp_path, label):
    write_predictions(tmp_path, val=predictions(2, rows=50).with_columns(label=pl.lit(label)))
    page = Page(write_report(tmp_path))
    assert page.open == []
    assert not re.search(r"\bnan\b", page.text)


def test_one_row_and_cards_partly_unknown(tmp_path):
    unknown = predictions(3).with_columns(
        card_id=pl.when(pl.col("transaction_id") % 2 == 0).then(pl.col("card_id").cast(pl.String))
    )
    write_predictions(tmp_path, val=unknown, test=predictions(4, rows=1))
    assert Page(write_report(tmp_path)).open == []


def test_an_unusable_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no metrics\.json"):
        write_report(tmp_path)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        write_report(tmp_path)
    (tmp_path / "metrics.json").write_text("[]")
    with pytest.raises(UserError, match="an object is expected"):
        write_report(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="predict first"):
        write_report(tmp_path)
    (tmp_path / "predictions").mkdir()
    predictions(0).drop("score").write_parquet(tmp_path / "predictions/test.parquet")
    with pytest.raises(UserError, match="column score missing"):
        write_report(tmp_path)
    predictions(0).clear().write_parquet(tmp_path / "predictions/test.parquet")
    with pytest.raises(UserError, match="no rows"):
        write_report(tmp_path)
