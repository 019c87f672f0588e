"""Doubled keys are found however a body spells them: the json module, with a hook for its pairs, is the reference."""

import json
import random

import pytest

from fraudlab.serving.strict_json import InvalidJSON, records

KEYS = ["a", "b", "c:", "d ", 'e":']
VALUES = ["1", "null", '"x"', '":"', '" :"', '"\\":"', '{"a":1}', '{"a" :1, "a":2}']
BLANKS = ["", "", "", " ", "\n", "\t", "\r"]


class _Doubled(Exception):
    pass


def _doubled(body: str) -> bool:
    def look(pairs: list) -> None:
        if len({key for key, _ in pairs}) < len(pairs):
            raise _Doubled

    try:
        json.loads(body, object_pairs_hook=look)
    except _Doubled:
        return True
    return False


@pytest.mark.parametrize("seed", range(4))
def test_a_doubled_key_is_refused_and_no_other(seed: int) -> None:
    draw, seen = random.Random(seed), []
    for _ in range(1000):
        pairs = [
            f"{json.dumps(draw.choice(KEYS))}{draw.choice(BLANKS)}:{draw.choice(BLANKS)}{draw.choice(VALUES)}"
            for _ in range(draw.randint(1, 4))
        ]
        body = f"{{{','.join(pairs)}}}"
        try:
            records(body.encode())
            seen.append(False)
        except InvalidJSON:
            seen.append(True)
        assert seen[-1] == _doubled(body), body
    assert 200 < sum(seen) < 900
