"""Recurrent layers whose input's share of the gates is computed already.

What is left is a chain of steps. The weights are packed when the graph is compiled (``plan``);
the kernel runs all steps of a direction (``writer``), between two short ones that fill and
empty its working memory.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ....ir import Array, Call, Cost, Extent, ModelError, Operand, TensorType, workspace
from ....ir.dim import ceil_divide
from ....ops.define import operator
from ....ops.lstm import lstm
from ....ops.recurrent import gru, rnn
from ....ops.recurrent_common import BAD_LENGTH, FUNCTIONS, present
from ..emitted import EmittedBody
from .plan import GATES, Plan, unpack_recurrent
from .team import sync_words

_NAMES = {number: name for name, (number, _, _) in FUNCTIONS.items()}


@operator(name="cpu_recurrence", traits=("recurrent",))
def recurrence(
    gates: Array,
    packed: Array,
    sequence_lengths: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    peepholes: Array | None = None,
    reset_bias: Array | None = None,
    *,
    kind: str,
    hidden_size: int,
    direction: str,
    functions: tuple[tuple[int, float, float], ...],
    clip: float,
    input_forget: bool,
    layout: int,
    width: int,
    members: int,
) -> tuple[Array, ...]:
    """An ``lstm``, ``gru`` or ``rnn`` from its gates before the recurrence, biases included.

    ``gates`` [time, batch, D * gates * H] (batch first with ``layout`` 1); ``packed`` are the
    recurrence weights (:func:`~.plan.pack_recurrent`), ``reset_bias`` [D, H] is added to the
    product that the reset gate of "gru_late_reset" scales. ``functions`` are numbers of
    ``FUNCTIONS`` with two parameters, the same in both directions.
    """
    weights = unpack_recurrent(packed, kind, hidden_size, width)
    directions, rows, _ = weights.shape
    # Each direction's gates are a part of the given ones.
    chosen = np.eye(directions * rows, dtype=gates.dtype).reshape(directions, rows, -1)
    bias = np.zeros((directions, 2 * rows), gates.dtype)
    if reset_bias is not None:
        bias[:, -hidden_size:] = reset_bias
    attributes: dict[str, Any] = {
        "hidden_size": hidden_size,
        "direction": direction,
        "activations": [_NAMES[number] for number, _, _ in functions] * directions,
        "activation_alpha": _given(functions, 1) * directions,
        "activation_beta": _given(functions, 2) * directions,
        "clip": clip,
        "layout": layout,
    }
    operands = (gates, chosen, weights, bias, sequence_lengths, initial_h)
    if kind == "lstm":
        return tuple(
            lstm.reference(*operands, initial_c, peepholes, input_forget=input_forget, **attributes)
        )
    if kind == "rnn":
        return tuple(rnn.reference(*operands, **attributes))
    late = kind == "gru_late_reset"
    return tuple(gru.reference(*operands, linear_before_reset=late, **attributes))


def _given(functions: tuple[tuple[int, float, float], ...], which: int) -> list[float]:
    """The parameters of those functions that take one."""
    return [f[which] for f in functions if FUNCTIONS[_NAMES[f[0]]][which] is not None]


@recurrence.infer
def _(
    gates: TensorType,
    packed: TensorType,
    sequence_lengths: TensorType | None = None,
    initial_h: TensorType | None = None,
    initial_c: TensorType | None = None,
    peepholes: TensorType | None = None,
    reset_bias: TensorType | None = None,
    *,
    kind: str,
    hidden_size: int,
    direction: str,
    layout: int,
    width: int,
    **attributes: Any,
) -> tuple[TensorType, ...]:
    directions = 2 if direction == "bidirectional" else 1
    if gates.rank != 3 or gates.shape[2] != directions * GATES[kind] * hidden_size:
        raise ModelError(f"a recurrence of {kind} with gates {gates}")
    time, batch = gates.shape[:2] if not layout else (gates.shape[1], gates.shape[0])
    state = (batch, directions, hidden_size) if layout else (directions, batch, hidden_size)
    y = (batch, time, directions) if layout else (time, directions, batch)
    last = (gates.with_shape(state),) * (2 if kind == "lstm" else 1)
    return (gates.with_shape((*y, hidden_size)), *last)


@recurrence.cost
def _(gates: TensorType, packed: TensorType, *others: TensorType | None, **attributes: Any) -> Cost:
    steps = gates.shape[0] * gates.shape[1]
    return Cost(2 * steps * packed.size, gates.nbytes + packed.nbytes)


@recurrence.kernel
def _(
    gates: Operand,
    packed: Operand,
    sequence_lengths: Operand | None,
    initial_h: Operand | None,
    initial_c: Operand | None,
    peepholes: Operand | None,
    reset_bias: Operand | None,
    y: Operand,
    y_h: Operand,
    y_c: Operand | None = None,
    *,
    kind: str,
    hidden_size: int,
    direction: str,
    functions: tuple[tuple[int, float, float], ...],
    clip: float,
    input_forget: bool,
    layout: int,
    width: int,
    members: int,
) -> list[Call]:
    time, batch = gates.shape[:2] if not layout else (gates.shape[1], gates.shape[0])
    directions = 2 if direction == "bidirectional" else 1
    plan = Plan(
        kind, hidden_size, directions, direction == "reverse",
        batch if isinstance(batch, int) else None, functions, float(clip), input_forget,
        bool(layout), sequence_lengths is not None, peepholes is not None, width, members,
    )  # fmt: skip
    blocks = ceil_divide(batch, plan.rows)
    size = directions * batch * plan.padded
    hidden = workspace("hidden", "float32", (2 * size,))
    states = workspace("states", "float32", (max(plan.states, 1) * size,))
    sync = workspace("sync", "int64", (sync_words(plan, blocks),))
    sizes: tuple[Extent, ...] = (directions, batch, hidden_size, plan.padded, layout)
    options = (sequence_lengths, initial_h, initial_c)
    start = Call(
        _start,
        (*(present(option, packed) for option in options), hidden, states, sync),
        scalars=(*(int(option is not None) for option in options), time, *sizes),
        error=BAD_LENGTH,
    )
    body = EmittedBody("recurrence", (plan,), 9, hidden_size, partial(_write, plan))
    steps = Call(
        body,
        (
            *(gates.flat(), packed.flat(), y.flat(), hidden, states, sync),
            *(present(option, packed) for option in (sequence_lengths, peepholes, reset_bias)),
        ),
        items=blocks * (directions * members),
        scalars=(time, batch),
    )
    last = [(hidden, y_h, time)] if y_c is None else [(hidden, y_h, time), (states, y_c, 0)]
    ends = [Call(_finish, (work, out.flat()), scalars=(n, *sizes)) for work, out, n in last]
    return [start, steps, *ends]


def _write(plan: Plan, function: Any, finish: Any) -> None:
    # What emits needs Numba, which takes its time to import; a cached program does without.
    from .writer import write_recurrence

    write_recurrence(plan, function, finish)


# Types are left out of kernel bodies on purpose: Numba infers them.
def _start(  # type: ignore[no-untyped-def]
    item, lengths, first_h, first_c, hidden, states, sync, has_lengths, has_h, has_c, time,
    directions, batch, size, padded, layout,
):  # fmt: skip
    """Check the lengths, put the first states into working memory, reset the counters."""
    if has_lengths:
        for row in range(batch):
            if lengths[row] < 0 or lengths[row] > time:
                return 1 + row
    zero = hidden.dtype.type(0)
    for chain in range(directions * batch):
        source = (chain % batch * directions + chain // batch if layout else chain) * size
        target = chain * padded
        for k in range(size):
            hidden[target + k] = first_h[source + k] if has_h else zero
            states[target + k] = first_c[source + k] if has_c else zero
        for k in range(size, padded):
            hidden[target + k] = zero
            states[target + k] = zero
    for k in range(sync.shape[0]):
        sync[k] = 0
    return 0


def _finish(  # type: ignore[no-untyped-def]
    item, work, out, steps, directions, batch, size, padded, layout
):
    """Give out the last states; hidden states have two places, which steps take in turn."""
    first = steps % 2 * directions * batch
    for chain in range(directions * batch):
        source = (first + chain) * padded
        target = (chain % batch * directions + chain // batch if layout else chain) * size
        for k in range(size):
            out[target + k] = work[source + k]
