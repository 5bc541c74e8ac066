"""Einstein sums as sums, copies and matrix products."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..ir import Call, Extent, TensorType, UnsupportedError, View, workspace
from ..ir.dim import product
from .matmul import product_calls
from .strided_copy import row_major_strides, strided_copy

# Dimensions that the loops of a sum have, for the result and for what is summed.
_OUTER, _SUMMED = 6, 3


@dataclass(frozen=True, slots=True)
class Term:
    """A tensor whose dimensions have labels: distance of neighbours along each label.

    ``dense`` is the order in which the labels are row-major without gaps, if there is one.
    """

    view: View
    strides: Mapping[str, Extent]
    dense: tuple[str, ...] | None

    @classmethod
    def of(
        cls, view: View, labels: Sequence[str], shape: Sequence[Extent], full: Mapping[str, Extent]
    ) -> Term:
        """The term of an operand; a repeated label walks the diagonal, extent 1 repeats."""
        strides: dict[str, Extent] = {}
        for label, extent, stride in zip(labels, shape, row_major_strides(shape), strict=True):
            if extent == 1 and full[label] != 1:
                continue
            strides[label] = strides.get(label, 0) + stride
        dense = tuple(strides) if len(set(labels)) == len(labels) else None
        return cls(view, strides, dense)


# type annotations are left out of kernel bodies on purpose: Numba infers them
def _sum_places(  # type: ignore[no-untyped-def]
    item, x, out, e1, e2, e3, e4, e5, s0, s1, s2, s3, s4, s5, n0, n1, n2, t0, t1, t2
):  # fmt: skip
    i5, rest = item % e5, item // e5
    i4, rest = rest % e4, rest // e4
    i3, rest = rest % e3, rest // e3
    i2, rest = rest % e2, rest // e2
    i1, i0 = rest % e1, rest // e1
    first = i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3 + i4 * s4 + i5 * s5
    total = x.dtype.type(0)
    for j in range(n0):
        for k in range(n1):
            row = first + j * t0 + k * t1
            for m in range(n2):
                total += x[row + m * t2]
    out[item] = total


def _merged(
    labels: Iterable[str], strides: Mapping[str, Extent], full: Mapping[str, Extent], most: int
) -> list[tuple[Extent, Extent]]:
    """Extents and distances of ``most`` dimensions, neighbours merged, ones in front."""
    result: list[tuple[Extent, Extent]] = []
    for label in labels:
        extent, stride = full[label], strides[label]
        if extent == 1:
            continue
        if result and result[-1][1] == extent * stride:
            result[-1] = (result[-1][0] * extent, stride)
        else:
            result.append((extent, stride))
    if len(result) > most:
        raise UnsupportedError(f"einsum: a sum over or into {len(result)} scattered dimensions")
    return [(1, 0)] * (most - len(result)) + result


class Contraction:
    """Collects the Calls of one Einstein sum."""

    def __init__(self, dtype: str, full: Mapping[str, Extent]) -> None:
        self.dtype, self.full = dtype, full
        self.calls: list[Call] = []
        self._scratch = 0

    def size(self, labels: Iterable[str]) -> Extent:
        """Elements of a block with these labels."""
        return product(self.full[label] for label in labels)

    def _workspace(self, labels: Sequence[str]) -> View:
        self._scratch += 1
        return workspace(f"term {self._scratch}", self.dtype, (self.size(labels),))

    def _term(self, view: View, labels: Sequence[str]) -> Term:
        strides = row_major_strides([self.full[label] for label in labels])
        return Term(view, dict(zip(labels, strides, strict=True)), tuple(labels))

    def sum_into(self, term: Term, labels: Sequence[str], target: View) -> None:
        """Write ``term``, summed over all labels but ``labels``, in their order."""
        outer = _merged(labels, term.strides, self.full, _OUTER)
        summed = [label for label in term.strides if label not in labels]
        inner = _merged(summed, term.strides, self.full, _SUMMED)
        self.calls.append(
            Call(
                _sum_places,
                (term.view, target),
                items=self.size(labels),
                scalars=(
                    *(extent for extent, _ in outer[1:]),
                    *(stride for _, stride in outer),
                    *(extent for extent, _ in inner),
                    *(stride for _, stride in inner),
                ),
                chunk=1,
                reassociate=True,
            )
        )

    def arrange(self, term: Term, labels: Sequence[str], target: View | None = None) -> View:
        """``term`` row-major in the order ``labels``: itself where it is so, else a copy."""
        kept = [label for label in labels if self.full[label] != 1]
        if target is None and term.dense is not None:
            if [label for label in term.dense if self.full[label] != 1] == kept:
                return term.view
        into = self._workspace(labels) if target is None else target
        extents = [self.full[label] for label in labels]
        strides = [term.strides[label] for label in labels]
        copy = strided_copy(term.view, into, extents, strides, row_major_strides(extents))
        self.calls.append(copy)
        return into

    def only(self, term: Term, needed: Iterable[str]) -> Term:
        """``term`` without the labels that are not needed, which are summed."""
        kept = [label for label in term.strides if label in set(needed)]
        if len(kept) == len(term.strides):
            return term
        into = self._workspace(kept)
        self.sum_into(term, kept, into)
        return self._term(into, kept)

    def multiply(
        self, a: Term, b: Term, result: Sequence[str], needed: set[str], target: View | None
    ) -> Term:
        """The product of two terms, summed over labels not ``needed``.

        ``result`` is the order that the labels should have; with ``target`` the product goes
        there, in exactly this order.
        """
        a = self.only(a, needed | set(b.strides))
        b = self.only(b, needed | set(a.strides))
        shared = self._ordered([label for label in a.strides if label in b.strides], result)
        batch = [label for label in shared if label in needed]
        inner = [label for label in a.strides if label in b.strides and label not in needed]
        rows = self._ordered([label for label in a.strides if label not in b.strides], result)
        columns = self._ordered([label for label in b.strides if label not in a.strides], result)
        if [*batch, *columns, *rows] == list(result):
            a, b, rows, columns = b, a, columns, rows
        labels = [*batch, *rows, *columns]
        direct = target is not None and labels == list(result)
        out = target if direct and target is not None else self._workspace(labels)
        left, transpose_a = self._matrix(a, batch, rows, inner)
        right, transpose_b = self._matrix(b, batch, inner, columns)
        self.calls += product_calls(
            self._matrix_type(batch, *((inner, rows) if transpose_a else (rows, inner))),
            left,
            transpose_a,
            self._matrix_type(batch, *((columns, inner) if transpose_b else (inner, columns))),
            right,
            transpose_b,
            out,
            key=f"transposed {len(self.calls)}",
        )
        product_term = self._term(out, labels)
        if target is not None and not direct:
            self.arrange(product_term, result, target)
        return product_term

    def _ordered(self, labels: list[str], result: Sequence[str]) -> list[str]:
        places = {label: place for place, label in enumerate(result)}
        return sorted(labels, key=lambda label: places.get(label, len(places)))

    def _matrix(
        self, term: Term, batch: list[str], rows: list[str], columns: list[str]
    ) -> tuple[View, bool]:
        """A term as row-major matrices, and whether they are transposed ones."""
        if term.dense is not None and rows and columns:
            if list(term.dense) == [*batch, *columns, *rows]:
                return term.view, True
        return self.arrange(term, [*batch, *rows, *columns]), False

    def _matrix_type(
        self, batch: list[str], rows: Sequence[str], columns: Sequence[str]
    ) -> TensorType:
        sizes = (self.size(batch), self.size(rows), self.size(columns))
        return TensorType(self.dtype, sizes)


def contraction_calls(
    dtype: str, full: Mapping[str, Extent], terms: Sequence[Term], result: Sequence[str], out: View
) -> list[Call]:
    """Calls that write the Einstein sum of ``terms`` with the labels ``result`` to ``out``."""
    steps = Contraction(dtype, full)
    current = terms[0]
    if len(terms) == 1:
        steps.sum_into(current, result, out)
    for number, term in enumerate(terms[1:], 1):
        later = {label for other in terms[number + 1 :] for label in other.strides}
        last = number == len(terms) - 1
        target = out if last else None
        current = steps.multiply(current, term, result, later | set(result), target)
    return steps.calls
