"""Encoded arrays on disk, memory-mapped: written once for an encoder and its rows, never whole in memory."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import torch
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from tqdm import tqdm

from fraudlab.data.batches import Batch
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import Rows
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.features.joined import Encoder
from fraudlab.files import make_once

_BLOCK = 65_536  # rows encoded at once


def fit_encoder(table: PreparedTable, rows: Rows, settings: Any) -> TableEncoder:
    """The encoder of typed ``settings`` (``features.encoder``) fitted on ``rows``: made, or found beside the table."""
    folder = _folder(table, ["encoder", asdict(settings)], rows)

    def write(aside: Path) -> None:
        columns = table.columns(rows)
        TableEncoder.fit(columns, table.categorical, table.numeric, **asdict(settings)).save(aside)

    make_once(folder, write)
    return TableEncoder.load(folder)


def encode(table: PreparedTable, rows: Rows, encoder: Encoder) -> Batch:
    """Encoded rows of a table, mapped from ``categorical.npy``, ``numeric.npy`` and ``label.npy`` beside it."""
    folder = _folder(table, ["arrays", encoder.fingerprint], rows)
    make_once(folder, lambda aside: _write(table, rows, encoder, aside))
    table.release()
    # Copy on write: PyTorch requires writable memory.
    names = ("categorical", "numeric", "label")
    categorical, numeric, label = (torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in names)
    return Batch(categorical, numeric, label, torch.ones(len(rows)))


def encode_once(table: PreparedTable, rows: Rows, encoder: Encoder) -> Batch:
    """As :func:`encode`, in memory and not kept: for rows that are scored once."""
    columns = list(dict.fromkeys([*table.categorical, *table.numeric, table.schema.label]))
    frame = table.rows(rows, columns)
    arrays = encoder.transform(frame)
    return Batch.of(arrays.categorical, arrays.numeric, frame[table.schema.label].cast(pl.Int64).to_numpy())


def _folder(table: PreparedTable, made_of: list[Any], rows: Rows) -> Path:
    digest = hashlib.sha256(json.dumps([table.fingerprint, *made_of]).encode())
    digest.update(rows.tobytes())
    return table.path.with_name(f"{table.path.name}-{made_of[0]}-{digest.hexdigest()[:16]}")


def _write(table: PreparedTable, rows: Rows, encoder: Encoder, folder: Path) -> None:
    folder.mkdir()
    columns = list(dict.fromkeys([*table.categorical, *table.numeric, table.schema.label]))
    # One buffer for all blocks and plain writes are cheaper than filling a new memory map page by page.
    size = min(_BLOCK, len(rows))
    made = Arrays(
        np.empty((size, len(encoder.categorical)), np.int64), np.empty((size, encoder.num_numeric), np.float32)
    )
    with (
        _npy(folder / "categorical.npy", np.int64, (len(rows), len(encoder.categorical))) as categorical,
        _npy(folder / "numeric.npy", np.float32, (len(rows), encoder.num_numeric)) as numeric,
        _npy(folder / "label.npy", np.int64, (len(rows),)) as label,
        tqdm(total=len(rows), desc="encoding", unit=" rows", unit_scale=True, leave=False, disable=None) as progress,
    ):
        for start in range(0, len(rows), _BLOCK):
            frame = table.rows(rows[start : start + _BLOCK], columns)
            some = slice(len(frame))
            block = encoder.transform(frame, Arrays(made.categorical[some], made.numeric[some]))
            categorical.write(block.categorical.data)
            numeric.write(block.numeric.data)
            label.write(frame[table.schema.label].cast(pl.Int64).to_numpy().data)
            progress.update(len(frame))


@contextmanager
def _npy(path: Path, dtype: type, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """A file for an array whose rows are written block by block."""
    with path.open("wb") as file:
        header = {"descr": dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        write_array_header_1_0(file, header)
        yield file
