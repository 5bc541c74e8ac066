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
    add,
    emit_object,
    hide,
    internalise,
    link,
    optimise,
    simplify,
    undefined,
)
from .parallel import runtime_text
from .processors import CpuDescription, has_fused_multiply_add
from .program import Program
from .recorded import record
from .texts import Texts, called, divided
from .transposition import transposing_functions

_EXPORTS = (ENTRY, PREPARE, OUTPUT_EXTENTS, WORKER, STOP)
_BETWEEN = "\0"  # the two texts of a body in the cache


def machine_code(program: Program, cpu: CpuDescription) -> bytes:
    """The machine code of ``program`` for a kind of processor, as an object file."""
    cache = default_cache()
    raw_bodies = {body.name for body in program.kernels.bodies.values() if _is_raw(body)}
    kernels = [item for item in program.module.functions if called(item) & raw_bodies]
    main = divided(program.module, lambda function: function in kernels)
    key = key_of("object", *environment(cpu), main.raw, main.finished)
    code = cache.get(key)
    if code is None:
        bodies = [_lowered(body, cpu, cache) for body in program.kernels.bodies.values()]
        finished = [text.finished for text in (main, *bodies) if text.finished]
        raw = [text.raw for text in (main, *bodies) if text.raw]
        helpers = transposing_functions([*raw, *finished], cpu.vector_bits)
        raw += helpers.values()
        exports = [*_EXPORTS, *program.exports]
        module = link(_fitting([*finished, runtime_text(cpu.architecture)], cpu))
        if raw:
            names = [*helpers, *(function.name for function in kernels)]
            other = optimise(link(_fitting(raw, cpu), names), cpu)
            # What was inlined everywhere is dropped before it is tidied and compiled.
            add(simplify(hide(module, {*exports, *undefined(other)}), cpu), other)
        else:
            simplify(hide(module, exports), cpu)
        code = emit_object(internalise(module, exports), cpu)
        cache.put(key, code)
    return code


def _is_raw(body: BodySignature) -> bool:
    """True where LLVM is to optimise the body and its caller together."""
    if isinstance(body.function, ComposedBody):
        return any(map(_is_raw, body.parts))
    return not isinstance(body.function, EmittedBody) or body.tail is not None


def _fitting(texts: list[str], cpu: CpuDescription) -> list[str]:
    if has_fused_multiply_add(cpu):
        return texts
    # The C library would be asked for each single one.
    return [text.replace("llvm.fma.", "llvm.fmuladd.") for text in texts]


def _lowered(body: BodySignature, cpu: CpuDescription, cache: Cache) -> Texts:
    """LLVM IR of a body; its name is the digest of what it is made from."""
    key = key_of("body", *environment(cpu), body.name)
    held = cache.get(key)
    if held is not None:
        return Texts(*held.decode().split(_BETWEEN))
    text = _lower(body)
    cache.put(key, _BETWEEN.join((text.raw, text.finished)).encode())
    return text


def _lower(body: BodySignature) -> Texts:
    scalars = scalar_types(body)
    if isinstance(body.function, EmittedBody):
        return emit_body(body.function, body.name, body.operands, scalars, body.tail)
    if isinstance(body.function, ComposedBody):
        parts = [(part.name, part.operands, scalar_types(part)) for part in body.parts]
        return emit_composed(body.function, body.name, body.operands, scalars, parts, _is_raw(body))
    text = record(
        body.function, body.name, body.operands, scalars, body.literal_type, body.fastmath
    )
    if text is not None:
        return Texts(text)
    # Numba takes a quarter of a second to import, which a cached model must not pay for.
    from .numba_frontend import LoweringError, lower
    from .numba_types import argument_types

    try:
        lowered = lower(
            body.function,
            argument_types(body),
            fastmath=body.fastmath,
            name=body.name,
            literal_type=body.literal_type,
            alignment=None,
        )
    except LoweringError as error:
        raise UnsupportedError(f"a kernel cannot be compiled: {error}") from error
    return Texts(lowered.ir_text)


@functools.cache
def environment(cpu: CpuDescription) -> tuple[str, ...]:
    """Everything but the program that machine code depends on."""
    versions = [f"{name} {version(name)}" for name in ("numba", "llvmlite", "numpy")]
    return (cpu.name, cpu.features, cpu.triple, str(cpu.vector_bits), *versions, _own_sources())


def _own_sources() -> str:
    """Digest of this package: the scalar functions and emitters are part of every kernel."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
