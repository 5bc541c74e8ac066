"""``opweave ops``: the operators, and where they are supported, from the registries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .options import Verb, common_options
from .output import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..ir import Op


@click.command(cls=Verb, name="ops")
@click.argument("pattern", required=False, metavar="[PATTERN]")
@click.option(
    "--table", is_flag=True, help="Operator by target and format, and the versions that are read."
)
@common_options
def verb(pattern: str | None, table: bool, output: Output) -> None:
    """List the operators; only those whose name holds PATTERN."""
    from ..formats.mindir.registry import table as primitives_of
    from ..formats.onnx import registry
    from ..ops.registry import operators

    wanted = (pattern or "").lower()
    rows = [_facts(op) for name, op in sorted(operators().items()) if wanted in name]
    readers = [
        {"domain": domain or "ai.onnx", "name": name, "since": since}
        for (domain, name), since in registry.table().items()
        if wanted in name.lower()
    ]
    primitives = [name for name in primitives_of() if wanted in name.lower()]
    if table:
        _print_table(rows, readers, output)
        read = f"{len(readers)} ONNX operators and {len(primitives)} MindIR primitives are read"
        output.text()
        output.text(f"{len(rows)} operators; {read}")
    else:
        output.table(
            [[row["name"], ", ".join(row["traits"]), row["summary"]] for row in rows],
            ("Operator", "Traits", "Meaning"),
        )
    output.json(
        "ops/1", {"operators": rows, "onnx": {"reads": readers}, "mindir": {"reads": primitives}}
    )


def _facts(op: Op) -> dict[str, Any]:
    from ..formats.mindir.writer import find_writer as find_mindir
    from ..formats.onnx.writer import find_writer as find_onnx

    writers = {"ONNX": find_onnx, "MINDIR": find_mindir}
    summary = op.documentation.split("\n\n")[0].replace("\n", " ")
    return {
        "name": op.name,
        "traits": sorted(op.traits),
        "summary": summary,
        "kernel_types": kernel_types(op),
        "writes": [name for name, find in writers.items() if find(op.name) is not None],
    }


def kernel_types(op: Op) -> list[str]:
    """Element types of the operands (without any: of results) that have kernels.

    Found by asking for the kernels of its samples in each type. Targets compile all of them:
    elementwise kernels from the scalar function, 16-bit floats in float32.
    """
    from ..compiler.interpret import widened_type
    from ..ir import Error, TensorType
    from ..ir.data_type import DATA_TYPES

    def has_kernel(types: list[TensorType | None], attributes: Mapping[str, Any]) -> bool:
        try:
            results = op.infer_types(types, attributes)
            if not op.traits & {"elementwise", "view", "control", "fused"}:
                wide = [type_ and widened_type(type_, op.traits) for type_ in types]
                op.calls(wide, [widened_type(type_, op.traits) for type_ in results], attributes)
        except Error:
            return False
        return True

    found: set[str] = set()
    for sample in op.samples:
        types = [None if array is None else TensorType.of(array) for array in sample.inputs]
        attributes = op.complete_attributes(sample.attributes)
        present = [type_.dtype for type_ in types if type_ is not None]
        # The type of the operands that matter: not that of a mask.
        first = next((name for name in present if name != "bool"), present[0] if present else None)
        if first is None and has_kernel(types, attributes):
            found.update(type_.dtype for type_ in op.infer_types(types, attributes))
        for name in DATA_TYPES:
            if name not in found and first is not None:
                other = [
                    type_.with_dtype(name) if type_ and type_.dtype == first else type_
                    for type_ in types
                ]
                if has_kernel(other, attributes):
                    found.add(name)
    return [name for name in DATA_TYPES if name in found]


def _print_table(rows: list[dict[str, Any]], readers: list[dict[str, Any]], output: Output) -> None:
    output.table(
        [
            [row["name"], _short(row["kernel_types"]), ", ".join(row["writes"]) or "-"]
            for row in rows
        ],
        ("Operator", "cpu", "Written as"),
    )
    output.text()
    output.table(
        [[row["domain"], row["name"], " ".join(map(str, row["since"]))] for row in readers],
        ("Domain", "ONNX operator", "Versions that are read"),
    )


_SHORT = {"float": "f", "bfloat": "bf", "int": "i", "uint": "u", "bool": "b"}


def _short(types: list[str]) -> str:
    """Element types in short: f64 f32 i8 b."""
    shown = []
    for name in types:
        stem = name.rstrip("0123456789")
        shown.append(_SHORT[stem] + name[len(stem) :])
    return " ".join(shown) or "-"
