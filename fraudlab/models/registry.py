"""Models by name: what each declares, and a network made anew from plain settings."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fraudlab.config.registry import Registry, attribute
from fraudlab.errors import UserError
from fraudlab.models.contract import Estimator, ModelPart

if TYPE_CHECKING:  # heavy
    from torch import nn

MODELS: Registry[ModelPart] = Registry(
    "model",
    {
        "tabnet": "fraudlab.models.tabnet:PART",
        "mlp": "fraudlab.models.mlp:PART",
        "tabm": "fraudlab.models.tabm:PART",
        "logistic_regression": "fraudlab.models.linear:LOGISTIC_REGRESSION",
        "lightgbm": "fraudlab.models.boosting:LIGHTGBM",
        "xgboost": "fraudlab.models.boosting:XGBOOST",
        "catboost": "fraudlab.models.boosting:CATBOOST",
    },
)


def register_network(name: str, make: Callable[..., Any], settings: type, **declared: Any) -> None:
    """Add a network of a plugin as ``model=<name>``.

    Args:
        name: as in ``model=<name>``.
        make: ``(cardinalities, num_numeric, **settings) -> Network``, see :class:`fraudlab.models.contract.Network`.
        settings: dataclass of the keys of ``model``, with ``name: str = <name>``. Its keys but ``name``, ``members``
            (networks trained at once) and ``compile`` are arguments of ``make``.
        declared: further attributes of :class:`fraudlab.models.contract.ModelPart`.

    Raises:
        UserError: fraudlab has a model of that name, or ``settings`` is not such a dataclass.
    """
    MODELS.add(name, ModelPart("network", make, **declared), settings)


def register_estimator(name: str, estimator: type[Estimator], settings: type, **declared: Any) -> None:
    """Add a model that its own library fits as ``model=<name>``.

    Args:
        name: as in ``model=<name>``.
        estimator: a class that keeps :class:`fraudlab.models.contract.Estimator`.
        settings: dataclass of the keys of ``model``, with ``name: str = <name>``; ``fit`` gets it.
        declared: further attributes of :class:`fraudlab.models.contract.ModelPart`.

    Raises:
        UserError: fraudlab has a model of that name, or ``settings`` is not such a dataclass.
    """
    MODELS.add(name, ModelPart("estimator", estimator, **declared), settings)


def models_that(ability: Callable[[ModelPart], bool]) -> str:
    """The models with some ability, as a message names them: ``model=a or model=b``."""
    return " or ".join(f"model={name}" for name in MODELS if ability(MODELS[name]))


def make_network(rebuild: Mapping[str, Any]) -> "nn.Module":
    """A freshly initialised network from plain data.

    Args:
        rebuild: ``{"model": {"name": ..., settings}, "cardinalities": [...], "num_numeric": N}``.

    Raises:
        UserError: there is no such network.
    """
    settings = dict(rebuild["model"])
    name, members = settings.pop("name"), settings.pop("members", 1)
    part = MODELS[name]
    if part.kind != "network":
        raise UserError(f"model={name} is not a network; use {models_that(lambda part: part.kind == 'network')}")
    for key in part.not_the_network:
        settings.pop(key, None)
    maker = _maker(part)

    def make() -> "nn.Module":
        made: nn.Module = maker(rebuild["cardinalities"], rebuild["num_numeric"], **settings)
        return made

    if members == 1:
        return make()
    from fraudlab.models.ensemble import Ensemble

    return Ensemble(make, members)


def estimator_class(name: str) -> type[Estimator]:
    """The class of ``model=<name>`` where that is no network.

    Raises:
        UserError: its library is not installed.
    """
    part = MODELS[name]
    try:
        made: type[Estimator] = _maker(part)
    except ModuleNotFoundError as error:
        raise UserError(f"model={name} needs the package {error.name}; pip install '{part.install}'") from error
    return made


def _maker(part: ModelPart) -> Any:
    return attribute(part.make) if isinstance(part.make, str) else part.make
