"""A sweep's finalists in words: what the best has over the search's start, against Student's table."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from fraudlab.config import SweepConfig
from fraudlab.reporting.sweep import candidates_table
from fraudlab.tuning.definition import Definition, load_definition
from fraudlab.tuning.stages import Candidate


@pytest.fixture
def definition(tmp_path: Path) -> Definition:
    raw = {
        "fixed": ["model=mlp"],
        "space": {"optimizer.lr": {"float": [0.001, 1.0], "log": True}},
        "start": [{"optimizer.lr": 0.1}],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(raw))
    return load_definition(SweepConfig(sweep=str(tmp_path / "mine.yaml")))


@pytest.mark.parametrize(
    ("gain", "said"),
    # Three seeds of deviation 1 on either side: 4 degrees of freedom, t = 2.7764, times sqrt(2 / 3).
    [
        (2.0, "+2.0000, 95 % interval -0.2670 to +4.2670 (Welch); it contains 0: these seeds show no difference."),
        (2.5, "+2.5000, 95 % interval +0.2330 to +4.7670 (Welch)."),
    ],
)
def test_the_best_is_compared_with_the_start(definition: Definition, gain: float, said: str) -> None:
    start = Candidate(0, {"optimizer.lr": 0.1}, np.array([[1.0], [2.0], [3.0]]))
    best = Candidate(4, {"optimizer.lr": 0.03}, np.array([[3.0], [1.0], [2.0]]) + gain)
    shown = candidates_table([best, start], definition, best, simulated=True)
    chosen_here = " The best of 2 was chosen on these seeds, so the difference is too favourable to it."
    assert shown.splitlines()[-1] == f"The best against the search's start: {said}{chosen_here}"
    tested = candidates_table([best, start], definition, best, simulated=True, tested=True)
    assert tested.splitlines()[-1] == f"The best against the search's start: {said}"


def test_seeds_that_change_nothing_give_no_interval(definition: Definition) -> None:
    start = Candidate(0, {"optimizer.lr": 0.1}, np.full((3, 1), 0.5))
    best = Candidate(4, {"optimizer.lr": 0.03}, np.full((3, 1), 0.75))
    said = candidates_table([best, start], definition, best, simulated=True).splitlines()[-1]
    assert said.startswith("The best against the search's start: +0.2500. Every seed gives the same value")
    assert "interval +" not in said


def test_a_start_that_is_the_best_has_nothing_to_be_compared_with(definition: Definition) -> None:
    start = Candidate(0, {"optimizer.lr": 0.1}, np.array([[1.0], [2.0], [3.0]]))
    other = Candidate(4, {"optimizer.lr": 0.03}, np.array([[0.0], [1.0], [2.0]]))
    assert "against" not in candidates_table([other, start], definition, start, simulated=True)
