"""Plain-Python functions of kernels that have code of their own on this target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba.core import types

from ...ops.strided_copy import transpose_block
from .buffer_type import BufferType
from .device_function import DeviceFunction, DeviceSignature, Emitted
from .transposition import block_function


def _rule(*arguments: types.Type) -> tuple[types.Type, ...] | None:
    if len(arguments) != 8:
        return None
    source, target = arguments[0], arguments[3]
    for buffer in (source, target):
        if not isinstance(buffer, BufferType) or buffer.rank != 1:
            return None
    if source.stored != target.stored:
        return None
    numbers = (types.int64,) * 2
    return (types.none, source, *numbers, target, *numbers, *numbers)


def _emit_call(context: Any, builder: Any, sig: DeviceSignature, values: Sequence[Any]) -> Any:
    places = []
    for number in (0, 3):
        held = context.make_helper(builder, sig.args[number], value=values[number])
        places.append(builder.gep(held.data, [values[number + 1]], inbounds=True))
    stored = sig.args[0].stored
    function = block_function(builder.module, 8 if stored == types.boolean else stored.bitwidth)
    arguments = [places[0], values[2], places[1], values[5], values[6], values[7]]
    builder.call(function, arguments)
    return context.get_dummy_value()


# What stands in compiled bodies for plain-Python functions.
REPLACEMENTS: dict[Callable[..., Any], DeviceFunction] = {
    transpose_block: Emitted("transpose_block", _rule, _emit_call)
}
