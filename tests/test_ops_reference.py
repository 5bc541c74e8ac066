"""The operators' NumPy references, against ONNX Runtime where it has the operator.

Samples with types that ONNX Runtime does not compute are passed over; each operator must have at
least one that it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state as state

from opweave.ir import Array, Op, Sample
from opweave.ir.data_type import is_float
from opweave.ops import (
    arg_reduce,
    cast,
    create,
    elementwise_activation,
    elementwise_arithmetic,
    elementwise_functions,
    elementwise_logic,
    gather,
    movement,
    nonzero,
    pad,
    rearrange,
    reduce,
    reshape,
    resolve,
    scan,
    scatter,
    top_k,
)
from opweave.ops.registry import operator_named

from .against_runtime import session_of

# What a case becomes: ONNX operator, inputs (None: left out), attributes.
Case = tuple[str, Sequence[Array | None], dict[str, Any]]
OPSET = 24

SAME = {
    **{name: name.capitalize() for name in ("add", "sub", "mul", "div", "neg", "abs", "sqrt")},
    **{name: name.capitalize() for name in ("exp", "log", "sin", "cos", "tan", "asin", "acos")},
    **{name: name.capitalize() for name in ("atan", "sinh", "cosh", "asinh", "acosh", "atanh")},
    **{name: name.capitalize() for name in ("tanh", "erf", "floor", "ceil", "round", "sign")},
    **{name: name.capitalize() for name in ("reciprocal", "relu", "sigmoid", "softplus", "mish")},
    **{name: name.capitalize() for name in ("softsign", "pow", "where", "identity", "equal")},
    **{name: name.capitalize() for name in ("less", "greater", "elu", "selu", "celu", "shrink")},
    "hard_sigmoid": "HardSigmoid",
    "hard_swish": "HardSwish",
    "leaky_relu": "LeakyRelu",
    "prelu": "PRelu",
    "thresholded_relu": "ThresholdedRelu",
    "swish": "Swish",
    "less_equal": "LessOrEqual",
    "greater_equal": "GreaterOrEqual",
    "logical_and": "And",
    "logical_or": "Or",
    "logical_xor": "Xor",
    "logical_not": "Not",
    "bitwise_and": "BitwiseAnd",
    "bitwise_or": "BitwiseOr",
    "bitwise_xor": "BitwiseXor",
    "bitwise_not": "BitwiseNot",
    "is_nan": "IsNaN",
    "is_inf": "IsInf",
    "maximum": "Max",
    "minimum": "Min",
    "mod": "Mod",
    "gather": "Gather",
    "gather_elements": "GatherElements",
    "gather_nd": "GatherND",
    "scatter_elements": "ScatterElements",
    "scatter_nd": "ScatterND",
    "concat": "Concat",
    "reverse_sequence": "ReverseSequence",
    "arg_max": "ArgMax",
    "arg_min": "ArgMin",
}


def _integers(items: Sequence[Any]) -> Array:
    return np.array(items, np.int64)


def _reduction(name: str) -> Callable[[Sample], Case]:
    def build(sample: Sample) -> Case:
        axes = _integers(sample.attributes["axes"])
        keep = int(sample.attributes.get("keepdims", True))
        return name, [*sample.inputs, axes], {"keepdims": keep, "noop_with_empty_axes": 1}

    return build


def _scan(name: str) -> Callable[[Sample], Case]:
    def build(sample: Sample) -> Case:
        given = dict(sample.attributes)
        axis = np.array(given.pop("axis"), np.int64)
        return name, [*sample.inputs, axis], {key: int(value) for key, value in given.items()}

    return build


def _slice(sample: Sample) -> Case:
    starts, sizes, steps = (sample.attributes[k] for k in ("starts", "sizes", "steps"))
    # An end before the front would count from the back: one far before it does not.
    ends = [a + n * s for a, n, s in zip(starts, sizes, steps, strict=True)]
    ends = [-(2**31) if end < 0 else end for end in ends]
    axes = range(len(starts))
    return "Slice", [*sample.inputs, *map(_integers, (starts, ends, axes, steps))], {}


def _pad(sample: Sample) -> Case | None:
    before, after = sample.attributes["before"], sample.attributes["after"]
    if not before:
        return None  # refused
    mode = sample.attributes.get("mode", "constant")
    return (
        "Pad",
        [sample.inputs[0], _integers((*before, *after)), *sample.inputs[1:]],
        {"mode": mode},
    )


def _clip(sample: Sample) -> Case:
    (x,) = sample.inputs
    assert x is not None
    limits = [sample.attributes.get("low", -np.inf), sample.attributes.get("high", np.inf)]
    return "Clip", [x, *(np.array(limit, x.dtype) for limit in limits)], {}


def _top_k(sample: Sample) -> Case:
    given = dict(sample.attributes)
    k = _integers([given.pop("k")])
    return "TopK", [*sample.inputs, k], {key: int(value) for key, value in given.items()}


def _shift(direction: str) -> Callable[[Sample], Case]:
    return lambda sample: ("BitShift", sample.inputs, {"direction": direction})


def _cast(sample: Sample) -> Case:
    number = helper.np_dtype_to_tensor_dtype(np.dtype(sample.attributes["to"]))
    return "Cast", sample.inputs, {"to": number}


def _gelu(sample: Sample) -> Case:
    approximate = "tanh" if sample.attributes.get("approximate") else "none"
    return "Gelu", sample.inputs, {"approximate": approximate}


def _trilu(sample: Sample) -> Case:
    diagonal = np.array(sample.attributes.get("diagonal", 0), np.int64)
    upper = int(sample.attributes.get("upper", True))
    return "Trilu", [*sample.inputs, diagonal], {"upper": upper}


def _one_hot(sample: Sample) -> Case | None:
    if sample.attributes["depth"] == 0:
        return None  # refused
    indices, values = sample.inputs
    depth = np.array(sample.attributes["depth"], np.int64)
    return "OneHot", [indices, depth, values], {"axis": sample.attributes.get("axis", -1)}


def _range(sample: Sample) -> Case:
    start, delta = sample.inputs
    assert start is not None
    assert delta is not None
    # Half a step before the end, so that rounding does not add an element.
    size = sample.attributes["size"]
    exact = start.astype(np.float64) + delta.astype(np.float64) * (size - 0.5 if size else 0)
    limit = exact if is_float(start.dtype.name) else start + delta * size
    return "Range", [start, np.array(limit, start.dtype), delta], {}


def _eye_like(sample: Sample) -> Case:
    given = sample.attributes
    shape = np.zeros((given["rows"], given["columns"]), np.float32)
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(given.get("dtype", "float32")))
    return "EyeLike", [shape], {"k": given.get("diagonal", 0), "dtype": dtype}


def _depth_to_space(sample: Sample) -> Case:
    given = sample.attributes
    return "DepthToSpace", sample.inputs, {"blocksize": given["block_size"], "mode": given["mode"]}


def _space_to_depth(sample: Sample) -> Case | None:
    if sample.attributes["mode"] != "DCR":
        return None
    return "SpaceToDepth", sample.inputs, {"blocksize": sample.attributes["block_size"]}


def _with_shape(name: str, key: str, **attributes: int) -> Callable[[Sample], Case]:
    return lambda sample: (name, [*sample.inputs, _integers(sample.attributes[key])], attributes)


def _transpose(sample: Sample) -> Case:
    permutation = sample.attributes["permutation"]
    return "Transpose", sample.inputs, {"perm": permutation} if permutation else {}


BUILDERS: dict[str, Callable[[Sample], Case | None]] = {
    **{
        f"reduce_{name}": _reduction(f"Reduce{onnx_name}")
        for name, onnx_name in (
            *(("sum", "Sum"), ("mean", "Mean"), ("max", "Max"), ("min", "Min"), ("l1", "L1")),
            *(("prod", "Prod"), ("l2", "L2"), ("log_sum", "LogSum"), ("sum_square", "SumSquare")),
            ("log_sum_exp", "LogSumExp"),
        )
    },
    "cum_sum": _scan("CumSum"),
    "slice": _slice,
    "pad": _pad,
    "clip": _clip,
    "top_k": _top_k,
    "shift_left": _shift("LEFT"),
    "shift_right": _shift("RIGHT"),
    "cast": _cast,
    "gelu": _gelu,
    "trilu": _trilu,
    "one_hot": _one_hot,
    "range": _range,
    "eye_like": _eye_like,
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
    "reshape": _with_shape("Reshape", "shape", allowzero=1),
    "expand": _with_shape("Expand", "shape"),
    "tile": _with_shape("Tile", "repeats"),
    "transpose": _transpose,
    "nonzero": lambda s: ("NonZero", s.inputs, {}),
    "compress": lambda s: ("Compress", s.inputs, dict(s.attributes)),
    "unique": lambda s: ("Unique", s.inputs, {k: int(v) for k, v in s.attributes.items()}),
}


def case_of(op: Op, sample: Sample) -> Case | None:
    """The ONNX node that a sample means."""
    if op.name in BUILDERS:
        return BUILDERS[op.name](sample)
    attributes = {
        key: int(value) if isinstance(value, bool) else value
        for key, value in sample.attributes.items()
    }
    return SAME[op.name], sample.inputs, attributes


def run_onnx(case: Case, outputs: int) -> list[Array] | None:
    """What ONNX Runtime computes; None if it has no kernel for the types."""
    name, inputs, attributes = case
    present = [f"x{k}" if array is not None else "" for k, array in enumerate(inputs)]
    arrays = {key: array for key, array in zip(present, inputs, strict=True) if array is not None}
    declared = [
        helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for key, a in arrays.items()
    ]
    results = [f"y{k}" for k in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(name, present, results, **attributes)],
        "case",
        declared,
        [onnx.ValueInfoProto(name=result) for result in results],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    try:
        return list(session_of(model.SerializeToString()).run(None, arrays))
    except (
        *(state.NotImplemented, state.InvalidGraph, state.InvalidArgument),
        *(state.Fail, state.RuntimeException),
    ):
        return None


def passed_over(op: Op, sample: Sample) -> bool:
    """True for what ONNX leaves open, and what ONNX Runtime does otherwise than it says."""
    arrays = [array for array in sample.inputs if array is not None]
    if any(array.dtype.name == "bfloat16" for array in arrays):
        return True  # not a NumPy type that ONNX Runtime takes
    first = arrays[0] if arrays else np.zeros(0, np.float32)
    name, floating = op.name, is_float(first.dtype.name)
    if name in ("div", "mod") and not floating:
        # The process would end: dividing by zero, and the least integer by -1.
        return bool(np.any((arrays[1] == 0) | (arrays[1].astype(np.float64) == -1)))
    if name == "mod" and not sample.attributes.get("fmod"):
        return floating  # refused
    if name == "cast":
        if sample.attributes["to"] == "bfloat16":
            return True
        wide = first.astype(np.float64)
        fits = (wide >= 0) & (wide < 127)
        return floating and not is_float(sample.attributes["to"]) and not bool(np.all(fits))
    if name == "pow":
        return first.dtype == np.int64  # computed in float64, inexactly
    if name == "shrink":
        return first.dtype == np.float64  # computed in float32
    if name == "reduce_mean":
        return first.size == 0  # 0 instead of NaN
    if name in ("reduce_max", "reduce_min", "arg_max", "arg_min", "unique", "scatter_elements"):
        return floating and bool(np.any(np.isnan(first)))  # NaN is found in some places only
    if name == "top_k":
        return not sample.attributes.get("sorted", True)  # in any order
    return False


# Operators whose last output is the number of columns (or elements) used of the others.
COUNTED = {"nonzero": (1,), "unique": (0, 0, None, 0)}


def without_count(op: Op, sample: Sample, results: list[Array]) -> list[Array]:
    """What ONNX's operator gives: results cut to the number that was found."""
    if op.name == "compress":
        axis = sample.attributes.get("axis")
        axes: tuple[int | None, ...] = (0 if axis is None else axis,)
    elif op.name in COUNTED:
        axes = COUNTED[op.name]
    else:
        return results
    number = np.arange(int(results[-1][0]))
    return [
        result if axis is None else np.take(result, number, axis)
        for result, axis in zip(results[:-1], axes, strict=True)
    ]


