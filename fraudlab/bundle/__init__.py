"""What is exported and served: a folder with model, encoder, schema and decision, and the code that loads it."""

from fraudlab.bundle.reasons import Reason
from fraudlab.bundle.runtime import Bundle, load

__all__ = ["Bundle", "Reason", "load"]
