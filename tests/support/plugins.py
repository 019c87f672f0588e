"""Plugins in the process of the tests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fraudlab import config
from fraudlab.config import plugins
from fraudlab.data.sources.registry import SOURCES
from fraudlab.data.splits.registry import SPLITS
from fraudlab.features.registry import FEATURES
from fraudlab.metrics.registry import METRICS
from fraudlab.models.registry import MODELS
from fraudlab.training.losses.registry import LOSSES


@contextmanager
def unregistered(*modules: str) -> Iterator[None]:
    """After it nothing is registered that was not before, and ``modules`` are imported anew."""
    before = {group: dict(options) for group, options in config.SCHEMAS.items()}
    metrics = dict(METRICS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "_LOADED", {})
        yield
    for group, options in before.items():
        config.SCHEMAS[group].clear()
        config.SCHEMAS[group].update(options)
    for family in (SOURCES, FEATURES, SPLITS, MODELS, LOSSES):
        family._added.clear()
    METRICS.clear()
    METRICS.update(metrics)
    for name in modules:
        sys.modules.pop(name, None)
