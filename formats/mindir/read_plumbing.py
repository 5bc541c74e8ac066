"""Readers of the primitives that hand values about: tuples, functions, side effects."""

from __future__ import annotations

from ...ir import Dim, ModelError, UnsupportedError, Value
from ...ir import dim as dims
from .context import Context, ops
from .control import checked_index, known_condition
from .items import (
    MISSING,
    Again,
    Choice,
    Constant,
    Fork,
    Function,
    Item,
    Missing,
    Monad,
    Part,
    Reference,
    Shape,
    Table,
    Tensor,
)
from .registry import reads

# Items that say all about themselves before the model runs.
_KNOWN = (bool, int, float, str, Dim, type(None))

# --- tuples ----------------------------------------------------------------------------------


@reads("MakeTuple", "make_tuple", "make_list", "MakeList", "RealMakeTuple", plumbing=True)
def _make_tuple(g: Context, *items: Item) -> Item:
    # The parts of a recursive call's result, put together again, are that result.
    first = items[0] if items else None
    if isinstance(first, Part) and all(
        isinstance(item, Part) and item.whole is first.whole and item.index == position
        for position, item in enumerate(items)
    ):
        return first.whole
    return tuple(items)


@reads(
    "TupleGetItem",
    "tuple_getitem",
    "list_getitem",
    "ListGetItem",
    "RealTupleGetItem",
    "array_getitem",
    plumbing=True,
)
def _get_item(g: Context, whole: Item, index: Item) -> Item:
    if isinstance(whole, Missing):
        return MISSING
    position = g.index_number(index)
    if isinstance(whole, (Again, Fork)):
        return Part(whole, position)
    if isinstance(whole, (Tensor, Constant, Reference)):
        return g.element(g.value(whole), position)
    if not isinstance(whole, tuple):
        raise ModelError(f"an element of a {type(whole).__name__} is asked for")
    if not -len(whole) <= position < len(whole):
        raise ModelError(f"element {position} of a tuple of {len(whole)} is asked for")
    return whole[position]


@reads("tuple_setitem", "TupleSetItem", "list_setitem", "ListSetItem", plumbing=True)
def _set_item(g: Context, whole: Item, index: Item, item: Item) -> Item:
    if isinstance(whole, Missing):
        return MISSING
    position = g.index_number(index)
    if not isinstance(whole, tuple) or not -len(whole) <= position < len(whole):
        raise ModelError(f"element {position} of what is no such tuple is set")
    position %= len(whole)
    return (*whole[:position], item, *whole[position + 1 :])


@reads("SequenceLen", "sequence_len", "tuple_len", "list_len", plumbing=True)
def _length(g: Context, whole: Item) -> Item:
    if not isinstance(whole, tuple):
        raise UnsupportedError(f"the length of a {type(whole).__name__}")
    return len(whole)


@reads("SequenceAdd", "tuple_add", "list_add", plumbing=True)
def _joined(g: Context, left: Item, right: Item) -> Item:
    if not isinstance(left, tuple) or not isinstance(right, tuple):
        raise UnsupportedError("what are no tuples are joined")
    return (*left, *right)


@reads("InSequence", "in_sequence", "NotInSequence", "not_in_sequence")
def _contains(g: Context, item: Item, whole: Item) -> Item:
    """Whether a number or a text is in a tuple of such; extents go by their bounds."""
    if not isinstance(whole, tuple) or not isinstance(item, _KNOWN):
        raise UnsupportedError(f"whether a {type(item).__name__} is in a {type(whole).__name__}")
    if isinstance(whole, Shape) and isinstance(item, int) and item < 0:
        found = False
    else:
        found = any(_equal(part, item) for part in whole)
    return found != g.primitive.lower().startswith("not")


def _equal(left: Item, right: Item) -> bool:
    if not isinstance(left, _KNOWN):
        raise UnsupportedError(f"whether a {type(left).__name__} equals {right}")
    if isinstance(left, (int, Dim)) and isinstance(right, (int, Dim)) and left != right:
        low, high = dims.bounds(left - right)
        if (low is None or low <= 0) and (high is None or high >= 0):
            raise UnsupportedError(f"only a run tells whether {left} is {right}")
    return bool(left == right)


@reads("is_", "is_not")
def _identical(g: Context, x: Item, y: Item) -> Item:
    """``x is y`` for what is known now, which nothing that a run computes is."""
    if not isinstance(x, _KNOWN) and not isinstance(y, _KNOWN):
        raise UnsupportedError("whether two values that a run computes are the same object")
    return (type(x) is type(y) and x == y) != (g.primitive == "is_not")


@reads("make_dict", "MakeDict", plumbing=True)
def _make_dict(g: Context, keys: Item, values: Item) -> Item:
    if not isinstance(keys, tuple) or not isinstance(values, tuple) or len(keys) != len(values):
        raise ModelError("a dictionary's keys and values do not fit")
    return Table(dict(zip(map(str, keys), values, strict=True)))


@reads("dict_getitem", "DictGetItem", plumbing=True)
def _dict_item(g: Context, table: Item, key: Item) -> Item:
    if not isinstance(table, Table) or str(key) not in table.entries:
        raise ModelError(f"a dictionary has no entry {str(key)[:80]!r}")
    return table.entries[str(key)]


