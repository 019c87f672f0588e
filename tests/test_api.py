"""The Python API: a training as the command does it, in this process, which it leaves as it was."""

import importlib
import logging
import os
import random
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from sklearn.metrics import average_precision_score

from fraudlab import config
from fraudlab.api import Report, Run, compare, compose, load_bundle, load_run, load_table, train
from fraudlab.errors import UserError
from tests.conftest import SMALL

QUICK = (*SMALL, "model=mlp", "model.hidden=[8]", "trainer.max_epochs=1", "logger=none", "trainer=cpu", "threads=1")


def settings(data: Path) -> list[str]:
    # The groups first, then the values of SMALL and QUICK, as trainer=cpu would take trainer.max_epochs back.
    words = sorted(QUICK, key=lambda word: "." in word.split("=")[0])
    return [*words, f"paths.data_dir={data}"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(*settings(data), path=tmp_path_factory.mktemp("runs") / "one")


def test_a_run_has_metrics_predictions_settings_network_and_report(run: Run) -> None:
    predictions = run.predictions("test")
    expected = average_precision_score(predictions["label"], predictions["score"])
    assert run.metrics["test"]["average_precision"] == pytest.approx(expected)
    assert run.config.model == config.MLPConfig(embedding="none", hidden=[8], dropout=0.0, batch_norm=True)
    network = run.network()
    logits = network(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 15)).logits
    assert logits.shape == (2, 2)
    report = run.report()
    assert isinstance(report, Report)
    assert report._repr_html_().startswith("<iframe srcdoc=")
    assert "AUC ROC" in run._repr_html_()
    with pytest.raises(UserError, match="no predictions of other; it has: test, val"):
        run.predictions("other")


def test_the_run_is_read_again_and_evaluated_alike(run: Run) -> None:
    again = load_run(run.path)
    assert again.metrics == run.metrics
    assert again.config == run.config


def test_the_table_of_a_run_scores_as_the_run_by_its_bundle(run: Run, data: Path, tmp_path: Path) -> None:
    table = load_table(*settings(data))
    predictions = run.predictions("test")
    rows = predictions.join(table, left_on="transaction_id", right_on="TRANSACTION_ID", maintain_order="left")
    assert rows["TX_FRAUD"].equals(predictions["label"], null_equal=False)
    bundle = run.export("high_per_1000=20", out=tmp_path / "bundle")
    assert bundle.decision.budget == {"medium": 50.0, "high": 20.0}
    scores = load_bundle(tmp_path / "bundle").predict(rows.select(bundle.inputs).head(200).to_dicts())
    assert scores == pytest.approx(predictions["score"].head(200).to_numpy(), abs=1e-6)
    with pytest.raises(UserError, match="Did you mean calibration"):
        run.export("calibratio=platt")


def test_runs_are_compared_on_the_same_rows(run: Run, data: Path, tmp_path: Path) -> None:
    other = train(*settings(data), "seed=1", "model.hidden=[4]", "test=false", path=tmp_path / "run, other")
    found = compare([run, other.path], "part=val", "resamples=100")
    rows = [one.predictions("val") for one in (run, other)]
    first, second = (average_precision_score(each["label"], each["score"]) for each in rows)
    assert found["models"][0]["metrics"]["average_precision"]["values"] == pytest.approx([first])
    apart = found["differences"][0]["average_precision"]
    assert apart["difference"] == pytest.approx(second - first)
    assert apart["low"] < apart["difference"] < apart["high"]
    with pytest.raises(UserError, match="no predictions of test"):
        compare([run, other])


def test_the_process_is_left_as_it_was(run: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in config.COMMANDS:
        importlib.import_module(f"fraudlab.{command}")
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()

    def state() -> list[object]:
        torch_state, numpy_state = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
        logs = [root, *map(logging.getLogger, ("fraudlab", "lightning.pytorch", "lightning.fabric"))]
        levels = [(log.level, list(log.handlers)) for log in logs]
        singletons = (GlobalHydra.instance().hydra, HydraConfig.instance().cfg)
        return [random.getstate(), torch_state, numpy_state, levels, dict(os.environ), list(warnings.filters),
                torch.get_num_threads(), singletons, list(sys.argv)]  # fmt: skip

    before = state()
    second = train(*settings(data))
    assert state() == before
    assert second.path.resolve().is_relative_to(tmp_path.resolve() / "outputs" / "train")
    assert second.predictions("test").equals(run.predictions("test"))  # the same seed, twice in a row


def test_a_thread_may_train(run: Run, data: Path, tmp_path: Path) -> None:
    got: list[Run] = []
    thread = threading.Thread(target=lambda: got.append(train(*settings(data), path=tmp_path / "run")))
    thread.start()
    thread.join()
    assert got[0].predictions("val").equals(run.predictions("val"))


@pytest.mark.parametrize(
    "several", [["trainer=ddp_sim"], ["trainer.devices=2"], ["trainer.num_nodes=2"], ["trainer.devices=[0,1]"]]
)
def test_several_processes_are_refused_with_what_to_type(several: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="type: python -m fraudlab.train model=mlp"):
        train("model=mlp", *several, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_compose_gives_typed_settings_and_refuses_what_is_not_there() -> None:
    settings = compose("experiment=handbook_book", "model=mlp", "trainer.max_epochs=3")
    assert isinstance(settings, config.TrainConfig)
    assert (settings.model.name, settings.trainer["max_epochs"]) == ("mlp", 3)
    assert isinstance(compose("run=x", command="evaluate"), config.EvaluateConfig)
    with pytest.raises(UserError, match="Did you mean optimizer"):
        compose("optimizr=adam")
    with pytest.raises(UserError, match="at least 1"):
        compose("model.n_d=0")


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        load_run(tmp_path)


def test_the_import_is_light() -> None:
    heavy = ("torch", "polars", "numpy", "hydra", "omegaconf", "lightning")
    code = f"import sys, fraudlab.api; assert not set({heavy}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_the_run_folder_is_given_as_path(sign: str) -> None:
    with pytest.raises(UserError, match=r"hydra.run.dir=here: from Python, path= names the run folder"):
        train("experiment=handbook", f"{sign}hydra.run.dir=here")
