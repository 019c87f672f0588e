"""Locust's file: users who send a bundle's records one by one, and a CSV line for each answer.

``LOAD_TEST_RECORDS`` names a JSON file of raw records, ``LOAD_TEST_WAIT`` a user's mean pause in seconds,
``LOAD_TEST_ANSWERS`` the CSV file: when the request was sent (seconds since the first), its milliseconds, its status.
"""

import csv
import json
import os
import random
from pathlib import Path
from typing import Any

from locust import FastHttpUser, between, events, task

_RECORDS = json.loads(Path(os.environ["LOAD_TEST_RECORDS"]).read_text())
_BODIES = [json.dumps(record, allow_nan=False).encode() for record in _RECORDS]
_WAIT = float(os.environ["LOAD_TEST_WAIT"])
_HEADERS = {"Content-Type": "application/json", "X-API-Key": os.environ.get("FRAUDLAB_API_KEY", "")}
_answers: list[tuple[float, float, int]] = []


class Shop(FastHttpUser):
    """Asks for a score before each payment."""

    wait_time = between(0.5 * _WAIT, 1.5 * _WAIT)

    @task
    def predict(self) -> None:
        body = random.choice(_BODIES)  # noqa: S311 - any record will do
        with self.client.post("/predict", data=body, headers=_HEADERS, name="/predict", catch_response=True) as answer:
            if answer.status_code == 200 and "score" not in answer.json():
                answer.failure("an answer without a score")


@events.request.add_listener
def _note(start_time: float, response_time: float, response: Any, **further: Any) -> None:
    _answers.append((start_time, response_time, getattr(response, "status_code", 0) or 0))


@events.quit.add_listener
def _write(**further: Any) -> None:
    first = min((sent for sent, _, _ in _answers), default=0.0)
    with Path(os.environ["LOAD_TEST_ANSWERS"]).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sent_s", "milliseconds", "status"))
        writer.writerows((f"{sent - first:.4f}", f"{took:.3f}", status) for sent, took, status in _answers)
