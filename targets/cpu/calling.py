"""What native code and whoever calls it agree on: names and the layout of memory.

``native/description.h`` says the same to C.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

# Changes when anything here or in the runtime does: saved code of another version is refused.
CALLING_VERSION = 2
ENTRY = "ow_run"
PREPARE = "ow_prepare"
OUTPUT_EXTENTS = "ow_output_extents"
WORKER = "ow_worker"
STOP = "ow_stop"


class Context(IntEnum):
    """Fields of the context, eight bytes each."""

    PARAMS = 0  # pointer to the addresses of the parameters
    SYMBOLS = 1  # pointer to the values of the symbols
    FAILURE = 2  # pointer to two int64: step number, code
    MEMORY_LIMIT = 3  # bytes that one late allocation may have
    POOL = 4  # the thread pool, or null to run on the calling thread alone
    ARENA = 5  # memory for intermediate tensors


class Failure(IntEnum):
    """Negative failure codes; a positive one is what a kernel returned."""

    RAISED = -1
    OUT_OF_MEMORY = -2
    BAD_EXTENT = -3
    UNEQUAL_EXTENTS = -4


@dataclass(frozen=True, slots=True)
class StepInfo:
    """What a failure at one step is reported with."""

    node: str
    errors: tuple[str, ...]


class Pool(IntEnum):
    """Fields of the pool, in units of eight bytes; those that threads contend for lie apart."""

    WORKERS = 0
    DONE = 8
    HELPED = 9  # when a worker had done a chunk, the last time (nanoseconds)
    JOB = 16
    ARGUMENTS = 17
    ITEMS = 18
    CHUNKS = 19
    STATUS = 20
    THREADS = 21
    ALONE_UNTIL = 22
    ALONE_LENGTH = 23
    SLEEPERS = 24
    WAKE = 32
    STOP = 40
    TICKETS = 48


# A thread's ticket stands in a cache line of its own.
TICKET_FIELDS = 8


def pool_bytes(threads: int) -> int:
    """Bytes of the pool of so many threads."""
    return 8 * (Pool.TICKETS + threads * TICKET_FIELDS)
