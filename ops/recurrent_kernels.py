"""Loop bodies of the recurrent layers.

One item is one row of the batch in one direction, over the whole sequence. The input's share of
all gates comes ready made, as rows of ``gates``; the states live in the last outputs.
"""

# Types are left out of kernel bodies on purpose: Numba infers them.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import math

from .product_kernels import set_dots


def activate(number, alpha, beta, x):
    """The function of this number in ``recurrent_common.FUNCTIONS``."""
    if number == 0:
        small = math.exp(-abs(x))
        return (1.0 if x >= 0.0 else small) / (1.0 + small)
    if number == 1:
        return math.tanh(x)
    if number == 2:
        return max(x, 0.0)
    if number == 3:
        return alpha * x + beta
    if number == 4:
        return alpha * x if x < 0.0 else x
    if number == 5:
        return x if x >= alpha else 0.0
    if number == 6:
        return alpha * math.tanh(beta * x)
    if number == 7:
        return min(max(alpha * x + beta, 0.0), 1.0)
    if number == 8:
        return alpha * math.expm1(min(x, 0.0)) if x < 0.0 else x
    if number == 9:
        return x / (1.0 + abs(x))
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def bounded(x, clip):
    """``x`` between ``-clip`` and ``clip``; as it is where ``clip`` is 0."""
    return min(max(x, -clip), clip) if clip > 0.0 else x


def run_lstm(
    item, gates, r, b, lengths, first_h, first_c, p, y, h, c, work,
    has_b, has_lengths, has_h, has_c, has_p, time, batch, directions, size, layout, backwards,
    f0, g0, h0, f1, g1, h1, fa0, fb0, ga0, gb0, ha0, hb0, fa1, fb1, ga1, gb1, ha1, hb1,
    clip, input_forget,
):  # fmt: skip
    """Gates in the order input, output, forget, cell."""
    direction = item // batch
    row = item % batch
    second = direction == 1
    f, g, o = f1 if second else f0, g1 if second else g0, h1 if second else h0
    fa, fb = fa1 if second else fa0, fb1 if second else fb0
    ga, gb = ga1 if second else ga0, gb1 if second else gb0
    ha, hb = ha1 if second else ha0, hb1 if second else hb0
    length = int(lengths[row]) if has_lengths else time
    if length < 0 or length > time:
        return 1 + row
    zero = y.dtype.type(0)
    one = y.dtype.type(1)
    state = (row * directions + direction if layout else direction * batch + row) * size
    for k in range(size):
        h[state + k] = first_h[state + k] if has_h else zero
        c[state + k] = first_c[state + k] if has_c else zero
    bias = direction * 8 * size
    peep = direction * 3 * size
    sums = item * 4 * size
    reverse = backwards or second
    for step in range(time):
        now = length - 1 - step if reverse and step < length else step
        into = ((row * time + now) * directions + direction) * size
        if not layout:
            into = ((now * directions + direction) * batch + row) * size
        if step >= length:
            for k in range(size):
                y[into + k] = zero
            continue
        place = row * time + now if layout else now * batch + row
        source = (direction * time * batch + place) * 4 * size
        set_dots(h, state, r, direction * 4 * size * size, size, work, sums, size, 4 * size)
        for k in range(4 * size):
            shift = b[bias + k] + b[bias + 4 * size + k] if has_b else zero
            work[sums + k] += gates[source + k] + shift
        for k in range(size):
            cell = c[state + k]
            gate_i = work[sums + k]
            gate_o = work[sums + size + k]
            gate_f = work[sums + 2 * size + k]
            if has_p:
                gate_i += p[peep + k] * cell
                gate_f += p[peep + 2 * size + k] * cell
            gate_i = activate(f, fa, fb, bounded(gate_i, clip))
            gate_f = one - gate_i if input_forget else activate(f, fa, fb, bounded(gate_f, clip))
            fresh = activate(g, ga, gb, bounded(work[sums + 3 * size + k], clip))
            cell = gate_f * cell + gate_i * fresh
            if has_p:
                gate_o += p[peep + size + k] * cell
            gate_o = activate(f, fa, fb, bounded(gate_o, clip))
            hidden = gate_o * activate(o, ha, hb, cell)
            c[state + k] = cell
            h[state + k] = hidden
            y[into + k] = hidden
    return 0


