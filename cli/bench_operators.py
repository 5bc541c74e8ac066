"""``opweave bench-ops``: single operators against the roofline and ONNX Runtime."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import Compilation, Verb, common_options, target_options, threads_option
from .output import Output

if TYPE_CHECKING:
    from ..compiler.session import Session
    from ..ir import Array
    from .comparison import EngineProcess
    from .operator_cases import Case

# Operators are short: a turn need not be long to see many runs.
_TURN_SECONDS = 0.05


@click.command(cls=Verb, name="bench-ops")
@click.option("--op", "kinds", multiple=True, metavar="KIND", help="Only operators of this kind.")
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="AxBxC",
    help="Sizes to measure, in place of the usual ones; needs one --op.",
)
@click.option(
    "-t",
    "--duration",
    type=click.FloatRange(0, min_open=True),
    default=0.2,
    show_default=True,
    help="Seconds to measure each operator for, with each engine.",
)
@click.option(
    "--against",
    type=click.Choice(["onnxruntime", "openvino"]),
    help="Measure another engine too, taking turns.",
)
@threads_option
@target_options
@common_options
def verb(
    kinds: tuple[str, ...],
    shapes: tuple[str, ...],
    duration: float,
    against: str | None,
    threads: int | None,
    compilation: Compilation,
    output: Output,
) -> None:
    """Measure single operators of the shapes that usual networks have.

    "Kernel" is the time of the slowest operator within the program; a call is all of it, from
    arrays to arrays, with reordering at both ends where a kernel wants another layout. What is
    read was just written: nothing comes from main memory that fits a cache. With --against,
    each engine runs in a process of its own, and the ratio is that of calls.
    """
    from .data import inputs_for
    from .operator_cases import CASES, KINDS, case_of
    from .peers import check_installed
    from .running import compile_with

    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise click.UsageError(f"--op {unknown[0]!r} is none of {', '.join(KINDS)}")
    if shapes and len(kinds) != 1:
        raise click.UsageError("--shape needs one --op")
    check_installed([against] if against else [])
    cases = [case_of(kinds[0], shape) for shape in shapes]
    cases = cases or [case for case in CASES if not kinds or case.kind in kinds]
    found: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack, output.progress(f"measuring {len(cases)} operators"):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="opweave-ops-")))
        engines = _engines(against, stack)
        for case in cases:
            graph = case.graph()
            feed = inputs_for({value.node: graph.type(value) for value in graph.inputs})
            session = compile_with(graph, compilation, threads)
            facts = _profiled(case, session, feed, duration)
            if against:
                facts["against"] = _compared(
                    graph, feed, engines, facts["threads"], compilation, duration, folder
                )
            found.append(facts)
    _print(found, against, output)
    output.json("bench-ops/1", {"target": compilation.target, "cases": found})


def _profiled(
    case: Case, session: Session, feed: dict[str, Array], seconds: float
) -> dict[str, Any]:
    """What the profile says of the operator's kernel, and the time of a whole call."""
    profile = session.profile(*(feed[spec.name] for spec in session.inputs), seconds=seconds)
    # The operator itself, not the reordering for the sake of its layout.
    others = [item for item in profile.slowest() if item.kernel != "transpose"]
    slowest = (others or profile.slowest(1))[0]
    return {
        "kind": case.kind,
        "sizes": list(case.values),
        "shown": case.shown,
        "threads": profile.threads,
        "call_s": profile.seconds,
        "kernel": slowest.kernel,
        "kernel_s": slowest.seconds,
        "flops_per_second": slowest.flops_per_second,
        "bytes_per_second": slowest.bytes_per_second,
        "limit_share": slowest.limit_share,
    }


def _engines(against: str | None, stack: contextlib.ExitStack) -> list[EngineProcess]:
    """The processes of both engines, which load one operator after the other."""
    from .comparison import EngineProcess
    from .engine import OURS

    names = [OURS, against] if against else []
    return [stack.enter_context(EngineProcess({"engine": name})) for name in names]


def _compared(
    graph: Any,
    feed: dict[str, Array],
    engines: Sequence[EngineProcess],
    threads: int,
    how: Compilation,
    seconds: float,
    folder: Path,
) -> dict[str, Any]:
    """Calls of both engines, in turns."""
    from ..api import export
    from .comparison import Measured, difference, ratio_of, take_turns
    from .data import save_outputs

    save_outputs(folder / "inputs.npz", feed)
    model = str(export(graph, file_name=folder / "operator.onnx"))
    request = {
        **{"model": model, "onnx_file": model, "inputs": str(folder / "inputs.npz")},
        **{"shapes": [], "dims": [], "symbols": {}, "warmup": 3},
        **{"compilation": asdict(how), "threads": threads},
    }
    found = [Measured(engine.prepare(**request)) for engine in engines]
    take_turns(engines, found, 2 * seconds, turn_seconds=_TURN_SECONDS)
    for engine in engines:
        (folder / f"{engine.name}.outputs.npz").unlink(missing_ok=True)
    return {
        "engine": engines[1].name,
        "version": found[1].facts["version"],
        "opweave_s": found[0].typical,
        "peer_s": found[1].typical,
        "ratio": ratio_of(found[0], found[1]),
        "difference": difference(engines[0], engines[1], folder),
    }


def _print(found: Sequence[dict[str, Any]], against: str | None, output: Output) -> None:
    def shown(value: float | None, unit: float) -> str:
        return "-" if value is None else f"{value / unit:.0f}"

    rows = []
    for facts in found:
        row = [
            facts["kind"],
            facts["shown"],
            f"{facts['kernel_s'] * 1e6:.1f}",
            shown(facts["flops_per_second"], 1e9),
            shown(facts["bytes_per_second"], 1e9),
            shown(facts["limit_share"], 0.01) + "%",
            f"{facts['call_s'] * 1e6:.1f}",
        ]
        if against:
            peer = facts["against"]
            row += [f"{peer[key] * 1e6:.1f}" for key in ("opweave_s", "peer_s")]
            row += [f"{peer['ratio']['median']:.2f}", f"{peer['difference']:.0e}"]
        rows.append([*row, facts["kernel"]])
    titles = ["Operator", "Sizes", "Kernel us", "GFLOP/s", "GB/s", "Of limit", "Timed call us"]
    if against:
        titles += ["Call us", f"{against} us", "Ratio", "Difference"]
    output.table(rows, [*titles, "Kernel"], right=tuple(range(2, len(titles))))
