"""What a compiled model costs before it computes: sizes, times to the first answer, memory.

One table for a package, a shared library and an executable, beside ONNX Runtime and OpenVINO on
the same model as an ONNX file, measured in turns in one run. Run it on a quiet machine:

    python tests/benchmarks/artefacts.py resnet50 --rounds 9

Times are medians, in milliseconds: "load" is the call that makes a model ready in a process that
has imported the engine; "cold" is a new process, from its start to the end of the first
inference; "run" is one inference later on, of 20, with one thread. Memory is the peak of a process
that loads the model and runs it 20 times. The library is used by a C program, the others by Python;
it and the executable are timed when their weights have moved to large pages.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import opweave

_RUNS = 20
# What a process prints: milliseconds to load, milliseconds of one run.
_REPORT = """
import json, time
start = time.perf_counter()
{load}
loaded = time.perf_counter()
{run}
times = []
for _ in range({runs}):
    begin = time.perf_counter()
    {run}
    times.append(time.perf_counter() - begin)
print(json.dumps([1e3 * (loaded - start), 1e3 * sorted(times)[len(times) // 2]]))
"""
_IMPORTS = "import numpy as np; feed = dict(np.load({feed!r}))\n"
_ENGINES = {
    "package": (
        "import opweave; opweave.load_session",
        "model = opweave.load_session({file!r}, threads=1)",
        "model.run(None, feed)",
    ),
    "ONNX Runtime": (
        "import onnxruntime as o; options = o.SessionOptions(); options.intra_op_num_threads = 1",
        "model = o.InferenceSession({onnx!r}, options)",
        "model.run(None, feed)",
    ),
    "OpenVINO": (
        "import openvino as ov; core = ov.Core(); how = {{'INFERENCE_NUM_THREADS': 1, "
        "'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': 'f32'}}",
        "model = core.compile_model({onnx!r}, 'CPU', how)",
        "model(feed)",
    ),
}


def peak_and_output(command: list[str]) -> tuple[float, int, str]:
    """Milliseconds of a process, its peak of memory in bytes, and what it printed."""
    begin = time.perf_counter()
    script = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(peak); print(done.stdout); sys.exit(done.returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, *command], capture_output=True, text=True, check=True
    )
    peak, _, output = done.stdout.partition("\n")
    return 1e3 * (time.perf_counter() - begin), 1024 * int(peak), output


def cold(command: list[str]) -> float:
    """Milliseconds from the start of a process to its end."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return 1e3 * (time.perf_counter() - begin)


def host_of(library: Path) -> Path:
    """A C program linked with a library called "model", beside it."""
    source, program = Path(__file__).with_name("host.c"), library.with_name("host")
    command = ["cc", "-O2", "-I", str(library.parent), str(source), str(library)]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


def measured(network: str, folder: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Figures by name of what runs the model."""
    onnx = opweave.export(network, file_name=folder / "model", file_format="ONNX")
    session = opweave.compile(network, threads=1)
    package = opweave.save(session, folder / "model")
    library, _ = opweave.build(network, folder / "model.so", threads=1)
    (program,) = opweave.build(network, folder / "model.bin", kind="executable", threads=1)
    feed = {spec.name: np.ones(spec.type.static_shape, spec.numpy) for spec in session.inputs}
    np.savez(folder / "feed.npz", **feed)  # type: ignore[arg-type]
    names = {"file": str(package), "onnx": str(onnx), "feed": str(folder / "feed.npz")}
    found: dict[str, dict[str, Any]] = {
        "package": {"bytes": package.stat().st_size},
        "shared library": {"bytes": library.stat().st_size},
        "executable": {"bytes": program.stat().st_size},
        "ONNX Runtime": {"bytes": onnx.stat().st_size},
        "OpenVINO": {"bytes": onnx.stat().st_size},
    }
    once = [str(program), names["feed"], "-o", str(folder / "out.npz"), "--threads", "1"]
    host = [str(host_of(library))]
    bench = [str(program), names["feed"], "--bench", "--seconds", "1", "--threads", "1"]
    for _ in range(rounds):
        for name, parts in _ENGINES.items():
            imports, load, run = (part.format(**names) for part in parts)
            head = _IMPORTS.format(**names) + imports + "\n"
            report = head + _REPORT.format(load=load, run=run, runs=_RUNS)
            _, peak, output = peak_and_output([sys.executable, "-c", report])
            loading, running = json.loads(output)
            figures = found[name]
            figures.setdefault("load", []).append(loading)
            figures.setdefault("run", []).append(running)
            figures.setdefault("peak", []).append(peak)
            figures.setdefault("cold", []).append(
                cold([sys.executable, "-c", f"{head}{load}\n{run}\n"])
            )
        figures = found["shared library"]
        figures.setdefault("cold", []).append(cold([*host, "0"]))
        _, peak, output = peak_and_output([*host, str(_RUNS)])
        loading, running = json.loads(output)
        figures.setdefault("load", []).append(loading)
        figures.setdefault("run", []).append(running)
        figures.setdefault("peak", []).append(peak)
        figures = found["executable"]
        figures.setdefault("cold", []).append(cold(once))
        _, peak, output = peak_and_output(bench)
        words = dict(line.split(None, 1) for line in output.splitlines() if line.strip())
        figures.setdefault("run", []).append(float(words["median"].split()[0]))
        figures.setdefault("peak", []).append(peak)
    return found


def shown(figures: dict[str, Any], name: str, scale: float = 1.0, digits: int = 1) -> str:
    """The median of one figure, or a dash."""
    values = figures.get(name)
    return f"{statistics.median(values) / scale:.{digits}f}" if values else "-"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", default=["resnet50"])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    for network in options.networks:
        with tempfile.TemporaryDirectory(prefix="opweave-artefacts-") as name:
            found = measured(network, Path(name), options.rounds)
        print(f"\n{network}\n")
        print("| | size, MB | load, ms | cold start to answer, ms | run, ms | peak memory, MB |")
        print("|---|---|---|---|---|---|")
        for title, figures in found.items():
            cells = [
                f"{figures['bytes'] / 1e6:.1f}",
                shown(figures, "load"),
                shown(figures, "cold", digits=0),
                shown(figures, "run"),
                shown(figures, "peak", 1e6, 0),
            ]
            print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
