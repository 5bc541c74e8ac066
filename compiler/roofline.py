"""The roofline: the least time that arithmetic and memory traffic allow on a machine.

An operator cannot take less than its FLOPs over the machine's peak, nor less than its bytes over
the bandwidth of the memory they come from. Algorithms that do less arithmetic than an operator's
definition says (Winograd convolution) can be faster than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir import Graph, LazyArray, ModelError, Node
from ..ir.dim import evaluate


@dataclass(frozen=True, slots=True)
class MachinePeaks:
    """What a machine does at best on ``threads`` threads together.

    ``flops_per_second`` is that of float32 multiply-adds (two each) in registers of
    ``vector_bits``; the others are bytes read in a second from each level of memory. ``l1_bytes``
    and ``l2_bytes`` are the sizes of one core's caches, ``l3_bytes`` that of the shared one; a
    level that a machine lacks has the size of the level in front of it.
    """

    threads: int
    vector_bits: int
    flops_per_second: float
    l1_bytes_per_second: float
    l2_bytes_per_second: float
    l3_bytes_per_second: float
    memory_bytes_per_second: float
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int

    def bandwidth(self, nbytes: float) -> float:
        """Bytes a second for data of this size that is read again and again.

        The threads share the data: each core's own cache holds its part.
        """
        if nbytes <= self.threads * self.l1_bytes:
            return self.l1_bytes_per_second
        if nbytes <= self.threads * self.l2_bytes:
            return self.l2_bytes_per_second
        if nbytes <= self.l3_bytes:
            return self.l3_bytes_per_second
        return self.memory_bytes_per_second


@dataclass(frozen=True, slots=True)
class Work:
    """Arithmetic and memory traffic of one node in one run, as its operator's cost says.

    ``weight_bytes`` is the part of the traffic that is parameters read as a whole.
    """

    flops: int
    weight_bytes: int
    other_bytes: int

    @property
    def nbytes(self) -> int:
        """All traffic in bytes."""
        return self.weight_bytes + self.other_bytes

    def least_seconds(self, peaks: MachinePeaks, weights: int) -> float:
        """The roofline's time; ``weights`` are the bytes of all parameters of the graph.

        Intermediate results are taken to lie in the smallest cache that holds them, parameters
        in the smallest one that holds all parameters: between two runs all others were read.
        """
        arithmetic = self.flops / peaks.flops_per_second
        traffic = self.other_bytes / peaks.bandwidth(self.other_bytes)
        traffic += self.weight_bytes / peaks.bandwidth(weights)
        return max(arithmetic, traffic)


def work_of(graph: Graph, node: Node, symbols: Mapping[str, int]) -> Work | None:
    """The work of a node; ``symbols`` are the values of the inputs' symbolic extents.

    None where the sizes come up during the run, and for control flow: how often its bodies run,
    only the run knows.
    """
    if "control" in node.op.traits:
        return None
    types = [None if value is None else graph.type(value) for value in node.inputs]
    cost = node.op.cost_of(types, node.attrs)
    held = {value for value in node.operands if graph.is_param(value)}
    try:
        parameters = sum(evaluate(graph.type(value).nbytes, symbols) for value in held)
        flops, nbytes = evaluate(cost.flops, symbols), evaluate(cost.nbytes, symbols)
    except ModelError:
        return None
    # A table of which only some rows are read is not read from one end to the other.
    weights = parameters if parameters <= nbytes else 0
    return Work(flops, weights, nbytes - weights)


def parameter_bytes(graph: Graph) -> int:
    """Bytes of all parameters of a graph."""
    total = 0
    for held in graph.params.values():
        size = held.type.nbytes if isinstance(held, LazyArray) else held.nbytes
        total += size if isinstance(size, int) else 0
    return total


def least_seconds(graph: Graph, peaks: MachinePeaks, symbols: Mapping[str, int]) -> float:
    """The roofline's time of one run of a compiled graph, node by node.

    Nodes whose work is not known before the run are left out.
    """
    weights = parameter_bytes(graph)
    works = [work_of(graph, node, symbols) for node in graph.operators()]
    return sum(work.least_seconds(peaks, weights) for work in works if work is not None)
