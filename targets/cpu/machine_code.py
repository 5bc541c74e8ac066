"""From a program to its machine code: from the cache, or through Numba and LLVM."""

from __future__ import annotations

import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

from ...compiler.cache import Cache, default_cache, key_of
from ...ir import UnsupportedError
from .calling import ENTRY, OUTPUT_EXTENTS, PREPARE, STOP, WORKER
from .emitted import ComposedBody, EmittedBody, emit_body, emit_composed
from .kernels import BodySignature, scalar_types
from .object_code import (
    emit_object,
    link,
    optimise,
)
from .parallel import runtime_text
from .processors import CpuDescription, has_fused_multiply_add
from .program import Program
from .transposition import transposing_functions

_OPTIMISATION = 3
_EXPORTS = (ENTRY, PREPARE, OUTPUT_EXTENTS, WORKER, STOP)


def machine_code(program: Program, cpu: CpuDescription) -> bytes:
    """The machine code of ``program`` for a kind of processor, as an object file."""
    cache = default_cache()
    text = str(program.module).replace("unknown-unknown-unknown", cpu.triple)
    key = key_of("object", *_environment(cpu), text)
    code = cache.get(key)
    if code is None:
        bodies = [_lowered(body, cpu, cache) for body in program.kernels.bodies.values()]
        runtime = runtime_text(cpu.architecture)
        helpers = transposing_functions(bodies, cpu.vector_bits)
        texts = [text, *bodies, *helpers, runtime]
        if not has_fused_multiply_add(cpu):
            # The C library would be asked for each single one.
            texts = [item.replace("llvm.fma.", "llvm.fmuladd.") for item in texts]
        module = link(texts, exports=[*_EXPORTS, *program.exports])
        code = emit_object(optimise(module, cpu, _OPTIMISATION), cpu)
        cache.put(key, code)
    return code


def _lowered(body: BodySignature, cpu: CpuDescription, cache: Cache) -> str:
    """LLVM IR of a body; its name is the digest of what it is made from."""
    key = key_of("body", *_environment(cpu), body.name)
    held = cache.get(key)
    if held is not None:
        return held.decode()
    if isinstance(body.function, EmittedBody):
        text = emit_body(body.function, body.name, body.operands, scalar_types(body), body.tail)
        cache.put(key, text.encode())
        return text
    if isinstance(body.function, ComposedBody):
        parts = [(part.name, part.operands, scalar_types(part)) for part in body.parts]
        text = emit_composed(body.function, body.name, body.operands, scalar_types(body), parts)
        cache.put(key, text.encode())
        return text
    # Numba takes a quarter of a second to import, which a cached model must not pay for.
    from .numba_frontend import LoweringError, lower
    from .numba_types import argument_types

    try:
        text = lower(
            body.function,
            argument_types(body),
            fastmath=body.fastmath,
            name=body.name,
            literal_type=body.literal_type,
            alignment=None,
        ).ir_text
    except LoweringError as error:
        raise UnsupportedError(f"a kernel cannot be compiled: {error}") from error
    cache.put(key, text.encode())
    return text


@functools.cache
def _environment(cpu: CpuDescription) -> tuple[str, ...]:
    """Everything but the program that machine code depends on."""
    versions = [f"{name} {version(name)}" for name in ("numba", "llvmlite", "numpy")]
    return (cpu.name, cpu.features, cpu.triple, str(cpu.vector_bits), *versions, _own_sources())


def _own_sources() -> str:
    """Digest of this package: the scalar functions and emitters are part of every kernel."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
