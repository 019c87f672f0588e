"""How far a model's members lie apart: that of its members run one by one, in records, in files and of a blend."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraudlab import bundle as bundles
from fraudlab.bundle.scoring import score_file
from fraudlab.bundle.spread import spread_of
from fraudlab.data.batches import Batch
from fraudlab.training.scoring import load_network, score


def within(probability: list[float], weights: list[float]) -> tuple[float, float]:
    """The lowest and the highest without 5 % of the weight at either end, member by member."""
    ends = []
    for descending in (False, True):
        ranked = sorted(zip(probability, weights, strict=True), reverse=descending)
        weight = [sum(w for _, w in ranked[: place + 1]) for place in range(len(ranked))]
        ends.append(next(p for (p, _), up_to in zip(ranked, weight, strict=True) if up_to > 0.05 * (1 + 1e-9)))
    return ends[0], ends[1]


@pytest.mark.parametrize("members", [2, 3, 19, 20, 32, 40])
def test_the_ends_are_members_of_enough_weight(members: int) -> None:
    draw = np.random.default_rng(members)
    probability = draw.random((50, members)).astype(np.float32)
    probability[0] = probability[0, 0]
    for weights in (np.full(members, 1 / members), draw.dirichlet(np.ones(members))):
        found = spread_of(probability, weights)
        for row, low, high in zip(probability.astype(float).tolist(), *found, strict=True):
            assert (low, high) == within(row, weights.tolist())
    equal = spread_of(probability, np.full(members, 1 / members))
    left_out = {2: 0, 3: 0, 19: 0, 20: 1, 32: 1, 40: 2}[members]
    ranked = np.sort(probability, axis=1)
    assert np.array_equal(equal.low, ranked[:, left_out])
    assert np.array_equal(equal.high, ranked[:, members - 1 - left_out])


def test_it_is_that_of_the_networks_run_one_by_one(by_money: tuple[Path, Path], tmp_path: Path) -> None:
    run, folder = by_money
    bundle = bundles.load(folder)
    records = [row["record"] for row in bundle.golden()]
    arrays = bundle.encode(records)
    rows = Batch.of(*arrays, np.zeros(len(records)))
    network = load_network(run / "checkpoints" / "best.ckpt").double()
    alone = np.stack([score(member, rows, 64) for member in network.members])
    assert alone.shape == (3, len(records))
    probability, spread = bundle.probability_and_spread(arrays)
    assert spread is not None
    assert probability == pytest.approx(alone.mean(axis=0), abs=1e-6)
    assert spread.low == pytest.approx(alone.min(axis=0), abs=1e-6)
    assert spread.high == pytest.approx(alone.max(axis=0), abs=1e-6)
    assert (spread.high - spread.low).max() > 1e-3
    pl.DataFrame(records, infer_schema_length=None).write_parquet(tmp_path / "in.parquet")
    written = score_file(bundle, tmp_path / "in.parquet", tmp_path / "out.csv").collect()
    assert written["spread_low"].to_numpy() == pytest.approx(spread.low, abs=1e-6)
    assert written["spread_high"].to_numpy() == pytest.approx(spread.high, abs=1e-6)
    assert bundle.probability_and_spread(bundle.encode([]))[1] == (pytest.approx([]), pytest.approx([]))


def test_it_is_calibrated_as_the_score_is(by_money: tuple[Path, Path]) -> None:
    bundle = bundles.load(by_money[1])
    arrays = bundle.encode([row["record"] for row in bundle.golden()])
    plain = bundle.probability_and_spread(arrays)[1]
    assert plain is not None
    bundle.decision = bundle.decision.from_dict(
        {**bundle.decision.to_dict(), "calibration": {"map": "platt", "slope": 0.5, "intercept": -1.0}}
    )
    found = bundle.probability_and_spread(arrays)[1]
    assert found is not None
    for mine, before in zip(found, plain, strict=True):
        assert mine == pytest.approx(1 / (1 + np.exp(1 - 0.5 * np.log(before / (1 - before)))), abs=1e-9)


def test_a_model_of_one_member_has_none(exported: tuple[Path, Path]) -> None:
    bundle = bundles.load(exported[1])
    assert not bundle.has_members
    assert bundle.probability_and_spread(bundle.encode([bundle.golden()[0]["record"]]))[1] is None
