"""Kernels of convolutions and transposed convolutions, in up to three spatial dimensions.

The input is copied once into planes with the padding inside; a stride ``s`` splits it into
``s`` phases a dimension (every s-th row, every s-th column), so that whatever one weight looks
at is contiguous. A whole plane of outputs is then one row: place ``q`` of the plane sees the
input at ``q + offset`` for each weight, and the columns between one output row and the next are
computed in vain and dropped. A transposed convolution is such a correlation for each phase of
its output.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir import Call, Extent, Operand, View, workspace
from ..ir.dim import ceil_divide, floor_divide, product
from .product_kernels import add_taps
from .spatial import Window

# Elements of a plane computed at a time. Rows are rounded up to a multiple of every vector's
# length; planes have as many elements more at their end.
TILE = 512
ROUNDING = 16

Triple = tuple[Extent, Extent, Extent]


def triple(extents: Sequence[Extent]) -> Triple:
    """Three extents, ones in front of the given ones."""
    filled = (*(1,) * (3 - len(extents)), *extents)
    return filled[0], filled[1], filled[2]


@dataclass(frozen=True, slots=True)
class Planes:
    """The input as a correlation sees it: extents of a phase, number of phases."""

    extents: Triple
    phases: Triple
    view: View

    @property
    def plane(self) -> Extent:
        """Elements of one phase of one channel."""
        return product(self.extents)

    @property
    def channel(self) -> Extent:
        """Elements of one channel."""
        return self.plane * product(self.phases)


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _copy_planes(  # type: ignore[no-untyped-def]
    item, x, out, channels, d, h, w, pd, ph, pw, sd, sh, sw, dq, hq, wq, bd, bh, bw
):  # fmt: skip
    # p: phases, s: steps between elements of a phase, q: extents of a phase, b: padding before
    zero = out.dtype.type(0)
    source = item * d * h * w
    into = item * (pd * ph * pw * dq * hq * wq)
    for rz in range(pd):
        for ry in range(ph):
            for rx in range(pw):
                # columns q with 0 <= q * sw + rx - bw < w
                shift = rx - bw
                low = min(max((sw - 1 - shift) // sw, 0), wq)
                high = max(min((w - 1 - shift) // sw + 1, wq), low)
                for z in range(dq):
                    iz = z * sd + rz - bd
                    for y in range(hq):
                        iy = y * sh + ry - bh
                        inside = iz >= 0 and iz < d and iy >= 0 and iy < h
                        row = source + (iz * h + iy) * w + shift
                        if inside:
                            for q in range(low):
                                out[into + q] = zero
                            for q in range(low, high):
                                out[into + q] = x[row + q * sw]
                            for q in range(high, wq):
                                out[into + q] = zero
                        else:
                            for q in range(wq):
                                out[into + q] = zero
                        into += wq
    if item == channels - 1:
        for q in range(into, out.shape[0]):
            out[q] = zero


def copy_planes(
    x: Operand, phases: Triple, steps: Triple, extents: Triple, begin: Triple
) -> tuple[Planes, Call]:
    """The Call that fills planes of these extents from ``x``."""
    channels = x.shape[0] * x.shape[1]
    size = channels * product(phases) * product(extents)
    scratch = workspace("planes", x.dtype, (size + ROUNDING,))
    call = Call(
        _copy_planes,
        (x.flat(), scratch),
        items=channels,
        scalars=(channels, *triple(x.shape[2:]), *phases, *steps, *extents, *begin),
    )
    return Planes(extents, phases, scratch), call


# --- places that the weights look at ---------------------------------------------------------


def _locate_taps(  # type: ignore[no-untyped-def]
    item, places, kd, kh, kw, dd, dh, dw, sd, sh, sw, ph, pw, channel, plane, hq, wq
):  # fmt: skip
    x = item % kw * dw
    rest = item // kw
    y = rest % kh * dh
    rest = rest // kh
    z = rest % kd * dd
    phase = (z % sd * ph + y % sh) * pw + x % sw
    places[item] = rest // kd * channel + phase * plane + (z // sd * hq + y // sh) * wq + x // sw


def _pack_taps(  # type: ignore[no-untyped-def]
    item, w, packed, places, starts, maps, channels, kd, kh, kw, dd, dh, dw, sd, sh, sw,
    ld, lh, lw, channel, hq, wq,
):  # fmt: skip
    # item is one output map; weights [C, maps, kernel] become [groups * maps, taps by phase]
    group = item // maps
    taps = kd * kh * kw
    into = item * (channels * taps)
    first = (group * channels * maps + item % maps) * taps
    position = 0
    for phase in range(sd * sh * sw):
        if item == 0:
            starts[phase] = position
        rz = phase // (sh * sw)
        ry = phase // sw % sh
        rx = phase % sw
        for c in range(channels):
            for kz in range(kd):
                for ky in range(kh):
                    for kx in range(kw):
                        z, y, x = kz * dd, ky * dh, kx * dw
                        if z % sd == rz and y % sh == ry and x % sw == rx:
                            tap = (kz * kh + ky) * kw + kx
                            packed[into + position] = w[first + c * maps * taps + tap]
                            if item == 0:
                                place = ((ld - z // sd) * hq + lh - y // sh) * wq + lw - x // sw
                                places[position] = c * channel + place
                            position += 1
    if item == 0:
        starts[sd * sh * sw] = position


# --- the correlation -------------------------------------------------------------------------


def _correlate(  # type: ignore[no-untyped-def]
    item, x, w, bias, places, starts, scratch, out, has_bias, has_starts,
    maps, block, blocks, group_channels, groups, taps, channel, hq, wq,
    qd, qh, qw, od, oh, ow, sd, sh, sw, fd, fh, fw, tile,
):  # fmt: skip
    # item: image, group and block of maps; q: places computed, o: outputs, s: strides of the
    # output, f: output place of the first computed place of phase 0 (0 or negative)
    group_item = item // blocks
    first_map = item % blocks * block
    count = min(block, maps - first_map)
    group = group_item % groups
    x_group = group_item * group_channels * channel
    pad = item * 4 * tile
    zero = out.dtype.type(0)
    plane = (qh - 1) * wq + qw
    for phase in range(sd * sh * sw):
        first_z = phase // (sh * sw) + fd
        first_y = phase // sw % sh + fh
        first_x = phase % sw + fw
        first_tap = starts[phase] if has_starts else 0
        end_tap = starts[phase + 1] if has_starts else taps
        # columns q with 0 <= q * sw + first_x < ow
        low_x = max((sw - 1 - first_x) // sw, 0)
        high_x = min((ow - 1 - first_x) // sw + 1, qw)
        for z in range(qd):
            oz = z * sd + first_z
            if oz < 0 or oz >= od:
                continue
            for start in range(0, plane, tile):
                width = min(tile, plane - start)
                rounded = (width + 15) // 16 * 16
                for i in range(first_map, first_map + count, 4):
                    rows = min(4, first_map + count - i)
                    channel_map = group * maps + i
                    for k in range(rows):
                        value = bias[channel_map + k] if has_bias else zero
                        for j in range(rounded):
                            scratch[pad + k * tile + j] = value
                    add_taps(
                        w, channel_map * taps, taps, x, x_group + z * hq * wq + start, places,
                        first_tap, end_tap, scratch, pad, tile, rows, rounded,
                    )  # fmt: skip
                    into = (group_item * maps + i) * (od * oh * ow)
                    for y in range(start // wq, (start + width - 1) // wq + 1):
                        oy = y * sh + first_y
                        if oy < 0 or oy >= oh:
                            continue
                        shift = y * wq - start
                        low = max(low_x, -shift)
                        high = min(high_x, width - shift)
                        for k in range(rows):
                            row = into + ((k * od + oz) * oh + oy) * ow + first_x
                            source = pad + k * tile + shift
                            for q in range(low, high):
                                out[row + q * sw] = scratch[source + q]


def _correlate_directly(  # type: ignore[no-untyped-def]
    item, x, w, bias, places, out, has_bias, maps, block, blocks, group_channels, groups, taps,
    channel, hq, wq, od, plane,
):  # fmt: skip
    # output rows are as long as those of the planes, so sums are built where they belong
    group_item = item // blocks
    first_map = item % blocks * block
    count = min(block, maps - first_map)
    group = group_item % groups
    x_group = group_item * group_channels * channel
    w_first = (group * maps + first_map) * taps
    into = (group_item * maps + first_map) * (od * plane)
    zero = out.dtype.type(0)
    for z in range(od):
        for start in range(0, plane, TILE):
            width = min(TILE, plane - start)
            first = into + z * plane + start
            for i in range(count):
                value = bias[group * maps + first_map + i] if has_bias else zero
                for j in range(width):
                    out[first + i * (od * plane) + j] = value
            add_taps(
                w, w_first, taps, x, x_group + z * hq * wq + start, places, 0, taps,
                out, first, od * plane, count, width,
            )  # fmt: skip


def _map_blocks(maps: Extent, others: Extent) -> tuple[Extent, Extent]:
    """Maps of one item and items for all maps: enough for threads, equal where possible."""
    if not isinstance(maps, int):
        return 4, ceil_divide(maps, 4)
    known = others if isinstance(others, int) else 1
    for block in (32, 16, 8, 4):
        if maps % block == 0 and known * (maps // block) >= 32:
            return block, maps // block
    if maps % 4 == 0 or maps > 32:
        return 4, ceil_divide(maps, 4)
    return max(maps, 1), 1


@dataclass(frozen=True, slots=True)
class _Correlation:
    """Operands of a correlation, and the maps that an item computes."""

    planes: Planes
    weights: View
    bias: Operand | None
    out: Operand
    groups: int
    channels: Extent
    taps: Extent
    places: View

    @property
    def maps(self) -> Extent:
        """Output maps of a group."""
        return floor_divide(self.out.shape[1], self.groups)

    def call(self, starts: View | None, computed: Triple, strides: Triple, first: Triple) -> Call:
        """The Call; without ``starts``, all weights look at all outputs."""
        outputs = triple(self.out.shape[2:])
        images = self.out.shape[0] * self.groups
        block, blocks = _map_blocks(self.maps, images)
        whole = isinstance(self.maps, int) and self.maps % block == 0  # type: ignore[operator]
        bias = self.weights if self.bias is None else self.bias.flat()
        operands = [self.planes.view, self.weights, bias, self.places]
        has_bias = int(self.bias is not None)
        _, hq, wq = self.planes.extents
        scalars: list[Extent] = [self.maps, block, blocks, self.channels, self.groups, self.taps]
        scalars += [self.planes.channel, hq, wq]
        if starts is None and wq == outputs[2]:
            body: Callable[..., Any] = _correlate_directly
            scalars = [has_bias, *scalars, outputs[0], outputs[1] * outputs[2]]
        else:
            body = _correlate
            plane = (computed[1] - 1) * wq + computed[2]
            tile = min(TILE, -(-plane // ROUNDING) * ROUNDING) if isinstance(plane, int) else TILE
            scratch = workspace("sums", self.out.dtype, (images * blocks * 4 * tile,))
            operands += [self.places if starts is None else starts, scratch]
            flags = (has_bias, int(starts is not None))
            scalars = [*flags, *scalars, *computed, *outputs, *strides, *first, tile]
        return Call(
            body,
            (*operands, self.out.flat()),
            items=images * blocks,
            scalars=tuple(scalars),
            chunk=block * product(outputs) if whole else None,
            reassociate=True,
        )


def correlation_calls(
    x: Operand, w: Operand, bias: Operand | None, out: Operand, window: Window, groups: int
) -> list[Call]:
    """Calls of a convolution."""
    lifted = window.lifted()
    kernel, strides, dilations = lifted.kernel, lifted.strides, lifted.dilations
    inputs, outputs = triple(x.shape[2:]), triple(out.shape[2:])
    calls: list[Call] = []
    planes = Planes(inputs, (1, 1, 1), x.flat())
    reach = [(outputs[k] - 1) * strides[k] + lifted.reach(k) for k in range(3)]
    moved = strides != (1, 1, 1) or any(lifted.begin) or any(lifted.end)
    if moved or reach[2] != outputs[2]:
        phases = triple(
            [
                1 if kernel[k] == 1 or dilations[k] % strides[k] == 0 else strides[k]
                for k in range(3)
            ]
        )
        extents = triple([ceil_divide(reach[k], strides[k]) for k in range(3)])
        planes, call = copy_planes(x, phases, triple(strides), extents, triple(lifted.begin))
        calls.append(call)
    taps = w.shape[1] * product(kernel)
    places = workspace("places", "int64", (taps,))
    scalars = (*kernel, *dilations, *strides, *planes.phases[1:])
    geometry = (planes.channel, planes.plane, *planes.extents[1:])
    calls.append(Call(_locate_taps, (places,), items=taps, scalars=(*scalars, *geometry)))
    step = _Correlation(planes, w.flat(), bias, out, groups, w.shape[1], taps, places)
    calls.append(step.call(None, outputs, (1, 1, 1), (0, 0, 0)))
    return calls


def transposed_calls(
    x: Operand, w: Operand, bias: Operand | None, out: Operand, window: Window, groups: int
) -> list[Call]:
    """Calls of a transposed convolution."""
    lifted = window.lifted()
    kernel, strides, dilations = lifted.kernel, lifted.strides, lifted.dilations
    outputs = triple(out.shape[2:])
    # place q of phase r is the output q * s + r - begin, to which weight k brings the input
    # q - k * d // s; only the places first .. first + computed - 1 have outputs
    left = triple([floor_divide((kernel[k] - 1) * dilations[k], strides[k]) for k in range(3)])
    first = [floor_divide(lifted.begin[k], strides[k]) for k in range(3)]
    computed = triple(
        [
            floor_divide(outputs[k] - 1 + lifted.begin[k], strides[k]) - first[k] + 1
            for k in range(3)
        ]
    )
    extents = triple([computed[k] + left[k] for k in range(3)])
    begin = triple([left[k] - first[k] for k in range(3)])
    planes, copy = copy_planes(x, (1, 1, 1), (1, 1, 1), extents, begin)
    channels = floor_divide(x.shape[1], groups)
    taps = channels * product(kernel)
    packed = workspace("weights", w.dtype, (w.size,))
    places = workspace("places", "int64", (taps,))
    starts = workspace("starts", "int64", (product(strides) + 1,))
    pack = Call(
        _pack_taps,
        (w.flat(), packed, places, starts),
        items=out.shape[1],
        scalars=(
            *(w.shape[1], channels),
            *(*kernel, *dilations, *strides, *left),
            *(planes.channel, *extents[1:]),
        ),
    )
    step = _Correlation(planes, packed, bias, out, groups, channels, taps, places)
    offsets = triple([first[k] * strides[k] - lifted.begin[k] for k in range(3)])
    return [copy, pack, step.call(starts, computed, triple(strides), offsets)]
