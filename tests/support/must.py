"""Skips that a gate does not take: where FRAUDLAB_MUST=1, what is missing fails."""

import os
import re
from typing import NoReturn

import pytest

_OFFLINE = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|Name or service not known|Temporary failure in name resolution|"
    r"Network is unreachable|Connection (refused|reset|timed out|broken)|operation timed out|dns error|"
    r"error sending request|Failed to connect|tcp connect error|Could not resolve",
    re.IGNORECASE,
)


def missing(reason: str) -> NoReturn:
    """Skip a test for what is not on this machine; fail it where the machine must have it."""
    if os.environ.get("FRAUDLAB_MUST") == "1":
        pytest.fail(f"FRAUDLAB_MUST=1, but {reason}")
    pytest.skip(reason)


def installer_failed(said: str) -> NoReturn:
    """After pip or uv failed: skip where no package index answers, fail for any other reason."""
    if _OFFLINE.search(said):
        missing(f"no package index answers here: {said[-300:]}")
    pytest.fail(f"packages cannot be installed: {said[-2000:]}")
