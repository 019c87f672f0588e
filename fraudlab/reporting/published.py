"""Published metrics to hold ours against, with their sources."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fraudlab.config import HandbookConfig, TimeWindowsConfig, TrainConfig
from fraudlab.features import handbook
from fraudlab.features.registry import settings_of
from fraudlab.metrics.registry import METRICS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedModel:
    """One model's metrics as printed in its source; ``metrics`` is keyed like :mod:`fraudlab.metrics.metrics`.

    ``source`` is the place within the benchmark's publication, ``url`` its page.
    """

    name: str
    source: str
    url: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Benchmark:
    """A data set with a fixed protocol, and what others reached on its test split."""

    title: str
    protocol: str
    models: tuple[PublishedModel, ...]

    def best(self) -> dict[str, float]:
        """The best published value of each metric, whichever model it belongs to."""
        best: dict[str, float] = {}
        for model in self.models:
            for name, value in model.metrics.items():
                better = min if METRICS[name].higher_is_better is False else max
                best[name] = better(value, best.get(name, value))
        return best


_BOOK = "https://fraud-detection-handbook.github.io/fraud-detection-handbook"


def _book(model: str, chapter: int, page: str, roc_auc: float, ap: float, cp: float) -> PublishedModel:
    values = {"roc_auc": roc_auc, "average_precision": ap, "card_precision_at_100": cp}
    return PublishedModel(model, f"ch. {chapter}", f"{_BOOK}/{page}.html", values)


BENCHMARKS: Mapping[str, Benchmark] = {
    "handbook": Benchmark(
        title="Fraud Detection Handbook",
        protocol="train 2018-07-25 to 07-31, label delay 7 days, test 2018-08-08 to 08-14, known cards left out",
        models=(
            _book("logistic regression", 3, "Chapter_3_GettingStarted/BaselineModeling", 0.871, 0.606, 0.291),
            _book(
                "random forest, tuned", 5, "Chapter_5_ModelValidationAndSelection/ModelSelection", 0.870, 0.678, 0.299
            ),
            _book("XGBoost, tuned", 5, "Chapter_5_ModelValidationAndSelection/ModelSelection", 0.869, 0.687, 0.303),
            _book("neural network, tuned", 7, "Chapter_7_DeepLearning/FeedForwardNeuralNetworks", 0.876, 0.675, 0.303),
        ),
    )
}
"""By the name that ``published`` has in a run's config and ``run.json``."""


def benchmark_for(config: TrainConfig) -> Benchmark | None:
    """The benchmark that a run names as ``published``, where it is measured as the benchmark was.

    Data, split, label delay and features must be the published ones; where one of them is not, the log says which, and
    there is nothing to compare. How validation is done and how columns are encoded are the model's own affair.
    """
    benchmark = BENCHMARKS.get(config.published or "")
    if benchmark is None or not config.test:
        return None
    split, book = config.split, TimeWindowsConfig(train_start="2018-07-25", train_days=7)
    if split.name == book.name:
        split = replace(split, validation_shift_days=book.validation_shift_days)
    theirs = {
        "data": config.data == HandbookConfig(),
        "split": split == book,
        "label_delay_days": config.label_delay_days == 7,
        "features": settings_of(config.features, config.label_delay_days)
        == {**handbook.settings(), "delay_days": config.label_delay_days},
    }
    if other := [name for name, same in theirs.items() if not same]:
        log.info("published=%s is not shown: other %s than published", config.published, ", ".join(other))
        return None
    return benchmark
