"""Digests of functions: the same in every process, different for what computes differently."""

from __future__ import annotations

import itertools
import math
import operator
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from opweave.compiler.code_digest import digest
from opweave.ir import ModelError
from opweave.targets.cpu.scalar_function import ScalarFunction

from .lowering import Running

DIGEST_SCRIPT = """
import math
import functools
import numpy as np
from opweave.compiler.code_digest import digest
TABLE = np.arange(6, dtype=np.int16).reshape(2, 3)
def even(n):
    return True if n == 0 else odd(n - 1)
def odd(n):
    return False if n == 0 else even(n - 1)
def make(slope, names):
    def body(x, y, *, beta=1.5):
        for i in range(x.shape[0]):
            y[i] = math.exp(x[i]) * slope + TABLE[0, 1] + even(i) + max(x[i], beta)
        return {a for a in ("p", "q", "r")} == names
    return body
print(digest(make(2.0, frozenset({"x", "y", "z"}))))
print(digest(functools.partial(make(2.0, {"a": 1, "b": (2, np.float32(3))}), 1)))
"""


def test_digests_are_the_same_in_every_process() -> None:
    outputs = set()
    for seed, prefix in (("1", ""), ("2", "\n\n# moved\n")):
        script = prefix + DIGEST_SCRIPT
        environment = {"PYTHONHASHSEED": seed}
        result = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, timeout=60,
            env=environment,
        )  # fmt: skip
        outputs.add(result.stdout)
    assert len(outputs) == 1
    first, second = outputs.pop().split()
    assert first != second


def written(source: str, **names: Any) -> Callable[..., Any]:
    """The function f of a source text."""
    namespace: dict[str, Any] = {"math": math, "np": np, **names}
    exec(source, namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


def test_digests_tell_changes() -> None:
    def helper(x: Any) -> Any:
        return x + 1

    def other(x: Any) -> Any:
        return x + 2

    variants = [
        written("def f(x): return math.exp(x)"),
        written("def f(x): return math.sin(x)"),
        written("def f(x): return x * 2"),
        written("def f(x): return x * 2.0"),
        written("def f(x): return x * -0.0"),
        written("def f(x): return x * 0.0"),
        written("def f(x, a=1): return x * 2"),
        written("def f(x, *, a=1): return x * 2"),
        written("def f(x): return h(x)", h=helper),
        written("def f(x): return h(x)", h=other),
        written("def f(x): return h[0] + x", h=np.array([1, 2])),
        written("def f(x): return h[0] + x", h=np.array([1, 3])),
        written("def f(x): return h[0] + x", h=np.array([1, 2], np.int32)),
        written("def f(x): return h[0] + x", h=(1, 2)),
        written("def f(x): return h[0] + x", h=(1, True)),
        written("def f(x): return h(x)", h=np.float32),
        written("def f(x): return h(x)", h=np.float64),
        written("def f(x): return h(x)", h=ScalarFunction(helper, "float32")),
        written("def f(x): return h(x)", h=ScalarFunction(helper, "float64")),
        written("def f(x): return h(x)", h=ScalarFunction(other, "float64")),
        written("def f(x): return [y for y in x]"),
        written("def f(x): return [y + 1 for y in x]"),
    ]
    assert len({digest(variant) for variant in variants}) == len(variants)


def test_digests_ignore_place_and_name() -> None:
    source = "def f(x):\n    return math.exp(x)"
    moved = written("\n\n\n" + source)
    moved.__name__ = "other"
    assert digest(written(source)) == digest(moved)
    one, two = (written("def f(x): return h(x)", h=written(source)) for _ in range(2))
    assert digest(one) == digest(two)
    unused = written(source, unused=open)
    assert digest(written(source)) == digest(unused)


def test_what_has_no_digest_is_named() -> None:
    for value, message in (
        (open, None),
        (object(), "object"),
        (np.array([None]), "array of Python objects"),
        (operator, None),
        (itertools, "itertools"),
        ([].append, "bound method"),
        (Running, "Running"),
    ):
        function = written("def f(x): return thing(x)", thing=value)
        if message is None:
            assert digest(function)
        else:
            with pytest.raises(ModelError, match=message):
                digest(function)
    with pytest.raises(ModelError, match="thing"):
        digest(written("def f(x): return thing(x)", thing=object()))
