"""A graph as text that reads back to an equal graph: for tests of passes, reports and people.

::

    graph example {
      symbol n: 1 .. 8
      input x: float32[n, 3]
      param w: float32[3, 2] = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5]
      y: float32[n, 2] = matmul(x, w, transpose_a=False, transpose_b=False)
      output result = y
    }

One node a line, with the types of its results. ``y[1]`` is the second result of ``y``. Names
that are not identifiers are quoted, ``symbol("a.0")`` is a symbol with such a name. Graphs that
are attributes follow their node in braces. Parameters of more than 16 elements are written as
``digest`` of their content; reading takes their arrays from outside. Lines that begin with
``#`` say nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .data_type import Array
from .dim import Symbol, symbols_of
from .errors import Error, ModelError
from .graph import Graph
from .node import INPUT, PARAMETER, Equality, LazyArray, Node, Value, read_array
from .op import Op
from .tensor_type import TensorType
from .text_values import (
    Symbols,
    array_text,
    digest_of,
    expression,
    extent_text,
    is_plain,
    name_text,
    quoted,
    read_array_text,
    read_extents,
    read_type,
    read_value,
    shortened,
    type_text,
    value_text,
)

_INLINE_ELEMENTS = 16
_MAXIMUM_NESTING = 32
_STATEMENTS = frozenset({"graph", "symbol", "input", "param", "measure", "equal", "output"})

Arrays = Mapping[str, Array | LazyArray]


# --- writing -----------------------------------------------------------------------------


def print_graph(graph: Graph, *, digests: bool = True) -> str:
    """``graph`` as text; without ``digests`` no large parameter is read, only named."""
    symbols: dict[str, Symbol] = {}
    for symbol in sorted(_symbols(graph)):
        symbols.setdefault(symbol.name, symbol)
    lines = _graph_lines(graph, "graph", symbols, digests)
    declared = [f"  symbol {_bounds(s)}" for s in symbols.values() if s != Symbol(s.name)]
    return "\n".join([next(lines), *declared, *lines]) + "\n"


def _symbols(graph: Graph) -> set[Symbol]:
    """All symbols in a graph, those of graphs in attributes too."""
    found: set[Symbol] = set()
    for node in graph.nodes():
        found |= symbols_of((*(type_.shape for type_ in node.types), node.attrs))
        for value in node.attrs.values():
            if isinstance(value, Graph):
                found |= _symbols(value)
    for equality in graph.equalities:
        found |= symbols_of((equality.left, equality.right))
    return found


def _bounds(symbol: Symbol) -> str:
    upper = "" if symbol.upper is None else f" {symbol.upper}"
    return f"{name_text(symbol.name)}: {symbol.lower} ..{upper}"


def _graph_lines(graph: Graph, opening: str, symbols: Symbols, digests: bool) -> Iterator[str]:
    yield f"{opening} {name_text(graph.name)} {{"
    sources: dict[str, list[str]] = {}
    for name, (value, position) in graph.symbols.items():
        line = f"  measure {name_text(name)} = {_reference(value)} at {position}"
        sources.setdefault(value.node, []).append(line)
    inputs = [graph.node(value.node) for value in graph.inputs]
    for node in (*inputs, *(node for node in graph.nodes() if node.op is not INPUT)):
        yield from _node_lines(graph, node, symbols, digests)
        yield from sources.get(node.name, ())
    for equality in graph.equalities:
        sides = [extent_text(side, symbols) for side in (equality.left, equality.right)]
        yield f"  equal {', '.join(sides)} for {name_text(equality.node)}"
    for value, name in zip(graph.outputs, graph.output_names, strict=True):
        yield f"  output {name_text(name)} = {_reference(value)}"
    yield "}"


def _reference(value: Value | None) -> str:
    if value is None:
        return "None"
    return name_text(value.node) + (f"[{value.index}]" if value.index else "")


def _node_name(name: str) -> str:
    """A node's name at the start of a line, where some words mean something else."""
    return quoted(name) if name in _STATEMENTS else name_text(name)


def _node_lines(graph: Graph, node: Node, symbols: Symbols, digests: bool) -> Iterator[str]:
    types = ", ".join(type_text(type_, symbols) for type_ in node.types)
    if node.op is INPUT:
        yield f"  input {name_text(node.name)}: {types}"
        return
    if node.op is PARAMETER:
        content = _content_text(graph.params[node.name], digests)
        yield f"  param {name_text(node.name)}: {types} = {content}"
        return
    bodies = {key: value for key, value in node.attrs.items() if isinstance(value, Graph)}
    arguments = [_reference(value) for value in node.inputs]
    arguments += [
        f"{key}={value_text(value, symbols)}"
        for key, value in node.attrs.items()
        if key not in bodies
    ]
    call = f"{name_text(node.op.name)}({', '.join(arguments)})"
    yield f"  {_node_name(node.name)}: {types} = {call}{' {' if bodies else ''}"
    for key, body in bodies.items():
        for line in _graph_lines(body, f"{key} = graph", symbols, digests):
            yield f"    {line}"
    if bodies:
        yield "  }"


