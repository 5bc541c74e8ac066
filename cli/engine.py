"""A process that runs one model with one engine, for ``bench``.

It reads requests from standard input, one JSON object a line, and answers each with one
line on standard output; everything else that is printed goes to standard error. A request that
names an engine loads a model, in place of the one that was there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .exits import Exit, status_of
from .peers import PEERS, Runner
from .timing import peak_memory, timed_runs

# An engine's process holds what the engine needs and nothing else, so that memory compares.
if TYPE_CHECKING:
    from ..compiler.session import Session
    from ..ir import Array

OURS = "opweave"


class Engine:
    """One engine with one model loaded; ``facts`` is what ``bench`` reports of it."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        runner = {OURS: _opweave, **PEERS}[request["engine"]](request)
        self.runner = runner
        self.run, self.outputs, self.facts = runner.run, runner.outputs, runner.facts
        for _ in range(request["warmup"]):
            self.run()

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        if request["do"] == "save":
            named = {str(number): array for number, array in enumerate(self.outputs())}
            np.savez(request["path"], **named)  # type: ignore[arg-type]
            return {}
        # The first run of a turn finds cold caches and sleeping threads: it is not counted.
        self.run()
        latencies = timed_runs(self.run, request["seconds"], request["count"])
        return {"latencies": latencies, "peak_memory": peak_memory()}


def _opweave(request: Mapping[str, Any]) -> Runner:
    from .data import inputs_for
    from .options import Compilation, InputOptions, Sizes
    from .output import Output
    from .running import compiled
    from .subject import subject_of

    output = Output(quiet=True)
    sizes = Sizes(tuple(request["shapes"]), tuple(request["dims"]))
    subject = subject_of(request["model"], output, sizes)
    feed = inputs_for(subject.input_types, InputOptions(request["inputs"]))
    how = Compilation(**request["compilation"])
    session, seconds = compiled(subject, how, request["threads"], output)
    facts = {"load_s": subject.load_seconds, "compile_s": seconds, "way": "run"}
    facts |= facts_of(session, feed)
    start = time.perf_counter()
    session.run(None, feed)
    facts["first_inference_s"] = time.perf_counter() - start
    return Runner(lambda: session.run(None, feed), lambda: list(session.run(None, feed)), facts)


def facts_of(session: Session, feed: Mapping[str, Array]) -> dict[str, Any]:
    """What there is to say of a compiled model with these inputs.

    Threads of a run, bytes for intermediate tensors, bytes of all parameters, and the work of
    each node (see ``roofline.Work``).
    """
    from ..compiler.roofline import parameter_bytes, work_of
    from ..ir.binding import bind_symbols

    types = [spec.type for spec in session.inputs]
    symbols = bind_symbols(types, [feed[spec.name] for spec in session.inputs])
    works = [work_of(session.graph, node, symbols) for node in session.graph.operators()]
    known = [work for work in works if work is not None]
    return {
        "arena_bytes": session.executable.arena_bytes(symbols),
        "threads": getattr(session.executable, "threads", None),
        "parameter_bytes": parameter_bytes(session.graph),
        "work": [[work.flops, work.weight_bytes, work.other_bytes] for work in known],
    }


def main() -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    engine: Engine | None = None
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if engine is None or "engine" in request:
                engine = None  # two models need not be there at once
                engine = Engine(request)
                answer = engine.facts
            else:
                answer = engine.answer(request)
        except KeyboardInterrupt:
            return
        except Exception as error:
            status, message = status_of(error)
            if status == Exit.BUG and request.get("engine") in PEERS:
                status, message = Exit.UNSUPPORTED, f"{type(error).__name__}: {error}"
            answer = {"error": message, "status": int(status)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
