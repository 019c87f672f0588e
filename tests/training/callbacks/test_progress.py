"""What a fit shows of itself while it runs: a bar on a terminal, a line an epoch where the output goes into a file."""

import logging
import re
import sys
from pathlib import Path

import lightning.pytorch as L
import pytest
from lightning.pytorch.loggers import CSVLogger

from fraudlab.config import MLPConfig
from fraudlab.data.datamodule import FraudDataModule
from fraudlab.training.callbacks import Progress
from tests.support.learners import learner, rows


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_on_a_terminal_and_lines_in_a_file(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    caplog.set_level(logging.INFO, logger="fraudlab")
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=CSVLogger(tmp_path, version="named"), callbacks=[Progress()],
        default_root_dir=tmp_path, enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    data = FraudDataModule(rows(400, 0), rows(200, 1), batch_size=100, eval_batch_size=100, seed=0)
    trainer.fit(learner(MLPConfig(hidden=[8])), datamodule=data)
    shown = "".join(capsys.readouterr())
    assert ("Epoch 1: 100%" in shown) == terminal
    assert "v_num" not in shown + caplog.text
    lines = [record.getMessage() for record in caplog.records if record.name == "fraudlab.training.callbacks.progress"]
    metrics = [re.fullmatch(r"epoch (\d) of 2: val/average_precision ([\d.]+)  train/loss ([\d.]+)", x) for x in lines]
    if terminal:
        assert not lines
    else:
        assert [match and match[1] for match in metrics] == ["1", "2"]
        last = trainer.callback_metrics
        assert metrics[1]
        assert float(metrics[1][2]) == pytest.approx(float(last["val/average_precision"]), rel=1e-3)
        assert float(metrics[1][3]) == pytest.approx(float(last["train/loss"]), rel=1e-3)
