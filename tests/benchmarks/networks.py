"""Built-in networks against ONNX Runtime, one table; or the models named on the command line.

Each network runs in both engines with the same inputs and the same number of threads, in
turns (see ``cli/comparison.py``). Run it on a quiet machine:

    python tests/benchmarks/networks.py                     # the set below
    python tests/benchmarks/networks.py lenet model.onnx -t 10 --json report.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from opweave.cli.bench import compared
from opweave.cli.data import inputs_for
from opweave.cli.exits import Exit, status_of
from opweave.cli.output import Output, shown_bytes
from opweave.cli.subject import subject_of

NETWORKS = ("lenet", "resnet18", "resnet50", "mobilenet_v2", "vgg16", "tinybert", "bert_base")
HEAD = (
    "Model",
    "opweave",
    "onnxruntime",
    "Ratio",
    "Quartiles",
    "Difference",
    "Compile",
    "Memory",
    "Peer's memory",
)


def measured(name: str, seconds: float, threads: int | None, output: Output) -> dict[str, Any]:
    """The result of ``opweave bench NAME --against onnxruntime``."""
    subject = subject_of(name, output)
    feed = inputs_for(subject.input_types)
    plan = {"seconds": seconds, "count": None, "warmup": 3}
    return compared(subject, feed, "cpu", threads, plan, output)


def row(result: dict[str, Any]) -> list[str]:
    """One network's cells."""
    peer = result["against"]
    ratio = peer["ratio"]
    return [
        Path(result["model"]).name,
        f"{result['latency_ms']['median']:.3f} ms",
        f"{peer['latency_ms']['median']:.3f} ms",
        f"{ratio['median']:.2f}",
        f"{ratio['quartile_low']:.2f} to {ratio['quartile_high']:.2f}",
        f"{peer['difference']:.1e}",
        f"{result['compile_s']:.1f} s",
        shown_bytes(result["peak_memory_bytes"]),
        shown_bytes(peer["peak_memory_bytes"]),
    ]


def main() -> int:
    """Measure and print; the status says whether all models ran."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="*", default=NETWORKS)
    parser.add_argument("-t", "--duration", type=float, default=5.0, help="seconds an engine")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    output = Output()
    results: list[dict[str, Any]] = []
    status: int = Exit.OK
    for name in options.models:
        try:
            results.append(measured(name, options.duration, options.threads, output))
        except Exception as error:
            status, message = status_of(error)
            print(f"{name}: {message}", file=sys.stderr)
    output.table([row(result) for result in results], HEAD, right=tuple(range(1, len(HEAD))))
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
