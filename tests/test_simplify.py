"""Simplifications as text before and after, and by numbers: what the references compute."""

from __future__ import annotations

import pytest

from opweave.compiler.passes.simplify import SIMPLIFY

from .rewriting import X, Y, assert_becomes, assert_stays


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("y: float32[n, 4] = identity(x)", "output y = x"),
        ("y: float32[n, 4] = reshape(x, shape=(n, 4))", "output y = x"),
        (
            "a: float32[4, n] = reshape(x, shape=(4, n))\n"
            "y: float32[4*n] = reshape(a, shape=(4*n,))",
            "y: float32[4*n] = reshape(x, shape=(4*n,))",
        ),
        ("y: float32[n, 4] = transpose(x, permutation=(0, 1))", "output y = x"),
        (
            "a: float32[4, n] = transpose(x, permutation=(1, 0))\n"
            "y: float32[n, 4] = transpose(a, permutation=(1, 0))",
            "output y = x",
        ),
        (
            "a: float32[1, n, 4] = reshape(x, shape=(1, n, 4))\n"
            "y: float32[n, 1, 4] = transpose(a, permutation=(1, 0, 2))",
            "y: float32[n, 1, 4] = reshape(x, shape=(n, 1, 4))",
        ),
        ('y: float32[n, 4] = cast(x, to="float32")', "output y = x"),
        (
            'a: float64[n, 4] = cast(x, to="float64")\ny: float32[n, 4] = cast(a, to="float32")',
            "output y = x",
        ),
        ("y: float32[n, 4] = expand(x, shape=(n, 4))", "output y = x"),
        ("y: float32[n, 4] = tile(x, repeats=(1, 1))", "output y = x"),
        (
            "y: float32[n, 4] = slice(x, starts=(0, 0), sizes=(n, 4), steps=(1, 1))",
            "output y = x",
        ),
        (
            "a: float32[n, 2] = slice(x, starts=(0, 3), sizes=(n, 2), steps=(1, -2))\n"
            "y: float32[n, 1] = slice(a, starts=(0, 1), sizes=(n, 1), steps=(1, 1))",
            "y: float32[n, 1] = slice(x, starts=(0, 1), sizes=(n, 1), steps=(1, -2))",
        ),
        ("y: float32[n, 4] = concat(x, axis=1)", "output y = x"),
        (
            "a: float32[n, 8] = concat(x, x, axis=1)\ny: float32[n, 12] = concat(a, x, axis=-1)",
            "y: float32[n, 12] = concat(x, x, x, axis=1)",
        ),
        (
            "e: float32[n, 0] = slice(x, starts=(0, 0), sizes=(n, 0), steps=(1, 1))\n"
            "y: float32[n, 4] = concat(x, e, axis=1)",
            "output y = x",
        ),
        ("y: float32[n, 4] = pad(x, before=(0, 0), after=(0, 0))", "output y = x"),
        ("one: param\ny: float32[n, 4] = mul(x, one)", "output y = x"),
        ("one: param\ny: float32[n, 4] = mul(one, x)", "output y = x"),
        ("one: param\ny: float32[n, 4] = div(x, one)", "output y = x"),
        ("one: param\ny: float32[n, 4] = pow(x, one)", "output y = x"),
        ("zero: param\ny: float32[n, 4] = sub(x, zero)", "output y = x"),
        ("minus: param\ny: float32[n, 4] = add(minus, x)", "output y = x"),
        ("two: param\ny: float32[n, 4] = pow(x, two)", "y: float32[n, 4] = mul(x, x)"),
        (
            "eight: param\ny: float32[n, 4] = div(x, eight)",
            "eighth: param\ny: float32[n, 4] = mul(x, eighth)",
        ),
        (
            "a: float32[n, 4] = neg(x)\ny: float32[n, 4] = add(a, x)",
            "y: float32[n, 4] = sub(x, x)",
        ),
        (
            "a: float32[n, 4] = neg(x)\ny: float32[n, 4] = sub(x, a)",
            "y: float32[n, 4] = add(x, x)",
        ),
        ("a: float32[n, 4] = neg(x)\ny: float32[n, 4] = neg(a)", "output y = x"),
        (
            "a: float32[n, 4] = abs(x)\ny: float32[n, 4] = relu(a)",
            "y: float32[n, 4] = abs(x)",
        ),
        (
            "a: float32[n, 4] = relu(x)\ny: float32[n, 4] = relu(a)",
            "y: float32[n, 4] = relu(x)",
        ),
        ("yes: param\none: param\ny: float32[n, 4] = where(yes, x, one)", "output y = x"),
        ("two: param\ny: float32[n, 4] = maximum(two, x)", "y: float32[n, 4] = clip(x, low=2.0)"),
        ("zero: param\ny: float32[n, 4] = maximum(x, zero)", "y: float32[n, 4] = relu(x)"),
        (
            "zero: param\ntwo: param\na: float32[n, 4] = minimum(x, two)\n"
            "y: float32[n, 4] = maximum(zero, a)",
            "y: float32[n, 4] = clip(x, low=0.0, high=2.0)",
        ),
        (
            "two: param\na: float32[n, 4] = relu(x)\ny: float32[n, 4] = minimum(a, two)",
            "y: float32[n, 4] = clip(x, low=0.0, high=2.0)",
        ),
        (
            "a: float32[n, 4] = clip(x, low=-1.0, high=1.0)\n"
            "y: float32[n, 4] = clip(a, low=2.0, high=3.0)",
            "y: float32[n, 4] = clip(x, low=2.0, high=2.0)",
        ),
        ("y: float32[n, 4] = clip(x)", "output y = x"),
    ],
)
def test_simplify(before: str, after: str) -> None:
    assert_becomes(SIMPLIFY, X + constants(before) + Y, X + constants(after) + ending(after), 0.0)


