"""Facts about the bundle, by path: answers that stay the same while it is served."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from fraudlab import __version__
from fraudlab.bundle import Bundle
from fraudlab.bundle.card import card, markdown
from fraudlab.bundle.levels import decided
from fraudlab.config.serve import ServingConfig
from fraudlab.features.joined import parts_of
from fraudlab.monitoring.cells import title

_EACH = 3  # examples of a level
_MOST_WORDS = 1000  # of a column's categories that are told
_OF_NUMBERS = ("kind", "edges", "counts")
_OF_CATEGORIES = ("kind", "values", "counts", "unseen")


def info(bundle: Bundle, schema: Mapping[str, Any], settings: ServingConfig) -> bytes:
    """The answer of ``/info``; ``schema`` is the contract that the server keeps, ``settings`` its limits."""
    return orjson.dumps(
        {
            "fraudlab_version": __version__,
            "bundle_version": bundle.version,
            "bundle": {key: value for key, value in bundle.manifest.items() if key != "files"},
            "schema": schema,
            "metrics": bundle.metrics,
            "decision": bundle.decision.to_dict(),
            "explains": bundle.explains,
            "max_records": settings.max_records,
            "max_body_bytes": settings.max_body_bytes,
        }
    )


def model_card(bundle: Bundle) -> bytes:
    """The answer of ``/card``."""
    made = card(bundle)
    return orjson.dumps({"bundle_version": bundle.version, "card": made, "markdown": markdown(made)})


def examples(bundle: Bundle) -> bytes:
    """The answer of ``/examples``: some golden records of each level, the highest scores first."""
    found: dict[str, list[Mapping[str, Any]]] = {"high": [], "medium": [], "low": []}
    golden = sorted(bundle.golden(), key=lambda row: -row["score"])
    scores = np.array([row["score"] for row in golden])
    for row, level in zip(golden, decided(bundle, scores, [row["record"] for row in golden]), strict=True):
        found[level["risk_level"]].append(row)
    told = [{"risk_level": level, **row} for level, rows in found.items() for row in _spread(rows)]
    return orjson.dumps({"bundle_version": bundle.version, "examples": told})


def _spread(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most :data:`_EACH` of them, first, middle and last."""
    last = len(rows) - 1
    return [rows[i] for i in sorted({round(last * part / (_EACH - 1)) for part in range(_EACH)})] if rows else []


def training(bundle: Bundle, hidden: Collection[str]) -> bytes:
    """The answer of ``/training``: by column how the values lie that the model learnt from, and its categories.

    Args:
        bundle: that is served.
        hidden: columns whose values name somebody: of these, as categories and as numbers, there are counts alone.
    """
    nameless = {title(kind, name, True) for name in hidden for kind in ("category", "number")}
    reference = bundle.reference
    encoder = parts_of(bundle.encoder)[0]
    columns: dict[str, dict[str, Any]] = {}
    for name, column in (reference["columns"] or {}).items():
        keys = _OF_NUMBERS if column["kind"] == "number" else _OF_CATEGORIES
        columns[name] = {key: column[key] for key in keys if name not in nameless or key not in ("values", "edges")}
    both = set(encoder.categorical) & set(encoder.numeric)
    for name in (name for name in encoder.categorical if name not in hidden):
        words = encoder.words(name)
        of = columns.setdefault(title("category", name, name in both), {"kind": "category"})
        of |= {"words": words[:_MOST_WORDS], "all_words": len(words) <= _MOST_WORDS}
    about = {"bundle_version": bundle.version, "rows": reference["rows"]}
    return orjson.dumps({**about, "columns": columns})
