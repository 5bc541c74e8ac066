"""What recurrent layers share: activations, the loop over the sequence, types and gates.

``direction`` is "forward", "reverse" or "bidirectional" (D is 1 or 2). With ``layout`` 0
sequences are [time, batch, input] and states [D, batch, hidden]; with 1 the batch comes first.
``activations`` name the functions of each direction, one direction after the other; empty
means ONNX's defaults. ``activation_alpha`` and ``activation_beta`` give parameters to those
functions that take one, in order; what is missing has ONNX's default. ``clip`` bounds the sums
that go into the functions (0: no bound).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import (
    Array,
    Call,
    Cost,
    Extent,
    ModelError,
    Operand,
    TensorType,
    UnsupportedError,
    View,
    unify,
    workspace,
)
from ..ir.data_type import is_float
from .define import same_type
from .half import widened
from .matmul import product_calls
from .samples import tensor, values

# Name in lower case -> number in kernels, default alpha, default beta (None: takes none).
FUNCTIONS: dict[str, tuple[int, float | None, float | None]] = {
    "sigmoid": (0, None, None),
    "tanh": (1, None, None),
    "relu": (2, None, None),
    "affine": (3, 1.0, 0.0),
    "leakyrelu": (4, 0.01, None),
    "thresholdedrelu": (5, 1.0, None),
    "scaledtanh": (6, 1.0, 1.0),
    "hardsigmoid": (7, 0.2, 0.5),
    "elu": (8, 1.0, None),
    "softsign": (9, None, None),
    "softplus": (10, None, None),
}


@dataclass(frozen=True, slots=True)
class Activation:
    """A function by its number in :data:`FUNCTIONS`, with its parameters."""

    number: int
    alpha: float
    beta: float


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of recurrent layer: how many gates, and ONNX's functions of one direction."""

    name: str
    gates: int
    defaults: tuple[str, ...]

    def functions(
        self,
        directions: int,
        activations: Sequence[str],
        activation_alpha: Sequence[float],
        activation_beta: Sequence[float],
    ) -> tuple[Activation, ...]:
        """Those of all directions; raises for unknown names and wrong numbers of them."""
        given = tuple(activations) or self.defaults * directions
        if len(given) != len(self.defaults) * directions:
            raise ModelError(f"{self.name}: {len(given)} activations for {directions} direction(s)")
        alphas, betas = iter(activation_alpha), iter(activation_beta)
        result = []
        for name in given:
            if name.lower() not in FUNCTIONS:
                raise UnsupportedError(f"{self.name}: there is no activation {name!r}")
            number, default_alpha, default_beta = FUNCTIONS[name.lower()]
            first = 0.0 if default_alpha is None else next(alphas, default_alpha)
            second = 0.0 if default_beta is None else next(betas, default_beta)
            result.append(Activation(number, float(first), float(second)))
        return tuple(result)


LSTM = Kind("lstm", 4, ("Sigmoid", "Tanh", "Tanh"))
GRU = Kind("gru", 3, ("Sigmoid", "Tanh"))
RNN = Kind("rnn", 1, ("Tanh",))


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


_REFERENCES: dict[int, Callable[[Array, float, float], Array]] = {
    0: lambda x, a, b: _sigmoid(x),
    1: lambda x, a, b: np.tanh(x),
    2: lambda x, a, b: np.maximum(x, 0),
    3: lambda x, a, b: a * x + b,
    4: lambda x, a, b: np.where(x < 0, a * x, x),
    5: lambda x, a, b: np.where(x >= a, x, 0),
    6: lambda x, a, b: a * np.tanh(b * x),
    7: lambda x, a, b: np.clip(a * x + b, 0, 1),
    8: lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
    9: lambda x, a, b: x / (1 + np.abs(x)),
    10: lambda x, a, b: np.logaddexp(x, 0).astype(x.dtype),
}


def apply_activation(function: Activation, x: Array) -> Array:
    kind = x.dtype.type
    return _REFERENCES[function.number](x, kind(function.alpha), kind(function.beta))


