"""Writers of interpolation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir import Extent, Node, TensorType, UnsupportedError
from .writer import Name, Writer, writes


@writes("resize")
def _resize(w: Writer, node: Node, x: Name) -> Name:
    attrs, source = node.attrs, w.type(node.inputs[0])
    sizes = attrs["sizes"]
    where, mode = attrs["coordinate_transformation"], attrs["mode"]
    rank = source.rank
    ranks = (3, 4, 5) if mode == "linear" else (4,)
    if rank not in ranks or tuple(sizes[:2]) != source.shape[:2]:
        raise UnsupportedError(f"an interpolation of {source} to {sizes}")
    scales = attrs["scales"]
    if attrs["antialias"] or (scales and not _exact(source.shape, sizes, scales)):
        raise UnsupportedError("an interpolation by scales that do not give whole sizes")
    if where == "pytorch_half_pixel" and all(size != 1 for size in sizes[2:]):
        where = "half_pixel"
    if where not in ("align_corners", "half_pixel", "asymmetric"):
        raise UnsupportedError(f"an interpolation with coordinates {where!r}")
    flags = (where == "align_corners", where == "half_pixel")
    size = w.extents(sizes[2:])
    if mode == "linear" and rank == 3:
        number = {"asymmetric": 0, "align_corners": 1, "half_pixel": 2}[where]
        return w.function("ResizeLinear1D", x, size, number, type=node.types[0])
    if mode == "linear" and rank == 5:
        if where == "asymmetric":
            raise UnsupportedError(f"an interpolation of {source} with coordinates {where!r}")
        return w.function("UpsampleTrilinear3D", x, size, None, flags[0], type=node.types[0])
    if mode == "linear":
        return w.function("ResizeBilinearV2", x, size, *flags, type=node.types[0])
    if mode == "cubic" and all(isinstance(e, int) for e in (*source.shape[2:], *sizes[2:])):
        return _as_products(w, node, x)
    if mode == "cubic":
        plain = (-0.5, True) if flags[1] else (-0.75, False)
        if (attrs["cubic_coeff_a"], attrs["exclude_outside"]) != plain:
            raise UnsupportedError("a cubic interpolation with these coefficients")
        return w.function("ResizeBicubic", x, size, *flags, type=node.types[0])
    rounding = "floor" if where == "asymmetric" else "round_prefer_ceil"
    if attrs["nearest_mode"] != rounding:
        raise UnsupportedError(f"an interpolation rounding with {attrs['nearest_mode']!r}")
    word = "ResizeNearestNeighbor" if flags[0] else "ResizeNearestNeighborV2"
    return w.function(word, x, size, *flags, type=node.types[0])


def _as_products(w: Writer, node: Node, x: Name) -> Name:
    """An interpolation of images as products with the matrices of its weights.

    MindSpore's cubic interpolation rounds the places, see read_resizing.
    """
    source, result = w.type(node.inputs[0]), node.types[0]
    matrices = []
    for axis in (2, 3):
        (extent,) = TensorType("bool", (source.shape[axis],)).static_shape
        unit = np.eye(extent).reshape(1, 1, extent, extent)
        sizes = tuple(result.shape[k] if k == axis else e for k, e in enumerate(unit.shape))
        found = node.op.reference(unit, **{**node.attrs, "sizes": sizes, "scales": ()})
        matrices.append(w.model.constant(found[0, 0].astype(result.numpy)))
    rows = source.with_shape((*source.shape[:3], result.shape[3]))
    across = w.function("MatMulExt", x, matrices[1], type=rows)
    return w.function("MatMulExt", matrices[0], across, type=result)


def _exact(shape: Sequence[Extent], sizes: Sequence[Extent], scales: Sequence[float]) -> bool:
    return all(
        isinstance(a, int) and isinstance(b, int) and abs(a * scale - b) < 1e-6
        for a, b, scale in zip(shape, sizes, scales, strict=True)
    )


@writes("grid_sample")
def _grid_sample(w: Writer, node: Node, x: Name, grid: Name) -> Name:
    modes = {"linear": 0, "nearest": 1}
    edges = {"zeros": 0, "border": 1, "reflection": 2}
    mode, edge = node.attrs["mode"], node.attrs["padding"]
    if mode not in modes:
        raise UnsupportedError(f"grid_sample with mode {mode!r}")
    return w.function(
        f"GridSampler{w.type(node.inputs[0]).rank - 2}D",
        x,
        grid,
        modes[mode],
        edges[edge],
        bool(node.attrs["align_corners"]),
        type=node.types[0],
    )
