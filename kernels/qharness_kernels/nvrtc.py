"""CUDA C++ kernels compiled at run time by the NVRTC library that comes with torch, and launched through the driver."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SHARED_WITHOUT_ASKING = 48 * 1024
_MAX_DYNAMIC_SHARED = 8
_PROGRAMMATIC_SERIALIZATION = 6


class _Attribute(ctypes.Structure):
    """`CUlaunchAttribute`: which one, filling, and a value of 64 bytes."""

    _fields_ = (("id", ctypes.c_int), ("filling", ctypes.c_int), ("value", ctypes.c_int), ("rest", ctypes.c_char * 60))


class _Config(ctypes.Structure):
    """`CUlaunchConfig`."""

    _fields_ = (
        *((name, ctypes.c_uint) for name in ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared")),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("count", ctypes.c_uint),
    )


class CudaError(RuntimeError):
    """A kernel could not be compiled, loaded or launched; the message says why."""


@cache
def load_nvrtc() -> ctypes.CDLL:
    """Return the NVRTC library, from Python's packages or from the system.

    Raises:
        CudaError: There is none.
    """
    major = (torch.version.cuda or "13").split(".")[0]
    for folder in sorted({path for entry in sys.path for path in Path(entry).glob("nvidia/*/lib") if entry}):
        found = folder / f"libnvrtc.so.{major}"
        if found.exists():
            # It looks for this part by name alone.
            for part in folder.glob("libnvrtc-builtins.so.*"):
                ctypes.CDLL(str(part))
            return ctypes.CDLL(str(found))
    for name in (f"libnvrtc.so.{major}", "libnvrtc.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise CudaError("There is no NVRTC library; install torch with CUDA, or nvidia-cuda-nvrtc.")


def compile_source(source: Path, defines: Mapping[str, int], architecture: str) -> bytes:
    """Return machine code.

    Args:
        source: A CUDA C++ file that includes only files of this package; its kernels are `extern "C"`.
        defines: Preprocessor constants.
        architecture: For example `sm_90a`.

    Raises:
        CudaError: It does not compile; the message is the compiler's.
    """
    library = load_nvrtc()
    program = ctypes.c_void_p()
    options = [f"--gpu-architecture={architecture}", "--std=c++17", f"-I{Path(__file__).parent}"]
    options += [f"-D{name}={value}" for name, value in defines.items()]
    encoded = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    text = source.read_bytes()
    if library.nvrtcCreateProgram(ctypes.byref(program), text, source.name.encode(), 0, None, None):
        raise CudaError("NVRTC does not start.")
    try:
        if library.nvrtcCompileProgram(program, len(options), encoded):
            raise CudaError(_read(library, program, "ProgramLog").decode(errors="replace"))
        return _read(library, program, "CUBIN")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _read(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, buffer)
    return buffer.raw


@cache
def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def _check(result: int) -> None:
    if result:
        text = ctypes.c_char_p()
        _driver().cuGetErrorString(result, ctypes.byref(text))
        raise CudaError((text.value or b"unknown error").decode())


class Program:
    """Kernels of one source file, compiled for one set of constants and loaded on one device.

    Args:
        source: As in `compile_source`.
        defines: As in `compile_source`.
        device: Index of the device.
    """

    def __init__(self, source: Path, defines: Mapping[str, int], device: int) -> None:
        major, minor = torch.cuda.get_device_capability(device)
        code = compile_source(source, defines, f"sm_{major}{minor}{'a' if major >= 9 else ''}")
        self._module = ctypes.c_void_p()
        self._kernels: dict[str, tuple[ctypes.c_void_p, int]] = {}
        with torch.cuda.device(device):
            if not torch.cuda.is_current_stream_capturing():
                torch.cuda.synchronize()
            _check(_driver().cuModuleLoadData(ctypes.byref(self._module), code))

    def launch(self, kernel: str, grid: int, threads: int, shared: int, *args: Tensor | int | None) -> None:
        """Launch a kernel on torch's current stream.

        It may start before the kernel in front of it has ended, and must itself execute `griddepcontrol.wait` before
        it reads what that one writes, or writes anything.

        Args:
            kernel: Its name.
            grid: Blocks.
            threads: Threads of a block.
            shared: Bytes of dynamic shared memory of a block.
            *args: Tensors as pointers, None as the null pointer, integers as `int`.

        Raises:
            CudaError: The driver refuses.
        """
        function = self._function(kernel, shared)
        values = [
            ctypes.c_int(arg) if isinstance(arg, int) else ctypes.c_void_p(None if arg is None else arg.data_ptr())
            for arg in args
        ]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        early = _Attribute(_PROGRAMMATIC_SERIALIZATION, 0, 1)
        stream = torch.cuda.current_stream().cuda_stream
        config = _Config(grid, 1, 1, threads, 1, 1, shared, stream, ctypes.pointer(early), 1)
        _check(_driver().cuLaunchKernelEx(ctypes.byref(config), function, pointers, None))

    def _function(self, kernel: str, shared: int) -> ctypes.c_void_p:
        function, granted = self._kernels.get(kernel, (ctypes.c_void_p(), SHARED_WITHOUT_ASKING))
        if not function:
            _check(_driver().cuModuleGetFunction(ctypes.byref(function), self._module, kernel.encode()))
        if shared > granted:
            _check(_driver().cuFuncSetAttribute(function, _MAX_DYNAMIC_SHARED, shared))
            granted = shared
        self._kernels[kernel] = (function, granted)
        return function


@cache
def program(source: Path, defines: tuple[tuple[str, int], ...], device: int) -> Program:
    """Return the program for these constants, compiled at the first call."""
    return Program(source, dict(defines), device)
