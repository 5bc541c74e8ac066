"""Loop nests of sums of products, which matrix products and convolutions are made of.

They work on flat arrays: each matrix has the place of its first element and the distance
between neighbouring rows. The innermost loop runs over contiguous elements. The callers answer
for all places lying inside the arrays.
"""

# Types are left out of kernel bodies on purpose: Numba infers them.
# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

# Elements of a row computed at a time, and inner extent covered by one pass over them: four
# result rows and four operand rows of a tile stay in the first-level cache.
TILE = 256
DEPTH = 256


def add_products(
    a, a_first, a_row, a_inner, b, b_first, b_row, c, c_first, c_row, rows, inner, columns
):  # fmt: skip
    """``c += a @ b`` for row-major ``b`` and ``c``; ``a`` may have any distances."""
    for i in range(0, rows - 3, 4):
        c0 = c_first + i * c_row
        c1 = c0 + c_row
        c2 = c1 + c_row
        c3 = c2 + c_row
        a0 = a_first + i * a_row
        a1 = a0 + a_row
        a2 = a1 + a_row
        a3 = a2 + a_row
        for p in range(0, inner - 3, 4):
            p0 = p * a_inner
            p1 = p0 + a_inner
            p2 = p1 + a_inner
            p3 = p2 + a_inner
            a00, a01, a02, a03 = a[a0 + p0], a[a0 + p1], a[a0 + p2], a[a0 + p3]
            a10, a11, a12, a13 = a[a1 + p0], a[a1 + p1], a[a1 + p2], a[a1 + p3]
            a20, a21, a22, a23 = a[a2 + p0], a[a2 + p1], a[a2 + p2], a[a2 + p3]
            a30, a31, a32, a33 = a[a3 + p0], a[a3 + p1], a[a3 + p2], a[a3 + p3]
            b0 = b_first + p * b_row
            b1 = b0 + b_row
            b2 = b1 + b_row
            b3 = b2 + b_row
            for j in range(columns):
                v0, v1, v2, v3 = b[b0 + j], b[b1 + j], b[b2 + j], b[b3 + j]
                t0 = c[c0 + j] + a00 * v0 + a01 * v1 + a02 * v2 + a03 * v3
                t1 = c[c1 + j] + a10 * v0 + a11 * v1 + a12 * v2 + a13 * v3
                t2 = c[c2 + j] + a20 * v0 + a21 * v1 + a22 * v2 + a23 * v3
                t3 = c[c3 + j] + a30 * v0 + a31 * v1 + a32 * v2 + a33 * v3
                c[c0 + j] = t0
                c[c1 + j] = t1
                c[c2 + j] = t2
                c[c3 + j] = t3
        for p in range(inner - inner % 4, inner):
            a00 = a[a0 + p * a_inner]
            a10 = a[a1 + p * a_inner]
            a20 = a[a2 + p * a_inner]
            a30 = a[a3 + p * a_inner]
            b0 = b_first + p * b_row
            for j in range(columns):
                v0 = b[b0 + j]
                c[c0 + j] += a00 * v0
                c[c1 + j] += a10 * v0
                c[c2 + j] += a20 * v0
                c[c3 + j] += a30 * v0
    for i in range(rows - rows % 4, rows):
        c0 = c_first + i * c_row
        a0 = a_first + i * a_row
        for p in range(0, inner - 7, 8):
            first = a0 + p * a_inner
            a00, a01 = a[first], a[first + a_inner]
            a02, a03 = a[first + 2 * a_inner], a[first + 3 * a_inner]
            a04, a05 = a[first + 4 * a_inner], a[first + 5 * a_inner]
            a06, a07 = a[first + 6 * a_inner], a[first + 7 * a_inner]
            b0 = b_first + p * b_row
            b1 = b0 + b_row
            b2 = b1 + b_row
            b3 = b2 + b_row
            b4 = b3 + b_row
            b5 = b4 + b_row
            b6 = b5 + b_row
            b7 = b6 + b_row
            for j in range(columns):
                t0 = c[c0 + j] + a00 * b[b0 + j] + a01 * b[b1 + j] + a02 * b[b2 + j]
                t1 = a03 * b[b3 + j] + a04 * b[b4 + j] + a05 * b[b5 + j]
                c[c0 + j] = t0 + t1 + a06 * b[b6 + j] + a07 * b[b7 + j]
        for p in range(inner - inner % 8, inner):
            a00 = a[a0 + p * a_inner]
            b0 = b_first + p * b_row
            for j in range(columns):
                c[c0 + j] += a00 * b[b0 + j]


