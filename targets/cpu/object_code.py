"""From LLVM IR to machine code: link, verify, optimise, emit.

This module needs llvmlite alone; what it emits is loaded by ``loader``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import llvmlite.binding as llvm
from llvmlite.binding.ffi import ObjectRef
from llvmlite.binding.newpassmanagers import NewPassManager

from ...compiler.options import VECTOR_BITS, CompileOptions
from ...ir import ModelError
from .loader import CodeError
from .processors import NATIVE, TRIPLES, X86_64_LEVELS, CpuDescription, check_kind

# LLVM's global state is not thread-safe for what this module does with it.
llvm_lock: Final = threading.RLock()

# Kernels' loops carry their addresses as they are to be: LLVM's strength reduction, which takes
# a fifth of the time of code generation, and its scheduling of registers' code find no more.
_NEEDLESS: Final = ("disable-lsr", "disable-post-ra")


@functools.cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def host_cpu(vector_bits: int | None = None) -> CpuDescription:
    """The processor this process runs on.

    Vector registers are used in full width: some processors have AVX-512 while LLVM prefers
    256 bits for them, which halves the peak of dense arithmetic. ``vector_bits``, or else the
    environment's OPWEAVE_VECTOR_WIDTH, both in bits, leaves wider registers unused. Raises
    ModelError for a width that is not 128, 256 or 512.
    """
    return _host_cpu(_most_bits(vector_bits))


def cpu_for(options: CompileOptions) -> CpuDescription:
    """The processor that code is to be made for; raises UnsupportedError for an unknown one."""
    most_bits = _most_bits(options.vector_bits)
    if options.cpu == NATIVE and options.system is None:
        return _host_cpu(most_bits)
    check_kind(options.cpu, options.system)
    return _other_cpu(options.cpu, options.system, most_bits)


def _most_bits(vector_bits: int | None) -> int:
    given = os.environ.get("OPWEAVE_VECTOR_WIDTH")
    if vector_bits is None and given:
        vector_bits = int(given) if given.isdigit() else 0
        if vector_bits not in VECTOR_BITS:
            raise ModelError(f"OPWEAVE_VECTOR_WIDTH is 128, 256 or 512 bits, not {given!r}")
    return vector_bits or max(VECTOR_BITS)


@functools.cache
def _other_cpu(kind: str, system: str | None, most_bits: int) -> CpuDescription:
    """A kind of processor, on another system than this one if ``system`` is given."""
    host = _host_cpu(most_bits)
    triple = host.triple if system is None else TRIPLES[system]
    architecture = triple.partition("-")[0]
    if kind == NATIVE and architecture == host.architecture:
        name, features, widest = host.name, host.features, host.vector_bits
    elif architecture == "x86_64":
        name = "x86-64" if kind == NATIVE else kind
        named, widest = X86_64_LEVELS[name]
        dropped = [item for item in named if most_bits < 512 and item.startswith("avx512")]
        signs = [f"{'-' if item in dropped else '+'}{item}" for item in named]
        features = ",".join([*signs, "-prefer-256-bit"])
    else:
        name, features, widest = "generic", "", 128
    with llvm_lock:
        _initialise_all()
        layout = str(create_machine(name, features, triple, 2).target_data)
    return CpuDescription(name, features, triple, layout, min(widest, most_bits))


@functools.cache
def _initialise_all() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@functools.cache
def _host_cpu(most_bits: int) -> CpuDescription:
    with llvm_lock:
        _initialise()
        features = llvm.get_host_cpu_features()
        if features.get("avx512f"):
            features["prefer-256-bit"] = False
        # The instructions for 128 bits stay those of AVX and FMA, where there are any.
        for feature in [name for name in features if name.startswith(("avx512", "avx10"))]:
            features[feature] = features[feature] and most_bits >= 512
        flat = features.flatten()
        name = llvm.get_host_cpu_name()
        triple = llvm.get_process_triple()
        machine = create_machine(name, flat, triple, 2)
        layout = str(machine.target_data)
        widest = 512 if features.get("avx512f") else 256 if features.get("avx") else 128
        return CpuDescription(name, flat, triple, layout, min(widest, most_bits))


def create_machine(name: str, features: str, triple: str, level: int) -> llvm.TargetMachine:
    """A target machine for position-independent code of any size."""
    _initialise()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=name, features=features, opt=level, reloc="pic", codemodel="default"
    )


@functools.lru_cache(maxsize=16)
def _machine(cpu: CpuDescription, level: int) -> llvm.TargetMachine:
    machine = create_machine(cpu.name, cpu.features, cpu.triple, level)
    machine.set_asm_verbosity(False)
    return machine


def _pass_builder(cpu: CpuDescription, level: int) -> llvm.PassBuilder:
    """What LLVM's pass managers run with.

    Loops are vectorised but not unrolled: kernels are unrolled where they are generated, and
    LLVM's unrolling of short loops merges loads so that broadcasts go through the shuffle unit.
    """
    tuning = llvm.create_pipeline_tuning_options(speed_level=level)
    tuning.loop_unrolling = False
    tuning.loop_vectorization = tuning.slp_vectorization = level > 0
    return llvm.create_pass_builder(_machine(cpu, max(level, 1)), tuning)


def run_passes(
    module: llvm.ModuleRef,
    cpu: CpuDescription,
    level: int,
    manager: llvm.ModulePassManager | None = None,
) -> None:
    """Run the passes of a manager, by default LLVM's own for a level from 0 to 3."""
    with llvm_lock:
        builder = _pass_builder(cpu, level)
        if manager is None:
            manager = builder.getModulePassManager()
        try:
            manager.run(module, builder)
        finally:
            _free(manager)


