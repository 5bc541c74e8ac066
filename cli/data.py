"""Input data from files or a seed, summaries of arrays, outputs to files."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from ..ir import Array, ModelError, TensorType
from ..ir.data_type import numpy_type
from ..ir.dim import Dim, substitute, symbol_name, symbols_of
from .options import InputOptions
from .output import write_file

_RANGE = re.compile(r"(?:(?P<name>.+):)?(?P<low>-?[\d.e+-]+?)\.\.(?P<high>-?[\d.e+-]+)")
_SHOWN_ELEMENTS = 4
_RANDOM = InputOptions()


def inputs_for(types: Mapping[str, TensorType], wanted: InputOptions = _RANDOM) -> dict[str, Array]:
    """Arrays for all inputs: from files where they are given, random ones for the others.

    Raises UsageError for files that do not hold inputs of the model.
    """
    given = _from_npz(wanted.inputs_file, types) if wanted.inputs_file else {}
    for text in wanted.input_files:
        name, array = _from_npy(text, types)
        given[name] = array
    symbols: dict[str, int] = {}
    result: dict[str, Array] = {}
    for name, array in given.items():
        result[name] = _fitting(name, array, types[name], symbols)
    bounds = _bounds(wanted.ranges, types)
    generator = np.random.default_rng(wanted.seed)
    for name, type_ in types.items():
        # Drawn in any case, so that an input does not depend on which others were given.
        drawn = random_array(_sized(type_, symbols), generator, *bounds.get(name, (0.0, 1.0)))
        result.setdefault(name, drawn)
    return {name: result[name] for name in types}


def random_array(
    type_: TensorType, generator: np.random.Generator, low: float = 0.0, high: float = 1.0
) -> Array:
    """Evenly distributed elements from ``low`` to ``high``, both included for integers."""
    shape, numpy = type_.static_shape, numpy_type(type_.dtype)
    if type_.dtype == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    if "int" in type_.dtype:
        limits = np.iinfo(numpy)
        if not limits.min <= low <= high <= limits.max:
            raise click.UsageError(f"{type_.dtype} numbers do not range from {low} to {high}")
        return generator.integers(int(low), int(high), shape, np.dtype(numpy).type, endpoint=True)
    return np.asarray(generator.uniform(low, high, shape)).astype(numpy)


def save_outputs(path: Path, outputs: Mapping[str, Array]) -> None:
    """All outputs by name to a .npz file, or the only one to a .npy file."""
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        if len(outputs) != 1:
            raise click.UsageError(f"{len(outputs)} outputs do not fit a .npy file; use .npz")
        np.save(buffer, next(iter(outputs.values())), allow_pickle=False)
    else:
        # np.savez(**outputs) would take outputs called "file" for its own parameter.
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, array in outputs.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
    write_file(path, buffer.getvalue())


def summary(array: Array) -> dict[str, object]:
    """What is worth knowing of an array: type, shape, range, mean, the first elements."""
    facts: dict[str, object] = {"dtype": array.dtype.name, "shape": list(array.shape)}
    first = array.reshape(-1)[:_SHOWN_ELEMENTS]
    facts["first"] = [_number(item) for item in first]
    if array.dtype == bool or not array.size:
        return facts
    wide = array.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    facts["not_finite"] = int(array.size - finite.size)
    if finite.size:
        facts |= {"min": float(finite.min()), "max": float(finite.max())}
        facts["mean"] = float(finite.mean())
    return facts


def summary_row(name: str, facts: Mapping[str, object]) -> list[str]:
    """A summary as cells of a table: see SUMMARY_HEAD."""
    numbers = [f"{facts[key]:.6g}" if key in facts else "-" for key in ("min", "max", "mean")]
    shape, first = facts["shape"], facts["first"]
    assert isinstance(shape, list)
    assert isinstance(first, list)
    shown = " ".join(f"{item:.6g}" if isinstance(item, float) else str(item) for item in first)
    odd = facts.get("not_finite") or 0
    return [
        name,
        str(facts["dtype"]),
        "x".join(map(str, shape)) or "scalar",
        *numbers,
        shown + (f"  ({odd} not finite)" if odd else ""),
    ]


SUMMARY_HEAD = ("Name", "Type", "Shape", "Min", "Max", "Mean", "First elements")


def _number(item: object) -> object:
    value = item.item() if isinstance(item, np.generic) else item
    return value if isinstance(value, (bool, int)) else float(value)  # type: ignore[arg-type]


def _from_npz(file: str, types: Mapping[str, TensorType]) -> dict[str, Array]:
    try:
        with open(file, "rb") as opened:
            archive = np.load(opened, allow_pickle=False)
            if not hasattr(archive, "files"):
                raise click.UsageError(f"{file} is not a .npz file; use --input NAME={file}")
            found = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise click.UsageError(f"{file} cannot be read as .npz: {error}") from None
    if found and not set(found) & set(types) and all(re.fullmatch(r"arr_\d+", n) for n in found):
        # np.savez(file, a, b) gives no names: the inputs in order.
        found = dict(zip(types, found.values(), strict=False))
    unknown = [name for name in found if name not in types]
    if unknown:
        raise click.UsageError(f"{file} has {unknown[0]!r}; the inputs are: {', '.join(types)}")
    return found


def _from_npy(text: str, types: Mapping[str, TensorType]) -> tuple[str, Array]:
    name, separator, file = "", "", text
    for known in types:
        # Names may themselves hold the separators.
        for mark in "=:":
            if text.startswith(known + mark):
                name, separator, file = known, mark, text[len(known) + 1 :]
    if not separator:
        if len(types) != 1 or "=" in text:
            known_names = ", ".join(types)
            raise click.UsageError(f"--input {text!r}: NAME=FILE.npy; the inputs are {known_names}")
        name = next(iter(types))
    try:
        with open(file, "rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise click.UsageError(f"{file} cannot be read as .npy: {error}") from None
    if not isinstance(loaded, np.ndarray):
        raise click.UsageError(f"{file} holds several arrays; use --inputs {file}")
    return name, loaded


def _fitting(name: str, array: Array, type_: TensorType, symbols: dict[str, int]) -> Array:
    """The array if it has the input's type; notes the sizes of symbols."""
    wanted = numpy_type(type_.dtype)
    if array.dtype.kind == "V" and array.dtype.itemsize == wanted.itemsize:
        array = array.view(wanted)  # NumPy's files have no name for bfloat16
    fits = array.dtype == wanted and array.ndim == type_.rank
    for extent, size in zip(type_.shape, array.shape, strict=False):
        symbol = symbol_name(extent)
        known = symbols.setdefault(symbol, size) if symbol else extent
        fits = fits and (isinstance(known, Dim) or known == size)
    if not fits:
        raise click.UsageError(
            f"input {name!r} is {array.dtype}{list(array.shape)}; the model takes {type_}"
        )
    return array


