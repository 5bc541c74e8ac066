"""Other engines that ``bench`` compares with, called as fast as they can be called.

Both compute in float32, on the same number of threads, from inputs that are already where the
engine wants them. They are optional: ``pip install 'opweave[bench]'``.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

# A peer's process must not hold what opweave needs: nothing of it is imported here.
if TYPE_CHECKING:
    from ..ir import Array

# Runs of each way to call ONNX Runtime, before the faster one is taken.
_TRIALS = 5


@dataclass(frozen=True, slots=True)
class Runner:
    """A loaded model: one inference, the outputs of the last one, and facts for the report.

    ``kept`` is what must live as long as the model.
    """

    run: Callable[[], object]
    outputs: Callable[[], Sequence[Array]]
    facts: dict[str, Any]
    kept: object = None


def check_installed(names: Sequence[str]) -> None:
    """Raise UnsupportedError, with the command that installs it, for an engine that is absent."""
    from ..ir.errors import UnsupportedError

    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UnsupportedError(
            f"comparing with {' and '.join(missing)} needs the package: "
            f"pip install {' '.join(missing)}, or pip install 'opweave[bench]'",
            missing,
        )


def onnxruntime_runner(request: Mapping[str, Any]) -> Runner:
    """ONNX Runtime on the processor, all of its optimisations on."""
    runtime = importlib.import_module("onnxruntime")
    feed = _feed(request)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = request["threads"]
    options.inter_op_num_threads = 1
    for name, size in request["symbols"].items():
        options.add_free_dimension_override_by_name(name, size)
    start = time.perf_counter()
    session = runtime.InferenceSession(
        request["onnx_file"], options, providers=["CPUExecutionProvider"]
    )
    facts: dict[str, Any] = {"load_s": 0.0, "compile_s": time.perf_counter() - start}
    facts |= {"version": runtime.__version__, "threads": request["threads"]}
    start = time.perf_counter()
    results: list[Any] = [session.run(None, feed)]
    facts["first_inference_s"] = time.perf_counter() - start
    binding = session.io_binding()
    kept = {name: runtime.OrtValue.ortvalue_from_numpy(array) for name, array in feed.items()}
    for name, value in kept.items():
        binding.bind_ortvalue_input(name, value)
    bound = [runtime.OrtValue.ortvalue_from_numpy(array) for array in results[0]]
    for output, value in zip(session.get_outputs(), bound, strict=True):
        binding.bind_ortvalue_output(output.name, value)

    def plain() -> None:
        results[0] = session.run(None, feed)

    def with_binding() -> None:
        session.run_with_iobinding(binding)

    def outputs() -> Sequence[Array]:
        with_binding()
        return [value.numpy() for value in bound]

    ways = {"io_binding": with_binding, "run": plain}
    facts["way"] = min(ways, key=lambda name: _best_time(ways[name]))
    return Runner(ways[facts["way"]], outputs, facts, (feed, kept))


def openvino_runner(request: Mapping[str, Any]) -> Runner:
    """OpenVINO on the processor: float32, one stream for least latency, a request bound once."""
    openvino = importlib.import_module("openvino")
    feed = _feed(request)
    core = openvino.Core()
    start = time.perf_counter()
    model = core.read_model(request["onnx_file"])
    if any(port.get_partial_shape().is_dynamic for port in model.inputs):
        model.reshape({name: list(array.shape) for name, array in feed.items()})
    loaded = time.perf_counter()
    settings = {
        "INFERENCE_NUM_THREADS": request["threads"],
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    compiled = core.compile_model(model, "CPU", settings)
    seconds = time.perf_counter() - loaded
    facts: dict[str, Any] = {"load_s": loaded - start, "compile_s": seconds}
    facts |= {"version": openvino.__version__.partition("-")[0], "threads": request["threads"]}
    facts["way"] = "bound request"
    inference = compiled.create_infer_request()
    # The tensors are the arrays' own memory, which the request does not keep.
    tensors = {name: openvino.Tensor(array, shared_memory=True) for name, array in feed.items()}
    for name, tensor in tensors.items():
        inference.set_tensor(name, tensor)
    start = time.perf_counter()
    inference.infer()
    facts["first_inference_s"] = time.perf_counter() - start

    def outputs() -> Sequence[Array]:
        count = len(compiled.outputs)
        return [np.array(inference.get_output_tensor(number).data) for number in range(count)]

    return Runner(inference.infer, outputs, facts, (feed, tensors))


PEERS = {"onnxruntime": onnxruntime_runner, "openvino": openvino_runner}


def _feed(request: Mapping[str, Any]) -> dict[str, Array]:
    with np.load(request["inputs"], allow_pickle=False) as archive:
        return {name: np.ascontiguousarray(archive[name]) for name in archive.files}


def _best_time(run: Callable[[], object]) -> float:
    """Seconds of the best of several runs after one that is not counted."""
    run()
    times = []
    for _ in range(_TRIALS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
