"""How parameters begin: MindSpore's initialisers, drawn from seeded generators.

An initialiser is a value. Its numbers follow MindSpore's distributions, not its random streams:
they depend on the network's seed and the parameter's name alone, so that a network is the same
in every process, however and in whatever order its cells are made.
"""

from __future__ import annotations

import hashlib
import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ..ir import Array, LazyArray, ModelError, TensorType
from ..ir.data_type import kind_of


class Initializer:
    """A distribution that an array of any shape can be filled from."""

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Numbers of the distribution, as an array of ``shape``."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Constant(Initializer):
    """One number everywhere."""

    value: float = 0.0

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """``value`` everywhere."""
        return np.full(shape, self.value)


def Zero() -> Initializer:
    """Zeros."""
    return Constant(0.0)


def One() -> Initializer:
    """Ones."""
    return Constant(1.0)


@dataclass(frozen=True, slots=True)
class Normal(Initializer):
    """The normal distribution with this mean and standard deviation."""

    sigma: float = 0.01
    mean: float = 0.0

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Normal numbers."""
        return _normal(generator, shape, self.sigma) + np.float32(self.mean)


@dataclass(frozen=True, slots=True)
class TruncatedNormal(Initializer):
    """The normal distribution without what lies beyond two standard deviations."""

    sigma: float = 0.01

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Normal numbers, drawn again until all are near enough."""
        found = generator.standard_normal(math.prod(shape), dtype=np.float32)
        while (far := np.flatnonzero(np.abs(found) > 2.0)).size:
            found[far] = generator.standard_normal(far.size, dtype=np.float32)
        found *= np.float32(self.sigma)
        return found.reshape(shape)


@dataclass(frozen=True, slots=True)
class Uniform(Initializer):
    """All numbers from ``-scale`` to ``scale`` alike."""

    scale: float = 0.07

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Uniform numbers."""
        return _uniform(generator, shape, self.scale)


@dataclass(frozen=True, slots=True)
class XavierUniform(Initializer):
    """Uniform up to ``gain * sqrt(6 / (fan_in + fan_out))`` (Glorot)."""

    gain: float = 1.0

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Uniform numbers."""
        return _uniform(generator, shape, self.gain * math.sqrt(6.0 / sum(fans(shape))))


@dataclass(frozen=True, slots=True)
class XavierNormal(Initializer):
    """Normal with standard deviation ``gain * sqrt(2 / (fan_in + fan_out))`` (Glorot)."""

    gain: float = 1.0

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Normal numbers."""
        return _normal(generator, shape, self.gain * math.sqrt(2.0 / sum(fans(shape))))


@dataclass(frozen=True, slots=True)
class HeUniform(Initializer):
    """Uniform up to ``gain * sqrt(3 / fan)`` (He); ``mode`` is "fan_in" or "fan_out"."""

    negative_slope: float = 0.0
    mode: str = "fan_in"
    nonlinearity: str = "leaky_relu"

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Uniform numbers."""
        deviation = _he_deviation(shape, self.mode, self.nonlinearity, self.negative_slope)
        return _uniform(generator, shape, math.sqrt(3.0) * deviation)


