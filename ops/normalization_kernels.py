"""Loop bodies of the normalisations."""

# Types are left out of kernel bodies on purpose: Numba infers them.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import math


def normalize_batch(item, x, scale, bias, mean, variance, out, epsilon):
    """One channel of one image, seen as [N, C, elements]."""
    channel = item % x.shape[1]
    image = item // x.shape[1]
    factor = scale[channel] / math.sqrt(variance[channel] + epsilon)
    middle = mean[channel]
    shift = bias[channel]
    for k in range(x.shape[2]):
        out[image, channel, k] = (x[image, channel, k] - middle) * factor + shift


def normalize_batch_rows(item, x, scale, bias, mean, variance, out, epsilon, rows):
    """Images without spatial dimensions, seen as [N, C]."""
    for i in range(item * rows, min((item + 1) * rows, x.shape[0])):
        for c in range(x.shape[1]):
            factor = scale[c] / math.sqrt(variance[c] + epsilon)
            out[i, c] = (x[i, c] - mean[c]) * factor + bias[c]


def normalize_layers(item, x, scale, bias, out, epsilon, rows, has_bias):
    """Rows of [outer, elements]."""
    zero = x.dtype.type(0)
    count = x.dtype.type(x.shape[1])
    for i in range(item * rows, min((item + 1) * rows, x.shape[0])):
        total = zero
        for k in range(x.shape[1]):
            total += x[i, k]
        mean = total / count
        squares = zero
        for k in range(x.shape[1]):
            difference = x[i, k] - mean
            squares += difference * difference
        inverse = x.dtype.type(1) / math.sqrt(squares / count + epsilon)
        if has_bias:
            for k in range(x.shape[1]):
                out[i, k] = (x[i, k] - mean) * inverse * scale[k] + bias[k]
        else:
            for k in range(x.shape[1]):
                out[i, k] = (x[i, k] - mean) * inverse * scale[k]


def normalize_layers_statistics(
    item, x, scale, bias, out, means, inverses, epsilon, rows, has_bias
):
    """Rows of [outer, elements], with their means and inverse standard deviations."""
    zero = x.dtype.type(0)
    count = x.dtype.type(x.shape[1])
    for i in range(item * rows, min((item + 1) * rows, x.shape[0])):
        total = zero
        for k in range(x.shape[1]):
            total += x[i, k]
        mean = total / count
        squares = zero
        for k in range(x.shape[1]):
            difference = x[i, k] - mean
            squares += difference * difference
        inverse = x.dtype.type(1) / math.sqrt(squares / count + epsilon)
        means[i] = mean
        inverses[i] = inverse
        for k in range(x.shape[1]):
            shift = bias[k] if has_bias else zero
            out[i, k] = (x[i, k] - mean) * inverse * scale[k] + shift


def normalize_roots(item, x, scale, out, epsilon, rows):
    """Rows of [outer, elements], by their root mean square."""
    count = x.dtype.type(x.shape[1])
    for i in range(item * rows, min((item + 1) * rows, x.shape[0])):
        squares = x.dtype.type(0)
        for k in range(x.shape[1]):
            squares += x[i, k] * x[i, k]
        inverse = x.dtype.type(1) / math.sqrt(squares / count + epsilon)
        for k in range(x.shape[1]):
            out[i, k] = x[i, k] * inverse * scale[k]


def normalize_groups(item, x, scale, bias, out, epsilon):
    """One group of one image, seen as [N, groups, channels of a group, elements]."""
    image = item // x.shape[1]
    group = item % x.shape[1]
    zero = x.dtype.type(0)
    count = x.dtype.type(x.shape[2] * x.shape[3])
    total = zero
    for c in range(x.shape[2]):
        for k in range(x.shape[3]):
            total += x[image, group, c, k]
    mean = total / count
    squares = zero
    for c in range(x.shape[2]):
        for k in range(x.shape[3]):
            difference = x[image, group, c, k] - mean
            squares += difference * difference
    inverse = x.dtype.type(1) / math.sqrt(squares / count + epsilon)
    for c in range(x.shape[2]):
        factor = inverse * scale[group * x.shape[2] + c]
        shift = bias[group * x.shape[2] + c]
        for k in range(x.shape[3]):
            out[image, group, c, k] = (x[image, group, c, k] - mean) * factor + shift


def normalize_responses(item, x, out, before, after, factor, beta, bias):
    """One channel of one image, seen as [N, C, elements], by the squares of its neighbours."""
    image = item // x.shape[1]
    channel = item % x.shape[1]
    for k in range(x.shape[2]):
        out[image, channel, k] = x.dtype.type(0)
    first = max(channel - before, 0)
    end = min(channel + after + 1, x.shape[1])
    for c in range(first, end):
        for k in range(x.shape[2]):
            out[image, channel, k] += x[image, c, k] * x[image, c, k]
    for k in range(x.shape[2]):
        base = bias + factor * out[image, channel, k]
        out[image, channel, k] = x[image, channel, k] / base**beta


def divide_rows_by_norm(item, x, out, rows, p):
    """Rows of [outer, elements] by their L1 or L2 norm."""
    zero = x.dtype.type(0)
    for i in range(item * rows, min((item + 1) * rows, x.shape[0])):
        total = zero
        if p == 1:
            for k in range(x.shape[1]):
                total += abs(x[i, k])
        else:
            for k in range(x.shape[1]):
                total += x[i, k] * x[i, k]
            total = math.sqrt(total)
        for k in range(x.shape[1]):
            out[i, k] = zero if total == zero else x[i, k] / total


def divide_columns_by_norm(item, x, norm, out, columns, p):
    """Columns of [outer, elements, inner] by their L1 or L2 norm."""
    blocks = (x.shape[2] + columns - 1) // columns
    i = item // blocks
    first = item % blocks * columns
    end = min(first + columns, x.shape[2])
    zero = x.dtype.type(0)
    for k in range(first, end):
        norm[i, k] = zero
    for j in range(x.shape[1]):
        for k in range(first, end):
            norm[i, k] += abs(x[i, j, k]) if p == 1 else x[i, j, k] * x[i, j, k]
    if p == 2:
        for k in range(first, end):
            norm[i, k] = math.sqrt(norm[i, k])
    for j in range(x.shape[1]):
        for k in range(first, end):
            out[i, j, k] = zero if norm[i, k] == zero else x[i, j, k] / norm[i, k]
