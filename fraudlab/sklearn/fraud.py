"""Any of fraudlab's models as a classifier of scikit-learn."""

import functools
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data

from fraudlab.api import compose
from fraudlab.config import TrainConfig
from fraudlab.config.overrides import key_of
from fraudlab.data.batches import Batch
from fraudlab.data.prepared import PreparedTable
from fraudlab.data.sources.contract import Source
from fraudlab.errors import UserError
from fraudlab.features.columns import TableColumns
from fraudlab.features.encoder import TableEncoder
from fraudlab.models.registry import MODELS, estimator_class
from fraudlab.schema import Column, TableSchema
from fraudlab.sklearn.frames import frame_of
from fraudlab.sklearn.labels import unique
from fraudlab.training import scoring
from fraudlab.training.checks import check_settings
from fraudlab.training.fit import fit
from fraudlab.training.own_process import unchanged
from fraudlab.training.trainer import use_threads

IN_MEMORY = (
    *("data=table", "data.path=memory", "data.label=label", "features=columns", "split=random", "experiment=none"),
    # Nothing to go on from is left behind, so Ctrl-C ends a fit as it ends other code.
    *("logger=none", "trainer.enable_progress_bar=false", "callbacks.last_checkpoint=null"),
)

_OF_A_COMMAND = ("data", "split", "paths", "test", "report", "slices", "published", "moved", "tried")