def assert_same(found: Array, wanted: Array) -> None:
    """Equal integers; floats to within a few units in the last place of the largest."""
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    if not is_float(wanted.dtype.name):
        np.testing.assert_array_equal(found, wanted)
        return
    tolerance = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3}[wanted.dtype.name]
    wide = wanted.astype(np.float64)
    largest = float(np.abs(wide[np.isfinite(wide)]).max(initial=1e-30))
    np.testing.assert_allclose(
        found.astype(np.float64), wide, rtol=tolerance, atol=tolerance * largest
    )


@pytest.mark.parametrize("name", sorted({*SAME, *BUILDERS}))
def test_reference_is_what_onnx_runtime_computes(name: str) -> None:
    op = operator_named(name)
    compared = 0
    for sample in op.samples:
        case = None if passed_over(op, sample) else case_of(op, sample)
        if case is None:
            continue
        attributes = op.complete_attributes(sample.attributes)
        with np.errstate(all="ignore"):
            results = op.reference(*sample.inputs, **attributes)
        found = list(results) if isinstance(results, tuple) else [np.asarray(results)]
        found = without_count(op, sample, found)
        wanted = run_onnx(case, len(found))
        if wanted is None:
            continue
        compared += 1
        for mine, theirs in zip(found, wanted, strict=True):
            assert_same(mine, theirs)
    assert compared > 0


def test_every_operator_of_these_families_is_compared_or_known_to_have_no_counterpart() -> None:
    families = (
        *(elementwise_activation, elementwise_arithmetic, elementwise_functions),
        *(elementwise_logic, cast, reshape, movement, rearrange, pad, reduce, arg_reduce, top_k),
        *(scan, gather, scatter, create, nonzero, resolve),
    )
    names = {
        value.name
        for family in families
        for value in vars(family).values()
        if isinstance(value, Op)
    }
    without = {"floor_divide", "not_equal", "cum_prod", "extents"}
    assert names - {*SAME, *BUILDERS} == without | {"resolve_reshape", "resolve_slice"}
