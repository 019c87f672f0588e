"""Spaces are drawn as they say and refused where they make no sense."""

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fraudlab.config.overrides import override
from fraudlab.errors import UserError
from fraudlab.tuning.space import read_space

RAW = {
    "optimizer.lr": {"float": [0.001, 0.1], "log": True},
    "model.n_d": {"int": [4, 15], "step": 4},
    "model.dropout": {"float": [0.0, 0.5], "step": 0.1, "when": {"model.kind": ["b", "c"]}},
    "model.kind": {"choice": ["a", "b", "c"]},
    "model.hidden": {"choice": [[64, 32], [128]]},
    "model.deep": {"int": [1, 2], "when": {"model.dropout": 0.0}},
}


def space():
    raw = {key: RAW[key] for key in ("optimizer.lr", "model.n_d", "model.kind", "model.dropout", "model.hidden")}
    return read_space(raw, "s.yaml")


def test_every_drawn_point_lies_in_the_space() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = [space().draw(study.ask()) for _ in range(200)]
    for point in points:
        assert 0.001 <= point["optimizer.lr"] <= 0.1
        assert point["model.n_d"] in (4, 8, 12)
        assert ("model.dropout" in point) == (point["model.kind"] != "a")
        assert point["model.hidden"] in ("[64,32]", "[128]")
    assert {point["model.n_d"] for point in points} == {4, 8, 12}
    below = sum(point["optimizer.lr"] < 0.01 for point in points)
    assert 70 < below < 130  # half of them: the middle of a logarithmic scale


def test_corners_hold_every_bound_and_choice_under_its_condition() -> None:
    points = space().corners()
    for setting in space():
        assert {point[setting.key] for point in points if setting.key in point} == set(setting.corners())
    assert all(("model.dropout" in point) == (point["model.kind"] != "a") for point in points)


@pytest.mark.parametrize(
    "value", [0.1, 1e-05, 3, True, None, "adam", "it's 1,2", "[1,2]", "", "a b", "null", "3", "true"]
)
def test_hydra_reads_a_value_as_it_was(value) -> None:
    (parsed,) = OverridesParser.create().parse_overrides([override("key", value)])
    read = parsed.value()
    if value == "[1,2]":  # how a space keeps a list
        assert read == [1, 2]
    else:
        assert read == value
        assert isinstance(read, str) == isinstance(value, str)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"float": [0.1, 0.01]}, "write float: [0.01, 0.1]"),
        ({"float": ["1e-3", 1]}, "1.0e-3 or 0.001"),
        ({"int": [1.5, 3]}, "whole number"),
        ({"int": [True, 3]}, "whole number"),
        ({"float": [0, 1], "log": True}, "above 0"),
        ({"float": [0.1, 1], "log": True, "step": 0.1}, "cannot be combined with log"),
        ({"float": [1, 2, 3]}, "two bounds"),
        ({"choice": []}, "one or more"),
        ({"choice": ["a", "a"]}, "twice"),
        ({"chioce": ["a"]}, "exactly one of"),
        ({"int": [1, 2], "steps": 1}, "steps"),
        ({"int": [1, 2], "when": {"model.x": 1}}, "must come before it"),
        (3, "exactly one of"),
    ],
)
def test_a_senseless_setting_is_refused(given, said: str) -> None:
    with pytest.raises(UserError, match="space.model.key") as error:
        read_space({"model.key": given}, "s.yaml")
    assert said in str(error.value)


def test_a_condition_that_never_holds_is_refused() -> None:
    with pytest.raises(UserError, match="never applies"):
        read_space({"a": {"choice": [1, 2]}, "b": {"int": [1, 2], "when": {"a": 3}}}, "s.yaml")
