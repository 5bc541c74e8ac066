"""A compiled program's description as C: the tables of ``description.h``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from ....compiler.spec import Spec
from ....ir import Extent, UnsupportedError
from ..package.save import NamedProgram, parameter_places, weight_pieces
from ..processors import needed_features

WEIGHTS: Final = "weights.bin"
# Where the weights begin in a file of their own, behind the number that it is known by.
WEIGHTS_START: Final = 4096
_SYMBOLIC = -1
# As in runtime.h and library.h.in.
_LARGEST_RANK = 16
_PAGE = 4096
# Weights up to this size leave room for everything else within the reach of code.
_LARGEST_NEAR = 1 << 30
_ELEMENT_TYPES: Final = {
    name: f"OW_{name.upper()}"
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "bfloat16", "float32", "float64"),
    )
}


def description_text(
    item: NamedProgram, name: str, producer: str, weights_check: int, weights_file: Path | None
) -> str:
    """The C file that defines ``ow_description``.

    Weights come from the file ``WEIGHTS`` when this is compiled, or when the program runs from
    ``weights_file`` beside it, whose first number is ``weights_check``. Raises UnsupportedError for
    tensors of too many dimensions.
    """
    compiled = item.program
    info = compiled.info
    tables: list[str] = []
    for kind, specs in (("inputs", item.interface.inputs), ("outputs", item.interface.outputs)):
        late = info.late_outputs if kind == "outputs" else frozenset()
        tables += _tensors(kind, specs, late)
    tables.append(_table("const char *const", "checks", map(_string, info.checks)))
    steps = [f"{{{_string(s.node)}, {_string('; or '.join(s.errors))}}}" for s in info.steps]
    tables.append(_table("const struct ow_step", "steps", steps))
    places = parameter_places(compiled.params)
    tables.append(_table("const int64_t", "parameters", (str(place) for place, _ in places)))
    features = [
        f"{{{_string(f.name)}, {f.leaf}u, {f.subleaf}u, {f.word}, {f.bit}}}"
        for f in needed_features(compiled.cpu)
    ]
    tables.append(_table("const struct ow_feature", "features", features))
    nbytes = sum(map(len, weight_pieces(compiled.params)))
    target = f"{compiled.cpu.triple} {compiled.cpu.name}"
    is_embedded = weights_file is None and nbytes > 0
    fields = {
        "name": _string(name),
        "producer": _string(producer),
        "target": _string(target),
        "information": _string(f"{producer}; {target}"),
        "input_count": len(info.inputs),
        "output_count": len(info.outputs),
        "inputs": "inputs",
        "outputs": "outputs",
        "symbol_count": len(info.symbols),
        "check_count": len(info.checks),
        "checks": "checks",
        "step_count": len(info.steps),
        "steps": "steps",
        "parameter_count": len(places),
        "parameter_places": "parameters",
        "weight_bytes": nbytes,
        "weights": "ow_weights" if is_embedded else "0",
        "weights_file": "0" if weights_file is None else _string(weights_file.name),
        "weights_check": f"{weights_check:#x}u",
        "feature_count": len(features),
        "features": "features",
        "is_shared": int(info.shares),
    }
    listed = "".join(f"    .{field} = {value},\n" for field, value in fields.items())
    return "\n".join(
        [
            '#include "description.h"\n',
            _embedded(nbytes, compiled.cpu.triple) if is_embedded else "",
            *tables,
            f"const struct ow_description ow_description = {{\n{listed}}};\n",
        ]
    )


def _embedded(nbytes: int, triple: str) -> str:
    """``ow_weights``: read-only, at the start of a page, and not visible from outside.

    Code on x86-64 reaches 2 GiB; weights of such sizes lie behind all that it refers to directly
    (the psABI's large sections).
    """
    is_large = nbytes > _LARGEST_NEAR and triple.startswith("x86_64")
    section = '.lrodata.ow_weights,\\"al\\",@progbits' if is_large else '.rodata.ow_weights,\\"a\\"'
    return f"""\
__asm__(".pushsection {section}\\n"
        ".balign {_PAGE}\\n"
        ".globl ow_weights\\n"
        ".hidden ow_weights\\n"
        "ow_weights:\\n"
        ".incbin \\"{WEIGHTS}\\"\\n"
        ".popsection\\n");
extern const unsigned char ow_weights[] __attribute__((visibility("hidden")));
"""


def _tensors(kind: str, specs: Sequence[Spec], late: frozenset[int]) -> list[str]:
    """The tables of the inputs or outputs."""
    tables, entries = [], []
    for number, spec in enumerate(specs):
        if len(spec.shape) > _LARGEST_RANK:
            raise UnsupportedError(
                f"{spec.name!r} has {len(spec.shape)} dimensions; libraries and executables take "
                f"{_LARGEST_RANK}, a package (-o model.owx) any number"
            )
        stem = f"{kind}_{number}"
        extents = [str(extent if isinstance(extent, int) else _SYMBOLIC) for extent in spec.shape]
        tables.append(_table("const int64_t", f"{stem}_extents", extents))
        texts = (_string(_shown(extent)) for extent in spec.shape)
        tables.append(_table("const char *const", f"{stem}_texts", texts))
        numbers = f"{_ELEMENT_TYPES[spec.dtype]}, {len(spec.shape)}, {int(number in late)}"
        entries.append(f"{{{_string(spec.name)}, {numbers}, {stem}_extents, {stem}_texts}}")
    return [*tables, _table("const struct ow_tensor", kind, entries)]


def _shown(extent: Extent) -> str:
    return str(extent)


def _table(type_: str, name: str, entries: Iterable[str]) -> str:
    """A static array; C has none without elements, so that an empty one gets a zero."""
    listed = "".join(f"    {entry},\n" for entry in entries)
    empty = "{0}" if type_.startswith("const struct") else "0"
    return f"static {type_} {name}[] = {{\n{listed or f'    {empty},{chr(10)}'}}};\n"


def _string(text: str) -> str:
    """A string literal of plain ASCII; three octal digits end an escape for certain."""
    encoded = text.replace("\0", " ").encode()
    parts = [
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in encoded
    ]
    return f'"{"".join(parts)}"'