def count_directions(what: str, direction: str) -> int:
    """1 or 2; raises ModelError for a word that is no direction."""
    if direction not in ("forward", "reverse", "bidirectional"):
        raise ModelError(
            f"{what}: direction {direction!r} is not forward, reverse or bidirectional"
        )
    return 2 if direction == "bidirectional" else 1


# A step takes the input's share of the gates, the hidden state and further states of one batch
# row, and gives the new hidden state and further states.
Step = Callable[[int, Array, Array, list[Array]], tuple[Array, list[Array]]]


def scan(
    x: Array,
    w: Array,
    lengths: Array | None,
    states: Sequence[Array | None],
    hidden_size: int,
    direction: str,
    layout: int,
    dtype: np.dtype[np.generic],
    step: Step,
) -> tuple[Array, list[Array]]:
    """Run ``step`` over all sequences; outputs [time, D, batch, hidden] and last states."""
    sequence = widened(x).swapaxes(0, 1) if layout else widened(x)
    weights = widened(w)
    time, batch, _ = sequence.shape
    directions = weights.shape[0]
    y = np.zeros((time, directions, batch, hidden_size), sequence.dtype)
    last = [np.zeros((directions, batch, hidden_size), sequence.dtype) for _ in states]
    for number, given in enumerate(states):
        if given is not None:
            last[number][...] = widened(given).swapaxes(0, 1) if layout else widened(given)
    for number in range(directions):
        backwards = direction == "reverse" or number == 1
        for row in range(batch):
            length = time if lengths is None else int(lengths[row])
            if not 0 <= length <= time:
                raise ModelError(f"sequence length {length} is not between 0 and {time}")
            for position in range(length):
                now = length - 1 - position if backwards else position
                gates = sequence[now, row] @ weights[number].T
                state = [held[number, row] for held in last]
                hidden, others = step(number, gates, state[0], state[1:])
                for held, new in zip(last, [hidden, *others], strict=True):
                    held[number, row] = new
                y[now, number, row] = hidden
    if layout:
        y, last = y.transpose(2, 0, 1, 3), [held.swapaxes(0, 1) for held in last]
    return y.astype(dtype), [held.astype(dtype) for held in last]


def clipped(x: Array, clip: float) -> Array:
    return np.clip(x, -clip, clip).astype(x.dtype) if clip > 0 else x


def infer_layer(
    kind: Kind,
    x: TensorType,
    w: TensorType,
    r: TensorType,
    b: TensorType | None,
    sequence_lengths: TensorType | None,
    states: Sequence[TensorType | None],
    peepholes: TensorType | None = None,
    *,
    hidden_size: int,
    direction: str,
    layout: int,
    activations: Sequence[str],
    activation_alpha: Sequence[float],
    activation_beta: Sequence[float],
    **others: Any,
) -> tuple[TensorType, TensorType]:
    """Types of all hidden states and of the last one; ``others`` say nothing about them."""
    what, gates = kind.name, kind.gates
    same_type(what, x, w, r, b, peepholes, *states)
    if not is_float(x.dtype):
        raise ModelError(f"{what} takes floating-point tensors, not {x.dtype}")
    if layout not in (0, 1):
        raise ModelError(f"{what}: layout {layout} is neither 0 nor 1")
    if not isinstance(hidden_size, int) or hidden_size < 1:
        raise ModelError(f"{what}: hidden_size {hidden_size}")
    if x.rank != 3:
        raise ModelError(f"{what}: the input {x} is not of rank 3")
    directions = count_directions(what, direction)
    kind.functions(directions, activations, activation_alpha, activation_beta)
    time, batch, width = x.shape if not layout else (x.shape[1], x.shape[0], x.shape[2])

    def fits(name: str, type_: TensorType | None, *shape: Extent) -> None:
        if type_ is None:
            return
        if type_.rank != len(shape):
            raise ModelError(f"{what}: {name} is {type_}, not of the shape {shape}")
        for left, right in zip(type_.shape, shape, strict=True):
            unify(left, right, f"{what}: {name} is {type_}, not of the shape {shape}")

    fits("w", w, directions, gates * hidden_size, width)
    fits("r", r, directions, gates * hidden_size, hidden_size)
    fits("b", b, directions, 2 * gates * hidden_size)
    fits("p", peepholes, directions, 3 * hidden_size)
    if sequence_lengths is not None and sequence_lengths.dtype != "int32":
        raise ModelError(f"{what}: sequence lengths are {sequence_lengths.dtype}, not int32")
    fits("sequence_lengths", sequence_lengths, batch)
    state = (batch, directions, hidden_size) if layout else (directions, batch, hidden_size)
    for given in states:
        fits("an initial state", given, *state)
    y = (batch, time, directions) if layout else (time, directions, batch)
    return x.with_shape((*y, hidden_size)), x.with_shape(state)


