"""Scalar functions in generated bodies; without Numba, so that cached programs load quickly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class ScalarFunction:
    """A plain-Python scalar function as generated bodies call it (put it into their globals).

    ``computing`` is the element type's name that floats written in the function take, and
    with ``weak_integers`` ints too. Equal functions are compiled once.
    """

    function: Callable[..., Any]
    computing: str | None
    weak_integers: bool = True

    def __call__(self, *arguments: Any) -> Any:
        """The plain function, for bodies run by the interpreter."""
        return self.function(*arguments)
