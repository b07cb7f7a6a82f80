"""Seeds of the parts of a job."""

from __future__ import annotations

import hashlib


def seed_of(seed: int, name: str) -> int:
    """Return the seed of a generator: a hash of the job's seed and of the name of what it serves."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:7])
