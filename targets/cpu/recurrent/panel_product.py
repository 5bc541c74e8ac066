"""The product of a recurrence's step: a few rows of hidden states times one panel of weights."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ..dense.tile import F32, address, intrinsic, splat
from ..spatial.loops import Values, repeat
from .plan import Phase

POINTER = ir.PointerType()
# Accumulators that keep the multiply-add units busy: latency times units.
_BUSY = 8
# Multiply-adds of one round of the loop over inputs; more make more code and are no faster.
_ROUND = 16


def panel_product(module: Any, name: str, phase: Phase, padded: int, rows: int) -> ir.Function:
    """``tile(a, b, sums)``: ``rows`` rows of states, ``padded`` floats apart, times one panel.

    It is made once for each name.
    """
    if name in module.globals:
        return module.globals[name]
    type_ = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, POINTER])
    function = ir.Function(module, type_, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    for argument in function.args:
        argument.add_attribute("noalias")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    a, b, c = function.args
    vector = ir.VectorType(F32, phase.width)
    vectors = phase.gates * phase.vectors
    fma_type = ir.FunctionType(vector, [vector] * 3)
    fma = intrinsic(module, f"llvm.fma.v{phase.width}f32", fma_type)
    # A single row has too few sums to hide the latency: each is split into partial ones.
    parts = 1
    while parts < 4 and parts * rows * vectors < _BUSY:
        parts *= 2
    unroll = max(parts, min(8, _ROUND // (rows * vectors)))

    def steps(at_a: ir.Value, at_b: ir.Value, values: Values, count: int) -> Values:
        values = list(values)
        for k in range(count):
            first = k % parts * rows * vectors
            weights = [
                builder.load(
                    address(builder, at_b, k * phase.columns + j * phase.width),
                    typ=vector,
                    align=4,
                )
                for j in range(vectors)
            ]
            for i in range(rows):
                place = address(builder, at_a, i * padded + k)
                element = splat(builder, builder.load(place, typ=F32, align=4), phase.width)
                for j in range(vectors):
                    number = first + i * vectors + j
                    values[number] = builder.call(fma, [element, weights[j], values[number]])
        return values

    def body(_: ir.Value, carried: Values) -> Values:
        at_a, at_b, *values = carried
        values = steps(at_a, at_b, values, unroll)
        moved = address(builder, at_a, unroll)
        return [moved, address(builder, at_b, unroll * phase.columns), *values]

    sums: Values = [ir.Constant(vector, None)] * (parts * rows * vectors)
    rounds, rest = divmod(phase.hidden, unroll)
    if rounds:
        a, b, *sums = repeat(builder, rounds, [a, b, *sums], body)
    sums = steps(a, b, sums, rest)
    count = rows * vectors
    while len(sums) > count:
        half = len(sums) // 2
        sums = [builder.fadd(sums[k], sums[k + half]) for k in range(half)]
    for number, value in enumerate(sums):
        builder.store(value, address(builder, c, number * phase.width), align=4)
    builder.ret_void()
    return function
