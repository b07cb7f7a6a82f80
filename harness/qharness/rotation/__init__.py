"""Rotations merged into the weights of a model, and the online Hadamards whose other half they hold."""

from __future__ import annotations
