"""Encoded arrays are those of the encoder, whether the table is still in memory or read from its files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fraudlab.config import IEEECISFeaturesConfig, IEEECISSimulatedConfig
from fraudlab.data import encoded
from fraudlab.data.encoded import encode, fit_encoder
from fraudlab.data.prepared import prepared_table

DATA, FEATURES = IEEECISSimulatedConfig(rows=2_000), IEEECISFeaturesConfig()


def test_arrays_from_memory_and_from_files_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "_BLOCK", 300)  # several blocks, the last one short
    made = prepared_table(DATA, FEATURES, 7, tmp_path)
    rows = np.arange(2_000)
    some = rows[rows % 3 > 0]
    encoder = fit_encoder(made, rows[:1_400], FEATURES.encoder)
    first, gaps = encode(made, rows, encoder), encode(made, some, encoder)
    assert np.array_equal(gaps.numeric, first.numeric[some])
    assert np.array_equal(gaps.categorical, first.categorical[some])

    found = prepared_table(DATA, FEATURES, 7, tmp_path)
    names = [*found.categorical, *found.numeric]
    assert made.rows(rows, names).equals(found.rows(rows, names))
    assert encoder.fingerprint == encoder.fit(
        found.columns(rows[:1_400]), found.categorical, found.numeric, min_count=20, clip=10.0
    ).fingerprint  # fmt: skip
    categorical, numeric = encoder.transform(found.rows(rows, names))
    assert np.array_equal(first.categorical, categorical)
    assert first.numeric.numpy().tobytes() == numeric.tobytes()
    assert np.array_equal(first.label, found.label)
    assert (first.categorical.dtype, first.numeric.dtype, first.label.dtype) == (
        torch.int64,
        torch.float32,
        torch.int64,
    )
