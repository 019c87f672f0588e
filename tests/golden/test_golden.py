"""Features, loss curves and predictions are what they were; regenerate.py makes the values again."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory):
    spec = importlib.util.spec_from_file_location("regenerate", FOLDER / "regenerate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module.golden(tmp_path_factory.mktemp("cache"))
    torch.set_num_threads(threads)


EXPECTED = json.loads((FOLDER / "golden.json").read_text(encoding="utf-8"))


def test_features(found) -> None:
    assert len(found["features"]) == len(EXPECTED["features"])
    for row, expected in zip(found["features"], EXPECTED["features"], strict=True):
        assert row == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("model", ["tabnet", "mlp"])
def test_a_loss_curve_of_20_steps(found, model: str) -> None:
    assert len(found[model]["losses"]) == 20
    assert found[model]["losses"] == pytest.approx(EXPECTED[model]["losses"], rel=1e-6)


@pytest.mark.parametrize("model", ["tabnet", "mlp"])
def test_predictions(found, model: str) -> None:
    assert found[model]["scores"] == pytest.approx(EXPECTED[model]["scores"], rel=1e-4)
