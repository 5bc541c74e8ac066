"""What was measured on this machine, kept in the cache folder: a question, and its answer.

A question is the text of an operator with its types (see :mod:`.choose`); the answer names the
candidate that took least. Answers belong to a processor, a number of threads and the sources of
this package, so that none outlives what it was measured with. Like all entries of the cache they
are written whole or not at all, and what is damaged or foreign is ignored with a warning.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ....compiler.cache import Cache, CacheWarning, key_of
from ....compiler.processor import processor_name
from ....ir import Graph, Node
from ..machine_code import environment
from ..processors import CpuDescription

_FORMAT = "1"


@dataclass(frozen=True, slots=True)
class Question:
    """Which candidate computes ``fragment``: one operator, or a chain, with what it reads.

    ``names`` are the candidates with their estimated seconds, ``estimated`` is the one that
    estimates choose. A ``prepared`` fragment is as the last pass sees it.
    """

    text: str
    title: str
    shape: str
    names: Mapping[str, float]
    estimated: str
    fragment: Graph
    prepared: bool


class Tuning:
    """Answers nothing: estimates decide."""

    collects = False

    def answer(self, text: str) -> str | None:
        """The name of the candidate that is to be taken; None if nobody knows."""
        return None

    def ask(self, question: Question) -> None:
        """Told of every question if ``collects``."""

    def mark(self) -> str:
        """What is noted at the node of the question that was asked last."""
        return ""


class Collected(Tuning):
    """Answers from a mapping; remembers the questions."""

    collects = True

    def __init__(self, answers: Mapping[str, str] | None = None) -> None:
        self.answers = dict(answers or {})
        self.questions: list[Question] = []

    def answer(self, text: str) -> str | None:
        """The mapping's answer."""
        return self.answers.get(text)

    def ask(self, question: Question) -> None:
        """Remember it, once for each place that it is asked for."""
        self.questions.append(question)

    def mark(self) -> str:
        """The question's number."""
        return f"question {len(self.questions) - 1}"

    def marked(self, node: Node) -> Iterator[Question]:
        """The questions that a node of the compiled graph has come from."""
        for part in node.note.split("; "):
            if part.startswith("question "):
                yield self.questions[int(part.removeprefix("question "))]
        for value in node.attrs.values():
            if isinstance(value, Graph):
                for member in value.operators():
                    yield from self.marked(member)


class Records(Tuning):
    """The answers in a cache for one processor, number of threads and accuracy."""

    def __init__(self, cache: Cache, cpu: CpuDescription, threads: int, exact: bool) -> None:
        self._cache = cache
        self._where = (processor_name(), *environment(cpu), str(threads), str(exact))
        self._known: dict[str, str | None] = {}

    def answer(self, text: str) -> str | None:
        """The name that was recorded for this question."""
        if text not in self._known:
            self._known[text] = self._read(text)
        return self._known[text]

    def put(self, text: str, name: str, seconds: Mapping[str, float]) -> None:
        """Record an answer with what each candidate took."""
        content = {"chosen": name, "seconds": dict(seconds)}
        self._cache.put(self._key(text), json.dumps(content).encode())
        self._known[text] = name

    def _key(self, text: str) -> bytes:
        return key_of("tuning", _FORMAT, *self._where, text)

    def _read(self, text: str) -> str | None:
        held = self._cache.get(self._key(text))
        if held is None:
            return None
        try:
            content: Any = json.loads(held)
            name = content["chosen"]
        except (ValueError, TypeError, KeyError):
            name = None
        if not isinstance(name, str):
            warnings.warn(
                "a tuning record in the cache is not one; it is ignored", CacheWarning, stacklevel=2
            )
            return None
        return name
