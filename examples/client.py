"""A client of the server in plain Python, which needs no package.

    export FRAUDLAB_API_KEY=...
    python client.py score records.json
    python client.py label <request_id> <position> true

``records.json`` holds a record or a list of them. The second command tells whether the transaction at that place
of an earlier answer was fraud, once that is known.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

URL = os.environ.get("FRAUDLAB_URL", "http://127.0.0.1:8000")
TRIES = 4
BUSY = (429, 503)  # too many requests wait, or a worker failed: Retry-After says when to ask again


def ask(path: str, content: Any) -> Any:
    """The answer to a POST; a server that is busy is asked again."""
    headers = {"Content-Type": "application/json", "X-API-Key": os.environ["FRAUDLAB_API_KEY"]}
    request = urllib.request.Request(URL + path, json.dumps(content).encode(), headers)
    left = TRIES
    while True:
        left -= 1
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in BUSY or not left:
                sys.exit(f"{error.code}: {error.read().decode()}")
            time.sleep(float(error.headers.get("Retry-After", 1)))


def score(records: Any) -> Any:
    """Scores, risk levels and the three columns that each score rests on most."""
    return ask("/predict?explain=3", records)


def label(request_id: str, position: int, fraud: bool) -> Any:
    """Tell the server whether a transaction that it has scored was fraud."""
    return ask("/labels", {"request_id": request_id, "position": position, "fraud": fraud, "source": "desk"})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["score", path]:
            print(json.dumps(score(json.loads(Path(path).read_text(encoding="utf-8")))))
        case ["label", request_id, position, "true" | "false" as fraud]:
            print(json.dumps(label(request_id, int(position), fraud == "true")))
        case _:
            sys.exit(__doc__)
