"""Run Triton kernels on a CPU, in a process of their own.

Triton decides when it is imported whether its functions are compiled or interpreted, so interpreted kernels live in a
child process that sets `TRITON_INTERPRET` first. It is started at the first call and serves the whole session; the
calling process and its other children stay as they are.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib import import_module
from typing import Any


def _start() -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    import torch

    torch.set_num_threads(1)
    _mend_indices()
    _mend_products()
    _mend_roundings()


def _mend_indices() -> None:
    """Let loops have bounds that are arguments: Triton 3.6 hands NumPy arrays of one element to `int`, an error now."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def mended(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = mended


def _mend_products() -> None:
    """Let `tl.dot` take bfloat16, whose bits Triton 3.6 keeps as integers and multiplies as such."""
    import numpy as np
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    dot = InterpreterBuilder.create_dot

    def widened(value: Any) -> Any:
        if value.dtype.scalar != tl.bfloat16:
            return value
        return TensorHandle((value.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def mended(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return dot(self, widened(a), widened(b), *rest)

    InterpreterBuilder.create_dot = mended


def _mend_roundings() -> None:
    """Round float32 to the nearest bfloat16, as a GPU does; Triton 3.6 cuts the bits off."""
    import numpy as np
    import triton.language as tl
    from triton.runtime import interpreter

    convert = interpreter._convert_float

    def mended(value: Any, source: Any, target: Any, rounding: Any) -> Any:
        if (source, target) != (tl.float32, tl.bfloat16):
            return convert(value, source, target, rounding)
        bits = value.view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return np.where(np.isnan(value), 0x7FC0, rounded).astype(np.uint16)

    interpreter._convert_float = mended


@cache
def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_start)


def _call(request: bytes) -> bytes:
    module, function, args, kwargs = pickle.loads(request)
    return pickle.dumps(getattr(import_module(module), function)(*args, **kwargs))


def interpreted(module: str, function: str, *args: Any, **kwargs: Any) -> Any:
    """Call a function of a kernel module under Triton's interpreter.

    Args:
        module: For example `qharness_kernels.hadamard.triton`.
        function: Its name there.
        *args: Arguments, tensors on the CPU among them.
        **kwargs: Further arguments.

    Returns:
        What the function returns. Its exceptions are raised here.
    """
    request = pickle.dumps((module, function, args, kwargs))
    return pickle.loads(_pool().submit(_call, request).result())
