"""Key-value caches of vLLM by their width."""

from __future__ import annotations

from qharness.errors import UsageError

CACHES: dict[str, dict[int, str]] = {
    "cpu": {16: "auto", 8: "fp8"},
    "cuda": {16: "auto", 8: "int8_per_token_head", 4: "int4_per_token_head"},
}
"""vLLM's name of a cache by device and bits; all of them are visible in prefill."""
_BITS = {"fp8": 8, "int8": 8, "int4": 4, "nvfp4": 4, "turboquant_k8": 8, "turboquant": 4}


def cache_for(device: str, bits: int, prefill: str) -> str:
    """Return vLLM's name of a key-value cache.

    Args:
        device: `cpu` or `cuda`.
        bits: Width of the cache.
        prefill: `visible` or `invisible`.

    Raises:
        UsageError: vLLM has no such cache.
    """
    found = CACHES[device].get(bits)
    if found is None:
        known = ", ".join(str(width) for width in sorted(CACHES[device], reverse=True))
        raise UsageError(
            f"vLLM has no key-value cache of {bits} bits on this device; use --kv-bits {known}, or --engine hf."
        )
    if bits < 16 and prefill != "visible":
        raise UsageError(
            "In vLLM the tokens of a prompt read each other from the quantized cache; add --kv-prefill visible, "
            "or use --engine hf."
        )
    return found


def bits_of(cache_dtype: str) -> int:
    """Return the width of a cache by vLLM's name of it; 16 for every unquantized one."""
    prefixes = sorted((prefix for prefix in _BITS if cache_dtype.startswith(prefix)), key=len)
    return _BITS[prefixes[-1]] if prefixes else 16
