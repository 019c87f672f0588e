"""One fit: rows of a prepared table in, a folder with the trained network and its encoder out."""

import difflib
import json
import logging
import math
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fraudlab.config import FitConfig, PretrainConfig, TrainConfig
from fraudlab.config.overrides import literal, to_type
from fraudlab.data.batches import Batch
from fraudlab.data.datamodule import FraudDataModule
from fraudlab.data.encoded import encode, fit_encoder
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.splits.contract import Rows, RowSplit
from fraudlab.errors import UserError
from fraudlab.features.encoder import TableEncoder
from fraudlab.files import write_json
from fraudlab.models.registry import MODELS, make_network
from fraudlab.runs.data import place
from fraudlab.runs.folder import rank
from fraudlab.training import fit_baseline
from fraudlab.training.auto import WHILE_FITTING, Config, begun, chosen, keep, of_encoder, settled
from fraudlab.training.callbacks import LastCheckpoint
from fraudlab.training.checkpoints import KEEP_PREVIOUS, LAST, newest_whole
from fraudlab.training.checks import check_steps, limited, one_message
from fraudlab.training.learner import FraudLearner, Learner
from fraudlab.training.losses.registry import make_loss
from fraudlab.training.optimizers import make_optimizer, make_scheduler, optimizer_settings
from fraudlab.training.pretrained import Pretrained, shape
from fraudlab.training.pretraining import PretrainingLearner, pretraining_network
from fraudlab.training.trainer import local_files_alone, make_trainer, quiet_lightning
from fraudlab.training.weights import weighed

log = logging.getLogger(__name__)

_FIT = "fit.json"


@dataclass(frozen=True)
class Fit:
    """What a fit gave: seconds of training, epochs done, rows learnt from per epoch, the epoch that was best.

    ``auto`` are the numbers that stood for settings that are ``auto``, by key.
    """

    seconds: float
    epochs: int
    best_epoch: int
    rows: int
    auto: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def done(cls, folder: Path) -> "Fit | None":
        """What a fit that ended gave, as it left it in ``folder``; None where none ended there."""
        path = folder / _FIT
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


@one_message()
def fit(
    config: TrainConfig,
    table: PreparedTable,
    train: Rows,
    validation: Rows | None,
    folder: Path,
    stop_after: int | None = None,
    pretrained: Pretrained | None = None,
    auto: Mapping[str, Any] | None = None,
) -> Fit:
    """Fit the encoder and the network on ``train`` and leave both in ``folder``.

    A fit that was killed there goes on from its last checkpoint; one that ended there is not done again.

    Args:
        config: the whole run's settings.
        table: where rows lie.
        train: rows to learn from.
        validation: rows to choose the best epoch on; None to take the last one.
        folder: gets ``encoder/``, ``checkpoints/best.ckpt`` and, at the end, ``fit.json``.
        stop_after: end after so many epochs of the schedule.
        pretrained: encoder and weights to start from; None to fit the one and draw the others.
        auto: numbers of the settings that are ``auto``; None to choose them for ``train``.

    Raises:
        SystemExit: SIGTERM or Ctrl-C came; what the fit needs to go on is saved.
        KeyboardInterrupt: Ctrl-C came and nothing could be saved, or came twice.
    """
    _begin(config)
    if found := Fit.done(folder):
        return found
    if auto is None:
        auto = begun(folder) or (pretrained.auto if pretrained else None)
    config, encoder, auto = _settled(config, table, train, pretrained, auto)
    keep(auto, folder)
    if validation is not None and MODELS[config.model.name].kind == "network":
        check_steps(config, len(train))
    encoded, judged = _encoded(table, encoder, train, validation, folder)
    batches = weighed(config, table, train, encoded), judged
    if MODELS[config.model.name].kind == "estimator":
        started = time.perf_counter()
        done, best, chosen = fit_baseline.fit(config, *batches, encoder.cardinalities, folder, stop_after)
        auto = {**auto, **{f"model.{key}": value for key, value in chosen.items()}}
        return _ended(Fit(time.perf_counter() - started, done, best, len(train), auto), folder)
    rebuild = _rebuild(config.model, encoder)
    network = make_network(rebuild)
    if hasattr(network, "prepare"):
        network.prepare(batches[0].categorical, batches[0].numeric)  # type: ignore[operator]
    if pretrained:
        pretrained.start(network)
    if getattr(config.model, "compile", False):
        # An epoch's batches have two sizes at most; for any size, ghost batches keep the compiler busy for minutes.
        network.compile(dynamic=False)
    learner = FraudLearner(
        network,
        make_loss(config.loss),
        make_optimizer(optimizer_settings(config)),
        make_scheduler(config.scheduler),
        rebuild,
    )
    return _fit(config, learner, *batches, folder, auto, stop_after)