def _content_text(held: Array | LazyArray, digests: bool) -> str:
    type_ = held.type if isinstance(held, LazyArray) else TensorType.of(held)
    small = isinstance(type_.size, int) and type_.size <= _INLINE_ELEMENTS
    if not digests and (isinstance(held, LazyArray) or not small):
        return "..."
    array = read_array(held)
    text = array_text(array) if small else None
    return text or f"digest {quoted(digest_of(array))}"


def large_parameters(graph: Graph) -> dict[str, Array | LazyArray]:
    """The arrays that text leaves out, by digest: what ``parse_graph`` needs besides the text."""
    found: dict[str, Array | LazyArray] = {}
    for held in graph.params.values():
        array = read_array(held)
        if array.size > _INLINE_ELEMENTS or array_text(array) is None:
            found[digest_of(array)] = held
    for node in graph.operators():
        for value in node.attrs.values():
            if isinstance(value, Graph):
                found |= large_parameters(value)
    return found


# --- reading -----------------------------------------------------------------------------


def parse_graph(text: str, operators: Mapping[str, Op], params: Arrays | None = None) -> Graph:
    """The graph that ``text`` describes, with operators found by name.

    ``params`` has the arrays that the text does not, by digest or by the parameter's name.
    Raises ModelError with the number of the line where the text is not right: types that
    inference does not confirm and arrays with another digest are such errors too.
    """
    reader = _Reader(text, operators, params or {})
    try:
        return reader.whole()
    except Error as error:
        raise type(error)(f"line {reader.number}: {error}") from error
    except RecursionError:
        raise ModelError(f"line {reader.number}: the expression is nested too deeply") from None


