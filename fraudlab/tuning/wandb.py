"""A search as a W&B sweep: the same space, for agents that call the same command."""

from typing import Any

import yaml

from fraudlab.config.overrides import Value, text
from fraudlab.errors import UserError
from fraudlab.tuning.definition import CURVE, Definition
from fraudlab.tuning.space import Setting

_METHODS = {"tpe": "bayes", "gp": "bayes", "cmaes": "bayes", "random": "random", "qmc": "random"}


def wandb_sweep(definition: Definition, config_dir: str | None = None) -> str:
    """What ``wandb sweep <file>`` takes, as YAML.

    W&B chooses by the curve that runs log, ``val/average_precision``, at its last point.

    Raises:
        UserError: W&B cannot say this space.
    """
    if conditional := [setting.key for setting in definition.space if setting.when]:
        raise UserError(
            f"W&B sweeps do not support conditions, and {', '.join(conditional)} have one; remove their when, "
            "or search with python -m fraudlab.sweep, which supports them"
        )
    if [metric.name for metric in definition.metrics] != [CURVE]:
        raise UserError(f"a W&B sweep has {CURVE} as its only metric; for others, search with python -m fraudlab.sweep")
    fixed = [*definition.overrides({}), "test=false", "report=false", "logger=[csv,wandb]"]
    command = ["${env}", "python", "-m", "fraudlab.train", *([f"--config-dir={config_dir}"] if config_dir else [])]
    sweep: dict[str, Any] = {
        "program": "fraudlab.train",
        "name": definition.name,
        "method": _METHODS[definition.sampler["name"]],
        "metric": {"name": CURVE.replace(".", "/"), "goal": "maximize"},
        "run_cap": definition.trials,
        "command": [*command, *fixed, "${args_no_hyphens}"],
        "parameters": {setting.key: _parameter(setting) for setting in definition.space},
    }
    if definition.pruner["name"] == "hyperband":
        rungs = definition.pruner.get("min_resource", 6), definition.pruner.get("reduction_factor", 3)
        sweep["early_terminate"] = {"type": "hyperband", "min_iter": rungs[0], "eta": rungs[1]}
    return yaml.safe_dump(sweep, sort_keys=False)


def _parameter(setting: Setting) -> dict[str, Any]:
    if setting.kind == "choice":
        return {"values": [_as_argument(choice) for choice in setting.choices]}
    assert setting.low is not None
    low, high = setting.low, setting.last()
    if setting.step is not None:  # W&B's quantised distributions round to multiples of the step, not from low on
        steps = round((high - low) / setting.step)
        return {"values": [round(low + number * setting.step, 12) for number in range(steps + 1)]}
    if setting.log:
        rounded = {"q": 1} if setting.kind == "int" else {}
        return {"distribution": f"{'q_' if rounded else ''}log_uniform_values", "min": low, "max": high, **rounded}
    return {"distribution": "int_uniform" if setting.kind == "int" else "uniform", "min": low, "max": high}


def _as_argument(value: Value) -> Value:
    """W&B writes ``key=value`` by Python's rules; what Hydra would read otherwise goes as Hydra's text."""
    return value if isinstance(value, (bool, int, float)) else text(value)
