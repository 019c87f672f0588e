"""What ``train model.pretrained=<run folder>`` takes over from a run of ``python -m fraudlab.pretrain``."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fraudlab.config import FitConfig
from fraudlab.config.checks import AUTO
from fraudlab.data.prepared import PreparedTable
from fraudlab.errors import UserError
from fraudlab.features.encoder import TableEncoder
from fraudlab.models.ensemble import Ensemble
from fraudlab.models.registry import MODELS
from fraudlab.runs.folder import RunFolder
from fraudlab.training.checkpoints import load_checkpoint

log = logging.getLogger(__name__)


def shape(model: Any, encoder: Any) -> dict[str, Any]:
    """What a pretraining and a training must agree in, as a user types it; of the two groups' typed settings."""
    return {
        **{f"model.{key}": value for key, value in asdict(model).items() if key in MODELS[model.name].weights_follow},
        **{f"features.encoder.{key}": value for key, value in asdict(encoder).items()},
    }


@dataclass(frozen=True)
class Pretrained:
    """A pretraining's encoder of tables and weights, which fit the run that loads them."""

    folder: Path
    encoder: TableEncoder
    weights: Mapping[str, Tensor]
    auto: Mapping[str, Any] | None = None  # numbers of the settings that are auto, where its shape follows from them

    @classmethod
    def load(cls, config: FitConfig) -> "Pretrained | None":
        """What ``model.pretrained`` names; None where it names nothing.

        Raises:
            UserError: there is no whole pretraining, or its settings are others than this run's.
        """
        named = getattr(config.model, "pretrained", None)
        if named is None:
            return None
        run = RunFolder.find(Path(named))
        rebuild, weights = load_checkpoint(run.final / "checkpoints" / "best.ckpt")
        if "pretraining" not in rebuild:
            raise UserError(f"{named} is a run of fraudlab.train; model.pretrained needs one of fraudlab.pretrain")
        theirs, ours = rebuild["shape"], shape(config.model, config.features.encoder)
        differing = [key for key in ours if ours[key] not in (AUTO, theirs.get(key))]
        if differing:
            raise UserError(
                f"{named} was pretrained with other settings than this run has ({_typed(ours, differing)}); "
                f"add {_typed(theirs, differing)}, or pretrain again with this run's"
            )
        if (rebuild["split"], rebuild["label_delay_days"]) != (asdict(config.split), config.label_delay_days):
            log.warning("%s has seen the rows of another split; none may be later than this one's validation", named)
        encoder = TableEncoder.load(run.final / "encoder")
        if encoder.cardinalities != rebuild["cardinalities"] or encoder.num_numeric != rebuild["num_numeric"]:
            raise UserError(f"the encoder and the checkpoint in {named} belong to different runs; pretrain again")
        return cls(run.path, encoder, weights)

    def check_columns(self, table: PreparedTable) -> None:
        """Check that the table has the columns that were pretrained on, in their roles.

        Raises:
            UserError: it has not; the message names those that differ.
        """
        indicators = {f"{name}_missing" for name in table.numeric}
        theirs = {*self.encoder.categorical, *self.encoder.numeric_names} - (indicators - set(table.numeric))
        ours = {*table.categorical, *table.numeric}
        same_roles = set(self.encoder.categorical) == set(table.categorical)
        if theirs == ours and same_roles:
            return
        differing = theirs ^ ours or set(self.encoder.categorical) ^ set(table.categorical)
        raise UserError(
            f"{self.folder} was pretrained on other columns; these differ: {', '.join(sorted(differing))}; "
            "use its data= and features=, or pretrain on this run's"
        )

    def start(self, network: nn.Module) -> None:
        """Give a fresh network, or each member of an ensemble, the pretrained weights; heads stay as they are."""
        pretrained = {
            name.removeprefix("network."): weight
            for name, weight in self.weights.items()
            if name.startswith("network.") and not name.startswith("network.head.")
        }
        for member in network.members if isinstance(network, Ensemble) else [network]:
            head = {name: weight for name, weight in member.state_dict().items() if name.startswith("head.")}
            try:
                member.load_state_dict({**pretrained, **head})
            except RuntimeError as error:
                raise UserError(f"the checkpoint in {self.folder} does not fit: {error}; pretrain again") from error


class Earlier(Pretrained):
    """A fit of the same settings on earlier rows: its encoder, its numbers for ``auto`` and all of its weights."""

    @classmethod
    def of(cls, folder: Path, auto: Mapping[str, Any]) -> "Earlier":
        """The fit that ended in ``folder``."""
        _, weights = load_checkpoint(folder / "checkpoints" / "best.ckpt")
        return cls(folder, TableEncoder.load(folder / "encoder"), weights, auto)

    def start(self, network: nn.Module) -> None:
        network.load_state_dict(self.weights)


def _typed(settings: Mapping[str, Any], keys: list[str]) -> str:
    plain = {key: settings.get(key) for key in keys}
    return " ".join(f"{key}={v if isinstance(v, str) else json.dumps(v)}" for key, v in plain.items())