def set_dot_products(
    a, a_first, a_row, b, b_first, b_row, c, c_first, c_row, rows, inner, columns
):  # fmt: skip
    """``c = a @ b.T`` for row-major ``a``, ``b`` and ``c``: dot products of rows."""
    zero = c.dtype.type(0)
    for i in range(0, rows - 3, 4):
        a0 = a_first + i * a_row
        a1 = a0 + a_row
        a2 = a1 + a_row
        a3 = a2 + a_row
        c0 = c_first + i * c_row
        c1 = c0 + c_row
        c2 = c1 + c_row
        c3 = c2 + c_row
        for j in range(0, columns - 3, 4):
            b0 = b_first + j * b_row
            b1 = b0 + b_row
            b2 = b1 + b_row
            b3 = b2 + b_row
            s00 = s01 = s02 = s03 = zero
            s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = zero
            s30 = s31 = s32 = s33 = zero
            for p in range(inner):
                u0, u1, u2, u3 = a[a0 + p], a[a1 + p], a[a2 + p], a[a3 + p]
                v0, v1, v2, v3 = b[b0 + p], b[b1 + p], b[b2 + p], b[b3 + p]
                s00, s01, s02, s03 = s00 + u0 * v0, s01 + u0 * v1, s02 + u0 * v2, s03 + u0 * v3
                s10, s11, s12, s13 = s10 + u1 * v0, s11 + u1 * v1, s12 + u1 * v2, s13 + u1 * v3
                s20, s21, s22, s23 = s20 + u2 * v0, s21 + u2 * v1, s22 + u2 * v2, s23 + u2 * v3
                s30, s31, s32, s33 = s30 + u3 * v0, s31 + u3 * v1, s32 + u3 * v2, s33 + u3 * v3
            c[c0 + j], c[c0 + j + 1], c[c0 + j + 2], c[c0 + j + 3] = s00, s01, s02, s03
            c[c1 + j], c[c1 + j + 1], c[c1 + j + 2], c[c1 + j + 3] = s10, s11, s12, s13
            c[c2 + j], c[c2 + j + 1], c[c2 + j + 2], c[c2 + j + 3] = s20, s21, s22, s23
            c[c3 + j], c[c3 + j + 1], c[c3 + j + 2], c[c3 + j + 3] = s30, s31, s32, s33
        for j in range(columns - columns % 4, columns):
            b0 = b_first + j * b_row
            s00 = s10 = s20 = s30 = zero
            for p in range(inner):
                v0 = b[b0 + p]
                s00 += a[a0 + p] * v0
                s10 += a[a1 + p] * v0
                s20 += a[a2 + p] * v0
                s30 += a[a3 + p] * v0
            c[c0 + j] = s00
            c[c1 + j] = s10
            c[c2 + j] = s20
            c[c3 + j] = s30
    for i in range(rows - rows % 4, rows):
        set_dots(a, a_first + i * a_row, b, b_first, b_row, c, c_first + i * c_row, inner, columns)


def set_dots(a, a_first, b, b_first, b_row, c, c_first, inner, columns):
    """``c = b @ a`` for a vector ``a`` and row-major ``b``."""
    zero = c.dtype.type(0)
    for j in range(0, columns - 3, 4):
        b0 = b_first + j * b_row
        b1 = b0 + b_row
        b2 = b1 + b_row
        b3 = b2 + b_row
        s0 = s1 = s2 = s3 = zero
        for p in range(inner):
            u = a[a_first + p]
            s0 += u * b[b0 + p]
            s1 += u * b[b1 + p]
            s2 += u * b[b2 + p]
            s3 += u * b[b3 + p]
        c[c_first + j] = s0
        c[c_first + j + 1] = s1
        c[c_first + j + 2] = s2
        c[c_first + j + 3] = s3
    for j in range(columns - columns % 4, columns):
        b0 = b_first + j * b_row
        s0 = zero
        for p in range(inner):
            s0 += a[a_first + p] * b[b0 + p]
        c[c_first + j] = s0


