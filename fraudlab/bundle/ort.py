"""ONNX Runtime with its telemetry switched off, which must be before it is imported: so it is imported here alone."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # since 1.29 it is on by default, and calls its maker from every process

import onnxruntime

__all__ = ["onnxruntime"]
