"""data=table on real tables that users know; skipped where they are absent."""

import json
from pathlib import Path

import pytest

from tests.conftest import Command

ADULT = (
    "data.path={shared}/adult/adult.parquet",
    "data.label=income",
    "data.fraud_values=['>50K']",
    "data.missing_values=['?']",
    "data.numeric=[fnlwgt,education_num,capital_gain,capital_loss,hours_per_week]",
    "split=random",
)
CLAIMS = (
    "data.path={shared}/vehicle_claims/fraud_oracle.parquet",
    "data.label=FraudFound_P",
    "data.id=PolicyNumber",
    "data.time=accident",
    "data.categorical=[RepNumber]",
    "data.carried=[Year,day]",
    "data.missing_values=['0','null']",
    "data.derive.day='CASE WHEN WeekOfMonth = 5 THEN 28 ELSE 7 * WeekOfMonth - 6 END'",
    "data.derive.accident='STRPTIME(CONCAT(Year, \\'-\\', COALESCE(Month, MonthClaimed), \\'-\\', day),"
    " \\'%Y-%b-%d\\')'",
    "data.derive.Age='NULLIF(Age, 0)'",
    "split=time_fraction",
)


@pytest.mark.parametrize(
    ("table", "model", "least_auc"), [(ADULT, "tabnet", 0.88), (CLAIMS, "mlp", 0.6)], ids=["adult", "claims"]
)
def test_trains_on_a_real_table(
    command: Command, shared_data: Path, tmp_path: Path, table: tuple[str, ...], model: str, least_auc: float
) -> None:
    overrides = [override.format(shared=shared_data) for override in table]
    overrides = [f"+{o}" if o.startswith("data.derive.") else o for o in overrides]
    done = command(
        "train", "data=table", *overrides, "features=columns", "experiment=none", f"model={model}",
        "trainer.max_epochs=12", *(["model.momentum=0.1"] if model == "tabnet" else []),
        "trainer.enable_progress_bar=false", "batch_size=512", f"hydra.run.dir={tmp_path}/run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test"]["roc_auc"] > least_auc
    assert "simulated" not in done.stdout
    assert "Handbook" not in done.stdout


def test_a_mistake_in_a_table_is_told_before_anything_heavy_is_imported(command: Command, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("size,state\n1,paid\n2,lost\n3,open\n")
    done = command(
        "train", "data=table", f"data.path={tmp_path}/t.csv", "data.label=state", "data.fraud_values=[lost]",
        "features=columns", "experiment=none", "split=random", f"hydra.run.dir={tmp_path}/run",
        env={"PYTHONPROFILEIMPORTTIME": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    imported, message = done.stderr.split("error: ")
    assert "the meaning of open, paid is not given" in message
    assert {"torch", "lightning"}.isdisjoint(line.split("|")[-1].strip() for line in imported.splitlines())
    assert "fraudlab.data.sources.table.source" in imported
    assert not (tmp_path / "run" / "config.yaml").exists()
