"""``opweave inspect``: what a model is made of."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import Sizes, Verb, common_options, model_argument, shape_options
from .output import Output, shown_bytes, shown_count

if TYPE_CHECKING:
    from ..ir import Extent, Graph, TensorType
    from .subject import Subject


@click.command(cls=Verb, name="inspect")
@model_argument
@click.option("--graph", "show_graph", is_flag=True, help="Print the graph as text.")
@shape_options
@common_options
def verb(model: str, show_graph: bool, sizes: Sizes, output: Output) -> None:
    """Show what MODEL is made of: inputs, outputs, parameters, operators, cost."""
    from .packaged import is_package, package_facts

    if is_package(model):
        facts = package_facts(model)
        rows = [["Model", f"{facts['model']} (package)"], ["Made by", facts["producer"]]]
        rows += [["Program", text] for text in map(_program, facts["programs"])]
        output.table(rows)
        output.table(_io_rows(facts), ("", "Name", "Type"))
        output.json("inspect/1", facts)
        return
    from .subject import subject_of

    subject = subject_of(model, output, sizes)
    result = facts_of(subject)
    if show_graph:
        from ..ir.text import print_graph

        result["graph"] = print_graph(subject.graph)
    _print(result, output)
    output.json("inspect/1", result)


def _program(facts: dict[str, Any]) -> str:
    """One program of a package in a line."""
    sizes = f"code {shown_bytes(facts['code_bytes'])}, weights {shown_bytes(facts['weight_bytes'])}"
    return f"{facts['kind']}: {facts['triple']}, {facts['vector_bits']} bits; {sizes}"


def _io_rows(facts: dict[str, Any]) -> list[list[str]]:
    """Inputs and outputs of a package as rows."""
    return [
        [word, item["name"], item["type"]]
        for word, key in (("in", "inputs"), ("out", "outputs"))
        for item in facts[key]
    ]


def facts_of(subject: Subject) -> dict[str, Any]:
    """Everything that ``inspect`` reports."""
    graph = subject.graph
    parameters, nbytes = _parameters(graph)
    cost = _cost(graph)
    histogram = Counter(node.op.name for node in graph.operators())
    return {
        "model": subject.name,
        "format": subject.format,
        "producer": subject.metadata.producer,
        "versions": dict(subject.metadata.versions),
        "properties": dict(subject.metadata.properties),
        "inputs": [_fact(name, type_) for name, type_ in subject.input_types.items()],
        "outputs": [_fact(name, type_) for name, type_ in subject.output_types.items()],
        "parameters": {"tensors": len(graph.params), "elements": parameters, "bytes": nbytes},
        "flops": cost if isinstance(cost, int) else None,
        "flops_formula": str(cost),
        "operators": dict(histogram.most_common()),
        "nodes": sum(histogram.values()),
        "digest": _digest(subject.path),
    }


def _fact(name: str, type_: TensorType) -> dict[str, Any]:
    shape = [extent if isinstance(extent, int) else str(extent) for extent in type_.shape]
    return {"name": name, "dtype": type_.dtype, "shape": shape}


def _parameters(graph: Graph) -> tuple[int, int]:
    """Elements and bytes of all parameters."""
    types = [graph.node(name).types[0] for name in graph.params]
    elements = [type_.size for type_ in types]
    nbytes = [type_.nbytes for type_ in types]
    return (
        sum(item for item in elements if isinstance(item, int)),
        sum(item for item in nbytes if isinstance(item, int)),
    )


def _cost(graph: Graph) -> Extent:
    """FLOPs of one run, bodies of control flow left out; a formula where shapes are symbolic."""
    total: Extent = 0
    for node in graph.operators():
        types = [None if value is None else graph.type(value) for value in node.inputs]
        total = total + node.op.cost_of(types, node.attrs).flops
    return total


def _digest(path: Path | None) -> str | None:
    if path is None:
        return None
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _print(result: dict[str, Any], output: Output) -> None:
    def shown(fact: dict[str, Any]) -> str:
        return f"{fact['name']}  {fact['dtype']}[{', '.join(map(str, fact['shape']))}]"

    parameters = result["parameters"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    flops = result["flops"]
    rows = [
        ["Model", result["model"]],
        ["Format", result["format"] + (f" ({versions})" if versions else "")],
        *([["Producer", result["producer"]]] if result["producer"] else []),
        *([["Digest", result["digest"]]] if result["digest"] else []),
        *(["Input", shown(fact)] for fact in result["inputs"]),
        *(["Output", shown(fact)] for fact in result["outputs"]),
        [
            "Parameters",
            f"{shown_count(parameters['elements'])} in {parameters['tensors']} tensors, "
            f"{shown_bytes(parameters['bytes'])}",
        ],
        ["FLOPs", shown_count(flops) if flops is not None else result["flops_formula"]],
        ["Nodes", str(result["nodes"])],
    ]
    output.table(rows)
    output.text()
    output.table(
        [[name, count] for name, count in result["operators"].items()],
        ("Operator", "Nodes"),
        right=(1,),
    )
    if "graph" in result:
        output.text()
        output.text(result["graph"])