CONSTANTS = {
    "one": "float32[] = 1.0",
    "two": "float32[] = 2.0",
    "zero": "float32[1] = [0.0]",
    "minus": "float32[] = -0.0",
    "eight": "float32[1, 1] = [8.0]",
    "eighth": "float32[1, 1] = [0.125]",
    "yes": "bool[4] = [True, True, True, True]",
}


def constants(text: str) -> str:
    """``name: param`` stands for the parameter of that name above."""
    for name, content in CONSTANTS.items():
        text = text.replace(f"{name}: param", f"param {name}: {content}")
    return text


def ending(text: str) -> str:
    return "" if "output" in text else Y


@pytest.mark.parametrize(
    "text",
    [
        X + "param zero: float32[] = 0.0\ny: float32[n, 4] = add(x, zero)",  # -0.0 + 0.0 is 0.0
        X + "param zero: float32[] = -0.0\ny: float32[n, 4] = sub(x, zero)",
        X + "param one: float32[1, 1, 1] = [1.0]\ny: float32[1, n, 4] = mul(x, one)",
        X + "param three: float32[] = 3.0\ny: float32[n, 4] = div(x, three)",
        X + "param zero: float32[] = 0.0\ny: float32[n, 4] = mul(x, zero)",
        X + "param no: bool[4] = [True, True, False, True]\ny: float32[n, 4] = where(no, x, x)",
        X + "y: float32[n, 4] = slice(x, starts=(0, 3), sizes=(n, 4), steps=(1, -1))",
        X + 'a: float16[n, 4] = cast(x, to="float16")\ny: float32[n, 4] = cast(a, to="float32")',
        X + "a: float32[n, 8] = concat(x, x, axis=1)\ny: float32[n, 12] = concat(a, x, axis=1)\n"
        "output a = a",
        "input x: int8[3]\na: int8[3] = abs(x)\ny: int8[3] = relu(a)",  # |-128| is -128
        X + "a: float32[4, n] = transpose(x, permutation=(1, 0))\noutput a = a\n"
        "y: float32[n, 4] = transpose(a, permutation=(1, 0))",
    ],
)
def test_simplify_declines(text: str) -> None:
    assert_stays(SIMPLIFY, text + Y)


def test_integer_clips() -> None:
    before = (
        "input x: int32[5]\nparam c: int32[] = 3\n"
        "a: int32[5] = maximum(x, c)\nb: int32[5] = relu(x)\ny: int32[5] = add(a, b)"
    )
    after = "input x: int32[5]\na: int32[5] = clip(x, low=3, high=2147483647)\n"
    after += "b: int32[5] = relu(x)\ny: int32[5] = add(a, b)"
    assert_becomes(SIMPLIFY, before + Y, after + Y, 0.0)
