"""Both searches have one space: Optuna's and W&B's, key by key, for every sweep that W&B can say."""

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fraudlab.config import SweepConfig
from fraudlab.config.overrides import override
from fraudlab.errors import UserError
from fraudlab.tuning.definition import load_definition
from fraudlab.tuning.space import Setting
from fraudlab.tuning.wandb import wandb_sweep


def as_optuna(parameter: dict):
    """A W&B parameter as Optuna's distribution of the same values with the same weights, by W&B's documentation."""
    if "values" in parameter:
        return CategoricalDistribution(parameter["values"])
    kind, low, high = parameter["distribution"], parameter["min"], parameter["max"]
    return {
        "uniform": lambda: FloatDistribution(low, high),
        "log_uniform_values": lambda: FloatDistribution(low, high, log=True),
        "int_uniform": lambda: IntDistribution(low, high),
        "q_log_uniform_values": lambda: IntDistribution(low, high, log=True),
    }[kind]()


def values(setting: Setting) -> list[float]:
    """Every value of a stepped setting, from Optuna's own grid."""
    assert setting.low is not None
    assert setting.step is not None
    grid, value = [], float(setting.low)
    while value <= setting.last() + 1e-9:
        grid.append(value)
        value += setting.step
    return grid


@pytest.mark.parametrize("name", ["tabnet_handbook", "lightgbm_handbook", "tabnet_ieee_cis"])
def test_both_have_one_space(name: str) -> None:
    definition = load_definition(SweepConfig(sweep=name))
    sweep = yaml.safe_load(wandb_sweep(definition))
    assert list(sweep["parameters"]) == definition.space.keys
    for setting in definition.space:
        parameter = sweep["parameters"][setting.key]
        if setting.step is not None:
            assert parameter["values"] == pytest.approx(values(setting))
        else:
            assert as_optuna(parameter) == setting.distribution(), setting.key
    assert sweep["metric"] == {"name": "val/average_precision", "goal": "maximize"}
    assert sweep["run_cap"] == definition.trials


def test_an_agent_calls_train_as_a_trial_does(tmp_path) -> None:
    """The real agent's own functions turn the definition and a drawn point into the command."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    path = tmp_path / "mine.yaml"
    choices = [True, None, [64, 32], "a b", 0.5]
    path.write_text(yaml.safe_dump({"fixed": ["model=mlp"], "space": {"model.hidden": {"choice": choices}}}))
    definition = load_definition(SweepConfig(sweep=str(path)))
    sweep = yaml.safe_load(wandb_sweep(definition))
    for choice, drawn in zip(
        sweep["parameters"]["model.hidden"]["values"], definition.space["model.hidden"].choices, strict=True
    ):
        command = utils.create_sweep_command(sweep["command"])
        arguments = utils.create_sweep_command_args({"args": {"model.hidden": {"value": choice}}})
        (argument,) = arguments["args_no_hyphens"]
        assert command[-1] == "${args_no_hyphens}"
        assert command[1:5] == ["python", "-m", "fraudlab.train", "model=mlp"]
        assert argument.lower() == override("model.hidden", drawn)


def test_conditions_are_refused() -> None:
    with pytest.raises(UserError, match=r"model\.dropout have one"):
        wandb_sweep(load_definition(SweepConfig(sweep="mlp_handbook")))
    with pytest.raises(UserError, match="as its only metric"):
        wandb_sweep(load_definition(SweepConfig(sweep="tabnet_handbook_speed")))
