"""Operators as stages of a chain: what each needs to compute one row of its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ....ir import Call, Extent, Graph, Node, TensorType, Value, View
from ....ir.dim import product
from ....ir.node import PARAMETER
from ....ops.fused import fused
from ..dense.matmul import packed_matmul
from ..emitted import EmittedBody
from ..lowering import anchor_of, steps_of
from .convolution import spatial_convolution
from .depthwise import spatial_depthwise

_CONVOLUTIONS = (spatial_convolution, spatial_depthwise)


@dataclass(frozen=True, slots=True)
class Window:
    """The source rows that an output row needs: ``row * stride - pad`` and so on."""

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    pad: int = 0

    @property
    def reach(self) -> int:
        """Source rows from the first to the last that an output row needs."""
        return (self.kernel - 1) * self.dilation + 1

    def source_rows(self, rows: int) -> int:
        """Source rows that so many output rows need."""
        return (rows - 1) * self.stride + self.reach


@dataclass(frozen=True)
class Stage:
    """One operator of a chain.

    ``call`` has ``pieces`` items for one row. A convolution's call is that of the whole
    operator, and items are numbered by lines; a product's is that of a single row, and
    ``steps`` says by how many floats its operands move from row to row. ``operands`` are the
    places of its operands among the chain's, None for the stage before.
    """

    call: Call
    window: Window
    source_rows: int
    rows: int
    source_row: int  # floats
    row: int
    operands: tuple[int | None, ...]
    lines: Extent | None
    pieces: int
    steps: Mapping[int, int]

    @property
    def key(self) -> tuple[object, ...]:
        """What code that runs the stage depends on."""
        sizes = (self.source_rows, self.rows, self.source_row, self.row)
        views = [(view.source, view.shape) for view in self.call.operands]
        rest = (self.operands, self.lines, self.pieces, sorted(self.steps.items()))
        return (self.window, sizes, views, self.call.scalars, rest)


def stages_of(chain: Graph) -> list[Stage]:
    """The stages of a chain, in order."""
    places: dict[Value, int | None] = {value: k for k, value in enumerate(chain.inputs)}
    found = []
    for node in chain.operators():
        stage = stage_of(chain, node)
        assert stage is not None, "only stages are put in chains"
        operands = tuple(None if v is None else places[v] for v in node.inputs)
        found.append(replace(stage, operands=operands))
        places[node.outputs[0]] = None
    return found


def anchor(node: Node) -> Node | None:
    """The operator itself, or that of a fused group."""
    return anchor_of(node) if node.op is fused else node


def source_position(node: Node, operand: int = 0) -> int:
    """Which operand of the node is its anchor's source, or another operand of the anchor."""
    if node.op is not fused:
        return operand
    found = anchor(node)
    assert found is not None, "stages have an anchor"
    return node.attrs["group"].inputs.index(found.inputs[operand])  # type: ignore[no-any-return]


def stage_of(graph: Graph, node: Node) -> Stage | None:
    """The node as a stage, without its place in a chain; None if it cannot be one."""
    if node.op is not fused and "dot" not in node.op.traits:
        return None
    found = anchor(node)
    if found is None or found.op not in (packed_matmul, *_CONVOLUTIONS):
        return None
    type_ = node.types[0]
    if type_.rank != 4 or any(not isinstance(extent, int) for extent in type_.shape[1:]):
        return None
    source = node.inputs[source_position(node)]
    assert source is not None, "the source is there"
    source_type = graph.type(source)
    if any(not isinstance(extent, int) for extent in source_type.shape[1:]):
        return None
    if found.op is packed_matmul:
        return _product_stage(graph, node, source_type)
    return _convolution_stage(graph, node, found, source_type)


