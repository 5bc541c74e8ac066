"""What a recurrence kernel depends on, and how its weights are packed.

The weights of a few units (as many as there are lanes, or small multiples) stand together for
all gates: ``[direction][phase][panel][k][gate][unit in panel]``. One pass over a panel gives
all gates of its units, so their states are computed while the sums are in the nearest cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....ir import Array
from ..dense.tile import largest_rows

# Vectors of a panel; with more, fewer rows of a batch fit the registers.
_PANEL_VECTORS = 4
# Rows of a batch that go through the sequence together: what a panel is read for at a time.
_ROWS = 24
# Weights (bytes) that are worth a thread of its own; one that has less waits for the others.
_MEMBER_BYTES = 200_000

# Gates that ONNX names in this order: of an LSTM input, output, forget, cell; of a GRU update,
# reset, hidden. A GRU whose reset gate acts before the product needs two products a step.
GATES = {"lstm": 4, "gru": 3, "gru_late_reset": 3, "rnn": 1}
_PHASES = {
    "lstm": ((0, 4),),
    "gru": ((0, 2), (2, 1)),
    "gru_late_reset": ((0, 3),),
    "rnn": ((0, 1),),
}


@dataclass(frozen=True, slots=True)
class Phase:
    """One product of a step: ``gates`` gates from ``first`` on, in ``panels`` panels.

    A panel holds ``vectors`` vectors of each gate, of ``width`` lanes; ``offset`` is where the
    phase's weights begin in those of a direction, in floats.
    """

    number: int
    first: int
    gates: int
    vectors: int
    panels: int
    width: int
    hidden: int
    offset: int

    @property
    def columns(self) -> int:
        """Floats in a row of a panel."""
        return self.gates * self.vectors * self.width

    @property
    def panel_size(self) -> int:
        """Floats of a panel."""
        return self.hidden * self.columns

    @property
    def size(self) -> int:
        """Floats of the phase's weights."""
        return self.panels * self.panel_size

    @property
    def units(self) -> int:
        """Units that one panel computes."""
        return self.vectors * self.width

    @property
    def most_rows(self) -> int:
        """Rows of a batch that one register tile takes."""
        return largest_rows(self.width, self.gates * self.vectors)


def phases_of(kind: str, hidden: int, width: int) -> tuple[Phase, ...]:
    """The products of a step."""
    result: list[Phase] = []
    offset = 0
    for number, (first, gates) in enumerate(_PHASES[kind]):
        vectors = max(1, min(_PANEL_VECTORS // gates, -(-hidden // width)))
        panels = -(-hidden // (vectors * width))
        phase = Phase(number, first, gates, vectors, panels, width, hidden, offset)
        result.append(phase)
        offset += phase.size
    return tuple(result)


@dataclass(frozen=True, slots=True)
class Plan:
    """A recurrence over whole sequences.

    ``batch`` is the number of rows where it is known. ``functions`` are the activations, each a
    number of ``ops.recurrent_common.FUNCTIONS`` and two parameters. ``members`` is how many
    threads may share one direction.
    """

    kind: str
    hidden: int
    directions: int
    reverse: bool
    batch: int | None
    functions: tuple[tuple[int, float, float], ...]
    clip: float
    input_forget: bool
    batch_first: bool
    lengths: bool
    peepholes: bool
    width: int
    members: int

    @property
    def gates(self) -> int:
        """Gates of a unit."""
        return GATES[self.kind]

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The products of a step."""
        return phases_of(self.kind, self.hidden, self.width)

    @property
    def direction_size(self) -> int:
        """Floats of one direction's packed weights."""
        return sum(phase.size for phase in self.phases)

    @property
    def padded(self) -> int:
        """Floats of a state in working memory: whole panels."""
        return max(phase.panels * phase.units for phase in self.phases)

    @property
    def states(self) -> int:
        """Further vectors a unit keeps: the cell of an LSTM; update and reset state of a GRU."""
        return {"lstm": 1, "gru": 2, "gru_late_reset": 0, "rnn": 0}[self.kind]

    @property
    def rows(self) -> int:
        """Rows of a batch that one work item takes through the sequence, at most."""
        if self.batch is None:
            return _ROWS
        return max(1, -(-self.batch // blocks_of(self.batch)))


def blocks_of(batch: int) -> int:
    """Blocks of rows that a batch is cut in: one, or a number that threads share evenly."""
    blocks = max(1, -(-batch // _ROWS))
    return blocks + blocks % 2 if blocks > 1 else 1


def members_of(
    kind: str, hidden: int, directions: int, threads: int, width: int, batch: int | None
) -> int:
    """Threads that are worth sharing one direction of a layer, or a block of its rows.

    Where there are blocks for all threads each has its own: nothing is handed on at every step.
    """
    if batch is not None and blocks_of(batch) * directions >= threads:
        return 1
    nbytes = 4 * GATES[kind] * hidden * hidden
    panels = min(phase.panels for phase in phases_of(kind, hidden, width))
    return max(1, min(threads // directions, nbytes // _MEMBER_BYTES, panels))


def pack_recurrent(r: Array, kind: str, width: int) -> Array:
    """Recurrence weights [D, gates * H, H] in the order that the kernel reads, flat."""
    directions, _, hidden = r.shape
    gates = r.reshape(directions, GATES[kind], hidden, hidden)
    parts = []
    for phase in phases_of(kind, hidden, width):
        padded = np.zeros((directions, phase.gates, phase.panels * phase.units, hidden), r.dtype)
        padded[:, :, :hidden] = gates[:, phase.first : phase.first + phase.gates]
        split = padded.reshape(directions, phase.gates, phase.panels, phase.units, hidden)
        parts.append(split.transpose(0, 2, 4, 1, 3).reshape(directions, phase.size))
    return np.ascontiguousarray(np.concatenate(parts, axis=1)).reshape(-1)


def unpack_recurrent(packed: Array, kind: str, hidden: int, width: int) -> Array:
    """What :func:`pack_recurrent` packed."""
    phases = phases_of(kind, hidden, width)
    rows = packed.reshape(-1, sum(phase.size for phase in phases))
    parts = []
    for phase in phases:
        part = rows[:, phase.offset : phase.offset + phase.size]
        split = part.reshape(len(rows), phase.panels, hidden, phase.gates, phase.units)
        joined = split.transpose(0, 3, 1, 4, 2).reshape(len(rows), phase.gates, -1, hidden)
        parts.append(joined[:, :, :hidden])
    return np.concatenate(parts, axis=1).reshape(len(rows), -1, hidden)
