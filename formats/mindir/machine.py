"""Reading the functions of a MindIR model by running them on items (see items.py).

MindIR is a functional language: graphs call graphs, pass functions and tuples about, and loop
by calling themselves. Running a graph on symbolic arguments leaves the tensor operations,
which are added to a Graph, and resolves the rest: calls are put in place, tuples disappear,
conditional calls become ``if``, loops become ``loop`` (see control.py).

Parameters may be written (Assign and its like). ``state`` is what they hold at the point
reached, in the order of the side effects; it starts from the file and does not outlive a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...ir import REQUIRED, Array, LazyArray, LimitError, ModelError, UnsupportedError
from ...ir.data_type import is_integer
from ..limits import Limits
from . import control, plain_loop, registry
from .attributes import attribute_item
from .context import Context, declared_types
from .convert import converted
from .items import (
    MISSING,
    Again,
    Choice,
    Constant,
    Fork,
    Function,
    Given,
    Item,
    Missing,
    Monad,
    Part,
    Reference,
    Tensor,
    leaves,
)
from .model import GraphText, ModelText
from .region import Region
from .tensors import TensorReader

# Calls within calls; each branch of an if adds one or two.
MAXIMUM_DEPTH = 150
# So many of what was refused last are looked at for repetitions.
_COMPARED = 200


@dataclass
class Frame:
    """One call of a graph: its names, the state at its start, and the call it was made from."""

    graph: GraphText
    entry: Mapping[str, Item]
    caller: Frame | None
    names: dict[str, Item] = field(default_factory=dict)


class Machine:
    """Runs the graphs of one model."""

    def __init__(self, model: ModelText, tensors: TensorReader, limits: Limits) -> None:
        self.model, self.tensors, self.limits = model, tensors, limits
        self.items: list[str] = []
        self.state: Mapping[str, Item] = {}
        # Functions whose loops are being read, innermost last.
        self.active: list[str] = []
        self._parameters: dict[str, Constant] = {}
        self._constants: dict[str, Item] = {}
        self._attributes: dict[str, dict[str, Item]] = {}
        self._frames: list[Frame] = []
        self.regions = 0
        self._nodes = self._parts = 0
        there = sum(len(text.nodes) for text in model.graphs.values())
        self._most_nodes = min(limits.nodes, limits.called_nodes + 8 * there)

    # --- errors --------------------------------------------------------------------------

    def refuse(self, error: UnsupportedError, where: str) -> None:
        """Note what is not supported; reading goes on to find the rest."""
        for item in error.items:
            text = item if where in item or not where else f"{where}: {item}"
            if text not in self.items[-_COMPARED:]:
                self.items.append(text)

    def count_parts(self, number: int) -> None:
        """So many parts of tuples were handed on; tuples of tuples may multiply a small file."""
        self._parts += number
        if self._parts > self.limits.tuple_parts:
            raise LimitError(
                f"the model hands on more than {self.limits.tuple_parts} parts of tuples; "
                "raise the limit tuple_parts"
            )

    # --- parameters and constants --------------------------------------------------------

    def parameter(self, name: str) -> Constant:
        """What the file holds for a parameter."""
        if name not in self._parameters:
            proto = self.model.parameters[name]
            held: Array | LazyArray = self.tensors.lazy(proto, f"parameter {name!r}")
            self._parameters[name] = Constant(held, name)
        return self._parameters[name]

    def read_parameter(self, name: str, state: Mapping[str, Item] | None = None) -> Item:
        """What a parameter holds in ``state``, by default now."""
        found = (self.state if state is None else state).get(name)
        return found if found is not None else self.parameter(name)

    def write_parameter(self, name: str, item: Item) -> None:
        """Let a parameter hold ``item`` from now on."""
        self.state = {**self.state, name: item}

    def _constant(self, name: str) -> Item:
        if name not in self._constants:
            proto = self.model.constants[name]
            values = [a for a in proto.attribute if a.name == "value"] or list(proto.attribute)
            if not values:
                raise ModelError(f"the constant {name!r} has no value")
            item = attribute_item(values[0], self.tensors, f"constant {name!r}")
            if isinstance(item, Constant):
                item = Constant(item.array, name.rpartition(":")[2] or name)
            self._constants[name] = item
        return self._constants[name]

    # --- names ---------------------------------------------------------------------------

    def lookup(self, name: str, where: str) -> Item:
        """What ``name`` stands for: in this call, around it, or in the whole model."""
        frame: Frame | None = self._frames[-1] if self._frames else None
        while frame is not None:
            if name in frame.names:
                return frame.names[name]
            frame = frame.caller
        if name in self.model.constants:
            return self._constant(name)
        if name in self.model.references:
            return Reference(self.model.references[name])
        if name in self.model.graphs:
            return Function(name)
        raise ModelError(f"{where} reads {name!r}, which nothing defines before it")

    def entry_state(self) -> Mapping[str, Item]:
        """The state at which the graph being read was entered."""
        return self._frames[-1].entry if self._frames else {}

    # --- calls ---------------------------------------------------------------------------

    def apply(self, callee: Item, arguments: tuple[Item, ...], region: Region) -> Item:
        """Call a function item; the result may be an Again or a Fork, see control.py."""
        if isinstance(callee, Missing):
            return MISSING
        if isinstance(callee, Function):
            return self.call(callee.name, (*callee.bound, *arguments), region)
        if isinstance(callee, Given):
            return callee.result
        if isinstance(callee, Choice):
            return control.call_choice(self, callee, arguments, region)
        raise ModelError(f"{type(callee).__name__} is called, which is not a function")

    def call(self, name: str, arguments: tuple[Item, ...], region: Region) -> Item:
        """Call a graph of the file; one that calls itself is read as a loop."""
        if name in self.active:
            return Again(name, arguments)
        if self.model.reaches(name, name, frozenset(self.active)):
            return plain_loop.read_loop(self, name, arguments, region)
        return self.enter(name, arguments, region)

    def enter(self, name: str, arguments: tuple[Item, ...], region: Region) -> Item:
        """Read a graph's nodes into ``region`` with these arguments; returns its result."""
        graph = self.model.graphs[name]
        if len(arguments) < len(graph.inputs):
            raise ModelError(
                f"the graph {name!r} takes {len(graph.inputs)} arguments, "
                f"{len(arguments)} are given"
            )
        if any(isinstance(a, Monad) for a in arguments[len(graph.inputs) :]):
            arguments = arguments[: len(graph.inputs)]
        if len(arguments) > len(graph.inputs):
            raise ModelError(
                f"the graph {name!r} takes {len(graph.inputs)} arguments, "
                f"{len(arguments)} are given"
            )
        if len(self._frames) >= MAXIMUM_DEPTH:
            raise LimitError(f"{name!r}: calls nest deeper than {MAXIMUM_DEPTH}")
        frame = Frame(graph, self.state, self._frames[-1] if self._frames else None)
        frame.names.update(zip(graph.inputs, arguments, strict=True))
        self._frames.append(frame)
        try:
            for proto in graph.nodes:
                self._read_node(proto, frame, region)
            found = tuple(self.lookup(output, f"graph {name!r}") for output in graph.outputs)
        finally:
            self._frames.pop()
        return found[0] if len(found) == 1 else found

    # --- nodes ---------------------------------------------------------------------------

    def _read_node(self, proto: Any, frame: Frame, region: Region) -> None:
        self._nodes += 1
        if self._nodes > self._most_nodes:
            raise LimitError(
                f"the model has more than {self._most_nodes} nodes when its calls are put in "
                "place; raise the limits nodes and called_nodes"
            )
        kind, target = self.model.resolve(proto)
        where = f"{target if kind == 'primitive' else 'call'} {label(proto)!r}"
        try:
            inputs = [self.lookup(name, where) for name in proto.input]
            if kind == "primitive":
                result = self._run(target, inputs, proto, frame, region, where)
            elif kind == "graph":
                result = self.call(target, tuple(inputs), region)
            else:
                result = self.apply(self.lookup(target, where), tuple(inputs), region)
        except UnsupportedError as error:
            self.refuse(error, where)
            result = MISSING
        except ModelError as error:
            text = str(error)
            raise type(error)(text if where in text else f"{where}: {text}") from error
        except _UNFIT as error:
            raise ModelError(f"{where}: its inputs do not fit the primitive: {error}") from error
        for name in proto.output[:1]:
            frame.names[name] = result

    def _run(
        self,
        name: str,
        inputs: Sequence[Item],
        proto: Any,
        frame: Frame,
        region: Region,
        where: str,
    ) -> Item:
        entry = registry.find(name)
        if entry is None:
            raise UnsupportedError(f"there is no reader for the primitive {name}")
        context = Context(self, frame, region, proto, where)
        if not entry.plumbing:
            inputs = [item for item in inputs if not isinstance(item, Monad)]
            found = leaves(tuple(inputs), self.count_parts)
            for leaf in found:
                if isinstance(leaf, Missing):
                    return MISSING
                if isinstance(leaf, (Again, Fork, Part)):
                    raise UnsupportedError(
                        "the result of a recursive call is used for more than the next iteration"
                    )
        if entry.variadic:
            return context.item(entry.function(context, *inputs))
        values = self._bind(entry, context, inputs, proto, where)
        result = context.item(entry.function(context, *values))
        return result if entry.plumbing else self._as_declared(context, result, proto)

    def _as_declared(self, context: Context, result: Item, proto: Any) -> Item:
        """Whole numbers in the integer type that the file declares for the node's result.

        The types of indices and counts changed between MindSpore's versions.
        """
        declared = declared_types(proto)
        items = result if isinstance(result, tuple) else (result,)
        if len(declared) != len(items):
            return result
        if not any(isinstance(item, Tensor) for item in items):
            return result
        found = []
        for item, dtype in zip(items, declared, strict=True):
            if isinstance(item, Tensor) and dtype and item.region is context.region:
                held = context.dtype(item.value)
                if held != dtype and is_integer(held) and is_integer(dtype):
                    item = context.item(context.cast(item.value, dtype))
            found.append(item)
        return tuple(found) if isinstance(result, tuple) else found[0]

    def _bind(
        self,
        entry: registry.Entry,
        context: Context,
        inputs: Sequence[Item],
        proto: Any,
        where: str,
    ) -> list[Any]:
        given = list(inputs)
        if len(given) > len(entry.parameters):
            raise UnsupportedError(
                f"the primitive has {len(given)} inputs; {len(entry.parameters)} are known"
            )
        attributes: Mapping[str, Item] | None = None
        values: list[Any] = []
        for position, parameter in enumerate(entry.parameters):
            what = f"{where}: {parameter.name}"
            if position < len(given):
                item = given[position]
            else:
                if attributes is None:
                    attributes = self.attributes(proto, where)
                names = [n for n in (parameter.name, *parameter.other_names) if n in attributes]
                if not names and parameter.default is REQUIRED:
                    raise ModelError(f"{what} is missing")
                if not names:
                    values.append(parameter.default)
                    continue
                item = attributes[names[0]]
            if position < len(given) and item is None and parameter.default is not REQUIRED:
                values.append(parameter.default)
            else:
                values.append(converted(context, parameter.kind, item, what))
        return values

    def attributes(self, proto: Any, where: str) -> Mapping[str, Item]:
        """The settings of a node: of its primitive, and its own (up to 1.6)."""
        primitive = self.model.primitive_of(proto)
        if primitive is None:
            # Without a structure text "shape" is the type of the node's result.
            own = [a for a in proto.attribute if a.name != "shape" or a.ref_attr_name]
            return self._decoded(own, where)
        if primitive.name not in self._attributes:
            self._attributes[primitive.name] = self._decoded(primitive.attribute, where)
        return self._attributes[primitive.name]

    def _decoded(self, protos: Sequence[Any], where: str) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for proto in protos:
            if proto.name in _IGNORED or not proto.name:
                continue
            try:
                found[proto.name] = attribute_item(proto, self.tensors, where)
            except UnsupportedError:
                # Attributes that a reader asks for have kinds that are known; others may not.
                continue
        return found


# What a reader may run into where a file gives a primitive operands of other ranks and kinds.
_UNFIT = (
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    ZeroDivisionError,
    OverflowError,
)

# Attributes that say nothing about the result.
_IGNORED = {
    "input_names",
    "output_names",
    "side_effect_propagate",
    "side_effect_mem",
    "side_effect_io",
    "primitive_target",
    "SrcT",
    "DstT",
}


def label(proto: Any) -> str:
    """How a node is called in messages: its scope, else its output."""
    name = str(proto.domain or "")
    if not name or name.isdigit():
        name = str(proto.output[0]) if len(proto.output) else str(proto.name)
    return name
