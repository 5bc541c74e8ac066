"""A compiled model: checks what it is given, runs it, hands the results out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import Array, LimitError, ModelError, UnsupportedError
from ..ir.binding import bind_symbols
from ..ir.data_type import numpy_type
from .bound import PLAIN, BoundSession, check_apart, check_plain, ordered_outputs
from .interface import LARGEST_EXTENT, Interface
from .spec import Spec

# A saved model runs without what graphs and reports need.
if TYPE_CHECKING:
    from ..ir import Graph
    from .profile import Profile, Profiler
    from .target import Executable

_REMEMBERED_RUNS = 64
_ARRAY = np.ndarray  # looked up more quickly


class Session:
    """Runs a compiled graph on NumPy arrays and whatever converts to them without a copy.

    ``session(x)`` and ``session.predict(x)`` take inputs in order (or by name) and give one
    array, or a tuple where the model has several outputs. ``session.run(names, feed)`` has
    the form ONNX Runtime users know. ``session.bind`` is for calls that allocate nothing.
    Calls from several threads are safe.
    """

    def __init__(
        self,
        interface: Interface,
        executable: Executable,
        target: str,
        graph: Graph | None = None,
        profiler: Profiler | None = None,
    ) -> None:
        self.interface, self.executable, self.target = interface, executable, target
        self.inputs, self.outputs = interface.inputs, interface.outputs
        self._graph, self._profiler = graph, profiler
        self._names = [spec.name for spec in self.inputs]
        # What to run for inputs of these types, shapes and flags of memory; all were checked.
        self._runs: dict[tuple[object, ...], Callable[[Sequence[Array]], list[Array]]] = {}

    @property
    def graph(self) -> Graph:
        """The compiled graph; raises UnsupportedError for a saved model, which has none."""
        if self._graph is None:
            raise UnsupportedError("a saved model holds machine code, not its graph")
        return self._graph

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Run on inputs in order, or by name."""
        if named or len(inputs) != len(self._names):
            inputs = tuple(self._ordered(inputs, named))
        results = self._run(inputs)
        return results[0] if len(results) == 1 else tuple(results)

    predict = __call__

    def run(self, output_names: Sequence[str] | None, feed: Mapping[str, Any]) -> list[Array]:
        """Outputs by name (None: all, in order) for inputs by name."""
        try:  # the usual case: all inputs and nothing else
            inputs = [feed[name] for name in self._names]
        except KeyError:
            inputs = []
        if len(feed) != len(inputs):
            inputs = self._ordered((), feed)
        results = self._run(inputs)
        if output_names is None:
            return results
        by_name = dict(zip((spec.name for spec in self.outputs), results, strict=True))
        unknown = [name for name in output_names if name not in by_name]
        if unknown:
            raise ModelError(f"there is no output {unknown[0]!r}; there are: {', '.join(by_name)}")
        return [by_name[name] for name in output_names]

    def bind(
        self,
        *inputs: Array,
        outputs: Sequence[Array] | Mapping[str, Array] | None = None,
        **named: Array,
    ) -> BoundSession:
        """Calls without arguments, which read these inputs and write ``outputs`` where they are.

        Inputs are given in order or by name, ``outputs`` likewise: NumPy arrays of the model's
        element types, contiguous and aligned. Without ``outputs`` a run makes them. Shapes are
        checked once, here. Raises ModelError for arrays that do not fit or overlap,
        UnsupportedError for a model with an output whose shape only a run decides.
        """
        read = self._ordered(inputs, named)
        for array, spec in zip(read, self.inputs, strict=True):
            check_plain(array, spec, "input")
        symbols = self._symbols(read)
        types = [spec.type.substitute(symbols) for spec in self.outputs]
        if not all(type_.is_static for type_ in types):
            raise UnsupportedError("an output whose shape only a run decides cannot be bound")
        if outputs is None:
            written = self._run(read)
        else:
            written = ordered_outputs(outputs, self.outputs)
        for array, type_, spec in zip(written, types, self.outputs, strict=True):
            check_plain(array, spec, "output")
            if array.shape != type_.shape:
                raise ModelError(f"output {spec.name!r} is {type_}, not of shape {array.shape}")
        check_apart(read, written, self.outputs)
        return BoundSession(read, written, self.executable.bind(read, written, symbols))

    def profile(self, *inputs: Any, seconds: float = 1.0, **named: Any) -> Profile:
        """Where the time goes: runs on these inputs for so long, each operator timed.

        The program is compiled once more, with a look at the clock before and after each
        operator; nothing runs by itself. ``print(session.profile(x).table())`` shows it.
        Raises UnsupportedError where the target cannot time operators.
        """
        if self._profiler is None:
            raise UnsupportedError(f"target {self.target!r} does not take the time of operators")
        values = self._ordered(inputs, named)
        arrays = [_array(value, spec) for value, spec in zip(values, self.inputs, strict=True)]
        return self._profiler.profile(arrays, self._symbols(arrays), seconds)

    def get_inputs(self) -> tuple[Spec, ...]:
        """The inputs' names, types and shapes."""
        return self.inputs

    def get_outputs(self) -> tuple[Spec, ...]:
        """The outputs' names, types and shapes."""
        return self.outputs

    def _ordered(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        if not named and len(inputs) == len(self.inputs):
            return list(inputs)
        names = [spec.name for spec in self.inputs]
        unknown = [name for name in named if name not in names]
        if unknown or len(inputs) > len(names):
            what = f"input {unknown[0]!r}" if unknown else f"input number {len(names) + 1}"
            raise ModelError(f"there is no {what}; the inputs are: {', '.join(names) or 'none'}")
        given = dict(zip(names, inputs, strict=False))
        twice = [name for name in named if name in given]
        missing = [name for name in names if name not in given and name not in named]
        if twice or missing:
            problem = f"{twice[0]!r} is given twice" if twice else f"{missing[0]!r} is missing"
            raise ModelError(f"input {problem}; the inputs are: {', '.join(names)}")
        return [given[name] if name in given else named[name] for name in names]

    def _run(self, inputs: Sequence[Any]) -> list[Array]:
        # Small networks take microseconds: that an array is as it should be is found out by
        # looking up whether one like it was.
        key: tuple[object, ...] = ()
        for value in inputs:
            if type(value) is not _ARRAY:
                break
            key += (value.dtype, value.shape, value.flags.num)
        else:
            run = self._runs.get(key)
            if run is not None:
                return run(inputs)
        arrays = [_array(value, spec) for value, spec in zip(inputs, self.inputs, strict=True)]
        run = self.executable.prepare(self._symbols(arrays))
        if all(array is value for array, value in zip(arrays, inputs, strict=True)):
            if len(self._runs) >= _REMEMBERED_RUNS:
                self._runs.clear()
            self._runs[key] = run
        return run(arrays)

    def _symbols(self, arrays: Sequence[Array]) -> dict[str, int]:
        """Values of the symbols; raises ModelError when a shape or an assumption does not hold."""
        for spec, array in zip(self.inputs, arrays, strict=True):
            _check_shape(spec, array)
        symbols = bind_symbols([spec.type for spec in self.inputs], arrays)
        too_large = [name for name, value in symbols.items() if value > LARGEST_EXTENT]
        if too_large:
            raise LimitError(f"extent {too_large[0]!r} is larger than {LARGEST_EXTENT}")
        self.interface.check(symbols)
        return symbols


def _array(value: Any, spec: Spec) -> Array:
    """``value`` as a contiguous array of the declared type; no silent conversion of types."""
    if not isinstance(value, np.ndarray) and hasattr(value, "__dlpack__"):
        array = np.from_dlpack(value)
    else:
        array = np.asarray(value)
    wanted = numpy_type(spec.dtype)
    if array.dtype != wanted:
        if isinstance(value, np.ndarray) or hasattr(value, "dtype"):
            raise ModelError(f"input {spec.name!r} is {array.dtype}, the model takes {spec.dtype}")
        array = np.asarray(value, wanted)  # Python numbers and lists have no type of their own
    if array.flags.num & PLAIN == PLAIN:
        return array
    return np.require(array, requirements=["C", "A"]).reshape(array.shape)


def _check_shape(spec: Spec, array: Array) -> None:
    fits = len(array.shape) == len(spec.shape) and all(
        not isinstance(extent, int) or extent == size
        for extent, size in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise ModelError(
            f"input {spec.name!r} has the shape {array.shape}; the model takes {spec.type}"
        )
