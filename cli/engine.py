"""A process that runs one model with one engine, for ``bench``.

It reads requests from standard input, one JSON object a line, and answers each with one
line on standard output; everything else that is printed goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .exits import Exit, status_of
from .timing import peak_memory, timed_runs

# An engine's process holds what the engine needs and nothing else, so that memory compares.
if TYPE_CHECKING:
    from ..compiler.session import Session
    from ..ir import Array

Runner = Callable[[], "list[Array]"]


class Engine:
    """One engine with one model loaded; ``facts`` is what ``bench`` reports of it."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        make = {"opweave": _opweave, "onnxruntime": _onnxruntime}[request["engine"]]
        self.run, self.facts = make(request)
        start = time.perf_counter()
        self.outputs = self.run()
        self.facts["first_inference_s"] = time.perf_counter() - start
        for _ in range(request["warmup"]):
            self.run()

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        if request["do"] == "save":
            named = {str(number): array for number, array in enumerate(self.outputs)}
            np.savez(request["path"], **named)  # type: ignore[arg-type]
            return {}
        # The first run of a turn finds cold caches and sleeping threads: it is not counted.
        self.run()
        latencies = timed_runs(self.run, request["seconds"], request["count"])
        return {"latencies": latencies, "peak_memory": peak_memory()}


def _opweave(request: Mapping[str, Any]) -> tuple[Runner, dict[str, Any]]:
    from .data import inputs_for
    from .output import Output
    from .running import compiled
    from .subject import subject_of

    output = Output(quiet=True)
    subject = subject_of(request["model"], output, request["shapes"], request["dims"])
    feed = inputs_for(subject.input_types, request["inputs"])
    session, seconds = compiled(subject, request["target"], request["threads"], output)
    facts = {"load_s": subject.load_seconds, "compile_s": seconds, **memory(session, feed)}
    return lambda: session.run(None, feed), facts


def memory(session: Session, feed: Mapping[str, Array]) -> dict[str, Any]:
    """Bytes for intermediate tensors in a run with these inputs, and the threads it uses."""
    from ..ir.evaluate import bind_symbols

    types = [spec.type for spec in session.inputs]
    symbols = bind_symbols(types, [feed[spec.name] for spec in session.inputs])
    threads = getattr(session.executable, "threads", None)
    return {"arena_bytes": session.executable.arena_bytes(symbols), "threads": threads}


def _onnxruntime(request: Mapping[str, Any]) -> tuple[Runner, dict[str, Any]]:
    from ..ir.errors import UnsupportedError

    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        raise UnsupportedError(
            "comparing with onnxruntime needs that package: pip install onnxruntime"
        ) from None
    with np.load(request["inputs"], allow_pickle=False) as archive:
        feed = {name: archive[name] for name in archive.files}
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    if request["threads"] is not None:
        options.intra_op_num_threads = request["threads"]
    options.inter_op_num_threads = 1
    for name, size in request["symbols"].items():
        options.add_free_dimension_override_by_name(name, size)
    start = time.perf_counter()
    session = runtime.InferenceSession(
        request["onnx_file"], options, providers=["CPUExecutionProvider"]
    )
    facts = {"load_s": 0.0, "compile_s": time.perf_counter() - start}
    facts |= {"version": runtime.__version__, "threads": request["threads"]}
    return lambda: session.run(None, feed), facts


def main() -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    engine: Engine | None = None
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if engine is None:
                engine = Engine(request)
                answer = engine.facts
            else:
                answer = engine.answer(request)
        except KeyboardInterrupt:
            return
        except Exception as error:
            status, message = status_of(error)
            if status == Exit.BUG and request.get("engine") == "onnxruntime":
                status, message = Exit.UNSUPPORTED, f"{type(error).__name__}: {error}"
            answer = {"error": message, "status": int(status)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