@dataclass(frozen=True, slots=True)
class HeNormal(Initializer):
    """Normal with standard deviation ``gain / sqrt(fan)`` (He)."""

    negative_slope: float = 0.0
    mode: str = "fan_in"
    nonlinearity: str = "leaky_relu"

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Normal numbers."""
        deviation = _he_deviation(shape, self.mode, self.nonlinearity, self.negative_slope)
        return _normal(generator, shape, deviation)


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """How many inputs an output of these weights [out, in, kernel...] has, and the reverse."""
    if len(shape) < 2:
        raise ModelError(f"weights of the shape {tuple(shape)} have no inputs and outputs")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def _he_deviation(shape: Sequence[int], mode: str, nonlinearity: str, slope: float) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ModelError(f"mode {mode!r} is neither fan_in nor fan_out")
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + slope * slope)),
    }
    if nonlinearity not in gains:
        raise ModelError(f"nonlinearity {nonlinearity!r} is none of {', '.join(gains)}")
    return gains[nonlinearity] / math.sqrt(fans(shape)[mode == "fan_out"])


def _normal(generator: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Array:
    found = generator.standard_normal(shape, dtype=np.float32)
    return np.multiply(found, np.float32(sigma), out=found) if shape else found * np.float32(sigma)


def _uniform(generator: np.random.Generator, shape: tuple[int, ...], bound: float) -> Array:
    found = np.asarray(generator.random(shape, dtype=np.float32))
    found *= np.float32(2.0 * bound)
    found -= np.float32(bound)
    return found


# MindSpore's names for initialisers.
_NAMES = {
    "zeros": Zero,
    "zero": Zero,
    "ones": One,
    "one": One,
    "normal": Normal,
    "uniform": Uniform,
    "truncatednormal": TruncatedNormal,
    "xavier_uniform": XavierUniform,
    "xavieruniform": XavierUniform,
    "xavier_normal": XavierNormal,
    "xaviernormal": XavierNormal,
    "he_uniform": HeUniform,
    "heuniform": HeUniform,
    "he_normal": HeNormal,
    "henormal": HeNormal,
}


@dataclass(frozen=True, slots=True)
class Initialization:
    """What a parameter will be filled with: its type and an initialiser."""

    type: TensorType
    initializer: Initializer


# How a parameter begins: an initialiser, its MindSpore name, a number or an array.
Start: TypeAlias = Initializer | str | float | Array


def initializer(
    init: Start, shape: Sequence[int], dtype: object = "float32"
) -> Initialization | Array:
    """What ``init`` stands for: an initialiser, its MindSpore name, a number, or an array.

    Nothing is drawn yet. ``dtype`` is what :func:`element_type` takes. Raises ModelError for an
    unknown name and for an array that does not have the wanted type.
    """
    type_ = TensorType(element_type(dtype), tuple(shape))
    if isinstance(init, np.ndarray):
        if TensorType.of(init) != type_:
            raise ModelError(f"an array {TensorType.of(init)} cannot begin a parameter {type_}")
        return init
    if isinstance(init, str):
        if init.lower() not in _NAMES:
            raise ModelError(f"there is no initialiser {init!r}; there are: {', '.join(_NAMES)}")
        init = _NAMES[init.lower()]()
    return Initialization(type_, init if isinstance(init, Initializer) else Constant(float(init)))


def weight_start(given: Start | None) -> Start:
    """How weights begin in MindSpore's layers, if nothing else is given."""
    return HeUniform(math.sqrt(5)) if given is None else given


def bias_start(given: Start | None, weight_shape: Sequence[int]) -> Start:
    """How a bias begins in MindSpore's layers, if nothing else is given."""
    if given is not None:
        return given
    inputs, _ = fans(weight_shape)
    return Uniform(1.0 / math.sqrt(inputs)) if inputs else 0.0


def element_type(dtype: object) -> str:
    """The element type's name: "float32" for itself, NumPy's type, or MindSpore's.

    Raises UnsupportedError for what is none.
    """
    text = dtype.__name__ if isinstance(dtype, type) else str(dtype)
    name = text.rpartition(".")[2].lower().rstrip("_")
    kind_of(name)
    return name


@dataclass(frozen=True, slots=True)
class Drawn:
    """The numbers of one parameter: drawn when they are asked for, kept while they are used."""

    initialization: Initialization
    name: str
    seed: int
    # Compilation asks more than once; while somebody holds the array, it is not drawn again.
    _held: list[weakref.ref[Array]] = field(default_factory=list, compare=False, repr=False)

    def array(self) -> Array:
        """The numbers; they must not be changed."""
        kept = self._held[0]() if self._held else None
        if kept is not None:
            return kept
        type_ = self.initialization.type
        text = f"{self.seed}:{self.name}".encode()
        seed = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
        generator = np.random.Generator(np.random.PCG64(seed))
        drawn = self.initialization.initializer.draw(generator, type_.static_shape)
        found = np.ascontiguousarray(drawn, type_.numpy).reshape(type_.static_shape)
        found.flags.writeable = False
        self._held[:] = [weakref.ref(found)]
        return found

    def lazy(self) -> LazyArray:
        """The same as a graph holds it."""
        return LazyArray(self.initialization.type, self.array)
