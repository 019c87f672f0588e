"""Models by name, from plain settings."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fraudlab.errors import UserError

if TYPE_CHECKING:  # heavy
    from torch import nn

    from fraudlab.models.estimator import Estimator


NETWORKS = {"tabnet": "fraudlab.models.tabnet", "mlp": "fraudlab.models.mlp"}
ESTIMATORS = {
    "logistic_regression": "fraudlab.models.linear.logistic_regression",
    "lightgbm": "fraudlab.models.boosting.lightgbm",
    "xgboost": "fraudlab.models.boosting.xgboost",
    "catboost": "fraudlab.models.boosting.catboost",
}


def make_network(rebuild: Mapping[str, Any]) -> "nn.Module":
    """A freshly initialised network from plain data.

    Args:
        rebuild: ``{"model": {"name": ..., settings}, "cardinalities": [...], "num_numeric": N}``.

    Raises:
        UserError: there is no such model.
    """
    settings = dict(rebuild["model"])
    name, members = settings.pop("name"), settings.pop("members", 1)
    for key in ("pretrained", "compile"):  # how a network was trained is no part of it
        settings.pop(key, None)
    if name not in NETWORKS:
        raise UserError(f"model={name} is no network; the networks are: {', '.join(NETWORKS)}")
    module = importlib.import_module(NETWORKS[name])

    def make() -> "nn.Module":
        made: nn.Module = module.make_network(rebuild["cardinalities"], rebuild["num_numeric"], **settings)
        return made

    if members == 1:
        return make()
    from fraudlab.models.ensemble import Ensemble

    return Ensemble(make, members)


def estimator_class(name: str) -> "type[Estimator]":
    """The class of ``model=<name>`` where that is no network.

    Raises:
        UserError: its library is not installed.
    """
    try:
        made: type[Estimator] = importlib.import_module(ESTIMATORS[name]).Model
    except ModuleNotFoundError as error:
        raise UserError(f"model={name} needs the package {error.name}; pip install 'fraudlab[gbdt]'") from error
    return made
