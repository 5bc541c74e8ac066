"""What a caller may ask of a compilation."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import ModelError

ACCURACIES = ("default", "exact")
VECTOR_BITS = (128, 256, 512)


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How a graph is compiled; a target ignores what it has no use for.

    ``threads`` bounds the threads of one run; None means all that the process may use.
    ``accuracy`` "default" allows algorithms that stay within 1e-4 of exact arithmetic, relative
    to the largest magnitude of the output (Winograd convolution, Strassen products); "exact" allows
    none that round more than the operator's definition does. ``vector_bits`` makes code for
    narrower vector registers than the processor has. ``cpu`` names the kind of processor (a
    target's words; "native" is this machine's) and ``system`` the operating system, as linkers name
    it, where the code will not run on this machine. ``tuned`` lets what was measured on this
    machine overrule estimates. Raises ModelError for other values.
    """

    threads: int | None = None
    accuracy: str = "default"
    vector_bits: int | None = None
    cpu: str = "native"
    system: str | None = None
    tuned: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        if self.threads is not None and self.threads < 1:
            raise ModelError(f"a run needs at least one thread, not {self.threads}")
        if self.accuracy not in ACCURACIES:
            raise ModelError(f"accuracy is one of {', '.join(ACCURACIES)}, not {self.accuracy!r}")
        if self.vector_bits is not None and self.vector_bits not in VECTOR_BITS:
            bits = ", ".join(map(str, VECTOR_BITS))
            raise ModelError(f"vector_bits is one of {bits}, not {self.vector_bits}")
