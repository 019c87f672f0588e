"""What is written as an override is read by Hydra as it was, whatever characters it has."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fraudlab.config.overrides import literal, literal_text, override, to_type

AWKWARD = [
    "my project (1), a", "[1]", "{a: b}", "x=1", "a'b", 'a"b', "a\\b", "a\\", "a\\'b", "größe/ü", "${seed}",
    "\\${seed}", "null",
    "1e3", " a ", "a#b", "~/x", "50%", "a:b", "*?", "",
]  # fmt: skip


def read(word: str) -> object:
    """The value as a config has it, interpolations resolved."""
    (parsed,) = OverridesParser.create().parse_overrides([word])
    return OmegaConf.create({"seed": 7, "read": parsed.value()}).read


@pytest.mark.parametrize("value", AWKWARD)
def test_a_path_stands_for_itself(value: str) -> None:
    assert read(literal("paths.data_dir", value)) == value
    assert list(read(f"runs=[{literal_text(value)},b]")) == [value, "b"]
    assert shlex.split(to_type("train", literal("a", value)))[3:] == [literal("a", value)]


def test_a_plain_path_is_not_quoted() -> None:
    for value in ("/data/one-two_3.csv", "../data", "./.5", "outputs/x"):
        assert literal("key", value) == f"key={value}"
        assert read(literal("key", value)) == value


@given(st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" \\'$[](){},=./-15")))
def test_any_text_stands_for_itself(value: str) -> None:
    assume(value != "???")  # OmegaConf's mark of a value that is missing
    assert read(literal("key", value)) == value


@pytest.mark.parametrize(
    ("value", "meant"),
    [(None, None), (True, True), (1e-05, 1e-05), (3, 3), ("a b", "a b"), ("${seed}", 7), ("[64,32]", [64, 32])],
)
def test_a_value_of_a_space_keeps_its_type_and_its_interpolation(value: object, meant: object) -> None:
    assert read(override("key", value)) == meant
