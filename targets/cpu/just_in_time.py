"""Loading object files by LLVM, on platforms that ``loader`` does not know itself."""

from __future__ import annotations

import functools
import platform
import sys

import llvmlite.binding as llvm

from . import elf
from .loader import CodeError, LoadedObject, missing_symbols
from .object_code import create_machine, host_cpu, llvm_lock


class JustInTimeObject(LoadedObject):
    """Machine code that LLVM's loader put into memory."""

    def __init__(self, data: bytes) -> None:
        with llvm_lock:
            host = host_cpu()
            _find_mathematics()
            _check_symbols(data)
            # The engine takes over the module and the machine, which therefore are its own.
            machine = create_machine(host.name, host.features, host.triple, 1)
            engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
            try:
                engine.add_object_file(llvm.ObjectFileRef.from_data(data))
                engine.finalize_object()
            except Exception as error:
                engine.close()
                raise CodeError(f"the object code cannot be loaded: {error}") from None
            self._engine: llvm.ExecutionEngine | None = engine

    def address(self, symbol: str) -> int:
        """The address of an external function or variable; raises CodeError if it has none."""
        with llvm_lock:
            if self._engine is None:
                raise CodeError(f"the code of {symbol} was unloaded")
            address: int = self._engine.get_function_address(symbol)
            if address == 0:
                address = self._engine.get_global_value_address(symbol)
            if address == 0:
                raise CodeError(f"the object code does not define {symbol}")
            return address

    def close(self) -> None:
        """Unload the code and free its memory; a second call does nothing."""
        with llvm_lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                engine.close()


@functools.cache
def _find_mathematics() -> None:
    """The interpreter may be linked without the functions, or with local visibility."""
    if sys.platform.startswith("linux") and platform.libc_ver()[0] == "glibc":
        llvm.load_library_permanently("libm.so.6")


def _check_symbols(data: bytes) -> None:
    """Raise CodeError for a damaged object file and for symbols that this process lacks.

    LLVM's loader would end the process.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        missing = missing_symbols(elf.undefined_symbols(data))
    except ValueError as error:
        raise CodeError(f"the object code cannot be loaded: {error}") from None
    if missing:
        raise CodeError(f"the object code needs {', '.join(missing)}, which this process lacks")
