"""``@operator`` and ``@elementwise``: how an operator is defined, built-in or the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from ..ir import Extent, broadcast
from ..ir.data_type import Array, kind_of, numpy_type
from ..ir.errors import ModelError
from ..ir.op import Op
from ..ir.tensor_type import TensorType

Function = Callable[..., Any]


@overload
def operator(function: Function, /) -> Op: ...
@overload
def operator(
    *, name: str | None = None, traits: Sequence[str] = ()
) -> Callable[[Function], Op]: ...
def operator(
    function: Function | None = None, /, *, name: str | None = None, traits: Sequence[str] = ()
) -> Op | Callable[[Function], Op]:
    """Make an operator of its NumPy reference; attach ``infer``, ``kernel`` and ``samples``."""

    def build(reference: Function) -> Op:
        return Op(name or reference.__name__.rstrip("_"), reference, traits)

    return build if function is None else build(function)


@overload
def elementwise(function: Function, /) -> Op: ...
@overload
def elementwise(
    *,
    name: str | None = None,
    result: str | None = None,
    like: int = 0,
    operand_types: dict[str, str] | None = None,
    kinds: Sequence[str] = ("float", "signed", "unsigned"),
    reference: Function | None = None,
    traits: Sequence[str] = (),
) -> Callable[[Function], Op]: ...
def elementwise(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    result: str | None = None,
    like: int = 0,
    operand_types: dict[str, str] | None = None,
    kinds: Sequence[str] = ("float", "signed", "unsigned"),
    reference: Function | None = None,
    traits: Sequence[str] = (),
) -> Op | Callable[[Function], Op]:
    """Make an operator of a scalar function; everything else derives from it.

    ``result`` is the output's element type (by default that of operand ``like``), and
    ``operand_types`` fixes the type of single operands (a condition is "bool"); all other
    operands must have the type of operand ``like``, one of ``kinds``. Numbers written in the
    function take the computing type. ``reference`` is a faster NumPy equivalent, ``traits``
    are further ones.
    """

    def build(scalar: Function) -> Op:
        fixed = operand_types or {}
        operator_name = name or scalar.__name__.rstrip("_")
        op = Op(operator_name, scalar, ("elementwise", *traits))
        names = [parameter.name for parameter in op.parameters]

        def infer(*types: TensorType, **attributes: Any) -> TensorType:
            model = types[like]
            if kind_of(model.dtype) not in kinds:
                raise ModelError(f"{operator_name} does not take {model.dtype} tensors")
            for parameter, type_ in zip(names, types, strict=False):
                wanted = fixed.get(parameter, model.dtype)
                if type_.dtype != wanted:
                    raise ModelError(
                        f"{operator_name}: operand {parameter} is {type_.dtype}, not {wanted}"
                    )
            shape = broadcast(*(type_.shape for type_ in types), what=operator_name)
            return TensorType(result or model.dtype, shape)

        op.infer(infer)
        for kind in kinds:
            op.scalars[kind] = scalar
        op.reference = reference or _reference(op, like, result)
        return op

    return build if function is None else build(function)


def _reference(op: Op, like: int, result: str | None) -> Function:
    """The scalar function applied to every element, in Python's own arithmetic."""

    def apply(*operands: Array, **attributes: Any) -> Array:
        arrays = [np.asarray(operand) for operand in operands]
        dtype = arrays[like].dtype
        scalar = op.scalars[kind_of(dtype.name)]
        broadcasted = np.broadcast_arrays(*arrays)
        target = numpy_type(result) if result else dtype
        values = [
            scalar(*items, **attributes)
            for items in zip(*(a.ravel().tolist() for a in broadcasted), strict=True)
        ]
        return _stored(values, target).reshape(broadcasted[0].shape)

    return apply


def _stored(values: list[Any], dtype: np.dtype[Any]) -> Array:
    """Python numbers as an array; integers wrap around as machine integers do."""
    if dtype.kind in "iu":
        bits = 8 * dtype.itemsize
        wrapped = [int(value) & ((1 << bits) - 1) for value in values]
        return np.array(wrapped, dtype=f"uint{bits}").view(dtype)
    return np.array(values, dtype=np.float64 if dtype.kind != "b" else bool).astype(dtype)


def in_float64(function: Function) -> Function:
    """A reference that computes in float64 and gives the floating type of its first operand."""

    def apply(*operands: Array, **attributes: Any) -> Array:
        wide = [np.asarray(operand).astype(np.float64) for operand in operands]
        return np.asarray(function(*wide, **attributes)).astype(np.asarray(operands[0]).dtype)

    return apply


def numbers(extents: Sequence[Extent]) -> tuple[int, ...]:
    """Extents that a reference needs as numbers; raises ModelError for symbolic ones."""
    for extent in extents:
        if not isinstance(extent, int):
            raise ModelError(f"{extent} is symbolic where a number is needed")
    return tuple(extent for extent in extents if isinstance(extent, int))


def same_type(what: str, *types: TensorType | None) -> str:
    """The element type all given operands share; raises ModelError when they differ."""
    found = {type_.dtype for type_ in types if type_ is not None}
    if len(found) != 1:
        raise ModelError(f"{what}: operands have the types {', '.join(sorted(found))}")
    return found.pop()
