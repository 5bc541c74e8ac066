"""Kinds of processors that code is made for, and whether this one is of a kind.

``native`` is the processor at hand. The levels of x86-64 are those of "System V ABI, AMD64
Architecture Processor Supplement", version 1.0, section 3.1.1. This module needs no LLVM: it
also decides whether a saved model can run here.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from ...ir.errors import DeviceError, UnsupportedError

NATIVE: Final = "native"


@dataclass(frozen=True, slots=True)
class CpuDescription:
    """The processor that code is made for, in LLVM's terms.

    ``features`` is LLVM's list ("+avx2,-sse4a,..."), complete, so ``name`` only selects the
    scheduling model. ``vector_bits`` is the width of the widest vector registers used.
    """

    name: str
    features: str
    triple: str
    data_layout: str
    vector_bits: int

    @property
    def architecture(self) -> str:
        """Such as ``x86_64``."""
        return self.triple.partition("-")[0]


class Feature(NamedTuple):
    """An extension of x86-64: LLVM's name, Linux's, and where ``cpuid`` tells of it."""

    name: str
    flag: str
    leaf: int
    subleaf: int
    word: int  # 0 to 3: eax, ebx, ecx, edx
    bit: int


_EAX, _EBX, _ECX, _EDX = range(4)
_EXTENDED = 0x80000001
# All that LLVM uses by itself; others are there for those who ask for their instructions.
FEATURES: Final = (
    Feature("sse3", "pni", 1, 0, _ECX, 0),
    Feature("ssse3", "ssse3", 1, 0, _ECX, 9),
    Feature("fma", "fma", 1, 0, _ECX, 12),
    Feature("cx16", "cx16", 1, 0, _ECX, 13),
    Feature("sse4.1", "sse4_1", 1, 0, _ECX, 19),
    Feature("sse4.2", "sse4_2", 1, 0, _ECX, 20),
    Feature("movbe", "movbe", 1, 0, _ECX, 22),
    Feature("popcnt", "popcnt", 1, 0, _ECX, 23),
    Feature("xsave", "xsave", 1, 0, _ECX, 26),
    Feature("avx", "avx", 1, 0, _ECX, 28),
    Feature("f16c", "f16c", 1, 0, _ECX, 29),
    Feature("sahf", "lahf_lm", _EXTENDED, 0, _ECX, 0),
    Feature("lzcnt", "abm", _EXTENDED, 0, _ECX, 5),
    Feature("sse4a", "sse4a", _EXTENDED, 0, _ECX, 6),
    Feature("prfchw", "3dnowprefetch", _EXTENDED, 0, _ECX, 8),
    Feature("fma4", "fma4", _EXTENDED, 0, _ECX, 16),
    Feature("xop", "xop", _EXTENDED, 0, _ECX, 11),
    Feature("tbm", "tbm", _EXTENDED, 0, _ECX, 21),
    Feature("bmi", "bmi1", 7, 0, _EBX, 3),
    Feature("avx2", "avx2", 7, 0, _EBX, 5),
    Feature("bmi2", "bmi2", 7, 0, _EBX, 8),
    Feature("avx512f", "avx512f", 7, 0, _EBX, 16),
    Feature("avx512dq", "avx512dq", 7, 0, _EBX, 17),
    Feature("adx", "adx", 7, 0, _EBX, 19),
    Feature("avx512ifma", "avx512ifma", 7, 0, _EBX, 21),
    Feature("avx512cd", "avx512cd", 7, 0, _EBX, 28),
    Feature("avx512bw", "avx512bw", 7, 0, _EBX, 30),
    Feature("avx512vl", "avx512vl", 7, 0, _EBX, 31),
    Feature("avx512vbmi", "avx512vbmi", 7, 0, _ECX, 1),
    Feature("avx512vbmi2", "avx512_vbmi2", 7, 0, _ECX, 6),
    Feature("gfni", "gfni", 7, 0, _ECX, 8),
    Feature("avx512vnni", "avx512_vnni", 7, 0, _ECX, 11),
    Feature("avx512bitalg", "avx512_bitalg", 7, 0, _ECX, 12),
    Feature("avx512vpopcntdq", "avx512_vpopcntdq", 7, 0, _ECX, 14),
    Feature("avx512fp16", "avx512_fp16", 7, 0, _EDX, 23),
    Feature("avxvnni", "avx_vnni", 7, 1, _EAX, 4),
    Feature("avx512bf16", "avx512_bf16", 7, 1, _EAX, 5),
)
_V2 = ("cx16", "sahf", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3")
_V3 = (*_V2, "avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
# Kind -> what LLVM schedules for, extensions, width of vector registers.
X86_64_LEVELS: Final = {
    "x86-64": ((), 128),
    "x86-64-v2": (_V2, 128),
    "x86-64-v3": (_V3, 256),
    "x86-64-v4": (_V4, 512),
}
# Systems to cross-compile for: triple as linkers know it -> LLVM's.
TRIPLES: Final = {
    "x86_64-linux-gnu": "x86_64-unknown-linux-gnu",
    "x86_64-linux-musl": "x86_64-unknown-linux-musl",
    "aarch64-linux-gnu": "aarch64-unknown-linux-gnu",
    "aarch64-linux-musl": "aarch64-unknown-linux-musl",
}


def check_kind(cpu: str, platform_: str | None) -> None:
    """Raise UnsupportedError for a processor or system that there is no code for."""
    if platform_ is not None and platform_ not in TRIPLES:
        raise UnsupportedError(
            f"there is no code for the system {platform_!r}; there is: {', '.join(TRIPLES)}"
        )
    architecture = (platform_ or platform.machine()).partition("-")[0]
    known = [NATIVE, *X86_64_LEVELS] if architecture == "x86_64" else [NATIVE]
    if cpu not in known:
        raise UnsupportedError(
            f"there is no code for the processor {cpu!r} on {architecture}; "
            f"there is: {', '.join(known)}"
        )


def needed_features(cpu: CpuDescription) -> tuple[Feature, ...]:
    """The extensions that code for ``cpu`` may use."""
    if cpu.architecture != "x86_64":
        return ()
    names = {item[1:] for item in cpu.features.split(",") if item.startswith("+")}
    return tuple(feature for feature in FEATURES if feature.name in names)


def has_fused_multiply_add(cpu: CpuDescription) -> bool:
    """True where ``a * b + c`` is one instruction that rounds once."""
    return cpu.architecture != "x86_64" or "+fma" in cpu.features.split(",")


@functools.cache
def _flags() -> frozenset[str]:
    """The extensions of this machine's processor in Linux's words."""
    with open(Path("/proc/cpuinfo"), "rb", buffering=1 << 14) as file:
        for line in file:
            if line.startswith(b"flags"):
                return frozenset(line.partition(b":")[2].decode().split())
    return frozenset()


def missing_features(names: Iterable[str]) -> list[str]:
    """Those extensions, by LLVM's names, that this machine's processor lacks.

    Raises DeviceError where the system does not tell.
    """
    flags = {feature.name: feature.flag for feature in FEATURES}
    try:
        there = _flags()
    except OSError as error:
        raise DeviceError(f"this system does not tell what its processor can do: {error}") from None
    return [name for name in names if flags.get(name, name) not in there]


def best(kinds: Sequence[tuple[str, Sequence[str]]]) -> int:
    """The number of the best of several kinds, (architecture, features), for this machine.

    Raises DeviceError saying what the processor lacks for each.
    """
    lacking = []
    for number in sorted(range(len(kinds)), key=lambda number: -len(kinds[number][1])):
        architecture, features = kinds[number]
        if architecture != platform.machine():
            lacking.append(f"a processor of the kind {architecture}")
            continue
        missing = missing_features(features)
        if not missing:
            return number
        lacking.append(", ".join(missing))
    raise DeviceError(
        f"the model is compiled for other processors; this one ({platform.machine()}) lacks "
        f"{'; or '.join(lacking)}. Compile it for this one, or for x86-64-v3"
    )
