"""Tuning a model: its questions are measured, and answered from then on, if the model gains."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ....compiler.driver import fixed_symbols, prepared_graph
from ....compiler.options import CompileOptions
from ....compiler.roofline import parameter_bytes
from ....ir import Array, Graph, ModelError
from ..choices import Choices, records_for
from ..pool import available_threads
from ..processors import NATIVE
from ..target import TARGET, passes_for
from .measure import measure
from .records import Collected, Question
from .whole import Whole

# Beyond this a difference of whole runs is not noise.
_SLOWER = 0.995
# What an operator must gain within the model.
_LEAST_INSIDE = 1.01
# Share of the time for questions that is left for the whole model.
_FOR_OPERATORS = 0.6


@dataclass(frozen=True, slots=True)
class TunedOperator:
    """One question: candidates before and after, what each takes, how often the model asks it.

    ``recorded`` is True for one that was answered before this tuning.
    """

    operator: str
    shape: str
    count: int
    before: str
    after: str
    seconds: Mapping[str, float]
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class TuningReport:
    """What tuning found; ``left`` questions there was no time for.

    ``before_seconds`` and ``after_seconds`` are those of a run of the whole model, None where
    no choice changed; ``gain`` is the median of their ratios turn by turn. ``kept`` is False if
    the model was slower with the new choices, which are forgotten then.
    """

    threads: int
    operators: tuple[TunedOperator, ...]
    left: int
    before_seconds: float | None
    after_seconds: float | None
    gain: float | None
    kept: bool
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and texts, for JSON."""
        return asdict(self)


def tune_graph(
    graph: Graph,
    options: CompileOptions,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    budget: float = 60.0,
    inputs: Mapping[str, Array] | None = None,
    again: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> TuningReport:
    """Measure for about ``budget`` seconds what ``graph`` is best computed with on this machine.

    What was measured before is not measured again unless ``again`` says so. ``inputs`` are those
    that whole runs are timed with, made up by default. ``told`` hears what is being done. Raises
    ModelError for a graph or a budget that is not valid.
    """
    if not budget > 0:
        raise ModelError(f"tuning needs some time, not {budget} seconds")
    if options.cpu != NATIVE or options.system is not None:
        raise ModelError("what is not for this machine cannot be measured on it")
    start = time.monotonic()
    graph = graph.substitute(fixed_symbols(graph, shapes or {}))
    threads = options.threads or available_threads()
    options = replace(options, threads=threads)
    records = records_for(options, threads)
    choices = Choices.of(replace(options, tuned=False))
    asked = _questions(graph, choices, options)
    known = {text: records.answer(text) for text in asked} if not again else {}
    operators: dict[str, TunedOperator] = {}
    answers: dict[str, str] = {}
    left = 0
    deadline = start + _FOR_OPERATORS * budget
    network = parameter_bytes(graph)
    for text, questions in asked.items():
        question, old = questions[0], known.get(text)
        count = len(questions)
        if old is not None and old in question.names:
            operators[text] = _told(question, count, question.estimated, old, {}, True)
            continue
        if time.monotonic() > deadline:
            left += 1
            continue
        told(f"{question.title} {question.shape}")
        found = measure(question, choices, options, network, deadline)
        if found is None:
            left += 1
            continue
        answers[text] = found.chosen
        before = records.answer(text) or question.estimated
        operators[text] = _told(question, count, before, found.chosen, found.seconds, False)
    current = {text: records.answer(text) or same[0].estimated for text, same in asked.items()}
    before_s, after_s, gain, kept = None, None, None, True
    if any(name != current[text] for text, name in answers.items()):
        told("the operators within the model")
        whole = Whole(graph, options, inputs or {})
        gains = whole.gains_inside(current, current | answers)
        # What gains alone need not gain between its neighbours.
        for text, name in answers.items():
            if name != current[text] and gains.get(text, 1.0) < _LEAST_INSIDE:
                answers[text] = current[text]
                operators[text] = replace(operators[text], after=current[text])
    if any(name != current[text] for text, name in answers.items()):
        told("the whole model")
        before_s, after_s, gain = whole.compared(current, current | answers, start + budget)
        kept = gain >= _SLOWER
    for text, name in answers.items():
        if kept or name == current[text]:  # what stays as it is need not be measured again
            records.put(text, name, operators[text].seconds)
    taken = time.monotonic() - start
    return TuningReport(
        threads, tuple(operators.values()), left, before_s, after_s, gain, kept, taken
    )  # fmt: skip


def _told(
    question: Question,
    count: int,
    before: str,
    after: str,
    seconds: Mapping[str, float],
    recorded: bool,
) -> TunedOperator:
    return TunedOperator(
        question.title, question.shape, count, before, after, seconds, recorded
    )  # fmt: skip


def _questions(
    graph: Graph, choices: Choices, options: CompileOptions
) -> dict[str, list[Question]]:
    """The questions that compiling the graph asks; those that weigh most come first."""
    collected = Collected()
    target = replace(TARGET, passes=lambda _: passes_for(replace(choices, tuning=collected)))
    prepared_graph(graph, target, None, options)
    found: dict[str, list[Question]] = {}
    for question in collected.questions:
        found.setdefault(question.text, []).append(question)
    weights = {text: len(same) * _weight(same[0]) for text, same in found.items()}
    return dict(sorted(found.items(), key=lambda item: weights[item[0]], reverse=True))


def _weight(question: Question) -> float:
    """About what a fragment takes: its arithmetic."""
    fragment = question.fragment
    total = 0.0
    for node in fragment.operators():
        types = [None if value is None else fragment.type(value) for value in node.inputs]
        flops = node.op.cost_of(types, node.attrs).flops
        total += flops if isinstance(flops, int) else 0
    return total
