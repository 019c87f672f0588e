"""CatBoost's statistics of several columns together, as its JSON has them, as crossings.

Such a statistic looks up how many rows and frauds of the training had the same categories, and the same answers to
questions about numbers, by a hash of all of them: ``h = m (h + m part)`` modulo 2^64, part by part. So a hash is a sum
of one number for each part.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fraudlab.errors import UserError
from fraudlab.models.boosting.crossings import NO_PART, Crossings, apart, padded

_MULTIPLIER = 0x4906BA494954CB65
_EMPTY = np.uint64(2**64 - 1)  # hash of a place in a table that nothing has


class Split(NamedTuple):
    """A split of a crossing's ids: the crossing's number, and which ids go right, bool [ids]."""

    crossing: int
    right_ids: NDArray[np.bool_]


class _Part(NamedTuple):
    column: int
    threshold: float
    shares: bool
    kind: tuple[Any, ...]  # which numbers it gives: parts of one kind at one place have them in common


def crossings(dumped: Mapping[str, Any], ids: int, num_categorical: int) -> tuple[Crossings, dict[int, Split]]:
    """The crossings of a dumped model, and its splits of them by their ``split_index``.

    Args:
        dumped: the model's JSON, saved with rows that have all ids.
        ids: the most that a column has.
        num_categorical: columns of ids.

    Raises:
        UserError: two combinations have one key.
    """
    info = dumped["features_info"]
    number = sum(len(each.get("borders") or ()) for each in info.get("float_features") or ())
    number += sum(len(each.get("values") or ()) for each in info.get("categorical_features") or ())
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for statistic in info.get("ctrs") or ():
        if len(statistic["elements"]) > 1:
            found.setdefault(json.dumps(statistic["elements"]), []).append((number, statistic))
        number += len(statistic["borders"])
    if not found:
        return Crossings.none(), {}
    of_text = {each["value"]: each["hash"] for each in info["cat_features_hash"]}
    words = _Words(np.array([of_text[str(i)] for i in range(ids)], np.uint32).view(np.int32).astype(np.int64))
    splits: dict[int, Split] = {}
    parts: list[list[_Part]] = []
    keys: list[NDArray[np.uint64]] = []
    answers: list[NDArray[np.int64]] = []
    for crossing, statistics in enumerate(found.values()):
        parts.append([_part(element, num_categorical) for element in statistics[0][1]["elements"]])
        known, right = _answers(statistics, dumped["ctr_data"])
        packed = np.ascontiguousarray(np.packbits(right, axis=0).T)
        kinds, first, of_key = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        unseen = of_key.reshape(-1)[0]
        # The id of what is not listed is 0, and keys that go everywhere as it does are not.
        order = np.concatenate([[unseen], np.delete(np.arange(len(kinds)), unseen)])
        new = np.argsort(order)[of_key.reshape(-1)[1:]]
        keys.append(known[new > 0])
        answers.append(new[new > 0])
        rows = iter(right[:, first[order]])
        for number, statistic in statistics:
            for border in range(len(statistic["borders"])):
                splits[number + border] = Split(crossing, next(rows))
    start = [[words.start(part, len(each) - 1 - place) for place, part in enumerate(each)] for each in parts]
    key = np.concatenate([each.view(np.int64) + more for each, more in zip(keys, apart(len(keys)), strict=True)])
    order = np.argsort(key)
    if len(np.unique(key)) != len(key):
        raise UserError(
            "two combinations of categories in this CatBoost model have one key, which a bundle cannot tell apart; "
            "train again with another seed=, or with model.max_ctr_complexity=1"
        )
    return (
        Crossings(
            padded([[part.column for part in each] for each in parts], NO_PART, np.int32),
            padded([[part.threshold for part in each] for each in parts], 0.0, np.float32),
            padded(start, 0, np.int64),
            padded([[part.shares for part in each] for each in parts], False, bool),
            words.all(),
            key[order],
            np.concatenate(answers)[order],
        ),
        splits,
    )


def _part(element: Mapping[str, Any], num_categorical: int) -> _Part:
    """A part of a combination. Its contribution is shared by whole category columns alone, as CatBoost has it."""
    match element["combination_element"]:
        case "cat_feature_value":
            return _Part(element["cat_feature_index"], 0.0, True, ("ids",))
        case "cat_feature_exact_value":
            return _Part(element["cat_feature_index"], 0.0, False, ("exactly", element["value"]))
    return _Part(num_categorical + element["float_feature_index"], element["border"], False, ("above",))


class _Words:
    """What parts add to a hash, by their kind and how many parts follow them.

    Args:
        hashes: CatBoost's of each id, int64.
    """

    def __init__(self, hashes: NDArray[np.int64]) -> None:
        self._hashes = hashes
        self._blocks = [np.zeros(1, np.uint64)]
        self._starts: dict[tuple[Any, ...], int] = {}

    def start(self, part: _Part, follow: int) -> int:
        if (found := self._starts.get((*part.kind, follow))) is not None:
            return found
        match part.kind:
            case ("ids",):
                given = self._hashes
            case ("exactly", value):
                given = (self._hashes == value).astype(np.int64)
            case _:
                given = np.arange(2)
        start = self._starts[*part.kind, follow] = sum(map(len, self._blocks))
        self._blocks.append(given.view(np.uint64) * np.uint64(pow(_MULTIPLIER, 2 + follow, 2**64)))
        return start

    def all(self) -> NDArray[np.int64]:
        return np.concatenate(self._blocks).view(np.int64)


def _answers(
    statistics: Sequence[tuple[int, Mapping[str, Any]]], tables: Mapping[str, Any]
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Hashes that statistics of the same columns know, [K], and what their borders say, bool [borders, 1 + K].

    The first answer is that of a hash that is not known.
    """
    read = [_read(statistic, tables[statistic["identifier"]]) for _, statistic in statistics]
    known = np.unique(np.concatenate([hashes for hashes, _, _ in read]))
    right = []
    for (_, statistic), (hashes, value, unseen) in zip(statistics, read, strict=True):
        row = np.full(1 + len(known), unseen, np.float32)
        row[1 + np.searchsorted(known, hashes)] = value
        right += [row > np.float32(border) for border in statistic["borders"]]
    return known, np.stack(right)


def _read(
    statistic: Mapping[str, Any], table: Mapping[str, Any]
) -> tuple[NDArray[np.uint64], NDArray[np.float32], np.float32]:
    """Hashes of a table, the statistic of each, and that of one that is not there, in CatBoost's single precision."""
    stride = table["hash_stride"]
    hashes = np.array([int(each) for each in table["hash_map"][::stride]], np.uint64)
    counts = [np.array(table["hash_map"][place::stride], np.float32) for place in range(1, stride)]
    if statistic["ctr_type"] == "Counter":
        unseen = np.float32(table["counter_denominator"])
        of_class, total = counts[0], np.full_like(counts[0], unseen)
    else:  # Borders, of two classes
        of_class, total, unseen = counts[1], counts[0] + counts[1], np.float32(0)

    def value(count: Any, of: Any) -> Any:
        share = (count + np.float32(statistic["prior_numerator"])) / (of + np.float32(statistic["prior_denomerator"]))
        return (share + np.float32(statistic["shift"])) * np.float32(statistic["scale"])

    there = hashes != _EMPTY
    return hashes[there], value(of_class, total)[there], value(np.float32(0), unseen)
