"""Encoded arrays on disk, memory-mapped: made once for an encoder and some rows, and never held in memory whole."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from tqdm import tqdm

from fraudlab.atomic import make_once
from fraudlab.data.batches import Batch
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits import Rows
from fraudlab.features.encoder import TableEncoder

_BLOCK = 65_536  # rows encoded at once


def fit_encoder(table: PreparedTable, rows: Rows, settings: Any) -> TableEncoder:
    """The encoder of typed ``settings`` (``features.encoder``) fitted on ``rows``: made, or found beside the table."""
    folder = _folder(table, ["encoder", asdict(settings)], rows)

    def write(aside: Path) -> None:
        columns = table.columns(rows)
        TableEncoder.fit(columns, table.categorical, table.numeric, **asdict(settings)).save(aside)

    make_once(folder, write)
    return TableEncoder.load(folder)


def encode(table: PreparedTable, rows: Rows, encoder: TableEncoder) -> Batch:
    """Encoded rows of a table, mapped from ``categorical.npy``, ``numeric.npy`` and ``label.npy`` beside it."""
    folder = _folder(table, ["arrays", encoder.fingerprint], rows)
    make_once(folder, lambda aside: _write(table, rows, encoder, aside))
    # Copy on write: PyTorch wants memory that could be written to.
    names = ("categorical", "numeric", "label")
    categorical, numeric, label = (torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c")) for name in names)
    return Batch(categorical, numeric, label, torch.ones(len(rows)))


def _folder(table: PreparedTable, made_of: list[Any], rows: Rows) -> Path:
    digest = hashlib.sha256(json.dumps([table.fingerprint, *made_of]).encode())
    digest.update(rows.tobytes())
    return table.path.with_name(f"{table.path.name}-{made_of[0]}-{digest.hexdigest()[:16]}")


def _write(table: PreparedTable, rows: Rows, encoder: TableEncoder, folder: Path) -> None:
    folder.mkdir()
    columns = list(dict.fromkeys([*table.categorical, *table.numeric, table.schema.label]))
    shapes = {"categorical": len(encoder.categorical), "numeric": encoder.num_numeric}
    categorical, numeric = (
        open_memmap(folder / f"{name}.npy", "w+", dtype, (len(rows), shapes[name]))
        for name, dtype in (("categorical", np.int64), ("numeric", np.float32))
    )
    label = open_memmap(folder / "label.npy", "w+", np.int64, (len(rows),))
    with tqdm(total=len(rows), desc="encoding", unit=" rows", unit_scale=True, leave=False, disable=None) as progress:
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            frame = table.rows(rows[block], columns)
            categorical[block], numeric[block] = encoder.transform(frame)
            label[block] = frame[table.schema.label].to_numpy()
            progress.update(len(frame))
