"""Reading the nodes of a graph, a subgraph or a function into an opweave Graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ...ir import (
    REQUIRED,
    Array,
    Graph,
    LimitError,
    ModelError,
    TensorType,
    UnsupportedError,
    Value,
)
from ..builder import Place
from ..shape_values import ShapeValues, needs_run
from . import functions, registry
from .attributes import attribute_value, check_type
from .context import Context
from .reading import Reading
from .sequences import TensorSequence

# What a name stands for; None: something before it is not supported.
Named: TypeAlias = Value | TensorSequence | None


class Scope:
    """Names of one ONNX graph or function body while its nodes are read.

    A name bound to None stands for a value that could not be read because something
    before it is not supported.
    """

    def __init__(
        self,
        session: Reading,
        place: Place,
        opsets: Mapping[str, int],
        parent: Scope | None = None,
        bindings: Mapping[str, Any] | None = None,
        depth: int = 0,
        path: str = "",
    ) -> None:
        if depth > session.limits.subgraph_depth:
            raise LimitError(
                f"{path}: subgraphs and functions nest deeper than {session.limits.subgraph_depth}"
            )
        self.session, self.place, self.opsets = session, place, opsets
        self.parent, self.bindings, self.depth, self.path = parent, bindings or {}, depth, path
        self.names: dict[str, Named] = {}
        # Captured values of the surrounding graph; names of this graph hide them.
        self.outer_names: dict[str, Value | None] = {}

    # --- names ---------------------------------------------------------------------------

    def bind(self, name: str, value: Named) -> None:
        """Give ``name`` a value; raises ModelError when it already has one."""
        if not name:
            return
        if name in self.names:
            raise ModelError(f"{self.path}the value {name!r} is defined twice")
        self.names[name] = value

    def has(self, name: str) -> bool:
        """True when ``name`` is bound here or around here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names or name in scope.outer_names:
                return True
            scope = scope.parent
        return False

    def lookup(self, name: str, where: str) -> Value | None:
        """The tensor called ``name``; None when what it depends on is not supported."""
        found = self.operand(name, where)
        if isinstance(found, TensorSequence):
            raise UnsupportedError(f"{where}: the sequence {name!r} in this place")
        return found

    def operand(self, name: str, where: str) -> Named:
        """The tensor or sequence called ``name``."""
        scope: Scope | None = self
        while scope is not None and scope.place is self.place:
            if name in scope.names:
                return scope.names[name]
            if name in scope.outer_names:
                return scope.outer_names[name]
            scope = scope.parent
        raise ModelError(
            f"{where} reads {name!r}, which is not defined before it (nodes must be sorted, and "
            f"a graph must not have cycles)"
        )

    # --- reading -------------------------------------------------------------------------

    def read_initializers(self, proto: Any) -> set[str]:
        """Bind the graph's constants; returns their names."""
        names: set[str] = set()
        for tensor in proto.initializer:
            self._initializer(tensor.name, tensor, names, sparse=False)
        for tensor in proto.sparse_initializer:
            self._initializer(tensor.values.name, tensor, names, sparse=True)
        return names

    def _initializer(self, name: str, tensor: Any, names: set[str], sparse: bool) -> None:
        what = f"{self.path}initializer {name!r}"
        if not name:
            raise ModelError(f"{self.path}an initializer has no name")
        names.add(name)
        try:
            read = self.session.tensors.sparse if sparse else self.session.tensors.lazy
            self.bind(name, self.place.graph.param(read(tensor, what), name))
        except UnsupportedError as error:
            self.session.refuse(error, what)
            self.bind(name, None)

    def read_nodes(self, nodes: Iterable[Any]) -> None:
        """Read nodes in order."""
        for node in nodes:
            self.session.count_node()
            self._read_node(node)

    def _read_node(self, proto: Any) -> None:
        where = f"{self.path}{proto.op_type or '(no operator)'} {_label(proto)!r}"
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        try:
            results = self._results(proto, domain, where)
        except UnsupportedError as error:
            self.session.refuse(error, where)
            results = (None,) * len(proto.output)
        except ModelError as error:
            text = str(error)
            raise type(error)(text if where in text else f"{where}: {text}") from error
        except RecursionError:
            raise LimitError(f"{where}: nested too deeply") from None
        for name, value in zip(proto.output, results, strict=True):
            self.bind(name, value)

    def _results(self, proto: Any, domain: str, where: str) -> Sequence[Named]:
        local = self.session.functions.get((domain, proto.op_type, proto.overload))
        if domain not in self.opsets:
            if local is None and not registry.versions(domain, proto.op_type):
                raise UnsupportedError(f"{proto.op_type} ({registry.shown(domain)}): no reader")
            opset = 1
        else:
            opset = self.opsets[domain]
        schema = functions.schema_of(domain, proto.op_type, opset)
        since = schema.since_version if schema is not None else 1
        entry = None if local is not None else registry.find(domain, proto.op_type, since)
        inputs = [self.operand(name, where) if name else None for name in proto.input]
        poisoned = any(n and v is None for n, v in zip(proto.input, inputs, strict=True))
        if local is None and entry is None and not functions.has_body(schema):
            raise registry.missing(domain, proto.op_type, schema and schema.since_version, opset)
        if poisoned or any(not self._free_ok(a) for a in proto.attribute):
            return [None] * len(proto.output)
        context = Context(self, proto, where, opset)
        attributes = self._attributes(proto, schema, where)
        if local is not None:
            return self._inline(local, inputs, attributes, proto, where)
        if entry is None:
            if any(isinstance(value, TensorSequence) for value in inputs):
                raise UnsupportedError(f"{proto.op_type} of sequences")
            types = [context.type(v) if isinstance(v, Value) else None for v in inputs]
            body = functions.standard_body(schema, proto, attributes.values(), opset, types)
            if body is None:
                raise registry.missing(domain, proto.op_type, since, opset)
            defaults = functions.default_attributes(schema)
            return self._inline(body, inputs, {**defaults, **attributes}, proto, where)
        return self._read_with(entry, context, inputs, attributes, where)

    def _free_ok(self, attribute: Any) -> bool:
        """False when a subgraph reads a value that is not supported."""
        graphs = [attribute.g] if attribute.HasField("g") else []
        for graph in [*graphs, *attribute.graphs]:
            for name in functions.free_names(graph, self.session.limits.subgraph_depth):
                if self.has(name) and self.lookup(name, self.path) is None:
                    return False
        return True

    def _attributes(self, proto: Any, schema: Any, where: str) -> dict[str, Any]:
        """The node's AttributeProtos by name, references to the function's attributes bound."""
        found: dict[str, Any] = {}
        for given in proto.attribute:
            attribute, name = given, given.name
            if given.ref_attr_name:
                bound = self.bindings.get(given.ref_attr_name)
                if bound is None:
                    continue  # left out by the caller: the operator's default holds
                attribute = type(given)()
                attribute.CopyFrom(bound)
                attribute.name = name
            if name in found:
                raise ModelError(f"{where}: attribute {name!r} is given twice")
            if schema is not None:
                if name not in schema.attributes:
                    raise UnsupportedError(f"attribute {name!r} is not known")
                check_type(attribute, functions.attribute_kind(schema, name), where)
            found[name] = attribute
        return found

    def _read_with(
        self,
        entry: registry.Entry,
        context: Context,
        inputs: list[Named],
        attributes: Mapping[str, Any],
        where: str,
    ) -> Sequence[Named]:
        if not entry.sequences and any(isinstance(value, TensorSequence) for value in inputs):
            raise UnsupportedError(f"{context.proto.op_type} of sequences")
        while inputs and inputs[-1] is None and len(inputs) > entry.minimum:
            inputs.pop()
        if len(inputs) < entry.minimum or (
            entry.maximum is not None and len(inputs) > entry.maximum
        ):
            raise ModelError(f"{where}: the node has {len(inputs)} inputs")
        for position, needed in enumerate(entry.required):
            if needed and inputs[position] is None:
                raise ModelError(f"{where}: input {position} is missing")
        if None in inputs[len(entry.required) :]:
            raise ModelError(f"{where}: an input in the list of inputs is missing")
        unknown = [name for name in attributes if name not in entry.attributes]
        if unknown:
            raise UnsupportedError(f"attribute {', '.join(map(repr, unknown))} is not supported")
        values = {
            name: attribute_value(proto, self.session.tensors, where)
            for name, proto in attributes.items()
        }
        required = (name for name, default in entry.attributes.items() if default is REQUIRED)
        missing = [name for name in required if name not in values]
        if missing:
            raise ModelError(f"{where}: attribute {', '.join(map(repr, missing))} is missing")
        results = entry.function(context, *inputs, **values)
        single = isinstance(results, (Value, TensorSequence))
        listed: list[Named] = [results] if single else list(results)
        count = len(context.proto.output)
        if count > len(listed) and any(context.proto.output[len(listed) :]):
            raise ModelError(f"{where}: the node has {count} outputs, not {len(listed)}")
        listed += [None] * (count - len(listed))
        for name, value in zip(context.proto.output, listed, strict=False):
            if name and value is None:
                raise UnsupportedError(f"output {name!r} is not supported")
        return listed[:count]

    # --- functions -----------------------------------------------------------------------

    def _inline(
        self,
        body: Any,
        inputs: Sequence[Named],
        attributes: Mapping[str, Any],
        proto: Any,
        where: str,
    ) -> Sequence[Named]:
        """Read a function's nodes in place of the node that calls it."""
        key = (body.domain, body.name, body.overload)
        if key in self.session.calls:
            chain = " -> ".join(name for _, name, _ in [*self.session.calls, key])
            raise ModelError(f"{where}: functions call themselves: {chain}")
        if len(inputs) > len(body.input) or len(proto.output) > len(body.output):
            raise ModelError(f"{where}: it has more inputs or outputs than its function")
        opsets = functions.opsets_of(body.opset_import, self.opsets)
        bindings = {default.name: default for default in body.attribute_proto} | dict(attributes)
        scope = Scope(
            self.session, self.place, opsets, None, bindings, self.depth + 1, f"{where} / "
        )
        for name, value in zip(body.input, inputs, strict=False):
            scope.names[name] = value
        left_out = {n for n, v in zip(body.input, inputs, strict=False) if v is None}
        left_out.update(body.input[len(inputs) :])
        for name in left_out:
            scope.names.pop(name, None)
        self.session.calls.append(key)
        try:
            scope.read_nodes(functions.without_inputs(body.node, left_out))
        finally:
            self.session.calls.pop()
        return [
            scope.operand(inner, where) if name else None
            for name, inner in zip(proto.output, body.output, strict=False)
        ]

    # --- subgraphs -----------------------------------------------------------------------

    def inline_graph(self, proto: Any, where: str) -> list[Named]:
        """Read a subgraph without inputs into this very graph; returns its outputs."""
        if proto.input:
            raise ModelError(f"{where}: its subgraph must not have inputs")
        scope = Scope(
            self.session,
            self.place,
            self.opsets,
            self,
            self.bindings,
            self.depth + 1,
            f"{where} / ",
        )
        scope.read_initializers(proto)
        scope.read_nodes(proto.node)
        return [scope.operand(output.name, where) for output in proto.output]

    def captured(self, graphs: Sequence[Any]) -> list[str]:
        """Names of values around here that subgraphs use, each once, in order."""
        names: dict[str, None] = {}
        for graph in graphs:
            for name in functions.free_names(graph, self.session.limits.subgraph_depth):
                if self.has(name):
                    names[name] = None
        return list(names)

    def passed(self, captures: Sequence[str], where: str) -> list[Value]:
        """The captured values that a subgraph takes as inputs: all but parameters."""
        found = [self.lookup(name, where) for name in captures]
        graph = self.place.graph
        return [value for value in found if value is not None and not graph.is_param(value)]

    def open_subgraph(
        self, name: str, types: Sequence[TensorType], captures: Sequence[str], where: str
    ) -> tuple[Scope, list[Value]]:
        """A scope with a new Graph: inputs of ``types``, then the captures that are not parameters.

        Captured parameters are copied. Returns the scope and the inputs of ``types``.
        """
        self.session.places += 1
        graph = Graph(name or f"body{self.session.places}")
        known: dict[Value, Array | None] = {}
        shapes = ShapeValues(graph, f"b{self.session.places}.", known.get)
        scope = Scope(
            self.session,
            Place(graph, shapes),
            self.opsets,
            self,
            self.bindings,
            self.depth + 1,
            f"{where} / ",
        )
        inputs = [graph.input(f"in{position}", type_) for position, type_ in enumerate(types)]
        outer = self.place
        for position, captured in enumerate(captures):
            value = self.lookup(captured, where)
            if value is None:
                raise UnsupportedError(f"what {captured!r} depends on is not supported")
            if outer.graph.is_param(value):
                inner = graph.param(outer.graph.params[value.node], value.node)
            else:
                inner = graph.input(f"capture{position}", outer.graph.type(value))
                found = outer.shapes.contents(value)
                if found is not None and not any(map(needs_run, found.reshape(-1).tolist())):
                    known[inner] = found
            scope.outer_names[captured] = inner
        return scope, inputs

    def read_body(self, proto: Any, where: str) -> list[Value]:
        """Read a subgraph's nodes into this scope; returns its outputs."""
        self.read_initializers(proto)
        self.read_nodes(proto.node)
        found = [self.lookup(output.name, where) for output in proto.output]
        if any(value is None for value in found):
            raise UnsupportedError("its subgraph has operators that are not supported")
        return [value for value in found if value is not None]

    # --- the main graph ------------------------------------------------------------------

    def read_graph(self, proto: Any, fixed: Mapping[str, Array]) -> None:
        """Read the model's main graph: inputs (but ``fixed`` ones), constants, nodes, outputs."""
        constants = {t.name for t in proto.initializer}
        constants.update(t.values.name for t in proto.sparse_initializer)
        for value in proto.input:
            if value.name in fixed:
                self._fixed_input(value, fixed[value.name])
            elif value.name not in constants:
                self._input(value)
        self.read_initializers(proto)
        self.read_nodes(proto.node)
        for output in proto.output:
            what = f"the graph's output {output.name!r}"
            try:
                value = self.lookup(output.name, what)
            except UnsupportedError as error:
                self.session.refuse(error, what)
                continue
            if value is not None:
                self.place.graph.output(value, output.name)

    def _input(self, value: Any) -> None:
        what = f"input {value.name!r}"
        if not value.name:
            raise ModelError("an input of the graph has no name")
        try:
            type_ = self.session.declared_type(value.type, value.name, what)
        except UnsupportedError as error:
            self.session.refuse(error, what)
            self.bind(value.name, None)
            return
        if value.name in self.names:
            raise ModelError(f"the graph has two inputs {value.name!r}")
        self.bind(value.name, self.place.graph.input(value.name, type_))

    def _fixed_input(self, value: Any, array: Array) -> None:
        what = f"input {value.name!r}"
        declared = self.session.declared_type(value.type, value.name, what)
        given = TensorType.of(array)
        fits = zip(declared.shape, given.shape, strict=False)
        if (declared.dtype, declared.rank) != (given.dtype, given.rank) or any(
            isinstance(extent, int) and extent != size for extent, size in fits
        ):
            raise ModelError(f"{what} is {declared}; the constant given for it is {given}")
        self.bind(value.name, self.place.graph.param(array, value.name))


def _label(proto: Any) -> str:
    return str(proto.name or next((name for name in proto.output if name), ""))
