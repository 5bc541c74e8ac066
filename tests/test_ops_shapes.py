"""Elementary operators on symbolic extents, and on operands that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from opweave.compiler.driver import compile_graph
from opweave.compiler.interpret import run_kernels, run_reference
from opweave.ir import Dim, Error, Extent, Graph, ModelError, TensorType, check, symbol
from opweave.ops.registry import operator_named
from opweave.ops.samples import tensor, values

N, M = symbol("n", 1), symbol("m", 1)


def graph_of(name: str, types: list[TensorType | None], attributes: dict[str, Any]) -> Graph:
    """A graph of one operator over its inputs; two more make n and m known."""
    graph = Graph(name)
    graph.input("n", floats(N))
    graph.input("m", floats(M))
    operands = [None if t is None else graph.input(f"x{k}", t) for k, t in enumerate(types)]
    for value in graph.add_node(operator_named(name), operands, attributes).outputs:
        graph.output(value)
    check(graph)
    return graph


def floats(*shape: Extent) -> TensorType:
    return TensorType("float32", shape)


def whole(*shape: Extent) -> TensorType:
    return TensorType("int64", shape)


SYMBOLIC: list[tuple[str, list[TensorType | None], dict[str, Any]]] = [
    ("add", [floats(N, 3), floats(N, 1)], {}),
    ("where", [TensorType("bool", (N, 1)), floats(N, M), floats(M)], {}),
    ("reshape", [floats(N, 6)], {"shape": (3, N, 2)}),
    ("transpose", [floats(N, 3, M)], {"permutation": (2, 0, 1)}),
    ("transpose", [floats(2, N, 3, M)], {"permutation": (0, 2, 1, 3)}),
    ("expand", [floats(N, 1)], {"shape": (M, N, 4)}),
    ("tile", [floats(N, 2)], {"repeats": (2, M)}),
    ("concat", [floats(N, 2), floats(M, 2), floats(N, 2)], {"axis": 0}),
    ("concat", [floats(N, M), floats(N, 2)], {"axis": 1}),
    ("slice", [floats(N + 2, M)], {"starts": (1, M - 1), "sizes": (N, M), "steps": (1, -1)}),
    ("slice", [floats(N, 3)], {"starts": (N - 1, 0), "sizes": (1, 2), "steps": (1, 2)}),
    ("pad", [floats(N, M)], {"before": (1, M), "after": (0, 2)}),
    ("pad", [floats(N, M), floats()], {"before": (1, M), "after": (0, 2)}),
    ("pad", [floats(N, M)], {"before": (1, M), "after": (N, 2), "mode": "reflect"}),
    ("pad", [floats(N + 2, M)], {"before": (-1, 0), "after": (1, 2), "mode": "edge"}),
    ("depth_to_space", [floats(N, 4 * M, 2, M)], {"block_size": 2}),
    ("space_to_depth", [floats(1, N, 2 * M, 2 * N)], {"block_size": 2}),
    ("reverse_sequence", [floats(N + 4, 3, M), whole(3)], {}),
    ("trilu", [floats(N, M)], {"diagonal": 1}),
    ("reduce_sum", [floats(N, 3, M)], {"axes": (1,)}),
    ("reduce_mean", [floats(N, 3, M)], {"axes": (0, 2)}),
    ("reduce_mean", [whole(N, M)], {"axes": (1,)}),
    ("reduce_max", [floats(N, M)], {"axes": (1,), "keepdims": False}),
    ("reduce_log_sum_exp", [floats(N, M, 2)], {"axes": (0,)}),
    ("reduce_log_sum_exp", [floats(N, M, 2)], {"axes": (1, 2)}),
    ("arg_max", [floats(N, M)], {"axis": 1}),
    ("arg_min", [floats(N, M)], {"axis": 0}),
    ("top_k", [floats(N + 2, M)], {"k": 2, "axis": 0}),
    ("top_k", [floats(N + 2, M)], {"k": N, "axis": 0}),
    ("cum_sum", [floats(N, M)], {"axis": 0}),
    ("cum_sum", [floats(N, M)], {"axis": 1, "exclusive": True}),
    ("gather", [floats(9, M), whole(N)], {"axis": 0}),
    ("gather_elements", [floats(9, M), whole(N, M)], {"axis": 0}),
    ("gather_nd", [floats(N, 9, M), whole(N, 2, 1)], {"batch_dims": 1}),
    ("scatter_elements", [floats(9, M), whole(N, M), floats(N, M)], {"axis": 0}),
    ("scatter_nd", [floats(9, M), whole(N, 1), floats(N, M)], {"reduction": "add"}),
    ("one_hot", [whole(N), floats(2)], {"depth": M}),
    ("range", [whole(), whole()], {"size": 5}),
    ("extents", [], {"values": (N, N * M, 7)}),
    ("nonzero", [TensorType("bool", (N, M))], {}),
    ("compress", [floats(N, M), TensorType("bool", (N,))], {"axis": 0}),
    ("unique", [whole(N)], {}),
]


def array_for(type_: TensorType, sizes: dict[str, int], seed: int) -> Any:
    shape = type_.substitute(sizes).static_shape
    if type_.dtype == "int64":
        return tensor(shape, "int64", -2, 2, seed) if shape != (3,) else values([0, 1, 4], "int64")
    return tensor(shape, type_.dtype, seed=seed)


@pytest.mark.parametrize("case", SYMBOLIC, ids=lambda case: case[0])
@pytest.mark.parametrize("target", ["plain", "cpu"])
def test_symbolic_extents(case: Any, target: str) -> None:
    name, types, attributes = case
    graph = graph_of(name, types, attributes)
    session = compile_graph(graph, "cpu") if target == "cpu" else None
    for sizes in ({"n": 3, "m": 5}, {"n": 1, "m": 1}, {"n": 2, "m": 40}):
        inputs = [tensor((sizes["n"],)), tensor((sizes["m"],))]
        inputs += [array_for(t, sizes, seed) for seed, t in enumerate(types) if t is not None]
        wanted = run_reference(graph, inputs)
        if session is None:
            found = run_kernels(graph, inputs)
        else:
            feed = {spec.name: a for spec, a in zip(session.inputs, inputs, strict=True)}
            found = session.run(None, feed)
        for mine, theirs in zip(found, wanted, strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


HOSTILE: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("gather", [tensor((3, 2)), values([0, 3], "int64")], {"axis": 0}),
    ("gather", [tensor((3, 2)), values([-4], "int32")], {"axis": 0}),
    ("gather", [tensor((3, 2)), values([2**40], "int64")], {"axis": 0}),
    ("gather", [tensor((3, 2)), values([-(2**63)], "int64")], {"axis": 0}),
    ("gather", [tensor((0, 2)), values([0], "int64")], {"axis": 0}),
    ("gather_elements", [tensor((3, 2)), values([[0, -4]], "int64")], {"axis": 0}),
    ("gather_elements", [tensor((3, 2)), values([[2**31 - 1, 0]], "int32")], {"axis": 0}),
    ("gather_nd", [tensor((3, 2)), values([[0, 2]], "int64")], {}),
    ("gather_nd", [tensor((3, 2)), values([[1, 0], [-4, 0]], "int64")], {}),
    ("scatter_elements", [tensor((3,)), values([3], "int64"), tensor((1,))], {}),
    ("scatter_elements", [tensor((3,)), values([-4], "int32"), tensor((1,))], {}),
    ("scatter_nd", [tensor((3,)), values([[3]], "int64"), tensor((1,))], {}),
    ("scatter_nd", [tensor((3, 2)), values([[0], [-(2**63)]], "int64"), tensor((2, 2))], {}),
    ("reverse_sequence", [tensor((3, 2)), values([4, 0], "int64")], {}),
    ("reverse_sequence", [tensor((3, 2)), values([0, -1], "int64")], {}),
    ("resolve_reshape", [values([2, 5], "int64")], {"input_shape": (2, 3)}),
    ("resolve_reshape", [values([-1, -1], "int64")], {"input_shape": (2, 3)}),
    ("resolve_reshape", [values([-1, 4], "int64")], {"input_shape": (2, 3)}),
    ("resolve_reshape", [values([-1, 0], "int64")], {"input_shape": (2, 0)}),
    ("resolve_reshape", [values([6, 1, 0], "int64")], {"input_shape": (2, 3)}),
    ("resolve_reshape", [values([2**32, 2**32], "int64")], {"input_shape": (0,)}),
    ("resolve_reshape", [values([-5], "int64")], {"input_shape": (5,)}),
    (
        "resolve_slice",
        [values([0], "int64"), values([2], "int64"), values([0], "int64")],
        {"extents": (3,)},
    ),
]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case[0])
@pytest.mark.parametrize("target", ["reference", "plain", "cpu"])
def test_operands_that_do_not_fit_are_errors(case: Any, target: str) -> None:
    name, operands, attributes = case
    inputs = [tensor((1,)), tensor((1,)), *operands]
    graph = graph_of(name, [TensorType.of(array) for array in operands], attributes)
    if target == "cpu":
        session = compile_graph(graph, "cpu")
        feed = {spec.name: array for spec, array in zip(session.inputs, inputs, strict=True)}
        with pytest.raises(Error, match=name.removeprefix("resolve_").split("_")[0]):
            session.run(None, feed)
        return
    with pytest.raises(ModelError):
        (run_reference if target == "reference" else run_kernels)(graph, inputs)


REFUSED: list[tuple[str, list[TensorType], dict[str, Any]]] = [
    ("add", [floats(2), floats(3)], {}),
    ("add", [floats(2), whole(2)], {}),
    ("add", [TensorType("bool"), TensorType("bool")], {}),
    ("sqrt", [whole(2)], {}),
    ("shift_left", [whole(2), whole(2)], {}),
    ("clip", [TensorType("uint8", (2,))], {"low": -1, "high": 5}),
    ("clip", [whole(2)], {}),
    ("clip", [floats(2)], {"low": float("nan")}),
    ("where", [floats(2), floats(2), floats(2)], {}),
    ("reshape", [floats(2, 3)], {"shape": (5,)}),
    ("transpose", [floats(2, 3)], {"permutation": (0, 0)}),
    ("expand", [floats(2, 3)], {"shape": (2, 4)}),
    ("expand", [floats(2, 3)], {"shape": (3,)}),
    ("expand", [floats(2, 3)], {"shape": (1, 3)}),
    ("tile", [floats(2)], {"repeats": (-1,)}),
    ("tile", [floats(2)], {"repeats": (1, 1)}),
    ("concat", [], {"axis": 0}),
    ("concat", [floats(), floats()], {"axis": 0}),
    ("concat", [floats(2, 3), floats(3, 4)], {"axis": 0}),
    ("concat", [floats(2), whole(2)], {"axis": 0}),
    ("slice", [floats(3)], {"starts": (0,), "sizes": (4,), "steps": (1,)}),
    ("slice", [floats(3)], {"starts": (-1,), "sizes": (1,), "steps": (1,)}),
    ("slice", [floats(3)], {"starts": (1,), "sizes": (3,), "steps": (-1,)}),
    ("slice", [floats(3)], {"starts": (0,), "sizes": (1,), "steps": (0,)}),
    ("slice", [floats(3)], {"starts": (3,), "sizes": (1,), "steps": (1,)}),
    ("pad", [floats(3)], {"before": (-2,), "after": (-2,)}),
    ("pad", [floats(0)], {"before": (1,), "after": (0,), "mode": "edge"}),
    ("pad", [floats(3)], {"before": (1,), "after": (0,), "mode": "mirror"}),
    ("pad", [floats(3), whole()], {"before": (1,), "after": (0,)}),
    ("depth_to_space", [floats(1, 6, 2, 2)], {"block_size": 2}),
    ("depth_to_space", [floats(1, 4, 2, 2)], {"block_size": 0}),
    ("space_to_depth", [floats(1, 4, 3, 2)], {"block_size": 2}),
    ("reduce_sum", [floats(2, 3)], {"axes": (0, -2)}),
    ("reduce_sum", [floats(2, 3)], {"axes": (2,)}),
    ("reduce_l2", [whole(2, 3)], {"axes": (0,)}),
    ("arg_max", [floats()], {"axis": 0}),
    ("arg_max", [floats(2, 0)], {"axis": 1}),
    ("top_k", [floats(3)], {"k": 4}),
    ("top_k", [floats(3)], {"k": -1}),
    ("gather", [floats(3), floats(2)], {}),
    ("gather", [floats(), whole(2)], {}),
    ("gather_elements", [floats(3, 2), whole(2)], {}),
    ("gather_elements", [floats(3, 2), whole(3, 3)], {"axis": 0}),
    ("gather_nd", [floats(3, 2), whole(2, 3)], {}),
    ("gather_nd", [floats(3, 2), whole(2, 1)], {"batch_dims": 1}),
    ("scatter_elements", [floats(3), whole(2), floats(3)], {}),
    ("scatter_elements", [floats(3), whole(2), floats(2)], {"reduction": "sub"}),
    ("scatter_nd", [floats(3, 2), whole(2, 1), floats(2)], {}),
    ("one_hot", [floats(2), floats(2)], {"depth": 3}),
    ("one_hot", [whole(2), floats(2)], {"depth": 3, "axis": 2}),
    ("range", [whole(1), whole()], {"size": 3}),
    ("compress", [floats(2), TensorType("bool", (3,))], {"axis": 0}),
    ("compress", [floats(2), whole(2)], {"axis": 0}),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
def test_inference_refuses(case: Any) -> None:
    name, types, attributes = case
    with pytest.raises(ModelError):
        graph_of(name, types, attributes)


def test_an_element_outside_is_found_when_the_run_knows_the_extents() -> None:
    attributes = {"starts": (0,), "sizes": (M,), "steps": (1,)}
    graph = graph_of("slice", [floats(N)], attributes)
    session = compile_graph(graph, "cpu")
    for n, m in ((5, 3), (5, 5)):
        x = tensor((n,), seed=1)
        found = session.run(None, {"n": x, "m": tensor((m,)), "x0": x})
        np.testing.assert_array_equal(found[0], x[:m])
    x, y = tensor((3,)), tensor((5,))
    with pytest.raises(Error, match="slice"):
        session.run(None, {"n": x, "m": y, "x0": x})
    with pytest.raises(ModelError, match="slice"):
        run_kernels(graph, [x, y, x])


SHAPE_VALUES = [
    ("add", [(N, 2), (M, 3)], {}, (N + M, 5)),
    ("sub", [(N, 2), (M, 3)], {}, (N - M, -1)),
    ("mul", [(N, 2), (M, 3)], {}, (N * M, 6)),
    ("neg", [(N, 2)], {}, (-N, -2)),
    ("div", [(4 * N, 7), (2, 2)], {}, (2 * N, 3)),
    ("floor_divide", [(4 * N, -7), (2, 2)], {}, (2 * N, -4)),
    ("mod", [(4 * N + 1, -7), (2, 2)], {"fmod": False}, (1, 1)),
    ("maximum", [(N, 2), (1, 3)], {}, (N, 3)),
    ("minimum", [(N, 2), (1, 3)], {}, (1, 2)),
    ("cast", [(N, 2)], {"to": "int32"}, (N, 2)),
    ("identity", [(N, 2)], {}, (N, 2)),
    ("reshape", [(N, 2)], {"shape": (2,)}, (N, 2)),
    ("concat", [(N, 2), (M,)], {"axis": 0}, (N, 2, M)),
    ("slice", [(N, 2, M)], {"starts": (2,), "sizes": (2,), "steps": (-2,)}, (M, N)),
    ("gather", [(N, 2, M), (2, -3)], {"axis": 0}, (M, N)),
    ("expand", [(N,)], {"shape": (2,)}, (N, N)),
    ("tile", [(N, 1)], {"repeats": (2,)}, (N, 1, N, 1)),
    ("reduce_sum", [(N, 2, M)], {"axes": (0,), "keepdims": True}, (N + M + 2,)),
    ("reduce_prod", [(N, 2, M)], {"axes": (0,), "keepdims": True}, (2 * N * M,)),
    ("reduce_max", [(N, 1)], {"axes": (0,), "keepdims": True}, (N,)),
    ("reduce_min", [(N, 1)], {"axes": (0,), "keepdims": True}, (1,)),
]


@pytest.mark.parametrize("case", SHAPE_VALUES, ids=lambda case: case[0])
def test_references_compute_with_symbolic_extents(case: Any) -> None:
    name, operands, attributes, wanted = case
    op = operator_named(name)
    assert "shape" in op.traits
    arrays = [np.array(operand, object) for operand in operands]
    found = np.asarray(op.reference(*arrays, **attributes)).reshape(-1).tolist()
    assert tuple(found) == wanted
    assert all(isinstance(item, (int, Dim)) for item in found)


def slice_by_run(start: Extent, size: Extent, step: Extent) -> Graph:
    return graph_of("slice", [floats(9)], {"starts": (start,), "sizes": (size,), "steps": (step,)})


@pytest.mark.parametrize(
    ("start", "size", "step", "n", "m", "fits"),
    [
        (N, 3, 2, 4, 1, True),
        (N, 3, 2, 5, 1, False),
        (N, 3, -2, 4, 1, True),
        (N, 3, -2, 3, 1, False),
        (0, N, 2**62, 5, 1, False),  # 4 * 2**62 wraps around to 0
        (0, N, 2**62, 1, 1, True),
        (8, N, -(2**63), 3, 1, False),
        (N, M, 1, 8, 1, True),
        (N, M, 1, 8, 2, False),
        (N, M, 1, 9, 1, False),
    ],
)
def test_slices_that_only_the_run_decides(
    start: Extent, size: Extent, step: int, n: int, m: int, fits: bool
) -> None:
    graph = slice_by_run(start, size, step)
    inputs = [tensor((n,)), tensor((m,)), tensor((9,), seed=1)]
    session = compile_graph(graph, "cpu")
    feed = {spec.name: array for spec, array in zip(session.inputs, inputs, strict=True)}
    if fits:
        wanted = run_reference(graph, inputs)[0]
        np.testing.assert_array_equal(run_kernels(graph, inputs)[0], wanted)
        np.testing.assert_array_equal(session.run(None, feed)[0], wanted)
        return
    with pytest.raises(Error, match="slice"):
        session.run(None, feed)
    with pytest.raises(ModelError, match="slice"):
        run_kernels(graph, inputs)
