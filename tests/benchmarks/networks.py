"""Built-in networks against ONNX Runtime and OpenVINO, in float32: one table.

Each network is written as an ONNX file, which every engine reads; the engines take turns (see
``cli/comparison.py``). Run it on a quiet machine:

    python tests/benchmarks/networks.py                           # the set below, a few minutes
    python tests/benchmarks/networks.py lenet resnet50 --threads 1 -t 4
    python tests/benchmarks/networks.py --results r.jsonl --time-limit 60    # again: goes on
    python tests/benchmarks/networks.py model.onnx                # any model

``--results`` keeps each measurement as a line of JSON; what is in the file is not measured
again, and the table is that of the whole file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import opweave
from opweave.cli.bench import head
from opweave.cli.data import inputs_for
from opweave.cli.exits import Exit, status_of
from opweave.cli.measurement import Plan, in_turns
from opweave.cli.options import Compilation, InputOptions, parsed_counts
from opweave.cli.output import Output
from opweave.cli.peers import PEERS, check_installed
from opweave.cli.subject import subject_of
from opweave.networks import network_named, network_names, trace


@dataclass(frozen=True)
class Entry:
    """One network of the set; ``wanted`` is the ratio to the faster peer that is aimed at."""

    title: str
    network: str
    wanted: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    ranges: tuple[str, ...] = ()


SET = {
    "resnet50": Entry("ResNet-50", "resnet50", 1.25),
    "resnet18": Entry("ResNet-18", "resnet18", 1.6),
    "vgg16": Entry("VGG16", "vgg16", 1.8),
    "unet": Entry("U-Net, 256 x 256", "unet", 1.9),
    "mobilenet_v2": Entry("MobileNetV2", "mobilenet_v2", 1.2),
    "bert_base": Entry("BERT-base, 128 tokens", "bert_base", 1.08, ranges=("input_ids:0..21127",)),
    "tinybert": Entry(
        "TinyBERT 4 x 312, 128 tokens",
        "tinybert",
        1.2,
        {"size": "4x312"},
        ("input_ids:0..30521",),
    ),
    "bilstm": Entry("BiLSTM 2 x 256, 128 steps", "bilstm", 1.3, ranges=("inputs:0..19999",)),
    "wide_deep": Entry(
        "Wide & Deep, batch 256", "wide_deep", 1.2, {"batch": 256}, ("id_hldr:0..199999",)
    ),
    "lenet": Entry("LeNet", "lenet", 2.0),
}


def entry_of(name: str) -> Entry:
    """The entry called ``name``, another built-in network, or a file."""
    return SET.get(name) or Entry(Path(name).name, name)


def file_of(name: str, entry: Entry, folder: Path, output: Output) -> str:
    """The network as an ONNX file in ``folder``; a file itself."""
    if entry.network not in network_names():
        return entry.network
    path = folder / f"{name}.onnx"
    if not path.exists():
        with output.progress(f"writing {path}"):
            network, types = network_named(entry.network, **entry.options)
            opweave.export(trace(network, *types), file_name=path)
    return str(path)


def measured(name: str, threads: int, options: argparse.Namespace, output: Output) -> Any:
    """One network on so many threads: what ``opweave bench --against`` reports."""
    entry = entry_of(name)
    subject = subject_of(file_of(name, entry, Path(options.models), output), output)
    feed = inputs_for(subject.input_types, InputOptions(ranges=entry.ranges))
    how = Compilation(accuracy=options.accuracy)
    found = in_turns(subject, feed, how, threads, Plan(options.duration), output, list(PEERS))
    return {"network": name, **head(subject, feed, how), **found}


def row(result: dict[str, Any]) -> list[str]:
    """One measurement's cells."""
    entry, engines = entry_of(result["network"]), result["engines"]
    ours = engines["opweave"]
    share = ours["roofline_share"]
    return [
        entry.title,
        str(result["threads"]),
        *(f"{engine['latency_ms']['median']:.3f}" for engine in engines.values()),
        f"{result['ratio_to_faster']:.2f}",
        "-" if entry.wanted is None else f"{entry.wanted:.2f}",
        "-" if share is None else f"{share:.0%}",
        f"{max(engines[peer]['difference'] for peer in PEERS):.0e}",
        "-" if result["foreign_load"] is None else f"{result['foreign_load']:.1f}",
        f"{ours['compile_s']:.1f}",
        *(f"{engine['peak_memory_bytes'] / 2**20:.0f}" for engine in engines.values()),
    ]


HEAD = (
    *("Network", "Threads", "opweave ms", "onnxruntime ms", "openvino ms"),
    *("Ratio", "Wanted", "Roofline", "Difference", "Others' load", "Compile s"),
    *("Memory MiB", "onnxruntime", "openvino"),
)


def print_table(results: list[dict[str, Any]], output: Output) -> None:
    """All measurements, and the geometric mean of the ratios by number of threads."""
    output.table([row(result) for result in results], HEAD, right=tuple(range(1, len(HEAD))))
    for threads in sorted({result["threads"] for result in results}):
        ratios = [r["ratio_to_faster"] for r in results if r["threads"] == threads]
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        output.text(
            f"{threads} thread{'s' * (threads > 1)}: geometric mean of {len(ratios)} ratios to "
            f"the faster peer {mean:.2f}, least {min(ratios):.2f}"
        )


def known_results(path: str | None) -> list[dict[str, Any]]:
    """What a file of results holds."""
    if path is None or not os.path.exists(path):
        return []
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line]


def main() -> int:
    """Measure and print; the status says whether all models ran."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", default=list(SET), help="networks or files")
    parser.add_argument("-t", "--duration", type=float, default=1.5, help="seconds an engine")
    parser.add_argument("--threads", default="1,2", help="counts of threads, one after the other")
    parser.add_argument("--accuracy", choices=("default", "exact"), default="default")
    parser.add_argument("--models", default=None, help="folder for the ONNX files, kept")
    parser.add_argument("--results", metavar="FILE.jsonl", help="keep measurements here; go on")
    parser.add_argument("--time-limit", type=float, help="begin nothing after so many seconds")
    options = parser.parse_args()
    check_installed(list(PEERS))
    output, start, status = Output(), time.monotonic(), int(Exit.OK)
    results = known_results(options.results)
    there = {(result["network"], result["threads"]) for result in results}
    with tempfile.TemporaryDirectory(prefix="opweave-models-") as temporary:
        options.models = options.models or temporary
        Path(options.models).mkdir(parents=True, exist_ok=True)
        for name in options.names:
            for threads in parsed_counts(options.threads):
                late = options.time_limit and time.monotonic() - start > options.time_limit
                if late or (name, threads) in there:
                    continue
                try:
                    result = measured(name, threads, options, output)
                except Exception as error:
                    status, message = status_of(error)
                    print(f"{name}: {message}", file=sys.stderr)
                    continue
                results.append(json.loads(json.dumps(result)))
                if options.results:
                    with open(options.results, "a", encoding="utf-8") as file:
                        file.write(json.dumps(result) + "\n")
    if results:
        print_table(results, output)
    return status


if __name__ == "__main__":
    sys.exit(main())
