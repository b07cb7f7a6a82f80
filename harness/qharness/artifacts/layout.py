"""Names and versions of an artifact's files."""

from __future__ import annotations

METHOD = "qharness"
FORMAT_VERSION = 1
CONFIG = "config.json"
MANIFEST = "manifest.json"
TRANSFORM_TENSORS = "transforms.safetensors"
TRANSFORM_PREFIX = "transforms/"
"""Prefix of the transform tensors' names in the artifact digest."""
