"""select finds what does not last and what repeats others, from training rows alone, and its settings can be used."""

import json
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from tests.conftest import Command

DAYS, A_DAY = 100, 60


def table(turns: bool = True, later: int = 0) -> pl.DataFrame:
    """A hundred days: `turns` changes its sign in the middle of the training rows; `later` draws other test rows."""
    rng = np.random.default_rng(1)
    rows = DAYS * A_DAY
    day = np.repeat(np.arange(DAYS), A_DAY)
    fraud = rng.random(rows) < 0.2
    signal = rng.standard_normal(rows) + fraud
    frame = pl.DataFrame(
        {
            "second": day * 86400 + rng.integers(0, 86400, rows),
            "fraud": fraud.astype(int),
            "signal": signal,
            "rounded": signal.round(1),
            "turns": np.where(turns & (day > 30), -1, 1) * (rng.standard_normal(rows) + fraud),
            "word": np.where(fraud ^ (rng.random(rows) < 0.2), "a", "b"),
        }
    ).sort("second")
    if later:
        known = frame.head(int(0.7 * rows))
        other = frame.tail(rows - len(known)).with_columns(
            pl.Series("fraud", np.random.default_rng(later).permutation(fraud[: rows - len(known)]).astype(int)),
            -pl.col("signal", "rounded"),
            word=pl.lit("c"),
        )
        frame = pl.concat([known, other])
    return frame


def select(command: Command, folder: Path, frame: pl.DataFrame, *more: str) -> dict:
    folder.mkdir()
    frame.write_csv(folder / "table.csv")
    done = command(
        "select",
        *("data=table", f"data.path={folder}/table.csv", "data.label=fraud", "data.time=second", "features=columns"),
        *("split=time_fraction", "label_delay_days=0", "days=20", f"hydra.run.dir={folder}/run", *more),
    )
    assert done.returncode == 0, done.stderr
    return {"printed": done.stdout, **json.loads((folder / "run" / "selection.json").read_text())}


@pytest.fixture(scope="module")
def found(command: Command, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("select") / "one"
    return {"folder": folder, **select(command, folder, table())}


def test_planted_features_are_found(found: dict) -> None:
    assert found["inconsistent"] == ["turns"]
    assert found["redundant"] == ["rounded"]
    assert found["leave_out"] == ["rounded", "turns"]
    assert found["auc"]["turns"]["first_auc"] > 0.7
    assert found["auc"]["turns"]["last_auc"] < 0.35
    assert found["rows"] == {"train": 4200, "first": pytest.approx(1200, abs=5), "last": pytest.approx(1200, abs=5)}
    assert "2: 1 do not last, 1 repeat others" in found["printed"]


def test_the_page_shows_them(found: dict) -> None:
    page = (found["folder"] / "run" / "selection.html").read_text()
    assert "<strong>signal</strong>; left out: rounded" in page
    assert "does not last" in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert (found["folder"] / "run" / "run.json").is_file()


def test_later_rows_have_no_influence(found: dict, command: Command, tmp_path: Path) -> None:
    again = select(command, tmp_path / "other", table(later=5))
    for each in ("rows", "auc", "groups", "leave_out"):
        assert again[each] == found[each]


def left_out_by(found: dict, command: Command) -> list[str]:
    """By the training that the printed command starts."""
    use = found["printed"].strip().splitlines()[-1]
    words = shlex.split(use[use.index("--config-dir") :])
    assert any(word.startswith("paths.data_dir=") for word in words)
    done = command("train", "--cfg", "job", *words)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["features"]["leave_out"]


def test_only_columns_asked_for_repeat_others(command: Command, tmp_path: Path) -> None:
    """And what the command left out before stays out."""
    given = ("among=turns|signal", "features.leave_out=[word]")
    found = select(command, tmp_path / "among", table(turns=False), *given)
    assert found["leave_out"] == []
    assert [group["kept"] for group in found["groups"]] == [{"signal": [], "turns": []}]
    assert left_out_by(found, command) == ["word"]
    again = select(command, tmp_path / "again", table(), *given[1:])
    assert left_out_by(again, command) == ["word", "rounded", "turns"]


def test_settings_are_used_by_a_training(found: dict, command: Command) -> None:
    settings = yaml.safe_load((found["folder"] / "run" / "local" / "leave_out.yaml").read_text())
    assert settings == {"features": {"leave_out": ["rounded", "turns"]}}
    assert left_out_by(found, command) == ["rounded", "turns"]


def test_tables_that_cannot_be_judged_are_refused(command: Command, tmp_path: Path) -> None:
    table().drop("second").write_csv(tmp_path / "t.csv")
    arguments = ("data=table", f"data.path={tmp_path}/t.csv", "data.label=fraud", "features=columns", "split=random")
    done = command("select", *arguments, f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 1
    assert "data.time=" in done.stderr
    done = command("select", *arguments, "among=+", f"hydra.run.dir={tmp_path}/run2")
    assert done.returncode == 1
    assert "no regular expression" in done.stderr
