"""Writes down what a body does with numbers while it is recorded: see :mod:`.recorded`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from .constants import F32, I64, constant
from .recorded_values import Condition, NotRecordableError, Number

# Decisions of one run of a scalar function, and runs, which each decision may double.
_MOST_DECISIONS, _MOST_RUNS = 8, 32


class Recorder:
    """Writes the instructions that a body's operations on numbers stand for.

    ``literal`` is the type of floats written in the body, None where it has none.
    """

    def __init__(self, builder: ir.IRBuilder, fastmath: Sequence[str], literal: ir.Type | None):
        self.builder, self.fastmath, self.literal = builder, list(fastmath), literal
        self.loops: list[int] = []
        self._opened = 0
        self._given: list[bool] | None = None  # answers to a scalar function's questions
        self._asked: list[Condition] = []
        self._runs = 0

    # --- numbers -----------------------------------------------------------------------------

    def value(self, number: Any, type_: ir.Type) -> ir.Value:
        """A number as a value of a type; an integer may become a float."""
        if isinstance(number, Number):
            value = number.used()
            if value.type == type_:
                return value
            if type_ == F32:
                return self.builder.sitofp(value, F32)
        elif type(number) is int and type_ == I64 and -(2**63) <= number < 2**63:
            return constant(number)
        elif type(number) in (int, float, np.float32) and type_ == F32 and self.literal == F32:
            return ir.Constant(F32, float(np.float32(number)))
        raise NotRecordableError(f"{type(number).__name__} as {type_}")

    def _common(self, left: Any, right: Any) -> ir.Type:
        """The type of an operation: float32 where one side is a float."""
        floats = [
            item.is_float if isinstance(item, Number) else not isinstance(item, int)
            for item in (left, right)
        ]
        return F32 if any(floats) else I64

    def arithmetic(self, name: str, left: Any, right: Any) -> Number:
        """A sum, difference, product or quotient; integers do not make a quotient."""
        type_ = self._common(left, right)
        x, y = self.value(left, type_), self.value(right, type_)
        if type_ == F32:
            operation = getattr(self.builder, f"f{name}")
            return Number(self, operation(x, y, flags=self.fastmath))
        if name == "div":
            raise NotRecordableError("a quotient of integers")
        return Number(self, getattr(self.builder, name)(x, y, flags=["nsw"]))

    def divided(self, left: Any, right: Any) -> tuple[Number, Number]:
        """Quotient, rounded down, and remainder of integers; by zero both are zero."""
        builder, zero = self.builder, constant(0)
        if self._common(left, right) != I64:
            raise NotRecordableError("a whole quotient of floats")
        x, y = self.value(left, I64), self.value(right, I64)
        is_zero = builder.icmp_signed("==", y, zero)
        is_minus = builder.icmp_signed("==", y, constant(-1))
        divisor = builder.select(builder.or_(is_zero, is_minus), constant(1), y)
        quotient, rest = builder.sdiv(x, divisor), builder.srem(x, divisor)
        signs = builder.icmp_signed("<", builder.xor(rest, divisor), zero)
        down = builder.and_(builder.icmp_signed("!=", rest, zero), signs)
        quotient = builder.select(down, builder.sub(quotient, constant(1)), quotient)
        rest = builder.select(down, builder.add(rest, divisor), rest)
        quotient = builder.select(is_minus, builder.sub(zero, x), quotient)
        quotient = builder.select(is_zero, zero, quotient)
        return Number(self, quotient), Number(self, rest)

    def negated(self, number: Number) -> Number:
        """The number with the other sign."""
        value = number.used()
        if number.is_float:
            return Number(self, self.builder.fneg(value, flags=self.fastmath))
        return Number(self, self.builder.sub(constant(0), value))

    def compared(self, operator: str, left: Any, right: Any) -> Condition:
        """A comparison; with NaN only ``!=`` is true."""
        type_ = self._common(left, right)
        x, y = self.value(left, type_), self.value(right, type_)
        if type_ == I64:
            return Condition(self, self.builder.icmp_signed(operator, x, y))
        compare = self.builder.fcmp_unordered if operator == "!=" else self.builder.fcmp_ordered
        return Condition(self, compare(operator, x, y, flags=self.fastmath))

    def extremum(self, name: str) -> Callable[..., Any]:
        """``min`` (name "smin") or ``max`` ("smax") of two integers."""

        def extremum(*numbers: Any) -> Any:
            if not any(isinstance(number, Number) for number in numbers):
                return min(numbers) if name == "smin" else max(numbers)
            if len(numbers) != 2:
                raise NotRecordableError("an extremum of other than two numbers")
            type_ = ir.FunctionType(I64, [I64, I64])
            module = self.builder.module
            known = module.globals.get(f"llvm.{name}.i64")
            function = known or ir.Function(module, type_, f"llvm.{name}.i64")
            values = [self.value(number, I64) for number in numbers]
            return Number(self, self.builder.call(function, values))

        return extremum

    def float32(self, number: Any) -> Any:
        """``np.float32(number)`` of the body."""
        return Number(self, self.value(number, F32))

    # --- loops -------------------------------------------------------------------------------

    def counted(self, *bounds: Any) -> Iterator[Number]:
        """``range(...)`` of the body: what is done with the one number that it gives is a round."""
        if not 1 <= len(bounds) <= 2:
            raise NotRecordableError("a range with a step")
        self.only_in_bodies()
        builder = self.builder
        first = self.value(bounds[0] if len(bounds) == 2 else 0, I64)
        end = self.value(bounds[-1], I64)
        before = builder.block
        inside = builder.append_basic_block("round")
        after = builder.append_basic_block("rounds_done")
        builder.cbranch(builder.icmp_signed("<", first, end), inside, after)
        builder.position_at_end(inside)
        number = builder.phi(I64)
        number.add_incoming(first, before)
        self._opened += 1
        self.loops.append(self._opened)
        # A body that leaves the loop earlier leaves it open, which is noticed at the end.
        yield Number(self, number)
        self.loops.pop()
        following = builder.add(number, constant(1), flags=["nsw"])
        number.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, end), inside, after)
        builder.position_at_end(after)

    # --- scalar functions --------------------------------------------------------------------

    def only_in_bodies(self) -> None:
        """Scalar functions, which are run for each answer, must compute and do no more."""
        if self._given is not None:
            raise NotRecordableError("a scalar function reads, writes or loops")

    def decided(self, condition: Condition) -> bool:
        """The answer to a question of the scalar function that is being run."""
        if self._given is None:
            raise NotRecordableError("a body that decides")
        number = len(self._asked)
        if number == _MOST_DECISIONS:
            raise NotRecordableError("a scalar function with many decisions")
        self._asked.append(condition)
        return self._given[number] if number < len(self._given) else True

    def scalar(self, function: Callable[..., Any], weak: bool) -> Callable[..., Any]:
        """A scalar function as the body calls it.

        ``weak``: integers written in the function are floats. All of its outcomes are computed,
        and its decisions choose one.
        """

        def call(*arguments: Any) -> Any:
            self.only_in_bodies()
            if weak and not all(_is_float(item) for item in arguments):
                raise NotRecordableError("a scalar function of other than float32")
            self._runs = 0
            try:
                return self._outcomes(lambda: function(*arguments), [], weak)
            finally:
                self._given, self._asked = None, []

        return call

    def _outcomes(self, run: Callable[[], Any], answers: list[bool], weak: bool) -> Any:
        self._runs += 1
        if self._runs > _MOST_RUNS:
            raise NotRecordableError("a scalar function with many decisions")
        self._given, self._asked = answers, []
        result = run()
        asked = self._asked
        for number in reversed(range(len(answers), len(asked))):
            given = answers + [True] * (number - len(answers)) + [False]
            other = self._outcomes(run, given, weak)
            result = self._either(asked[number], result, other, weak)
        return self._float(result) if weak else result

    def _either(self, condition: Condition, yes: Any, no: Any, weak: bool) -> Number:
        yes, no = (self._float(item) if weak else item for item in (yes, no))
        type_ = self._common(yes, no)
        if type_ == F32 and any(_is_integer(item) for item in (yes, no)):
            raise NotRecordableError("an integer or a float")
        x, y = self.value(yes, type_), self.value(no, type_)
        return Number(self, self.builder.select(condition.used(), x, y))

    def _float(self, item: Any) -> Number:
        return item if isinstance(item, Number) else Number(self, self.value(item, F32))


def _is_float(item: Any) -> bool:
    return item.is_float if isinstance(item, Number) else isinstance(item, (np.float32, bool))


def _is_integer(item: Any) -> bool:
    return not item.is_float if isinstance(item, Number) else isinstance(item, int)