def add_taps(
    w, w_first, w_row, x, x_first, places, first_tap, end_tap, c, c_first, c_row, rows, columns
):  # fmt: skip
    """``c[i, j] += sum of w[i, tap] * x[places[tap] + j]`` over the taps of a range."""
    whole = first_tap + (end_tap - first_tap) // 4 * 4
    for i in range(0, rows - 3, 4):
        c0 = c_first + i * c_row
        c1 = c0 + c_row
        c2 = c1 + c_row
        c3 = c2 + c_row
        w0 = w_first + i * w_row
        w1 = w0 + w_row
        w2 = w1 + w_row
        w3 = w2 + w_row
        for p in range(first_tap, whole, 4):
            a00, a01, a02, a03 = w[w0 + p], w[w0 + p + 1], w[w0 + p + 2], w[w0 + p + 3]
            a10, a11, a12, a13 = w[w1 + p], w[w1 + p + 1], w[w1 + p + 2], w[w1 + p + 3]
            a20, a21, a22, a23 = w[w2 + p], w[w2 + p + 1], w[w2 + p + 2], w[w2 + p + 3]
            a30, a31, a32, a33 = w[w3 + p], w[w3 + p + 1], w[w3 + p + 2], w[w3 + p + 3]
            b0 = x_first + places[p]
            b1 = x_first + places[p + 1]
            b2 = x_first + places[p + 2]
            b3 = x_first + places[p + 3]
            for j in range(columns):
                v0, v1, v2, v3 = x[b0 + j], x[b1 + j], x[b2 + j], x[b3 + j]
                t0 = c[c0 + j] + a00 * v0 + a01 * v1 + a02 * v2 + a03 * v3
                t1 = c[c1 + j] + a10 * v0 + a11 * v1 + a12 * v2 + a13 * v3
                t2 = c[c2 + j] + a20 * v0 + a21 * v1 + a22 * v2 + a23 * v3
                t3 = c[c3 + j] + a30 * v0 + a31 * v1 + a32 * v2 + a33 * v3
                c[c0 + j] = t0
                c[c1 + j] = t1
                c[c2 + j] = t2
                c[c3 + j] = t3
        for p in range(whole, end_tap):
            a00, a10, a20, a30 = w[w0 + p], w[w1 + p], w[w2 + p], w[w3 + p]
            b0 = x_first + places[p]
            for j in range(columns):
                v0 = x[b0 + j]
                c[c0 + j] += a00 * v0
                c[c1 + j] += a10 * v0
                c[c2 + j] += a20 * v0
                c[c3 + j] += a30 * v0
    whole = first_tap + (end_tap - first_tap) // 8 * 8
    for i in range(rows - rows % 4, rows):
        c0 = c_first + i * c_row
        w0 = w_first + i * w_row
        for p in range(first_tap, whole, 8):
            a00, a01, a02, a03 = w[w0 + p], w[w0 + p + 1], w[w0 + p + 2], w[w0 + p + 3]
            a04, a05, a06, a07 = w[w0 + p + 4], w[w0 + p + 5], w[w0 + p + 6], w[w0 + p + 7]
            b0, b1 = x_first + places[p], x_first + places[p + 1]
            b2, b3 = x_first + places[p + 2], x_first + places[p + 3]
            b4, b5 = x_first + places[p + 4], x_first + places[p + 5]
            b6, b7 = x_first + places[p + 6], x_first + places[p + 7]
            for j in range(columns):
                t0 = c[c0 + j] + a00 * x[b0 + j] + a01 * x[b1 + j] + a02 * x[b2 + j]
                t1 = a03 * x[b3 + j] + a04 * x[b4 + j] + a05 * x[b5 + j]
                c[c0 + j] = t0 + t1 + a06 * x[b6 + j] + a07 * x[b7 + j]
        for p in range(whole, end_tap):
            a00 = w[w0 + p]
            b0 = x_first + places[p]
            for j in range(columns):
                c[c0 + j] += a00 * x[b0 + j]