def _free(manager: llvm.ModulePassManager) -> None:
    # In llvmlite 0.50 close() finds the empty _dispose of its first base and frees nothing,
    # which leaks 90 KB each time.
    if type(manager)._dispose is ObjectRef._dispose:
        NewPassManager._dispose(manager)
        manager.detach()
    else:
        manager.close()


def parse(text: str) -> llvm.ModuleRef:
    """A verified module from LLVM IR text; raises CodeError when LLVM rejects it."""
    with llvm_lock:
        module = _read(text)
        _verify(module)
        return module


def _read(text: str) -> llvm.ModuleRef:
    _initialise()
    try:
        return llvm.parse_assembly(text)
    except RuntimeError as error:
        raise _rejected(error) from None


def _verify(module: llvm.ModuleRef) -> None:
    try:
        module.verify()
    except RuntimeError as error:
        raise _rejected(error) from None


def _rejected(error: RuntimeError) -> CodeError:
    return CodeError(f"LLVM rejects the generated code: {error}")


def link(texts: Sequence[str], exports: Sequence[str] | None = None) -> llvm.ModuleRef:
    """One verified module from several texts; definitions may be used across texts.

    Two texts must not define the same external name. If ``exports`` is given, only those names
    stay visible from outside, so that LLVM may drop and inline all others. Raises CodeError for
    texts that are not valid or do not fit together.
    """
    if not texts:
        raise ValueError("there is nothing to link")
    with llvm_lock:
        # LLVM walks through all of a module that another one is linked into: halves of equal
        # size are linked, so that the time grows with the code and not with its square.
        modules = deque(_read(text) for text in texts)
        while len(modules) > 1:
            module = modules.popleft()
            add(module, modules.popleft())
            modules.append(module)
        (module,) = modules
        if exports is not None:
            _internalise(module, frozenset(exports))
        _verify(module)
        return module


def _internalise(module: llvm.ModuleRef, exports: frozenset[str]) -> None:
    missing = exports - _hide(module, exports)
    if missing:
        raise CodeError(f"nothing defines {', '.join(sorted(missing))}")


