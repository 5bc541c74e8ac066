"""Bodies recorded without Numba: the same bits as Numba's code, and what is left to Numba."""

from __future__ import annotations

import ctypes
import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import ir
from numba.core import types

from opweave.ops.kernel_functions import larger
from opweave.ops.reduce_kernels import _column_body, _finish_mean, _same, _square, _start, _sum
from opweave.ops.registry import operators
from opweave.targets.cpu import loader, numba_frontend, object_code, replacements
from opweave.targets.cpu.buffer_type import BufferType
from opweave.targets.cpu.kernels import REASSOCIATE
from opweave.targets.cpu.recorded import REPLACED, record
from opweave.targets.cpu.scalar_function import ScalarFunction

Array = np.ndarray[Any, Any]
I64, F32 = ir.IntType(64), ir.FloatType()
FLOATS = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3e38, -3e38, 1e-40, np.inf, -np.inf, np.nan, 0.3, 7.0],
    np.float32,
)


class Both:
    """A body as recorded and as Numba lowers it; both are run on the same arguments."""

    def __init__(
        self,
        body: Callable[..., Any],
        operands: Sequence[tuple[str, int]],
        scalars: Sequence[ir.Type] = (),
        literal: str | None = "float32",
        fastmath: frozenset[str] = frozenset(),
    ) -> None:
        text = record(body, "tested", operands, scalars, literal, fastmath)
        assert text is not None, "it should be recorded"
        kinds = [types.int64, *(BufferType(getattr(types, d), rank) for d, rank in operands)]
        kinds += [types.int64 if scalar == I64 else types.float32 for scalar in scalars]
        other = numba_frontend.lower(
            body, kinds, name="tested", literal_type=literal, fastmath=fastmath
        )
        values: list[Any] = [ctypes.c_int64]
        for _, rank in operands:
            values += [ctypes.c_void_p, *[ctypes.c_int64] * rank]
        values += [ctypes.c_int64 if scalar == I64 else ctypes.c_float for scalar in scalars]
        prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *values)
        self.codes = [
            loader.load_object(object_code.emit_object(object_code.optimise(each)))
            for each in (text, other.ir_text)
        ]
        self.functions = [prototype(code.address("tested")) for code in self.codes]

    def check(self, *arguments: Any) -> None:
        """The same arrays after both."""
        results = []
        for function in self.functions:
            copies = [x.copy() if isinstance(x, np.ndarray) else x for x in arguments]
            values: list[Any] = []
            for item in copies:
                values += (
                    [item.ctypes.data, *item.shape] if isinstance(item, np.ndarray) else [item]
                )
            assert function(*values) == 0
            results.append([x for x in copies if isinstance(x, np.ndarray)])
        for mine, wanted in zip(*results, strict=True):
            # Which NaN it is is nobody's business.
            same = mine.view(f"u{mine.itemsize}") == wanted.view(f"u{mine.itemsize}")
            if mine.dtype.kind == "f":
                same |= np.isnan(mine) & np.isnan(wanted)
            assert same.all(), (mine[~same], wanted[~same])


def elementwise_body(scalar: ScalarFunction, count: int) -> Callable[..., Any]:
    parameters = ", ".join(f"a{k}" for k in range(count))
    elements = ", ".join(f"a{k}[i]" for k in range(count))
    source = f"""def body(item, {parameters}, out, each):
    for i in range(item * each, min(item * each + each, out.shape[0])):
        out[i] = cast(f({elements}))
"""
    names: dict[str, Any] = {"f": scalar, "cast": np.float32}
    exec(source, names)
    body: Callable[..., Any] = names["body"]
    return body


def recordable() -> list[tuple[str, ScalarFunction, int]]:
    """Float operators without attributes, as scalar functions, that need no Numba."""
    found = []
    for name, op in operators().items():
        scalar = op.scalars.get("float")
        if scalar is None:
            continue
        parameters = inspect.signature(scalar).parameters.values()
        if any(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters):
            continue
        function = ScalarFunction(scalar, "float32")
        body = elementwise_body(function, len(parameters))
        operands = [("float32", 1)] * (len(parameters) + 1)
        if record(body, "tried", operands, [I64], "float32", ()) is not None:
            found.append((name, function, len(parameters)))
    return found


