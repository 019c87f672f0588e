"""Simulated IEEE-CIS is made once and read as Kaggle's files are."""

from pathlib import Path

import pytest

from fraudlab.config import IEEECISSimulatedConfig
from fraudlab.data.simulators import ieee_cis as simulator
from fraudlab.data.sources.ieee_cis_simulated import load
from fraudlab.errors import UserError


def test_it_is_made_once_and_says_what_it_is(tmp_path: Path) -> None:
    source = load(IEEECISSimulatedConfig(rows=500), tmp_path)
    assert source.schema.simulated
    assert source.schema.name == "ieee_cis_simulated"
    frame = source.frame.collect()
    assert len(frame) == 500
    assert frame["TransactionDT"].is_sorted()
    written = tmp_path / "ieee_cis_simulated_v2_500_0" / simulator.TRANSACTIONS
    before = written.stat().st_mtime_ns
    again = load(IEEECISSimulatedConfig(rows=500), tmp_path)
    assert again.fingerprint == source.fingerprint
    assert written.stat().st_mtime_ns == before
    other = load(IEEECISSimulatedConfig(rows=500, seed=1), tmp_path)
    elsewhere = load(IEEECISSimulatedConfig(rows=500), tmp_path / "elsewhere")
    assert source.fingerprint not in (other.fingerprint, elsewhere.fingerprint)
    assert source.data_fingerprint == elsewhere.data_fingerprint != other.data_fingerprint


def test_files_of_a_run_that_was_cut_off_are_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "ieee_cis_simulated_v2_500_0"
    folder.mkdir()
    for name in (simulator.IDENTITIES, simulator.MARK):
        (folder / name).write_text("half")
    assert len(load(IEEECISSimulatedConfig(rows=500), tmp_path).frame.collect()) == 500


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="data.rows"):
        IEEECISSimulatedConfig(rows=3)