def run_gru(
    item, gates, r, b, lengths, first_h, y, h, work,
    has_b, has_lengths, has_h, time, batch, directions, size, layout, backwards,
    f0, g0, f1, g1, fa0, fb0, ga0, gb0, fa1, fb1, ga1, gb1, clip, linear_before_reset,
):  # fmt: skip
    """Gates in the order update, reset, hidden."""
    direction = item // batch
    row = item % batch
    second = direction == 1
    f, g = f1 if second else f0, g1 if second else g0
    fa, fb = fa1 if second else fa0, fb1 if second else fb0
    ga, gb = ga1 if second else ga0, gb1 if second else gb0
    length = int(lengths[row]) if has_lengths else time
    if length < 0 or length > time:
        return 1 + row
    zero = y.dtype.type(0)
    one = y.dtype.type(1)
    state = (row * directions + direction if layout else direction * batch + row) * size
    for k in range(size):
        h[state + k] = first_h[state + k] if has_h else zero
    weights = direction * 3 * size * size
    bias = direction * 6 * size
    sums = item * 4 * size  # three gates, and the state that the reset gate lets through
    kept = sums + 3 * size
    reverse = backwards or second
    known = 3 if linear_before_reset else 2
    for step in range(time):
        now = length - 1 - step if reverse and step < length else step
        into = ((row * time + now) * directions + direction) * size
        if not layout:
            into = ((now * directions + direction) * batch + row) * size
        if step >= length:
            for k in range(size):
                y[into + k] = zero
            continue
        place = row * time + now if layout else now * batch + row
        source = (direction * time * batch + place) * 3 * size
        set_dots(h, state, r, weights, size, work, sums, size, known * size)
        for k in range(2 * size):
            shift = b[bias + k] + b[bias + 3 * size + k] if has_b else zero
            total = work[sums + k] + gates[source + k] + shift
            work[sums + k] = activate(f, fa, fb, bounded(total, clip))
        if not linear_before_reset:
            for k in range(size):
                work[kept + k] = work[sums + size + k] * h[state + k]
            set_dots(
                work, kept, r, weights + 2 * size * size, size, work, sums + 2 * size, size, size
            )
        for k in range(size):
            total = work[sums + 2 * size + k]
            if has_b:
                total += b[bias + 5 * size + k]
            if linear_before_reset:
                total *= work[sums + size + k]
            total += gates[source + 2 * size + k]
            if has_b:
                total += b[bias + 2 * size + k]
            fresh = activate(g, ga, gb, bounded(total, clip))
            update = work[sums + k]
            hidden = (one - update) * fresh + update * h[state + k]
            h[state + k] = hidden
            y[into + k] = hidden
    return 0


def run_rnn(
    item, gates, r, b, lengths, first_h, y, h, work,
    has_b, has_lengths, has_h, time, batch, directions, size, layout, backwards,
    f0, f1, fa0, fb0, fa1, fb1, clip,
):  # fmt: skip
    """One gate."""
    direction = item // batch
    row = item % batch
    second = direction == 1
    f = f1 if second else f0
    fa, fb = fa1 if second else fa0, fb1 if second else fb0
    length = int(lengths[row]) if has_lengths else time
    if length < 0 or length > time:
        return 1 + row
    zero = y.dtype.type(0)
    state = (row * directions + direction if layout else direction * batch + row) * size
    for k in range(size):
        h[state + k] = first_h[state + k] if has_h else zero
    bias = direction * 2 * size
    sums = item * size
    reverse = backwards or second
    for step in range(time):
        now = length - 1 - step if reverse and step < length else step
        into = ((row * time + now) * directions + direction) * size
        if not layout:
            into = ((now * directions + direction) * batch + row) * size
        if step >= length:
            for k in range(size):
                y[into + k] = zero
            continue
        place = row * time + now if layout else now * batch + row
        source = (direction * time * batch + place) * size
        set_dots(h, state, r, direction * size * size, size, work, sums, size, size)
        for k in range(size):
            shift = b[bias + k] + b[bias + size + k] if has_b else zero
            total = work[sums + k] + gates[source + k] + shift
            hidden = activate(f, fa, fb, bounded(total, clip))
            h[state + k] = hidden
            y[into + k] = hidden
    return 0
