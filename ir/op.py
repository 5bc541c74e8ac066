"""``Op``: the description of one operator. Its parts are attached in ``ops/``, in one place each.

The decorated NumPy function *is* the operator: positional parameters are tensors (one that
defaults to None may be left out, ``*name`` takes any number), keyword-only parameters are
attributes. Inference, cost and the kernel are functions with the same parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from .data_type import Array
from .dim import Extent
from .errors import ModelError, NoKernelError
from .kernel import Call, Operand
from .tensor_type import TensorType


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor parameter of an operator."""

    name: str
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """Arithmetic (FLOPs; a multiply-add counts two) and memory traffic (bytes) of one run."""

    flops: Extent
    nbytes: Extent


@dataclass(frozen=True, slots=True)
class Sample:
    """One test case: input arrays (None for one left out), attributes and a tolerance.

    ``tolerance`` is relative to the largest magnitude of the reference output; None takes
    the default of the data type, 0 asks for equality.
    """

    inputs: tuple[Array | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float | None = None


class Op:
    """One operator: signature, meaning, inference, cost, kernel, samples and traits.

    Traits that passes and targets look at:

    - ``elementwise``: has a ``scalar`` function; operands broadcast.
    - ``movement``: moves elements without looking at them; any data type works.
    - ``view``: the output is the input's memory with another shape.
    - ``reduction``, ``dot``, ``normalization``, ``pool``, ``recurrent``: families, for reports.
    - ``shape``: the reference also works on symbolic extents (object arrays of ints and Dims).
    - ``impure``: must be neither folded nor merged (random numbers).
    """

    def __init__(
        self, name: str, reference: Callable[..., Any], traits: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.reference = reference
        self.traits = frozenset(traits)
        self.documentation = inspect.getdoc(reference) or ""
        self.parameters, self.attributes = _signature(name, reference)
        self.samples: list[Sample] = []
        # Elementwise only: kind of the computing type ("float", "signed", ...) -> scalar function.
        self.scalars: dict[str, Callable[..., Any]] = {}
        self._infer: Callable[..., Any] | None = None
        self._cost: Callable[..., Cost] | None = None
        self._kernel: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        return f"<operator {self.name}>"

    # --- attaching the parts -------------------------------------------------------------

    def infer(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: types in, type (or tuple of types) out; same parameters as the operator."""
        self._infer = function
        return function

    def cost(self, function: Callable[..., Cost]) -> Callable[..., Cost]:
        """Decorator: the Cost of one run from the input types and attributes."""
        self._cost = function
        return function

    def kernel(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: builds the Calls that compute the operator.

        It takes an Operand for each tensor parameter (None if left out, a tuple for a
        variadic one), then an Operand for each output, then the attributes by keyword; it
        returns a Call or a list of Calls, or None where it has no kernel for these types.
        """
        self._kernel = function
        return function

    def scalar(self, *kinds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: another scalar function for computing types of these kinds."""

        def attach(function: Callable[..., Any]) -> Callable[..., Any]:
            for kind in kinds:
                self.scalars[kind] = function
            return function

        return attach

    # --- using the operator --------------------------------------------------------------

    def complete_attributes(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """All attributes, defaults filled in; raises ModelError for unknown or missing ones."""
        unknown = sorted(set(given) - set(self.attributes))
        if unknown:
            known = ", ".join(self.attributes) or "none"
            raise ModelError(
                f"{self.name}: unknown attribute {', '.join(unknown)}; it has: {known}"
            )
        result = {name: given.get(name, default) for name, default in self.attributes.items()}
        missing = [name for name, value in result.items() if value is REQUIRED]
        if missing:
            raise ModelError(f"{self.name}: attribute {', '.join(missing)} must be given")
        return MappingProxyType({name: _frozen(value) for name, value in result.items()})

    def check_inputs(self, inputs: Sequence[object]) -> None:
        """Raise ModelError when the number of operands or their presence does not fit."""
        variadic = bool(self.parameters) and self.parameters[-1].variadic
        fixed = self.parameters[:-1] if variadic else self.parameters
        needed = sum(not parameter.optional for parameter in fixed)
        most = None if variadic else len(fixed)
        if len(inputs) < needed or (most is not None and len(inputs) > most):
            names = ", ".join(parameter.name for parameter in self.parameters)
            raise ModelError(f"{self.name}({names}) was given {len(inputs)} operands")
        for parameter, value in zip(fixed, inputs, strict=False):
            if value is None and not parameter.optional:
                raise ModelError(f"{self.name}: operand {parameter.name} is missing")

    def infer_types(
        self, types: Sequence[TensorType | None], attributes: Mapping[str, Any]
    ) -> tuple[TensorType, ...]:
        """Output types; raises ModelError when the operands do not fit."""
        if self._infer is None:
            raise ModelError(f"{self.name}: the operator has no type inference")
        result = self._infer(*types, **attributes)
        return result if isinstance(result, tuple) else (result,)

    def cost_of(self, types: Sequence[TensorType | None], attributes: Mapping[str, Any]) -> Cost:
        """The Cost of one run; without a cost function, one FLOP an output element."""
        if self._cost is not None:
            return self._cost(*types, **attributes)
        outputs = self.infer_types(types, attributes)
        size: Extent = 0
        nbytes: Extent = 0
        for output in outputs:
            size = size + output.size
            nbytes = nbytes + output.nbytes
        for operand in types:
            nbytes = nbytes + (operand.nbytes if operand is not None else 0)
        free = self.traits & {"movement", "view"}
        return Cost(0 if free else size, 0 if "view" in self.traits else nbytes)

    def calls(
        self,
        inputs: Sequence[TensorType | None],
        outputs: Sequence[TensorType],
        attributes: Mapping[str, Any],
    ) -> list[Call]:
        """The kernel Calls that compute the operator; raises NoKernelError if there are none."""
        result = None
        if self._kernel is not None:
            operands = [
                None if type_ is None else Operand(position, type_)
                for position, type_ in enumerate(inputs)
            ]
            arguments: list[Any] = list(operands)
            if self.parameters and self.parameters[-1].variadic:
                fixed = len(self.parameters) - 1
                arguments = [*operands[:fixed], tuple(operands[fixed:])]
            else:
                arguments += [None] * (len(self.parameters) - len(operands))
            arguments += [Operand(len(inputs) + k, type_) for k, type_ in enumerate(outputs)]
            result = self._kernel(*arguments, **attributes)
        if result is None:
            given = ", ".join("-" if type_ is None else str(type_) for type_ in inputs)
            raise NoKernelError(f"{self.name}({given}): there is no kernel for these types")
        return [result] if isinstance(result, Call) else list(result)


def _signature(
    name: str, function: Callable[..., Any]
) -> tuple[tuple[Parameter, ...], dict[str, Any]]:
    parameters: list[Parameter] = []
    attributes: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            missing = parameter.default is parameter.empty
            attributes[parameter.name] = REQUIRED if missing else parameter.default
        elif parameter.kind is parameter.VAR_POSITIONAL:
            parameters.append(Parameter(parameter.name, optional=True, variadic=True))
        elif parameter.kind is parameter.VAR_KEYWORD:
            raise ModelError(f"{name}: attributes must be spelled out, not **{parameter.name}")
        else:
            parameters.append(Parameter(parameter.name, parameter.default is None))
    return tuple(parameters), attributes


def _frozen(value: Any) -> Any:
    """Attribute values are compared and hashed: lists become tuples, NumPy scalars plain."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, np.ndarray):
        return _frozen(value.tolist())
    return value.item() if isinstance(value, np.generic) else value
