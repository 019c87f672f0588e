"""What the server is measured on: simulated IEEE-CIS records, a small trained TabNet as a bundle, and a plain rival."""

import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from tqdm import tqdm

from benchmarks.serving.load import post
from fraudlab.config import IEEECISSimulatedConfig
from fraudlab.config.overrides import literal
from fraudlab.data.sources.registry import load_source

ROWS = 20_000
RECORDS = 2_000
_PREPARED = "prepared.json"


@dataclass(frozen=True)
class Material:
    """Everything that the cases need, in one folder.

    Attributes:
        folder: with ``bundle`` and ``plain`` (the rival's files) inside.
        records: raw transactions with all of the contract's fields, null where a value is missing.
        frame: the whole table, with the contract's columns alone.
    """

    folder: Path
    records: list[dict[str, Any]]
    frame: pl.DataFrame

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    @property
    def plain(self) -> Path:
        return self.folder / "plain"

    @property
    def requests(self) -> list[bytes]:
        """One POST to ``/predict`` for each record."""
        return [post("/predict", json.dumps(record, allow_nan=False).encode()) for record in self.records]


def material(folder: Path, rows: int = ROWS) -> Material:
    """Make the material, about a minute and a half, or read it where it is made already."""
    data = folder / "data"
    if not (folder / _PREPARED).is_file():
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
        with tqdm(total=3, desc="material", file=sys.stderr) as progress:
            choice = ["data=ieee_cis_simulated", f"data.rows={rows}", "split=time_fraction"]
            choice += ["features=columns", "features.encoder.clip=10"]
            where = literal("paths.data_dir", data)
            quiet = ["trainer.max_epochs=2", "trainer.enable_progress_bar=false", "report=false"]
            _command("train", *choice, *quiet, literal("hydra.run.dir", folder / "run"), where)
            progress.update()
            _command("export", literal("run", folder / "run"), literal("out", folder / "bundle"), where)
            progress.update()
            _rival(folder / "plain", _table(data, rows), _fields(folder))
            progress.update()
        (folder / _PREPARED).write_text(json.dumps({"rows": rows}))
    rows = json.loads((folder / _PREPARED).read_text())["rows"]
    frame = _table(data, rows).select(list(_fields(folder)))
    return Material(folder, records_of(frame.sample(min(RECORDS, rows), seed=0)), frame)


def records_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them: NaN is null."""
    return frame.with_columns(pl.selectors.float().fill_nan(None)).to_dicts()


def _table(data: Path, rows: int) -> pl.DataFrame:
    return load_source(IEEECISSimulatedConfig(rows=rows), data).frame.collect()


def _fields(folder: Path) -> dict[str, str]:
    schema = json.loads((folder / "bundle" / "schema.json").read_text())
    return {field["name"]: field["type"] for field in schema["fields"]}


def _rival(folder: Path, table: pl.DataFrame, fields: dict[str, str]) -> None:
    """A ``TabNetClassifier`` of the same widths on the same columns."""
    import pandas as pd
    from pytorch_tabnet.tab_model import TabNetClassifier

    from benchmarks.serving import plain_app

    raw = table.select(list(fields))
    texts = [name for name, kind in fields.items() if kind == "string"]
    categories = {
        name: {text: i + 1 for i, text in enumerate(sorted(raw[name].drop_nulls().unique().to_list()))}
        for name in texts
    }
    columns = {"categories": categories, "numeric": [name for name in fields if name not in texts]}
    encoded = plain_app.encode(pd.DataFrame(raw.to_dict(as_series=False)), columns)
    warnings.filterwarnings("ignore", message="No early stopping")
    classifier = TabNetClassifier(
        cat_idxs=list(range(len(texts))),
        cat_dims=[len(categories[name]) + 1 for name in texts],
        cat_emb_dim=4,
        verbose=0,
    )
    classifier.fit(encoded, table["isFraud"].to_numpy(), max_epochs=1, batch_size=2048, compute_importance=False)
    plain_app.save(folder, classifier, columns)


def _command(name: str, *overrides: str) -> None:
    done = subprocess.run([sys.executable, "-m", f"fraudlab.{name}", *overrides], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: python -m fraudlab.{name} {' '.join(overrides)}\n{done.stdout}{done.stderr}")