@one_message()
def pretrain(config: PretrainConfig, table: PreparedTable, train: Rows, validation: Rows, folder: Path) -> Fit:
    """Fit the encoder, pretrain the network on ``train``, leave both in ``folder``; arguments as :func:`fit`'s."""
    _begin(config)
    if found := Fit.done(folder):
        return found
    config, encoder, auto = _settled(config, table, train, auto=begun(folder))
    keep(auto, folder)
    check_steps(config, len(train))
    batches = _encoded(table, encoder, train, validation, folder)
    settings = ("pretraining_ratio", "n_shared_decoder", "n_independent_decoder")
    rebuild = {
        **_rebuild(replace(config.model, members=1), encoder),
        "pretraining": {key: getattr(config, key) for key in settings},
        "shape": shape(config.model, config.features.encoder),
        "split": asdict(config.split),
        "label_delay_days": config.label_delay_days,
    }
    learner = PretrainingLearner(
        pretraining_network(rebuild),
        make_optimizer(optimizer_settings(config)),
        make_scheduler(config.scheduler),
        rebuild,
    )
    return _fit(config, learner, *batches, folder, auto)


def refits(config: FitConfig, split: RowSplit) -> bool:
    """Whether the tested model is another one than validation judges, fitted on later rows."""
    return isinstance(config, TrainConfig) and config.refit and config.test and split.refit


def run_facts(config: FitConfig, table: PreparedTable, split: RowSplit) -> dict[str, Any]:
    """What ``run.json`` records of settings and data; the rows of ``train`` are those that a command learns from."""
    train = split.train if refits(config, split) else split.selection_train
    return {
        "model": config.model.name,
        "data": config.data.name,
        "data_dir": str(Path(config.paths.data_dir).absolute()),
        "data_at": place(config.data),
        "simulated": table.schema.simulated,
        "data_fingerprint": table.data_fingerprint,
        "split_rows": {"train": len(train), "val": len(split.validation), "test": len(split.test)},
        "seed": config.seed,
        "device": "cpu" if MODELS[config.model.name].kind == "estimator" else config.trainer["accelerator"],
        **({"threads": config.model.threads} if getattr(config.model, "threads", 0) else {}),
    }


def _settled(
    config: Config,
    table: PreparedTable,
    train: Rows,
    pretrained: Pretrained | None = None,
    auto: Mapping[str, Any] | None = None,
) -> tuple[Config, TableEncoder, Mapping[str, Any]]:
    """The settings with the numbers of those that are ``auto``, the encoder, and those numbers, chosen if None."""
    numbers = dict(auto or {})
    if auto is None and not pretrained:
        of_rows = of_encoder(config.features.encoder, len(train), MODELS[config.model.name].kind)
        numbers = {f"features.encoder.{key}": value for key, value in of_rows.items()}
    config = settled(config, numbers)
    encoder = pretrained.encoder if pretrained else fit_encoder(table, train, config.features.encoder)
    if auto is None:
        frauds = int(table.label.to_numpy()[train].sum())
        numbers |= chosen(config, len(train), frauds, encoder.cardinalities, encoder.num_numeric)
        if numbers:
            says = " ".join(f"{key}={value}" for key, value in numbers.items())
            log.info("auto, for %d rows with %d frauds: %s", len(train), frauds, says)
    return settled(config, numbers), encoder, numbers


def _encoded(
    table: PreparedTable, encoder: TableEncoder, train: Rows, validation: Rows | None, folder: Path
) -> tuple[Batch, Batch | None]:
    """Both splits as the encoder gives them; the encoder stays in ``folder``."""
    if rank() == 0:
        encoder.save(folder / "encoder")
    return encode(table, train, encoder), None if validation is None else encode(table, validation, encoder)


def _begin(config: FitConfig) -> None:
    quiet_lightning()
    local_files_alone()
    if rank() > 0:
        logging.getLogger().setLevel(logging.ERROR)  # the first process speaks for all
    L.seed_everything(config.seed, verbose=False)


def _rebuild(model: Any, encoder: TableEncoder) -> dict[str, Any]:
    settings = asdict(model)
    settings.pop("pretrained", None)  # a checkpoint stands for itself, whatever it started from
    if settings.get("feature_groups"):
        settings["feature_groups"] = _numbered(settings["feature_groups"], encoder)
    return {"model": settings, "cardinalities": list(encoder.cardinalities), "num_numeric": encoder.num_numeric}