class FraudClassifier(ClassifierMixin, BaseEstimator):
    """A model of ``python -m fraudlab.train`` with its defaults, on a table in memory.

    Text and booleans are categories, as are the columns that ``categorical`` names; all else are numbers. Values may be
    missing, categories unknown: fraudlab's encoder takes them. Rows are taken to be in order of time: the last ones
    validate the best epoch or round, then a second model learns from all rows for as many (``refit=false`` among the
    overrides keeps the first). Where the last rows lack a class, others are drawn, and a warning says so.

    ``sklearn.utils.estimator_checks.check_estimator`` passes without an exception.

    Args:
        model: as in ``model=<name>``.
        overrides: settings as the command line has them: ``["model.num_leaves=15", "trainer.max_epochs=20"]``.
        categorical: names, or positions, of columns of numbers that are categories.
        validation_fraction: share of the rows that validate, in (0, 1); 0 for none: a model trains to its limit then.
        random_state: seed of every draw; None to draw it.

    Attributes:
        classes_: the two labels, ascending; the second is the fraud.
        rounds_: epochs or rounds that validation chose; None without a validation.
        n_features_in_: columns of X.
        feature_names_in_: their names, where X has any.

    >>> import polars as pl
    >>> X = pl.DataFrame({"amount": [float(i % 50) for i in range(400)], "kind": ["web", "shop"] * 200})
    >>> model = FraudClassifier("lightgbm", overrides=["model.n_estimators=5"]).fit(X, X["amount"] > 40)
    >>> model.predict_proba(X).shape
    (400, 2)
    """

    classes_: NDArray[Any]
    n_features_in_: int
    rounds_: int | None

    def __init__(
        self,
        model: str = "lightgbm",
        *,
        overrides: Sequence[str] = (),
        categorical: Sequence[str | int] = (),
        validation_fraction: float = 0.2,
        random_state: Any = 0,
    ) -> None:
        self.model = model
        self.overrides = overrides
        self.categorical = categorical
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = tags.input_tags.string = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_encoder")

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to a table [N, F] (NumPy, pandas or Polars) and its labels [N], two classes.

        Raises:
            UserError: a ValueError: labels, a setting or a column do not suit; the message says what would.
            TypeError: the table is sparse, or a column holds neither numbers nor text.
        """
        target = validate_data(self, y=y)
        frame = self._frame(X, reset=True)
        check_consistent_length(target, range(len(frame)))
        label = self._label(target)
        config = self._config()
        schema = self._schema(frame)
        table = frame.with_columns(pl.Series(schema.label, label, pl.Int8))
        chosen, validation = self._parts(label, config.seed)
        with unchanged(), tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            use_threads(config.threads)
            (folder / "table").mkdir()
            source = Source(table.lazy(), schema, "memory")
            prepared = PreparedTable(folder / "table", source, TableColumns(schema), "memory", "memory", [table])
            done = fit(config, prepared, chosen, validation, folder / "first")
            made = folder / "first"
            if validation is not None and config.refit and not (config.scheduler or {}).get("monitor"):
                made = folder / "second"
                fit(config, prepared, np.arange(len(table)), None, made, done.best_epoch, auto=done.auto)
            self.rounds_ = None if validation is None else done.best_epoch
            self._load(config, made)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probability of each class.

        Args:
            X: table [N, F] with the columns that ``fit`` saw; values may be missing, categories unknown.

        Returns:
            float64 [N, 2], in the order of ``classes_``; a row adds up to 1.

        Raises:
            NotFittedError: before ``fit``.
            UserError: columns differ from those of ``fit``.
            TypeError: a column holds neither numbers nor text.
        """
        check_is_fitted(self)
        frame = self._frame(X, reset=False)
        arrays = self._encoder.transform(frame)
        if MODELS[self._name].kind == "estimator":
            fraud = self._fitted.score(arrays.categorical, arrays.numeric)
        else:
            rows = Batch.of(arrays.categorical, arrays.numeric, np.zeros(len(frame), np.int64))
            fraud = scoring.score(self._fitted, rows, self._batch_size)
        fraud = fraud.astype(np.float64)
        return np.column_stack([1 - fraud, fraud])

    def predict(self, X: Any) -> NDArray[Any]:
        """The more likely class [N]; frauds are rare, so ``predict_proba`` and your own threshold are more useful."""
        most: NDArray[np.intp] = self.predict_proba(X).argmax(axis=1)
        return self.classes_[most]

    def _load(self, config: TrainConfig, folder: Path) -> None:
        self._name, self._batch_size = config.model.name, config.eval_batch_size
        checkpoints = folder / "checkpoints"
        if MODELS[self._name].kind == "estimator":
            model = estimator_class(self._name)
            self._fitted: Any = model.load(checkpoints / model.FILE)
        else:
            self._fitted = scoring.load_network(checkpoints / "best.ckpt").double()
        self._encoder = TableEncoder.load(folder / "encoder")

    def _config(self) -> TrainConfig:
        config = _composed(self.model, tuple(self.overrides))
        drawn = self.random_state
        if not isinstance(drawn, Integral):
            drawn = check_random_state(drawn).randint(2**31 - 1)
        if any(word.startswith("seed=") for word in self.overrides):
            raise UserError("overrides name seed, which random_state sets; give random_state=<seed>")
        for word in self.overrides:
            key = key_of(word)
            if key.split(".")[0] in _OF_A_COMMAND or key == "features":
                raise UserError(
                    f"overrides: {word} does nothing here: FraudClassifier has the table, its features and its "
                    "validation from fit, categorical and validation_fraction; leave it out, or use train"
                )
        for key, value in (("resume", config.resume), ("model.pretrained", getattr(config.model, "pretrained", None))):
            if value:
                raise UserError(f"{key}={value}: FraudClassifier is fitted from scratch; leave it out, or use train")
        check_settings(config, self.overrides)
        return replace(config, seed=int(drawn))

    def _frame(self, X: Any, reset: bool) -> pl.DataFrame:
        """``X`` with the names of its columns, checked against those of ``fit``."""
        if isinstance(X, list):
            X = np.array(X, dtype=object)
        if not (isinstance(X, pl.DataFrame) or hasattr(X, "iloc")):
            X = check_array(X, dtype=None, ensure_all_finite=False, estimator=self, input_name="X")
        elif min(X.shape) == 0:
            raise UserError(f"X has {X.shape[0]} rows and {X.shape[1]} columns; give at least one of each")
        if twice := [name for name, count in Counter(getattr(X, "columns", ())).items() if count > 1]:
            raise UserError(f"X has more than one column called {twice[0]}; rename or drop all but one")
        validate_data(self, X, reset=reset, skip_check_array=True)
        named = getattr(self, "feature_names_in_", None)
        return frame_of(X, [f"x{number}" for number in range(X.shape[1])] if named is None else named.tolist())

    def _label(self, y: NDArray[Any]) -> NDArray[np.int8]:
        check_classification_targets(y)
        self.classes_, number = unique(y)
        found = self.classes_.tolist()
        if len(found) == 1:
            raise UserError(f"y holds one class only, {found[0]!r}; a classifier needs 2 classes")
        if len(found) > 2:
            raise UserError(
                f"Only binary classification is supported. The type of the target is multiclass: y holds {found}; say "
                "which are fraud, for instance y == ..., or use TabNetClassifier"
            )
        if isinstance(found[1], str) and number.mean() > 0.5:
            warnings.warn(
                f"{found[1]!r} counts as the fraud, since it is the last of the classes, and is {number.mean():.0%} of "
                f"the rows; if {found[0]!r} is, give y == {found[0]!r}",
                stacklevel=3,
            )
        return number.astype(np.int8)

    def _schema(self, frame: pl.DataFrame) -> TableSchema:
        names, wanted = frame.columns, set()
        for column in self.categorical:
            name = names[column] if isinstance(column, Integral) and column < len(names) else column
            if name not in names:
                raise UserError(f"categorical names {column!r}; the columns are {', '.join(names)}")
            wanted.add(name)
        label = "label"
        while label in names:
            label += "_"
        columns = [
            Column(name, "string", "categorical", nullable=True)
            if name in wanted or kind in (pl.String, pl.Boolean)
            else Column(name, "number", "numeric", nullable=True)
            for name, kind in frame.schema.items()
        ]
        return TableSchema("table", (*columns, Column(label, "integer", "label")))

    def _parts(self, label: NDArray[np.int8], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Rows to learn from and rows to validate on, increasing."""
        share, rows = self.validation_fraction, len(label)
        if not 0 <= share < 1:
            raise UserError(f"validation_fraction={share} must lie in [0, 1)")
        everyone = np.arange(rows)
        if share == 0:
            return everyone, None
        last = everyone >= rows - _share(share, rows)
        if not _both(label, last):
            draw = np.random.default_rng(seed)
            last[:] = False
            for number in (0, 1):
                some = draw.permutation(everyone[label == number])
                last[some[: _share(share, len(some))]] = True
            if not _both(label, last):
                warnings.warn("a class has only one row: the model trains without a validation", stacklevel=3)
                return everyone, None
            warnings.warn(
                "the last rows, or those before them, hold one class only: validation rows are drawn instead; sort the "
                "table by time, or set validation_fraction",
                stacklevel=3,
            )
        return everyone[~last], everyone[last]


def _share(share: float, rows: int) -> int:
    """How many of ``rows`` validate: one at least, and one at least does not where there are two."""
    return min(max(1, round(share * rows)), max(1, rows - 1))


def _both(label: NDArray[np.int8], last: NDArray[np.bool_]) -> bool:
    """Whether both parts hold both classes."""
    return all(len(np.unique(label[part])) == 2 for part in (last, ~last))


@functools.lru_cache(maxsize=64)
def _composed(model: str, overrides: tuple[str, ...]) -> TrainConfig:
    config: TrainConfig = compose(*IN_MEMORY, f"model={model}", *overrides)
    return config
