"""Einstein sums."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir import Array, Call, Cost, Extent, ModelError, Operand, TensorType, unify
from ..ir.data_type import kind_of
from ..ir.dim import product
from .contraction import Term, contraction_calls
from .define import operator, same_type
from .half import widened
from .samples import sample, tensor, values


@dataclass(frozen=True, slots=True)
class Equation:
    """Labels of each operand's dimensions and of the result's, and the extents of the labels.

    Letters of the equation stand for themselves, the dimensions of an ellipsis are called
    "0", "1", ... counted from the last one.
    """

    operands: tuple[tuple[str, ...], ...]
    result: tuple[str, ...]
    extents: dict[str, Extent]

    @property
    def summed(self) -> tuple[str, ...]:
        """Labels that the result does not have."""
        return tuple(label for label in self.extents if label not in self.result)


def parse_equation(equation: str, shapes: Sequence[Sequence[Extent]]) -> Equation:
    """Read an equation as ONNX Einsum-12 and NumPy write it; raises ModelError when it is wrong.

    Spaces do not count. Without ``->`` the result has the ellipsis and then all labels that
    occur once, in alphabetical order. A dimension of extent 1 under an ellipsis broadcasts.
    """
    text = "".join(equation.split())
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ModelError(f"einsum {equation!r} is for {len(terms)} operands, not {len(shapes)}")
    ellipsis_rank = 0
    labels: list[tuple[str, ...]] = []
    extents: dict[str, Extent] = {}
    for term, shape in zip(terms, shapes, strict=True):
        before, dots, after = term.partition("...")
        hidden = len(shape) - len(before) - len(after)
        if hidden < 0 or (hidden > 0 and not dots):
            raise ModelError(
                f"einsum {equation!r}: {term!r} for an operand of shape {tuple(shape)}"
            )
        covered = tuple(str(number) for number in reversed(range(hidden)))
        ellipsis_rank = max(ellipsis_rank, hidden)
        names = (*_letters(equation, before), *covered, *_letters(equation, after))
        for name, extent in zip(names, shape, strict=True):
            known = extents.get(name)
            if known is None or (name.isdigit() and known == 1):
                extents[name] = extent
            elif not (name.isdigit() and extent == 1):
                extents[name] = unify(known, extent, f"einsum {equation!r}: label {name!r}")
        labels.append(names)
    covered = tuple(str(number) for number in reversed(range(ellipsis_rank)))
    if arrow:
        before, dots, after = right.partition("...")
        result = (
            *_letters(equation, before),
            *(covered if dots else ()),
            *_letters(equation, after),
        )
    else:
        letters = "".join(terms).replace(".", "")
        result = (*covered, *(name for name in sorted(set(letters)) if letters.count(name) == 1))
    if len(set(result)) != len(result) or not set(result) <= set(extents):
        raise ModelError(f"einsum {equation!r}: the result repeats a label or has an unknown one")
    return Equation(tuple(labels), result, extents)


def _letters(equation: str, text: str) -> tuple[str, ...]:
    wrong = [letter for letter in text if letter not in string.ascii_letters]
    if wrong:
        raise ModelError(f"einsum {equation!r}: {wrong[0]!r} is not a label")
    return tuple(text)


@operator(traits=("dot",))
def einsum(*xs: Array, equation: str) -> Array:
    """The sum of products that ``equation`` describes (ONNX Einsum-12).

    Ellipses, repeated labels (diagonals) and any number of operands; an omitted result has the
    ellipsis and the labels that occur once. Integer sums wrap around.
    """
    parsed = parse_equation(equation, [x.shape for x in xs])
    numbers = {label: number for number, label in enumerate(parsed.extents)}
    operands: list[Any] = []
    for x, labels in zip(xs, parsed.operands, strict=True):
        operands += [widened(x), [numbers[label] for label in labels]]
    covered = [label for label in parsed.summed if label.isdigit()]
    result = [*(numbers[label] for label in covered), *(numbers[label] for label in parsed.result)]
    # NumPy does not broadcast labels, so extent 1 is dropped and comes back at the end.
    sizes = list(parsed.extents.values())
    for place in range(0, len(operands), 2):
        array, axes = operands[place], operands[place + 1]
        dropped = tuple(k for k, axis in enumerate(axes) if array.shape[k] != sizes[axis])
        operands[place] = array.squeeze(dropped)
        operands[place + 1] = [axis for k, axis in enumerate(axes) if k not in dropped]
    found = np.einsum(*operands, result, optimize=len(xs) > 1)
    if covered:
        found = found.sum(axis=tuple(range(len(covered))), dtype=found.dtype)
    return np.asarray(found).astype(xs[0].dtype, copy=False)


@einsum.infer
def _(*xs: TensorType, equation: str) -> TensorType:
    if not xs:
        raise ModelError("einsum needs an operand")
    dtype = same_type("einsum", *xs)
    if kind_of(dtype) == "bool":
        raise ModelError("einsum does not take bool tensors")
    parsed = parse_equation(equation, [x.shape for x in xs])
    return TensorType(dtype, tuple(parsed.extents[label] for label in parsed.result))


@einsum.cost
def _(*xs: TensorType, equation: str) -> Cost:
    parsed = parse_equation(equation, [x.shape for x in xs])
    out = product(parsed.extents[label] for label in parsed.result)
    nbytes: Extent = TensorType(xs[0].dtype, (out,)).nbytes
    for x in xs:
        nbytes = nbytes + x.nbytes
    # operands are multiplied one after the other, and summed as soon as that is possible
    flops: Extent = xs[0].size if len(xs) == 1 else 0
    seen = dict.fromkeys(parsed.operands[0])
    for number, labels in enumerate(parsed.operands[1:], 1):
        seen |= dict.fromkeys(labels)
        flops = flops + 2 * product(parsed.extents[label] for label in seen)
        later = {label for other in parsed.operands[number + 1 :] for label in other}
        seen = {label: None for label in seen if label in later or label in parsed.result}
    return Cost(flops, nbytes)


@einsum.kernel
def _(xs: tuple[Operand, ...], out: Operand, *, equation: str) -> list[Call]:
    parsed = parse_equation(equation, [x.shape for x in xs])
    terms = [
        Term.of(x.flat(), labels, x.shape, parsed.extents)
        for x, labels in zip(xs, parsed.operands, strict=True)
    ]
    return contraction_calls(out.dtype, parsed.extents, terms, parsed.result, out.flat())


einsum.samples = [
    sample(tensor((3, 4)), tensor((4, 5)), equation="ij,jk->ik"),
    sample(tensor((3, 4)), tensor((4, 5)), equation="ij,jk"),
    sample(tensor((2, 3, 4)), tensor((2, 4, 5)), equation="bij,bjk->bik"),
    sample(tensor((2, 5, 3, 4)), tensor((2, 6, 3, 4)), equation="bqhd,bkhd->bhqk"),
    sample(tensor((2, 3, 5, 6)), tensor((2, 6, 3, 4)), equation="bhqk,bkhd->bqhd"),
    sample(tensor((2, 3, 4)), tensor((4, 3)), equation="...ij,ji->..."),
    sample(tensor((2, 1, 3, 4)), tensor((5, 4, 2)), equation="...ij,...jk->...ik"),
    sample(tensor((3, 4)), equation="ij->ji"),
    sample(tensor((3, 4)), equation="ij->"),
    sample(tensor((3, 4)), equation="ij->i"),
    sample(tensor((3, 3)), equation="ii"),
    sample(tensor((3, 4, 3)), equation="iji->ij"),
    sample(tensor((2, 3, 3)), equation="...ii->...i"),
    sample(tensor((4,)), tensor((4,)), equation="i,i"),
    sample(tensor((4,)), tensor((3,)), equation="i,j->ij"),
    sample(tensor((4,)), tensor((4,)), equation="i,i->i"),
    sample(tensor((3, 4)), tensor((4, 5)), tensor((5, 2)), equation="ij,jk,kl->il"),
    sample(tensor((2, 3)), tensor((2, 4)), tensor((2, 3, 4)), equation="bi,bj,bij->b"),
    sample(tensor((3, 4)), tensor((5, 6)), equation="ij,kl->k"),
    sample(tensor(()), tensor((3,)), equation=",i->i"),
    sample(tensor((2, 3, 4)), equation="i...->..."),
    sample(tensor((2, 3)), equation=" i ... -> i "),
    sample(tensor((0, 3)), tensor((3, 2)), equation="ij,jk->ik"),
    sample(tensor((2, 0)), tensor((0, 3)), equation="ij,jk->ik"),
    sample(values([[1.0, np.nan], [np.inf, 2.0]]), equation="ij->j"),
    sample(tensor((3, 4), "float64"), tensor((5, 4), "float64"), equation="ij,kj->ki"),
    sample(tensor((3, 4), "float16"), tensor((5, 4), "float16"), equation="ij,kj->ki"),
    sample(tensor((3, 4), "bfloat16"), tensor((5, 4), "bfloat16"), equation="ij,kj->ki"),
    sample(tensor((3, 4), "int32", -9, 9), tensor((4, 5), "int32", -9, 9), equation="ij,jk->ki"),
]