class _Reader:
    def __init__(self, text: str, operators: Mapping[str, Op], params: Arrays) -> None:
        self.lines = text.split("\n")
        self.number = 0  # of the line read last
        self.operators, self.params = operators, params
        self.symbols: dict[str, Symbol] = {}

    def whole(self) -> Graph:
        opening = self._next()
        if not opening.startswith("graph ") or not opening.endswith("{"):
            raise ModelError("a graph begins with a line such as: graph name {")
        graph = self._graph(opening[len("graph ") : -1], 1)
        while self.number < len(self.lines):
            self.number += 1
            if _says_something(self.lines[self.number - 1]):
                raise ModelError("there is text after the graph")
        return graph

    def _next(self) -> str:
        while self.number < len(self.lines):
            self.number += 1
            line = self.lines[self.number - 1].strip()
            if _says_something(line):
                return line
        raise ModelError("the text ends inside a graph")

    def _graph(self, name: str, depth: int) -> Graph:
        if depth > _MAXIMUM_NESTING:
            raise ModelError(f"graphs are nested more than {_MAXIMUM_NESTING} deep")
        graph = Graph(_read_name(name))
        equalities: list[Equality] = []
        while (line := self._next()) != "}":
            word, _, rest = line.partition(" ")
            if word not in _STATEMENTS:
                self._node(graph, line, depth)
            elif word == "symbol":
                self._declare(rest)
            elif word == "equal":
                equalities.append(self._equality(graph, rest))
            elif word == "output":
                name, value = _parted(rest, " = ")
                graph.output(_read_reference(expression(value)), _read_name(name))
            elif word == "measure":
                self._measure(graph, rest)
            elif word == "graph":
                raise ModelError("a graph inside a graph is an attribute: key = graph name {")
            else:
                self._given(graph, word, rest)
        # Inference has recorded assumptions already; none gets lost, text may have more.
        inferred = graph.equalities
        graph.assume([*inferred, *(e for e in equalities if e not in inferred)])
        return graph

    def _declare(self, text: str) -> None:
        name, bounds = _parted(text, ": ")
        lower, _, upper = bounds.partition("..")
        try:
            limits = int(lower), int(upper) if upper.strip() else None
        except ValueError:
            raise ModelError(f"{shortened(bounds)} are no bounds such as 1 .. 8") from None
        symbol = Symbol(_read_name(name), *limits)
        if self.symbols.setdefault(symbol.name, symbol) != symbol:
            raise ModelError(f"symbol {symbol.name!r} is declared twice")

    def _equality(self, graph: Graph, text: str) -> Equality:
        sides, name = _parted(text, " for ")
        extents = read_extents(sides, self.symbols)
        if len(extents) != 2:
            raise ModelError("two extents are equal, as in: equal n, m + 1 for node")
        return Equality(*extents, graph.node(_read_name(name)).name)

    def _measure(self, graph: Graph, text: str) -> None:
        name, source = _parted(text, " = ")
        value, position = _parted(source, " at ")
        name = _read_name(name)
        if name in graph.symbols:
            raise ModelError(f"symbol {name!r} is measured twice")
        if not position.strip().isdecimal():
            raise ModelError(f"{shortened(position)} is no position in a tensor")
        graph.measure(_read_reference(expression(value)), int(position), name)

    def _given(self, graph: Graph, word: str, text: str) -> None:
        name, rest = _parted(text, ": ")
        name = _read_name(name)
        if word == "input":
            graph.input(name, read_type(rest, self.symbols))
            return
        type_text_, content = _parted(rest, " = ")
        graph.param(
            self._content(name, read_type(type_text_, self.symbols), content.strip()), name, True
        )

    def _content(self, name: str, type_: TensorType, text: str) -> Array | LazyArray:
        if text != "..." and not text.startswith("digest "):
            return read_array_text(text, type_)
        digest = "" if text == "..." else _read_name(text[len("digest ") :])
        held = self.params.get(digest, self.params.get(name))
        if held is None:
            what = f" with the digest {digest}" if digest else ""
            raise ModelError(f"parameter {name!r} needs an array{what}; none is given for it")
        given = held.type if isinstance(held, LazyArray) else TensorType.of(held)
        if given != type_:
            raise ModelError(f"parameter {name!r} is {type_}; the array given for it is {given}")
        if isinstance(held, LazyArray):
            return LazyArray(type_, lambda: _verified(name, read_array(held), digest))
        return _verified(name, held, digest)

    def _node(self, graph: Graph, line: str, depth: int) -> None:
        name, rest = _parted(line, ": ")
        types_text, call = _parted(rest, " = ")
        name = _read_name(name)
        nested = call.endswith("{")
        node = expression(call[:-1] if nested else call)
        if not isinstance(node, ast.Call):
            raise ModelError(f"{shortened(call)} is no operator with operands in parentheses")
        inputs = [_read_operand(argument) for argument in node.args]
        attrs: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise ModelError("attributes are spelled out")
            attrs[keyword.arg] = read_value(keyword.value, self.symbols)
        op = self._operator(node.func)
        number = self.number
        while nested and (line := self._next()) != "}":
            key, opening = _parted(line, " = ")
            if not opening.startswith("graph ") or not opening.endswith("{"):
                raise ModelError("here belongs a graph: key = graph name {")
            attrs[key.strip()] = self._graph(opening[len("graph ") : -1], depth + 1)
        self.number, number = number, self.number  # errors from here on are of the node's line
        if name in graph:
            raise ModelError(f"there are two nodes called {name!r}")
        added = graph.add_node(op, inputs, attrs, name)
        declared = [read_type(part, self.symbols) for part in _split(types_text, ", ")]
        if list(added.types) != declared:
            inferred = ", ".join(map(str, added.types))
            raise ModelError(f"inference gives {inferred}; the text says {types_text.strip()}")
        self.number = number

    def _operator(self, node: ast.expr) -> Op:
        name = _name_of(node)
        if name not in self.operators:
            raise ModelError(f"there is no operator {name!r}")
        return self.operators[name]


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[()\[\]]|[^"()\[\]]', re.DOTALL)


def _split(text: str, separator: str, most: int = -1) -> list[str]:
    """The parts of ``text`` between separators outside brackets and quotes."""
    parts, start, depth = [], 0, 0
    position = 0
    while position < len(text) and most != 0:
        if depth == 0 and text.startswith(separator, position):
            parts.append(text[start:position])
            position = start = position + len(separator)
            most -= 1
            continue
        token = _TOKEN.match(text, position)
        if token is None:
            raise ModelError("a quotation mark has no partner")
        depth += (token.group() in ("(", "[")) - (token.group() in (")", "]"))
        position = token.end()
    return [*parts, text[start:]]


def _parted(text: str, separator: str) -> tuple[str, str]:
    parts = _split(text, separator, 1)
    if len(parts) != 2:
        raise ModelError(f"{separator.strip()!r} is missing in: {shortened(text)}")
    return parts[0], parts[1]


def _read_name(text: str) -> str:
    text = text.strip()
    return text if is_plain(text) else _name_of(expression(text))


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ModelError(f"{shortened(ast.unparse(node))} is no name")


def _read_reference(node: ast.expr) -> Value:
    if isinstance(node, ast.Subscript):
        index = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if type(index) is int:
            return Value(_name_of(node.value), index)
    return Value(_name_of(node))


def _read_operand(node: ast.expr) -> Value | None:
    absent = isinstance(node, ast.Constant) and node.value is None
    return None if absent else _read_reference(node)


def _verified(name: str, array: Array, digest: str) -> Array:
    if digest and digest_of(array) != digest:
        raise ModelError(f"the array given for parameter {name!r} has another digest: its content")
    return array