def _sized(type_: TensorType, symbols: dict[str, int]) -> TensorType:
    """The type with its symbols at the sizes that are known, others at 1."""
    for symbol in symbols_of(type_.shape):
        symbols.setdefault(symbol.name, max(1, symbol.lower))
    shape = tuple(substitute(extent, symbols) for extent in type_.shape)
    if any(not isinstance(extent, int) or extent < 0 for extent in shape):
        raise ModelError(f"an input of type {type_} cannot be made: give it a shape")
    return type_.with_shape(shape)


def _bounds(
    texts: Sequence[str], types: Mapping[str, TensorType]
) -> dict[str, tuple[float, float]]:
    bounds: dict[str, tuple[float, float]] = {}
    for text in texts:
        found = _RANGE.fullmatch(text)
        try:
            pair = (float(found["low"]), float(found["high"])) if found else (1.0, 0.0)
        except ValueError:
            pair = (1.0, 0.0)
        if found is None or not pair[0] <= pair[1]:
            raise click.UsageError(f"--range {text!r} is not like x:0..1")
        if found["name"] and found["name"] not in types:
            raise click.UsageError(f"--range: the inputs are {', '.join(types)}")
        bounds.update(dict.fromkeys([found["name"]] if found["name"] else types, pair))
    return bounds