def _numbered(groups: list[list[str]], encoder: TableEncoder) -> list[list[int]]:
    """Groups of column names as the network numbers its columns.

    Raises:
        UserError: there is no such column.
    """
    names = [*encoder.categorical, *encoder.numeric_names]
    for name in (name for group in groups for name in group if name not in names):
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:10]
        raise UserError(f"model.feature_groups: there is no column {name}; did you mean {' or '.join(near)}?")
    return [[names.index(name) for name in group] for group in groups]


def _fit(
    config: FitConfig,
    learner: Learner,
    train: Batch,
    validation: Batch | None,
    folder: Path,
    auto: Mapping[str, Any],
    stop_after: int | None = None,
) -> Fit:
    if rank() > 0:
        # The network is drawn by now, the same on all ranks; what training draws differs.
        L.seed_everything(config.seed + rank(), verbose=False)
    checkpoints = folder / "checkpoints"
    before = newest_whole(checkpoints)
    config = _with_a_batch_at_least(config, len(train.label), 0 if validation is None else len(validation.label))
    trainer = make_trainer(config, folder, before, with_validation=validation is not None, stop_after=stop_after)
    own_statistics = any(name.endswith("running_mean") for name, _ in learner.network.named_buffers())
    if trainer.world_size > 1 and own_statistics and not config.trainer.get("sync_batchnorm"):
        log.warning(
            "batch norm takes its statistics from the rows of each of the %d processes alone: another number of them "
            "gives another model (docs/processes.md)", trainer.world_size,
        )  # fmt: skip
    assert isinstance(config.batch_size, int)  # settled
    datamodule = FraudDataModule(
        train,
        validation,
        batch_size=config.batch_size,
        eval_batch_size=config.eval_batch_size,
        seed=config.seed,
        shuffle=config.shuffle,
        keep_on_device=config.keep_on_device,
    )
    last = next((c for c in trainer.checkpoint_callbacks if isinstance(c, LastCheckpoint)), None)
    started = time.perf_counter()
    try:
        trainer.fit(learner, datamodule=datamodule, ckpt_path=before, weights_only=True)
    except RuntimeError as error:
        if "gloo/transport" not in str(error):
            raise
        raise UserError(
            f"another process of this fit has ended; see its message above. Continue with: {_go_on(config)}"
        ) from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning makes an exit of it
            raise KeyboardInterrupt from error
        if last is not None and last.stopped:
            _leave(config, last.signal)
        if trainer.received_sigterm:
            _leave(config, signal.SIGTERM)
        raise
    seconds = last.seconds if last else time.perf_counter() - started
    best_epoch = trainer.current_epoch
    checkpoint = next((c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)), None)
    if validation is not None and checkpoint is not None and not checkpoint.best_model_path:
        log.warning("no epoch was saved as the best one: the last one is taken")
        checkpoint = None
    if validation is not None and checkpoint is not None:
        saved = torch.load(checkpoint.best_model_path, map_location="cpu", weights_only=True)
        best_epoch = int(saved["epoch"]) + 1
    else:
        trainer.save_checkpoint(checkpoints / "best.ckpt")
    fit = _ended(Fit(seconds, trainer.current_epoch, best_epoch, len(train.label), auto), folder)
    if last is not None and validation is not None:
        trainer.save_checkpoint(checkpoints / LAST, storage_options=KEEP_PREVIOUS)  # the network as training left it
    if last is not None and last.stopped:
        _leave(config, last.signal)
    return fit


def _with_a_batch_at_least(config: FitConfig, train: int, validation: int) -> FitConfig:
    """Shares of the batches (``debug=limit``) as numbers: Lightning refuses a share of a small table that is none."""
    trainer = dict(config.trainer)
    assert isinstance(config.batch_size, int)  # settled
    for key, rows, size in (
        ("limit_train_batches", train, config.batch_size),
        ("limit_val_batches", validation, config.eval_batch_size),
    ):
        if isinstance(trainer.get(key), float) and rows:
            trainer[key] = limited(math.ceil(rows / size), trainer[key])
    return replace(config, trainer=trainer)


def _ended(fit: Fit, folder: Path) -> Fit:
    if rank() == 0:
        write_json(folder / _FIT, asdict(fit))
        (folder / WHILE_FITTING).unlink(missing_ok=True)
    return fit


def _leave(config: FitConfig, number: signal.Signals | None) -> NoReturn:
    """End this process as a signal asks, with the status that shells give such an end."""
    if rank() > 0:
        raise SystemExit(0)  # a status of its own would make a launcher kill the first process before it has spoken
    number = number or signal.SIGTERM  # which another process of this fit may have got alone
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    print(f"stopped by {name}; continue with: {_go_on(config)}", file=sys.stderr)
    raise SystemExit(128 + number)


def _go_on(config: FitConfig) -> str:
    command = "pretrain" if isinstance(config, PretrainConfig) else "train"
    return to_type(command, literal("resume", config.paths.output_dir))