def _hide(module: llvm.ModuleRef, exports: Collection[str]) -> set[str]:
    """Make all definitions but ``exports`` internal; those of them that are defined."""
    found = set()
    for value in (*module.functions, *module.global_variables):
        if value.is_declaration or value.name.startswith("llvm."):
            continue
        if value.name in exports:
            found.add(value.name)
        else:
            value.linkage = "internal"
    return found


def optimise(
    module: llvm.ModuleRef | str, cpu: CpuDescription | None = None, level: int = 3
) -> llvm.ModuleRef:
    """Run LLVM's standard pipeline of a level from 0 to 3 for a processor, by default the host.

    A module is changed in place and returned; a text is parsed first.
    """
    cpu = cpu or host_cpu()
    with llvm_lock:
        module = parse(module) if isinstance(module, str) else module
        module.triple, module.data_layout = cpu.triple, cpu.data_layout
        run_passes(module, cpu, level)
        return module


def simplify(module: llvm.ModuleRef, cpu: CpuDescription) -> llvm.ModuleRef:
    """Tidy functions that are written as they should be; in place, for a processor.

    Constants and addresses are folded, which takes a tenth of the time of LLVM's standard
    pipeline.
    """
    with llvm_lock:
        module.triple, module.data_layout = cpu.triple, cpu.data_layout
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
        passes.add_instruction_combine_pass()
        run_passes(module, cpu, 0, passes)
        return module


def add(module: llvm.ModuleRef, other: llvm.ModuleRef) -> None:
    """Move all of ``other`` into ``module``; raises CodeError where they do not fit together."""
    with llvm_lock:
        try:
            module.link_in(other)
        except RuntimeError as error:
            raise CodeError(f"generated modules do not fit together: {error}") from None


def internalise(module: llvm.ModuleRef, exports: Sequence[str]) -> llvm.ModuleRef:
    """Hide all definitions but ``exports``; in place. Raises CodeError if one is missing."""
    with llvm_lock:
        _internalise(module, frozenset(exports))
        return module


def hide(module: llvm.ModuleRef, exports: Collection[str]) -> llvm.ModuleRef:
    """As `internalise`, but not all of ``exports`` need to be there."""
    with llvm_lock:
        _hide(module, exports)
        return module


def undefined(module: llvm.ModuleRef) -> set[str]:
    """The names that a module uses and does not define."""
    with llvm_lock:
        values = (*module.functions, *module.global_variables)
        return {value.name for value in values if value.is_declaration}


def emit_object(
    module: llvm.ModuleRef | str, cpu: CpuDescription | None = None, level: int = 3
) -> bytes:
    """A relocatable object file; ``level`` is that of instruction selection and scheduling."""
    cpu = cpu or host_cpu()
    with llvm_lock:
        module = parse(module) if isinstance(module, str) else module
        machine = _machine(cpu, level)
        with _without(_NEEDLESS):
            return bytes(machine.emit_object(_for_target(module, cpu)))


def emit_assembly(
    module: llvm.ModuleRef | str, cpu: CpuDescription | None = None, level: int = 3
) -> str:
    """The assembly text of what `emit_object` would make."""
    cpu = cpu or host_cpu()
    with llvm_lock:
        module = parse(module) if isinstance(module, str) else module
        machine = _machine(cpu, level)
        with _without(_NEEDLESS):
            return str(machine.emit_assembly(_for_target(module, cpu)))


@contextlib.contextmanager
def _without(passes: Sequence[str]) -> Iterator[None]:
    """Switch passes of code generation off; LLVM has no other switches than global ones."""
    for name in passes:
        llvm.set_option("opweave", f"-{name}=true")
    try:
        yield
    finally:
        for name in passes:
            llvm.set_option("opweave", f"-{name}=false")


def _for_target(module: llvm.ModuleRef, cpu: CpuDescription) -> llvm.ModuleRef:
    module.triple, module.data_layout = cpu.triple, cpu.data_layout
    return module