def _convolution_stage(graph: Graph, node: Node, found: Node, source: TensorType) -> Stage | None:
    out = node.types[0]
    attrs = found.attrs
    first = bool(attrs.get("channels_first"))
    window = Window(
        attrs["kernel"][0], attrs["strides"][0], attrs["dilations"][0], attrs["pads_begin"][0]
    )
    call = _only_call(graph, node)
    if call is None:
        return None
    lines = out.shape[0] * out.shape[1]
    pieces = call.items // lines
    if not isinstance(pieces, int):
        return None
    source_rows = int(source.shape[2 if first else 1])  # type: ignore[arg-type]
    source_row = 0 if first else _row(source)
    return Stage(
        call, window, source_rows, int(out.shape[1]), source_row, _row(out),  # type: ignore[arg-type]
        (), lines, pieces, {},
    )  # fmt: skip


def _product_stage(graph: Graph, node: Node, source: TensorType) -> Stage | None:
    """A product of one row of pixels; operands with rows are seen a row at a time."""
    out = node.types[0]
    found = anchor(node)
    assert found is not None, "stages have an anchor"
    names = [parameter.name for parameter in found.op.parameters]
    weights = {
        source_position(node, k)
        for k, v in enumerate(found.inputs)
        if k and v is not None and names[k] != "residual"
    }
    types: list[TensorType | None] = []
    steps: dict[int, int] = {len(node.inputs): _row(out)}
    for position, value in enumerate(node.inputs):
        if value is None:
            types.append(None)
            continue
        type_ = graph.type(value)
        if position in weights:
            types.append(type_)
        elif type_.shape[:3] == out.shape[:3] and type_.rank == 4:
            steps[position] = _row(type_)
            types.append(type_.with_shape((1, 1, *type_.shape[2:])))
        elif all(extent == 1 for extent in type_.shape[:-1]):
            types.append(type_)
        else:
            return None
    one = Graph(node.name)
    inputs = [None if type_ is None else one.input(f"x{k}", type_) for k, type_ in enumerate(types)]
    if node.op is fused:
        group = regrouped(node.attrs["group"], types)
        row_node = one.add_node(fused, inputs, {"group": group})
    else:
        row_node = one.add_node(node.op, inputs, node.attrs)
    call = _only_call(one, row_node)
    if call is None or not isinstance(call.items, int):
        return None
    rows = int(out.shape[1])  # type: ignore[arg-type]
    return Stage(call, Window(), rows, rows, _row(source), _row(out), (), None, call.items, steps)


def _row(type_: TensorType) -> int:
    return int(product(type_.shape[2:]))  # type: ignore[arg-type]


def _only_call(graph: Graph, node: Node) -> Call | None:
    """The one Call that computes a node, if it is generated code without scratch memory."""
    steps = steps_of(graph, node, None)
    calls = [call for step in steps for call in step.calls]
    if len(calls) != 1 or not isinstance(calls[0].body, EmittedBody):
        return None
    views: Sequence[View] = calls[0].operands
    return calls[0] if all(isinstance(view.source, int) for view in views) else None


def regrouped(
    group: Graph, types: Sequence[TensorType | None], dropped: frozenset[Value] = frozenset()
) -> Graph:
    """A copy of a fused group for inputs of other types; those that are dropped must be spare."""
    new = Graph(group.name)
    held: dict[Value, Value | None] = dict.fromkeys(dropped)
    for value, type_ in zip(group.inputs, types, strict=True):
        if value not in dropped:
            assert type_ is not None, "only dropped inputs have no type"
            held[value] = new.input(value.node, type_)
    for node in group.nodes():
        if node.op is PARAMETER:
            held[node.outputs[0]] = new.param(group.params[node.name], node.name)
    for node in group.operators():
        inputs = [None if value is None else held[value] for value in node.inputs]
        while inputs and inputs[-1] is None:
            inputs.pop()
        member = new.add_node(node.op, inputs, node.attrs, node.name, node.origin)
        new.annotate(member.name, node.note)
        held[node.outputs[0]] = member.outputs[0]
    result = held[group.outputs[0]]
    assert result is not None, "the result is not dropped"
    new.output(result, "result")
    return new
