"""CUDA C compiled at run time by NVRTC and launched through the driver, without a build step or headers."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import torch

_SHARED_LIMIT_ATTRIBUTE = 8
_OVERLAP_ATTRIBUTE = 6


class CompilationError(RuntimeError):
    """NVRTC refused a source; the message is its log."""


class _LaunchAttribute(ctypes.Structure):
    _fields_ = (("id", ctypes.c_int), ("_pad", ctypes.c_int), ("value", ctypes.c_int), ("_rest", ctypes.c_byte * 60))


class _LaunchConfig(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_LaunchAttribute)),
        ("attribute_count", ctypes.c_uint),
    )


def compile_source(source: str, architecture: str) -> bytes:
    """Return the machine code of a source.

    Args:
        source: CUDA C without includes.
        architecture: As NVRTC names it, such as `sm_90`.

    Raises:
        CompilationError: NVRTC refused it.
    """
    library = _nvrtc()
    program = ctypes.c_void_p()
    _check_nvrtc(library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None))
    try:
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
        if library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)):
            size = ctypes.c_size_t()
            library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            library.nvrtcGetProgramLog(program, log)
            raise CompilationError(log.value.decode())
        size = ctypes.c_size_t()
        _check_nvrtc(library.nvrtcGetCUBINSize(program, ctypes.byref(size)))
        code = ctypes.create_string_buffer(size.value)
        _check_nvrtc(library.nvrtcGetCUBIN(program, code))
        return code.raw
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


class Kernel:
    """A kernel loaded on the current device.

    Args:
        code: What `compile_source` returned.
        name: Name of the kernel, declared `extern "C"`.
        shared_limit: Largest number of bytes of dynamic shared memory that a launch asks for.
    """

    def __init__(self, code: bytes, name: str, shared_limit: int = 0) -> None:
        torch.cuda.current_stream()
        self._driver = _driver()
        self._module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        _check_driver(self._driver.cuModuleLoadData(ctypes.byref(self._module), code))
        _check_driver(self._driver.cuModuleGetFunction(ctypes.byref(self._function), self._module, name.encode()))
        if shared_limit > 48 * 1024:
            _check_driver(self._driver.cuFuncSetAttribute(self._function, _SHARED_LIMIT_ATTRIBUTE, shared_limit))

    def launch(
        self, grid: int, block: int, shared: int, stream: int, arguments: Sequence[int], *, overlap: bool = False
    ) -> None:
        """Launch with one argument, a structure of 64-bit fields.

        Args:
            grid: Number of blocks.
            block: Threads of a block.
            shared: Bytes of dynamic shared memory.
            stream: Handle of the stream.
            arguments: Fields of the structure: addresses and numbers.
            overlap: Start while the kernel before ends; the kernel waits where it needs that one's results.
        """
        values = (ctypes.c_int64 * len(arguments))(*arguments)
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(values))
        attribute = _LaunchAttribute(id=_OVERLAP_ATTRIBUTE, value=1)
        config = _LaunchConfig(
            grid=(ctypes.c_uint * 3)(grid, 1, 1),
            block=(ctypes.c_uint * 3)(block, 1, 1),
            shared=shared,
            stream=stream,
            attributes=ctypes.pointer(attribute),
            attribute_count=int(overlap),
        )
        _check_driver(self._driver.cuLaunchKernelEx(ctypes.byref(config), self._function, parameters, None))


@cache
def _nvrtc() -> ctypes.CDLL:
    for name in (f"libnvrtc.so.{str(torch.version.cuda).split('.')[0]}", "libnvrtc.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise CompilationError("libnvrtc is not installed; install the CUDA build of PyTorch.")


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def _check_nvrtc(result: int) -> None:
    if result:
        raise CompilationError(f"NVRTC failed with code {result}.")


def _check_driver(result: int) -> None:
    if result:
        text = ctypes.c_char_p()
        _driver().cuGetErrorString(result, ctypes.byref(text))
        raise RuntimeError(f"CUDA error: {(text.value or b'unknown').decode()}")
