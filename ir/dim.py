"""Symbolic extents: integer polynomials over named symbols, floor division, min and max.

A ``Dim`` is kept in a canonical form, so that two ways of writing one extent
(``2 * (n + 1)`` and ``n + n + 2``) are equal, hash alike and print alike. Arithmetic
that comes out constant gives a plain ``int``: an extent is always ``int | Dim``.

Symbols are non-negative unless they say otherwise. The division is Python's floor division.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from .errors import LimitError, ModelError

# Larger polynomials do not come from real networks; hostile ones must not eat memory.
MAXIMUM_TERMS = 256
# Symbols in an extent, counted as often as they would be written, and bits of a factor.
MAXIMUM_SIZE = 4096
MAXIMUM_BITS = 256


@dataclass(frozen=True, order=True, slots=True)
class Symbol:
    """A named extent; ``lower`` and ``upper`` bound its value (``upper`` None: no bound)."""

    name: str
    lower: int = 0
    upper: int | None = None


@dataclass(frozen=True, slots=True)
class Apply:
    """A non-polynomial function of extents: ``floordiv``, ``min`` or ``max``."""

    function: str
    operands: tuple[Extent, Extent]

    @property
    def size(self) -> int:
        """How many symbols it is written with."""
        return 1 + sum(part.size for part in self.operands if isinstance(part, Dim))


Atom: TypeAlias = Symbol | Apply
# A monomial is a sorted tuple of (atom, power); () is the constant term.
Monomial: TypeAlias = tuple[tuple[Atom, int], ...]


class Dim:
    """An extent that is not a plain number. Build one with :func:`symbol` and arithmetic."""

    __slots__ = ("_hash", "_text", "size", "terms")
    terms: tuple[tuple[Monomial, int], ...]
    size: int  # how many symbols it is written with

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        kept = [(monomial, factor) for monomial, factor in terms.items() if factor]
        if len(kept) > MAXIMUM_TERMS:
            raise LimitError(f"a symbolic extent has more than {MAXIMUM_TERMS} terms")
        self.size = sum(_size(monomial) for monomial, _ in kept)
        if self.size > MAXIMUM_SIZE:
            raise LimitError(f"a symbolic extent is written with more than {MAXIMUM_SIZE} symbols")
        if any(factor.bit_length() > MAXIMUM_BITS for _, factor in kept):
            raise LimitError(f"a factor in a symbolic extent has more than {MAXIMUM_BITS} bits")
        self.terms = tuple(
            sorted(kept, key=lambda term: (_degree(term[0]), _monomial_text(term[0], _key)))
        )
        self._hash = hash(self.terms)
        self._text: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self._hash == other._hash and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        if self._text is None:
            self._text = text_of(self)
        return self._text

    def __add__(self, other: Any) -> Extent:
        return _combine(self, other, 1) if _is_extent(other) else NotImplemented

    def __radd__(self, other: Any) -> Extent:
        return _combine(other, self, 1) if _is_extent(other) else NotImplemented

    def __sub__(self, other: Any) -> Extent:
        return _combine(self, other, -1) if _is_extent(other) else NotImplemented

    def __rsub__(self, other: Any) -> Extent:
        return _combine(other, self, -1) if _is_extent(other) else NotImplemented

    def __mul__(self, other: Any) -> Extent:
        return _product(self, other) if _is_extent(other) else NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Extent:
        return floor_divide(self, other) if _is_extent(other) else NotImplemented

    def __rfloordiv__(self, other: Any) -> Extent:
        return floor_divide(other, self) if _is_extent(other) else NotImplemented

    def __mod__(self, other: Any) -> Extent:
        return self - floor_divide(self, other) * other if _is_extent(other) else NotImplemented

    def __neg__(self) -> Extent:
        return _combine(0, self, -1)


Extent: TypeAlias = int | Dim


def symbol(name: str, lower: int = 0, upper: int | None = None) -> Dim:
    """A fresh extent called ``name`` between ``lower`` and ``upper``, both included."""
    if upper is not None and upper < lower:
        raise ModelError(f"symbol {name!r}: upper bound {upper} is below lower bound {lower}")
    return Dim({((Symbol(name, lower, upper), 1),): 1})


def _is_extent(value: object) -> bool:
    return isinstance(value, (int, Dim)) or hasattr(value, "__index__")


def _terms(value: Any) -> dict[Monomial, int]:
    if isinstance(value, Dim):
        return dict(value.terms)
    number = int(value)
    return {(): number} if number else {}


def _extent(terms: Mapping[Monomial, int]) -> Extent:
    kept = {monomial: factor for monomial, factor in terms.items() if factor}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    return Dim(kept)


def _combine(left: Any, right: Any, sign: int) -> Extent:
    terms = _terms(left)
    for monomial, factor in _terms(right).items():
        terms[monomial] = terms.get(monomial, 0) + sign * factor
    return _extent(terms)


def _product(left: Any, right: Any) -> Extent:
    result: dict[Monomial, int] = {}
    for first, first_factor in _terms(left).items():
        for second, second_factor in _terms(right).items():
            powers: dict[Atom, int] = dict(first)
            for atom, power in second:
                powers[atom] = powers.get(atom, 0) + power
            monomial = tuple(sorted(powers.items(), key=lambda item: _atom_text(item[0], _key)))
            result[monomial] = result.get(monomial, 0) + first_factor * second_factor
            if len(result) > MAXIMUM_TERMS:
                raise LimitError(f"a symbolic extent has more than {MAXIMUM_TERMS} terms")
    return _extent(result)


def _divide_exactly(numerator: Dim, divisor: Extent) -> Extent | None:
    """The quotient when every term of the numerator is a multiple of a one-term divisor."""
    divisor_terms = _terms(divisor)
    if len(divisor_terms) != 1:
        return 1 if numerator == divisor else None
    ((divisor_monomial, divisor_factor),) = divisor_terms.items()
    result: dict[Monomial, int] = {}
    for monomial, factor in numerator.terms:
        powers = dict(monomial)
        for atom, power in divisor_monomial:
            left = powers.get(atom, 0) - power
            if left < 0:
                return None
            powers[atom] = left
        if factor % divisor_factor:
            return None
        kept = tuple((atom, power) for atom, power in powers.items() if power)
        result[kept] = factor // divisor_factor
    return _extent(result)


def floor_divide(numerator: Extent, divisor: Extent) -> Extent:
    """``numerator // divisor``; exact multiples are cancelled.

    Cancelling ``n * m // m`` assumes ``m`` is not zero, as the division itself does.
    """
    if isinstance(divisor, int) and divisor == 0:
        raise ModelError(f"an extent divides {numerator} by zero")
    if isinstance(numerator, int) and isinstance(divisor, int):
        return numerator // divisor
    if isinstance(numerator, int):
        if numerator == 0:
            return 0
        return Dim({((Apply("floordiv", (numerator, divisor)), 1),): 1})
    if divisor == 1:
        return numerator
    exact = _divide_exactly(numerator, divisor)
    if exact is not None:
        return exact
    if isinstance(divisor, int) and divisor > 0:
        # (d*q + r) // d == q + r // d for any integer polynomial q.
        whole = {m: f // divisor for m, f in numerator.terms}
        rest = _extent({m: f % divisor for m, f in numerator.terms})
        if any(whole.values()):
            return _combine(_extent(whole), floor_divide(rest, divisor), 1)
    return Dim({((Apply("floordiv", (numerator, divisor)), 1),): 1})


def maximum(left: Extent, right: Extent) -> Extent:
    """The larger of two extents, simplified where their bounds decide it."""
    return _extreme("max", left, right)


def minimum(left: Extent, right: Extent) -> Extent:
    """The smaller of two extents, simplified where their bounds decide it."""
    return _extreme("min", left, right)


def _extreme(function: str, left: Extent, right: Extent) -> Extent:
    if isinstance(left, int) and isinstance(right, int):
        return max(left, right) if function == "max" else min(left, right)
    if left == right:
        return left
    low, high = bounds(_combine(left, right, -1))
    if low is not None and low >= 0:
        return left if function == "max" else right
    if high is not None and high <= 0:
        return right if function == "max" else left
    first, second = sorted((left, right), key=repr)
    return Dim({((Apply(function, (first, second)), 1),): 1})


def bounds(extent: Extent) -> tuple[int | None, int | None]:
    """Lower and upper bound of an extent (None: not bounded that way)."""
    if isinstance(extent, int):
        return extent, extent
    low: int | None = 0
    high: int | None = 0
    for monomial, factor in extent.terms:
        term_low, term_high = _monomial_bounds(monomial)
        if factor < 0:
            term_low, term_high = term_high, term_low
        low = None if low is None or term_low is None else low + factor * term_low
        high = None if high is None or term_high is None else high + factor * term_high
    return low, high


def _monomial_bounds(monomial: Monomial) -> tuple[int | None, int | None]:
    low: int | None = 1
    high: int | None = 1
    if len(monomial) == 1 and monomial[0][1] == 1:
        return _atom_bounds(monomial[0][0])
    for atom, power in monomial:
        atom_low, atom_high = _atom_bounds(atom)
        if atom_low is None or atom_low < 0 or low is None:
            return None, None  # signs unknown: give up rather than be wrong
        low *= atom_low**power
        high = None if high is None or atom_high is None else high * atom_high**power
    return low, high


def _atom_bounds(atom: Atom) -> tuple[int | None, int | None]:
    if isinstance(atom, Symbol):
        return atom.lower, atom.upper
    (left_low, left_high), (right_low, right_high) = (bounds(operand) for operand in atom.operands)
    if atom.function == "floordiv":
        if right_low is None or right_low < 1:
            return None, None
        # A larger divisor brings the quotient nearer to 0, or to -1 from below.
        return (
            _quotient(left_low, right_high, right_low),
            _quotient(left_high, right_low, right_high),
        )
    if atom.function == "max":
        lows = [low for low in (left_low, right_low) if low is not None]
        top = None if left_high is None or right_high is None else max(left_high, right_high)
        return (max(lows) if lows else None), top
    highs = [high for high in (left_high, right_high) if high is not None]
    bottom = None if left_low is None or right_low is None else min(left_low, right_low)
    return bottom, (min(highs) if highs else None)


def _quotient(bound: int | None, if_positive: int | None, if_negative: int | None) -> int | None:
    """``bound`` by one of two divisors, by its sign; a divisor of None is as large as you like."""
    if bound is None:
        return None
    divisor = if_negative if bound < 0 else if_positive
    if divisor is None:
        return -1 if bound < 0 else 0
    return bound // divisor


def symbols_of(value: object) -> frozenset[Symbol]:
    """All symbols in an extent, or in extents nested in tuples, lists and mappings."""
    if isinstance(value, Dim):
        found: set[Symbol] = set()
        for monomial, _ in value.terms:
            for atom, _power in monomial:
                found |= {atom} if isinstance(atom, Symbol) else symbols_of(atom.operands)
        return frozenset(found)
    if isinstance(value, (tuple, list)):
        return frozenset().union(*(symbols_of(item) for item in value))
    if isinstance(value, Mapping):
        return symbols_of(tuple(value.values()))
    return frozenset()


def symbol_name(extent: Extent) -> str | None:
    """The symbol's name when the extent is one symbol and nothing else."""
    if isinstance(extent, Dim) and len(extent.terms) == 1:
        monomial, factor = extent.terms[0]
        if factor == 1 and len(monomial) == 1 and monomial[0][1] == 1:
            atom = monomial[0][0]
            return atom.name if isinstance(atom, Symbol) else None
    return None


