"""Control flow: a choice between two graphs, and a loop over one.

The graphs in the attributes are closed: whatever they use of their surroundings is passed
as a capture. They may mention symbols of the surrounding graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir import Array, Extent, Graph, ModelError, TensorType, unify
from ..ir.evaluate import evaluate
from .define import operator
from .elementwise_arithmetic import add
from .elementwise_logic import less
from .samples import sample, tensor, values


def _same(what: str, left: TensorType, right: TensorType) -> TensorType:
    if left.dtype != right.dtype or left.rank != right.rank:
        raise ModelError(f"{what}: the types {left} and {right} do not agree")
    return left.with_shape(
        [unify(a, b, what) for a, b in zip(left.shape, right.shape, strict=True)]
    )


def _check_arguments(what: str, body: Graph, types: Sequence[TensorType | None]) -> None:
    if len(body.inputs) != len(types):
        raise ModelError(f"{what} takes {len(body.inputs)} values, {len(types)} are given")
    for value, type_ in zip(body.inputs, types, strict=True):
        if type_ is not None:
            _same(f"{what}, input {value}", body.type(value), type_)


@operator(name="if", traits=("control",))
def if_(condition: Array, *captures: Array, then_branch: Graph, else_branch: Graph) -> Any:
    """The outputs of one of two graphs, by a boolean 0-d ``condition`` (ONNX If)."""
    return tuple(evaluate(then_branch if condition.item() else else_branch, captures))


@if_.infer
def _(
    condition: TensorType, *captures: TensorType, then_branch: Graph, else_branch: Graph
) -> tuple[TensorType, ...]:
    if condition != TensorType("bool"):
        raise ModelError(f"if: the condition is {condition}, not a boolean scalar")
    for branch in (then_branch, else_branch):
        _check_arguments(f"if: branch {branch.name!r}", branch, captures)
    if len(then_branch.outputs) != len(else_branch.outputs):
        raise ModelError("if: the branches have different numbers of outputs")
    return tuple(
        _same("if", then_branch.type(left), else_branch.type(right))
        for left, right in zip(then_branch.outputs, else_branch.outputs, strict=True)
    )


def _number(extent: Extent) -> int:
    if not isinstance(extent, int):
        raise ModelError(f"loop: the trip limit {extent} is not known")
    return extent


@operator(traits=("control",))
def loop(
    trip_count: Array | None = None,
    condition: Array | None = None,
    *values: Array,
    body: Graph,
    carried: int,
    trip_limit: Extent = 0,
) -> Any:
    """Run ``body`` while its condition holds, ``trip_count`` times at the most (ONNX Loop).

    ``values`` are the ``carried`` values, then the captures. The body takes the iteration
    (int64 0-d), the condition, the carried values and the captures, and gives the next
    condition, the next carried values and one slice for each scanned output. Outputs: the
    final carried values, the scanned slices stacked along a new first axis of extent
    ``trip_limit`` (rows past the last iteration are zero), and last the number of iterations
    run, an int64 tensor of one element.
    """
    state, captures = list(values[:carried]), values[carried:]
    going = np.asarray(True if condition is None else condition.item())
    limit = None if trip_count is None else int(trip_count.item())
    scans = [
        np.zeros((_number(trip_limit), *body.type(value).static_shape), body.type(value).numpy)
        for value in body.outputs[1 + carried :]
    ]
    iteration = 0
    while going.item() and (limit is None or iteration < limit):
        results = evaluate(body, [np.array(iteration, np.int64), going, *state, *captures])
        going, state = results[0], results[1 : 1 + carried]
        for stack, row in zip(scans, results[1 + carried :], strict=True):
            stack[iteration] = row
        iteration += 1
    return (*state, *scans, np.array([iteration], np.int64))


@loop.infer
def _(
    trip_count: TensorType | None,
    condition: TensorType | None,
    *values: TensorType,
    body: Graph,
    carried: int,
    trip_limit: Extent,
) -> tuple[TensorType, ...]:
    if trip_count not in (None, TensorType("int64")):
        raise ModelError(f"loop: the trip count is {trip_count}, not an int64 scalar")
    if condition not in (None, TensorType("bool")):
        raise ModelError(f"loop: the condition is {condition}, not a boolean scalar")
    if not 0 <= carried <= len(values) or len(body.outputs) < 1 + carried:
        raise ModelError(f"loop: {carried} carried values do not fit the body's outputs")
    iteration = TensorType("int64")
    _check_arguments("loop: the body", body, [iteration, TensorType("bool"), *values])
    if body.type(body.outputs[0]) != TensorType("bool"):
        raise ModelError("loop: the body's first output is not a boolean scalar")
    final = []
    for position in range(carried):
        before, after = body.inputs[2 + position], body.outputs[1 + position]
        final.append(_same("loop: a carried value", body.type(before), body.type(after)))
    scanned = [body.type(value) for value in body.outputs[1 + carried :]]
    if scanned and trip_count is None:
        raise ModelError("loop: scanned outputs need a trip count")
    stacked = [type_.with_shape((trip_limit, *type_.shape)) for type_ in scanned]
    return (*final, *stacked, TensorType("int64", (1,)))


def _branch(name: str, doubled: bool) -> Graph:
    """A branch that gives its capture, or twice its capture."""
    branch = Graph(name)
    x = branch.input("x", TensorType("float32", (3,)))
    branch.output(branch.add(add, x, x) if doubled else x)
    return branch


def _counting_body() -> Graph:
    """Adds a capture to the carried value until it reaches ten; scans what it had before."""
    body = Graph("body")
    body.input("iteration", TensorType("int64"))
    body.input("going", TensorType("bool"))
    x = body.input("x", TensorType("float32"))
    step = body.input("step", TensorType("float32"))
    following = body.add(add, x, step)
    limit = body.param(np.array(10, np.float32), "limit")
    body.output(body.add(less, following, limit), "again")
    body.output(following, "next")
    body.output(x, "before")
    return body


if_.samples = [
    sample(
        values(condition, "bool"),
        tensor((3,)),
        then_branch=_branch("then", True),
        else_branch=_branch("else", False),
    )
    for condition in (True, False)
]
loop.samples = [
    sample(
        None if trips is None else values(trips, "int64"),
        going,
        values(1.0),
        values(3.5),
        body=_counting_body(),
        carried=1,
        trip_limit=5,
    )
    for trips, going in (
        (0, None),
        (2, None),
        (5, values(True, "bool")),
        (5, values(False, "bool")),
    )
]
