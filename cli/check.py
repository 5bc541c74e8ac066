"""``opweave check``: is a model valid, and is everything in it supported?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .exits import Exit, status_of
from .options import Verb, common_options, model_argument
from .output import Output

if TYPE_CHECKING:
    from ..ir import Graph

_VERDICTS = {
    Exit.OK: "ok",
    Exit.MODEL: "invalid",
    Exit.UNSUPPORTED: "unsupported",
    Exit.LIMIT: "beyond limits",
}


@click.command(cls=Verb, name="check")
@model_argument
@click.option("--target", default="cpu", show_default=True, help="Whose kernels to look for.")
@common_options
def verb(model: str, target: str, output: Output) -> int:
    """Tell whether MODEL is valid, and list all that is not supported.

    Exit status: 0 valid and supported, 3 invalid, 4 unsupported, 5 beyond limits.
    """
    from ..ir import Error, UnsupportedError
    from ..ir import check as check_graph
    from .subject import subject_of

    status: int = Exit.OK
    problems: list[str] = []
    try:
        subject = subject_of(model, output)
        check_graph(subject.graph)
        with output.progress(f"looking for kernels of target {target}"):
            problems = missing_kernels(subject.graph, target.lower())
        status = Exit.UNSUPPORTED if problems else Exit.OK
    except Error as error:
        status, message = status_of(error)
        if status not in _VERDICTS:
            raise
        problems = list(error.items) if isinstance(error, UnsupportedError) else [message]
    verdict = _VERDICTS[Exit(status)]
    output.text(f"{model}: {verdict}")
    for problem in problems:
        output.text(f"  - {problem}")
    output.json("check/1", {"model": model, "verdict": verdict, "problems": problems})
    return status


def missing_kernels(graph: Graph, target: str) -> list[str]:
    """What the target has no kernel for, one text a node; nothing is compiled."""
    from ..compiler.options import CompileOptions
    from ..compiler.pass_ import run_passes
    from ..compiler.target import target_named

    prepared = graph.substitute({})
    prepared.prune()
    run_passes(prepared, target_named(target).passes(CompileOptions()))
    return _missing(prepared, target)


def _missing(graph: Graph, target: str) -> list[str]:
    from ..ir import Graph, NoKernelError

    found: list[str] = []
    for node in graph.operators():
        inner = [value for value in node.attrs.values() if isinstance(value, Graph)]
        for body in inner:
            found += _missing(body, target)
        if inner or node.op.traits & {"elementwise", "view"}:
            continue  # bodies were looked at; elementwise kernels derive from the scalar function
        types = [None if value is None else graph.type(value) for value in node.inputs]
        try:
            node.op.calls(types, node.types, node.attrs)
        except NoKernelError as error:
            found.append(f"{node}, target {target}: {error}")
    return found
