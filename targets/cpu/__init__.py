"""The CPU target: operators lowered through Numba and llvmlite to machine code."""
