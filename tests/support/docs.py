"""The scripts in docs/, which is no package."""

import sys

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "docs"))

import api_reference
import benchmark_tables
import diagrams
import generate
import pictures

__all__ = ["api_reference", "benchmark_tables", "diagrams", "generate", "pictures"]