def evaluate(extent: Extent, values: Mapping[str, int]) -> int:
    """The number an extent has where its symbols have ``values``."""
    result = substitute(extent, values)
    if isinstance(result, Dim):
        missing = sorted(symbol.name for symbol in symbols_of(result))
        raise ModelError(f"extent {extent} needs values for {', '.join(missing)}")
    return result


def substitute(extent: Extent, values: Mapping[str, Extent]) -> Extent:
    """``extent`` with symbols replaced by name; the others stay."""
    if isinstance(extent, int):
        return extent
    total: Extent = 0
    for monomial, factor in extent.terms:
        product: Extent = factor
        for atom, power in monomial:
            base = _substitute_atom(atom, values)
            for _ in range(power):
                product = product * base
        total = total + product
    return total


_FUNCTIONS: dict[str, Callable[[Extent, Extent], Extent]] = {
    "floordiv": floor_divide,
    "max": maximum,
    "min": minimum,
}


def _substitute_atom(atom: Atom, values: Mapping[str, Extent]) -> Extent:
    if isinstance(atom, Symbol):
        return values[atom.name] if atom.name in values else Dim({((atom, 1),): 1})
    left, right = (substitute(operand, values) for operand in atom.operands)
    return _FUNCTIONS[atom.function](left, right)