@reads("dict_getvalues", "DictGetValues", "dict_values", plumbing=True)
def _dict_values(g: Context, table: Item) -> Item:
    if not isinstance(table, Table):
        raise ModelError("what is no dictionary is asked for its values")
    return tuple(table.entries.values())


# --- functions -------------------------------------------------------------------------------


@reads("Partial", "partial", plumbing=True)
def _partial(g: Context, callee: Item, *arguments: Item) -> Item:
    if isinstance(callee, Missing):
        return MISSING
    if isinstance(callee, Function):
        return Function(callee.name, (*callee.bound, *arguments))
    if isinstance(callee, Choice):
        return Choice(
            callee.condition,
            _partial(g, callee.accepted, *arguments),
            _partial(g, callee.refused, *arguments),
        )
    raise ModelError(f"arguments are given to a {type(callee).__name__}, which is no function")


@reads("Switch", "switch", plumbing=True)
def _switch(g: Context, condition: Item, accepted: Item, refused: Item) -> Item:
    if isinstance(condition, Missing):
        return MISSING
    callable_ = (Function, Choice, Missing)
    if isinstance(accepted, callable_) and isinstance(refused, callable_):
        return Choice(condition, accepted, refused)
    known = known_condition(g.machine, condition, g.region)
    if known is not None:
        return accepted if known else refused
    return _selected(g, g.value(condition, "bool"), accepted, refused)


def _selected(g: Context, condition: Value, accepted: Item, refused: Item) -> Item:
    if isinstance(accepted, Missing) or isinstance(refused, Missing):
        return MISSING
    if isinstance(accepted, Monad):
        return accepted
    if isinstance(accepted, tuple) and isinstance(refused, tuple):
        if len(accepted) != len(refused):
            raise UnsupportedError("a choice between tuples of different lengths")
        pairs = zip(accepted, refused, strict=True)
        return tuple(_selected(g, condition, a, b) for a, b in pairs)
    x, y = g.pair(accepted, refused)
    if g.shape(x) != g.shape(y):
        raise UnsupportedError(f"a choice between {g.type(x)} and {g.type(y)}")
    return Tensor(g.region, g.add(ops.where, g.reshape(condition, ()), x, y))


@reads("switch_layer", "SwitchLayer", plumbing=True)
def _switch_layer(g: Context, index: Item, callees: Item) -> Item:
    if isinstance(index, Missing) or isinstance(callees, Missing):
        return MISSING
    if not isinstance(callees, tuple) or not callees:
        raise ModelError("switch_layer has no functions to choose from")
    value = g.value(index)
    known = g.numbers(value)
    if known is not None:
        position = int(known.reshape(-1)[0])
        if not -len(callees) <= position < len(callees):
            raise ModelError(f"switch_layer chooses number {position} of {len(callees)}")
        return callees[position]
    checked = checked_index(g.region, value, len(callees))
    result = callees[-1]
    for position in range(len(callees) - 2, -1, -1):
        here = g.add(ops.equal, checked, g.scalar_like(checked, position))
        result = Choice(Tensor(g.region, here), callees[position], result)
    return result


# --- order and state -------------------------------------------------------------------------


@reads("Depend", "depend", "stop_gradient", "StopGradient", "InsertGradientOf", plumbing=True)
def _depend(g: Context, item: Item, *others: Item) -> Item:
    return item


@reads("Return", "return", "identity", "Identity", plumbing=True)
def _unchanged(g: Context, item: Item) -> Item:
    return item


@reads("UpdateState", "update_state", plumbing=True)
def _update_state(g: Context, *items: Item) -> Item:
    return Monad(g.machine.state)


@reads("Load", "load", plumbing=True)
def _load(g: Context, item: Item, monad: Item = None) -> Item:
    if not isinstance(item, Reference):
        return item
    state = monad.state if isinstance(monad, Monad) else g.machine.state
    return g.machine.read_parameter(item.name, g.machine.entry_state() if state is None else state)


@reads("TensorMove", "Copy", "Clone", "Contiguous", "DeepCopy", plumbing=True)
def _move(g: Context, item: Item, *others: Item) -> Item:
    # A copy is the value of now, also of a parameter that is written later.
    return g.machine.read_parameter(item.name) if isinstance(item, Reference) else item


def write(g: Context, target: Item, value: Value) -> Value:
    """Let the parameter that ``target`` is hold ``value``; its type stays."""
    held = g.type(g.value(target))
    value = g.cast(value, held.dtype)
    if g.shape(value) != held.shape:
        value = g.add(ops.expand, value, shape=held.shape)
    if isinstance(target, Reference):
        g.machine.write_parameter(target.name, Tensor(g.region, value))
    return value


@reads("Assign")
def _assign(g: Context, target: Item, value: Value) -> Item:
    return write(g, target, value)


@reads("AssignAdd")
def _assign_add(g: Context, target: Item, value: Item) -> Item:
    held = g.value(target)
    return write(g, target, g.add(ops.add, held, g.value(value, g.dtype(held))))


@reads("AssignSub")
def _assign_sub(g: Context, target: Item, value: Item) -> Item:
    held = g.value(target)
    return write(g, target, g.add(ops.sub, held, g.value(value, g.dtype(held))))