RECORDABLE = recordable()


def test_common_operators_need_no_numba() -> None:
    names = {name for name, _, _ in RECORDABLE}
    assert names >= {"add", "sub", "mul", "div", "neg", "relu", "prelu", "hard_swish", "reciprocal"}
    assert not names & {"exp", "sigmoid", "tanh", "gelu"}


@pytest.mark.parametrize(("scalar", "count"), [item[1:] for item in RECORDABLE],
                         ids=[item[0] for item in RECORDABLE])  # fmt: skip
def test_operators_give_the_same_bits(scalar: ScalarFunction, count: int) -> None:
    both = Both(elementwise_body(scalar, count), [("float32", 1)] * (count + 1), [I64])
    rows = np.array(list(itertools.product(FLOATS, repeat=count)), np.float32)
    operands = [np.ascontiguousarray(column) for column in rows.T]
    both.check(0, *operands, np.zeros(len(rows), np.float32), len(rows))
    both.check(1, *operands, np.zeros(len(rows), np.float32), 7)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3), st.integers(0, 5), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_columns_are_reduced_to_the_same_bits(outer: int, n: int, inner: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((outer, n, inner)).astype(np.float32)
    block = min(inner, 16)
    blocks = -(-inner // block)
    for item in range(max(outer, 1) * blocks):
        out = np.zeros((outer, inner), np.float32)
        COLUMNS.check(item, x, out, 1, outer, block, blocks, n, np.float32(0.0))


COLUMNS = Both(
    _column_body(_square, _sum, _start, _finish_mean),
    [("float32", 3), ("float32", 2)],
    [*[I64] * 5, F32],
    fastmath=REASSOCIATE,
)


def _divide(item, x, out, y):  # type: ignore[no-untyped-def]
    for k in range(x.shape[0]):
        out[k, 0] = x[k] // y
        out[k, 1] = x[k] % y


@pytest.mark.parametrize("divisor", [-7, -1, 0, 1, 3, 2**40])
def test_whole_quotients_round_down_and_zero_divides(divisor: int) -> None:
    both = Both(_divide, [("int64", 1), ("int64", 2)], [I64], "int64")
    x = np.array([-(2**40), -8, -7, -1, 0, 1, 6, 7, 8, 2**50], np.int64)
    both.check(0, x, np.zeros((len(x), 2), np.int64), divisor)


def _move(item, x, out):  # type: ignore[no-untyped-def]
    for row in range(out.shape[0]):
        for column in range(1, out.shape[1]):
            out[row, column] = x[max(column, row), min(row, column)]


def test_elements_of_any_type_are_moved() -> None:
    x = np.arange(49, dtype=np.uint16).reshape(7, 7)
    both = Both(_move, [("uint16", 2), ("uint16", 2)], literal=None)
    both.check(0, x, np.zeros((7, 7), np.uint16))


# --- what is left to Numba -------------------------------------------------------------------


def refused(body: Callable[..., Any], *more: ir.Type, literal: str | None = "float32") -> bool:
    operands = [("float32", 1), ("float32", 1)]
    return record(body, "refused", operands, more, literal, ()) is None


def _carries(item, x, out):  # type: ignore[no-untyped-def]
    total = x[0]
    for k in range(x.shape[0]):
        total = total + x[k]
    out[0] = total


def _counts(item, x, out):  # type: ignore[no-untyped-def]
    place = 0
    for k in range(x.shape[0]):
        out[place] = x[k]
        place += 1


def _remembers(item, x, out):  # type: ignore[no-untyped-def]
    for k in range(x.shape[0]):
        last = x[k]
    out[0] = last


def _uses_a_counter_later(item, x, out):  # type: ignore[no-untyped-def]
    for k in range(x.shape[0]):
        out[k] = x[k]
    out[k] = x[0]


def _assigns_a_parameter(item, x, out):  # type: ignore[no-untyped-def]
    for k in range(x.shape[0]):
        out[item] = x[k]
        item = k


def _stops(item, x, out):  # type: ignore[no-untyped-def]
    for k in range(x.shape[0]):
        out[k] = x[k]
        break


def _returns_inside(item, x, out):  # type: ignore[no-untyped-def]
    for k in range(x.shape[0]):
        out[k] = x[k]
        return


def _returns_a_status(item, x, out):  # type: ignore[no-untyped-def]
    out[0] = x[0]
    return 1


def _decides(item, x, out):  # type: ignore[no-untyped-def]
    if x[0] > 1.0:
        out[0] = x[0]


def _selects(item, x, out):  # type: ignore[no-untyped-def]
    out[0] = 1.0 if x[0] > 1.0 else 2.0


def _waits(item, x, out):  # type: ignore[no-untyped-def]
    while x[0] > 1.0:
        out[0] = x[0]


def _steps(item, x, out):  # type: ignore[no-untyped-def]
    for k in range(0, x.shape[0], 2):
        out[k] = x[k]


def _computes_with_math(item, x, out):  # type: ignore[no-untyped-def]
    out[0] = math.exp(x[0])


def _catches(item, x, out):  # type: ignore[no-untyped-def]
    try:
        out[0] = 1.0 if x[0] > 1.0 else 2.0
    except BaseException:
        out[0] = 3.0


def _lists(item, x, out):  # type: ignore[no-untyped-def]
    for k in [y for y in range(3)]:
        out[k] = x[k]


def _keeps_in_a_list(item, x, out):  # type: ignore[no-untyped-def]
    kept = [0.0]
    for k in range(x.shape[0]):
        kept[0] = kept[0] + x[k]
        out[k] = kept[0]


def _whole_quotient_of_floats(item, x, out):  # type: ignore[no-untyped-def]
    out[0] = x[0] // 2.0


def _halves(item, x, out):  # type: ignore[no-untyped-def]
    out[0] = x[0] * 0.5


def _divides_integers(item, x, out):  # type: ignore[no-untyped-def]
    out[0] = item / 2


def _writes_an_integer(x):  # type: ignore[no-untyped-def]
    return 0 if x > 1.0 else x


def _takes_an_integer_or_a_float(item, x, out):  # type: ignore[no-untyped-def]
    out[0] = _writes_an_integer(x[0])


def _takes_the_larger(item, x, out):  # type: ignore[no-untyped-def]
    out[0] = larger(x[0], x[1])


def _never_ends(x):  # type: ignore[no-untyped-def]
    while x > 1.0:
        x = x * 0.5
    return x


def _asks_for_ever(item, x, out):  # type: ignore[no-untyped-def]
    out[0] = _never_ends(x[0])


@pytest.mark.parametrize(
    "body",
    [
        _carries,
        _counts,
        _remembers,
        _uses_a_counter_later,
        _assigns_a_parameter,
        _stops,
        _returns_inside,
        _returns_a_status,
        _decides,
        _selects,
        _waits,
        _steps,
        _computes_with_math,
        _catches,
        _lists,
        _keeps_in_a_list,
        _whole_quotient_of_floats,
        _divides_integers,
        _takes_an_integer_or_a_float,
        _takes_the_larger,
        _asks_for_ever,
    ],
)
def test_what_a_recording_could_get_wrong_is_refused(body: Callable[..., Any]) -> None:
    assert refused(body)


def test_other_types_are_refused() -> None:
    body = elementwise_body(ScalarFunction(_same, "float32"), 1)
    assert not refused(body, I64)
    assert refused(body, I64, literal="float64")
    assert refused(_halves, literal=None)
    assert refused(body, ir.DoubleType())
    for element in ("float64", "float16", "bfloat16", "int32", "bool"):
        operands = [(element, 1), (element, 1)]
        assert record(body, "refused", operands, [I64], "float32", ()) is None
    assert refused(elementwise_body(ScalarFunction(_same, "float64"), 1), I64)
    assert refused(object())  # type: ignore[arg-type]


def test_functions_with_code_of_their_own_are_known() -> None:
    assert REPLACED == replacements.REPLACEMENTS.keys()
