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
