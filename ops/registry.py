"""All built-in operators by name, for reading graphs as text and for reports."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from ..ir.errors import ModelError
from ..ir.op import Op

# Modules of this package that define no operators.
_TOOLS = {"define", "registry", "samples"}


@functools.cache
def operators() -> Mapping[str, Op]:
    """Every Op that is an attribute of a module of this package; two with one name is an error."""
    package = __package__ or ""
    found: dict[str, Op] = {}
    for module in sorted(pkgutil.iter_modules(importlib.import_module(package).__path__)):
        if module.name in _TOOLS:
            continue
        for value in vars(importlib.import_module(f"{package}.{module.name}")).values():
            if isinstance(value, Op) and found.setdefault(value.name, value) is not value:
                raise ModelError(f"two operators are called {value.name!r}")
    return MappingProxyType(found)


def operator_named(name: str) -> Op:
    """The built-in operator called ``name``; raises ModelError if there is none."""
    try:
        return operators()[name]
    except KeyError:
        raise ModelError(f"there is no operator {name!r}") from None