def product(extents: Iterable[Extent]) -> Extent:
    """The product of extents; 1 for none."""
    result: Extent = 1
    for extent in extents:
        result = result * extent
    return result


def ceil_divide(numerator: Extent, divisor: Extent) -> Extent:
    """``numerator / divisor`` rounded up."""
    return floor_divide(numerator + divisor - 1, divisor)


def extents_of(values: Sequence[Any]) -> tuple[Extent, ...]:
    """``values`` as a tuple of plain ints and Dims (NumPy integers become ints)."""
    return tuple(value if isinstance(value, Dim) else int(value) for value in values)


def _size(monomial: Monomial) -> int:
    return sum(power * (1 if isinstance(atom, Symbol) else atom.size) for atom, power in monomial)


def _degree(monomial: Monomial) -> int:
    return -sum(power for _, power in monomial)


def _name(symbol_: Symbol) -> str:
    return symbol_.name


def _key(symbol_: Symbol) -> str:
    """What terms are sorted by; symbols that share a name are told apart by their bounds."""
    if symbol_.lower == 0 and symbol_.upper is None:
        return symbol_.name
    return f"{symbol_.name}[{symbol_.lower}..{symbol_.upper}]"


def text_of(extent: Extent, name: Callable[[Symbol], str] = _name) -> str:
    """``extent`` as a Python expression in which ``name`` says how a symbol is written."""
    if not isinstance(extent, Dim):
        return str(extent)
    parts: list[str] = []
    for monomial, factor in extent.terms:
        body = _monomial_text(monomial, name)
        size = abs(factor)
        text = str(size) if not body else body if size == 1 else f"{size}*{body}"
        if not parts:
            parts.append(text if factor > 0 else f"-{text}")
        else:
            parts.append(f"+ {text}" if factor > 0 else f"- {text}")
    return " ".join(parts)


def _monomial_text(monomial: Monomial, name: Callable[[Symbol], str]) -> str:
    return "*".join(_atom_text(atom, name) for atom, power in monomial for _ in range(power))


def _atom_text(atom: Atom, name: Callable[[Symbol], str]) -> str:
    if isinstance(atom, Symbol):
        return name(atom)
    left, right = (text_of(operand, name) for operand in atom.operands)
    if atom.function != "floordiv":
        return f"{atom.function}({left}, {right})"
    return f"({_grouped(atom.operands[0], left)}//{_grouped(atom.operands[1], right)})"


def _grouped(extent: Extent, text: str) -> str:
    """An operand of a division, in parentheses unless it is one number or symbol."""
    plain = extent >= 0 if isinstance(extent, int) else symbol_name(extent) is not None
    return text if plain else f"({text})"