def layer_cost(
    x: TensorType, w: TensorType, r: TensorType, *others: TensorType | None, **attributes: object
) -> Cost:
    steps = x.shape[0] * x.shape[1]
    nbytes = x.nbytes + w.nbytes + r.nbytes
    return Cost(2 * steps * (w.size + r.size), nbytes)


BAD_LENGTH = "a sequence length is negative or larger than the sequence"


def input_gates(
    x: Operand, w: Operand, layout: int
) -> tuple[list[Call], View, Extent, tuple[Extent, ...]]:
    """Calls for the input's share of the gates, their view, batch, and all the extents."""
    time, batch = (x.shape[1], x.shape[0]) if layout else x.shape[:2]
    directions, gates, width = w.shape
    rows = time * batch
    out = workspace("gates", x.dtype, (directions * rows * gates,))
    left = TensorType(x.dtype, (1, rows, width))
    calls = product_calls(left, x.flat(), False, w.type, w.flat(), True, out)
    return calls, out, batch, (time, batch, directions)


def present(operand: Operand | None, stand_in: Operand) -> View:
    """The operand, or any array in place of one that is left out."""
    return (operand or stand_in).flat()


def activation_scalars(functions: Sequence[Activation], each: int) -> list[Extent | float]:
    """Numbers, then parameters, of the functions of both directions."""
    both = [*functions[:each], *functions[-each:]]
    numbers: list[Extent | float] = [function.number for function in both]
    return [*numbers, *(v for function in both for v in (function.alpha, function.beta))]


def layer_calls(
    kind: Kind,
    body: Callable[..., object],
    x: Operand,
    w: Operand,
    r: Operand,
    options: Sequence[Operand | None],
    outputs: Sequence[Operand],
    flags: Sequence[bool] = (),
    *,
    rows: int,
    hidden_size: int,
    direction: str,
    layout: int,
    clip: float,
    **activations: Any,
) -> list[Call]:
    """Calls for the gates, then of ``body`` for each row of the batch in each direction.

    ``body`` has ``rows`` times ``hidden_size`` elements of working memory an item.
    """
    directions = count_directions(kind.name, direction)
    functions = kind.functions(directions, **activations)
    calls, gates, batch, extents = input_gates(x, w, layout)
    last = Call(
        body,
        (
            gates,
            r.flat(),
            *(present(option, r) for option in options),
            *(output.flat() for output in outputs),
            workspace("work", x.dtype, (directions * batch * rows * hidden_size,)),
        ),
        items=directions * batch,
        scalars=(
            *(int(option is not None) for option in options),
            *extents,
            hidden_size,
            layout,
            int(direction == "reverse"),
            *activation_scalars(functions, len(kind.defaults)),
            float(clip),
            *map(int, flags),
        ),
        reassociate=True,
        error=BAD_LENGTH,
    )
    return [*calls, last]


def layer_operands(
    gates: int,
    directions: int = 1,
    dtype: str = "float32",
    shape: tuple[int, int, int] = (4, 3, 5),
    hidden: int = 6,
) -> list[Array]:
    return [
        tensor(shape, dtype),
        tensor((directions, gates * hidden, shape[2]), dtype, -1, 1),
        tensor((directions, gates * hidden, hidden), dtype, -1, 1, 1),
        tensor((directions, 2 * gates * hidden), dtype),
    ]


LENGTHS = values([4, 2, 0], "int32")
STATE = tensor((1, 3, 6), "float32", -1, 1, 5)
STATES = tensor((2, 3, 6), "float32", -1, 1, 5)
