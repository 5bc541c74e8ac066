"""A graph as one LLVM module with one entry point, which the host calls."""

from __future__ import annotations

from collections.abc import Iterable

from llvmlite import ir

from ...ir import Graph, NoKernelError
from .calling import ENTRY, Context
from .extents import I64
from .graph_emitter import GraphEmitter
from .kernels import POINTER, KernelSet
from .placement import is_late_type
from .program import Program

ENTRY_TYPE = ir.FunctionType(ir.IntType(32), [POINTER])


def build_program(graph: Graph, emitter_class: type[GraphEmitter] | None = None) -> Program:
    """The program of ``graph``; raises UnsupportedError (all nodes) where kernels are missing.

    ``emitter_class`` emits the main function, by default :class:`GraphEmitter`.
    """
    module = ir.Module("opweave")
    program = Program(module, KernelSet(module))
    function = program.function("graph")
    emitter = (emitter_class or GraphEmitter)(program, graph, function)
    if program.missing:
        listed = "\n".join(f"- {item}" for item in program.missing)
        raise NoKernelError(
            f"{len(program.missing)} nodes have no kernel:\n{listed}", program.missing
        )
    program.arena = emitter.placement.plan.nbytes
    emitter.emit()
    program.late_outputs = frozenset(
        number
        for number, value in enumerate(graph.outputs)
        if is_late_type(graph.type(value), emitter.late)
    )
    inputs = len(graph.inputs)
    late = [inputs + number for number in sorted(program.late_outputs)]
    _emit_entry(module, function, inputs + len(graph.outputs), late)
    return program


def _emit_entry(module: ir.Module, graph: ir.Function, count: int, late: Iterable[int]) -> None:
    """The function that the host calls, on ``count`` arrays; the program allocates the ``late``.

    It collects the addresses from where arrays keep them: what Python need not do is quicker.
    """
    function = ir.Function(module, ENTRY_TYPE, ENTRY)
    (context,) = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    values = builder.alloca(POINTER, size=max(count, 1))
    values.type = POINTER

    def load(table: ir.Value, number: int) -> ir.Value:
        place_ = builder.gep(table, [ir.Constant(I64, number)], source_etype=POINTER)
        return builder.load(place_, typ=POINTER)

    places = builder.gep(context, [ir.Constant(I64, len(Context))], source_etype=POINTER)
    for number in range(count):
        place_ = builder.gep(values, [ir.Constant(I64, number)], source_etype=POINTER)
        builder.store(load(load(places, number), 0), place_)
    arena = load(context, int(Context.ARENA))
    status = builder.call(graph, [values, arena, context])
    for number in late:
        builder.store(load(values, number), load(places, number))
    builder.ret(status)
