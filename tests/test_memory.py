"""The memory plan: buffers that are alive together never overlap, for any values of symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opweave.compiler.memory import (
    ALIGNMENT,
    MAXIMUM_UNDECIDED,
    Buffer,
    MemoryPlan,
    plan_memory,
)
from opweave.ir import Extent, symbol
from opweave.ir.dim import evaluate, maximum

N, M, K = symbol("n"), symbol("m", 1, 100), symbol("k", 2)
SIZES = st.sampled_from([0, 4, 64, 65, 1000, N, 4 * N, 8 * N, N * M, 4 * M, K * K, 64 * N + 64 * K])


def check(buffers: Sequence[Buffer], plan: MemoryPlan, values: Mapping[str, int]) -> None:
    """Offsets are aligned and inside, and what is alive together is apart."""
    total = evaluate(plan.nbytes, values)
    places = []
    for buffer in buffers:
        start = evaluate(plan.offsets[buffer.key], values)
        end = start + evaluate(buffer.nbytes, values)
        assert start % ALIGNMENT == 0
        assert 0 <= start <= end <= total
        places.append((start, end, buffer))
    for number, (start, end, buffer) in enumerate(places):
        for other_start, other_end, other in places[:number]:
            if buffer.meets(other):
                assert end <= other_start or other_end <= start


def buffers_of(sizes: st.SearchStrategy[Extent]) -> st.SearchStrategy[list[Buffer]]:
    row = st.tuples(sizes, st.integers(0, 12), st.integers(0, 5))
    return st.lists(row, max_size=14).map(
        lambda rows: [
            Buffer(key, nbytes, first, first + length)
            for key, (nbytes, first, length) in enumerate(rows)
        ]
    )


@given(buffers_of(st.integers(0, 5000)))
@settings(max_examples=80, deadline=None)
def test_known_sizes(buffers: list[Buffer]) -> None:
    check(buffers, plan_memory(buffers), {})


@given(buffers_of(SIZES), st.integers(0, 300), st.integers(1, 100), st.integers(2, 50))
@settings(max_examples=80, deadline=None)
def test_symbolic_sizes(buffers: list[Buffer], n: int, m: int, k: int) -> None:
    check(buffers, plan_memory(buffers), {"n": n, "m": m, "k": k})


def test_a_chain_needs_two_buffers() -> None:
    chain = [Buffer(k, 1024, k, k + 1) for k in range(20)]
    assert plan_memory(chain).nbytes == 2048
    symbolic = [Buffer(k, 64 * N, k, k + 1) for k in range(20)]
    assert plan_memory(symbolic).nbytes == 128 * N


def test_gaps_are_used() -> None:
    large, small = Buffer("large", 640, 0, 1), Buffer("small", 64, 0, 5)
    later = Buffer("later", 320, 2, 3)
    assert plan_memory([large, small, later]).nbytes == 704


def test_equal_sizes_share_before_others() -> None:
    first = [Buffer("a", 64 * N, 0, 1), Buffer("b", 64 * M, 0, 1)]
    plan = plan_memory([*first, Buffer("c", 64 * M, 2, 3), Buffer("d", 64 * N, 2, 3)])
    assert plan.offsets["c"] == plan.offsets["b"]
    assert plan.offsets["d"] == plan.offsets["a"]
    assert plan.nbytes == 64 * N + 64 * M


def test_known_order_is_used() -> None:
    plan = plan_memory([Buffer("a", 128 * N, 0, 1), Buffer("b", 64 * N, 2, 3)])
    assert plan.nbytes == 128 * N
    plan = plan_memory([Buffer("a", 64, 0, 1), Buffer("b", 64 * K, 2, 3)])
    assert plan.nbytes == 64 * K


def test_expressions_stay_small() -> None:
    sizes = [64 * symbol(f"s{number}") for number in range(40)]
    buffers = [Buffer(number, size, number, number) for number, size in enumerate(sizes)]
    plan = plan_memory(buffers)
    assert len(set(plan.offsets.values())) == 40 // (MAXIMUM_UNDECIDED + 1)
    nested: Extent = sizes[0]
    for size in sizes[1 : MAXIMUM_UNDECIDED + 1]:
        nested = maximum(nested, size)
    assert plan.offsets[MAXIMUM_UNDECIDED + 1] == nested
    check(buffers, plan, {f"s{number}": number * 7 % 40 for number in range(40)})


@pytest.mark.parametrize("buffers", [[], [Buffer(0, 0, 0, 0)], [Buffer(0, 0 * N, 0, 3)]])
def test_nothing_to_place(buffers: list[Buffer]) -> None:
    assert plan_memory(buffers).nbytes == 0
