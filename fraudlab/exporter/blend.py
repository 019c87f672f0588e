"""A blend of runs as export uses it: the members' scores and files under one encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fraudlab.bundle.blend import FILE, mean, member_folder
from fraudlab.bundle.reasons import FILE as REASONS
from fraudlab.bundle.reasons import Columns
from fraudlab.config import ExportConfig
from fraudlab.data.batches import Batch
from fraudlab.errors import UserError
from fraudlab.exporter.models import Model, save_replaced, tested_model
from fraudlab.exporter.smaller import arrays_of
from fraudlab.features.encoder import Arrays, TableEncoder
from fraudlab.features.joined import Encoder, joined, parts_of, split
from fraudlab.files import write_json
from fraudlab.runs.folder import RunFolder
from fraudlab.runs.settings import load_config


def blended_model(asked: ExportConfig, run: RunFolder) -> tuple["Blended", Encoder]:
    """The members of a blend as one model, and the encoder of what they read; encoders that are alike are one.

    Raises:
        UserError: a member's folder is not there or has no bundle, or ``asked`` is for a model that is no blend.
    """
    if (asked.precision, asked.quantize, asked.members, asked.prune_columns) != ("fp64", "none", None, False):
        raise UserError(f"precision, quantize, members and prune_columns are not for blends: {run.path} is one")
    parts: dict[str, TableEncoder] = {}
    members = []
    for member, weight in run.members:
        config = load_config(RunFolder.find(member.path).config_path)
        own = TableEncoder.load(member.final / "encoder")
        parts.setdefault(own.fingerprint, own)
        number = list(parts).index(own.fingerprint)
        members.append(_Member(config.model.name, weight, number, tested_model(asked, member, config, own)))
    encoder = joined(list(parts.values()))
    return Blended(members, encoder), encoder


@dataclass(frozen=True)
class _Member:
    name: str
    weight: float
    part: int
    model: Model


class Blended:
    """A :class:`fraudlab.exporter.models.Model` of several; see :class:`fraudlab.bundle.blend.Blend`."""

    members = 1
    prunes_exactly = True

    def __init__(self, members: Sequence[_Member], encoder: Encoder) -> None:
        self._members, self._encoder = members, encoder

    def score(self, rows: Batch) -> np.ndarray:
        label = rows.label.numpy()
        parts = [
            Batch.of(np.ascontiguousarray(part.categorical), np.ascontiguousarray(part.numeric), label)
            for part in split(self._encoder, arrays_of(rows))
        ]
        weights = np.array([member.weight for member in self._members])
        return mean(weights, [member.model.score(parts[member.part]) for member in self._members])

    def write(self, folder: Path, sample: Arrays, columns: Columns) -> None:
        parts, samples = parts_of(self._encoder), split(self._encoder, sample)
        for number, member in enumerate(self._members):
            own, of = member_folder(folder, number), Columns(parts[member.part])
            own.mkdir(parents=True, exist_ok=True)
            member.model.write(own, samples[member.part], of)
            if not (own / REASONS).is_file():  # it tells what it looked at, and the others what they add
                save_replaced(own, samples[member.part], of)
        write_json(
            folder / FILE,
            {"members": [{"model": m.name, "weight": m.weight, "encoder": m.part} for m in self._members]},
        )

    def unused(self, rows: Batch) -> NDArray[np.bool_]:
        raise NotImplementedError("a blend cannot be made smaller")

    def without(self, dropped: NDArray[np.bool_], sample: Arrays) -> Model:
        raise NotImplementedError("a blend cannot be made smaller")

    def with_members(self, count: int, rows: Batch) -> Model:
        raise NotImplementedError("a blend cannot be made smaller")
