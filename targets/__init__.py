"""What graphs are lowered to, one folder a device.

A target turns a graph into machine code and runs it; it owns its pipeline of passes. The only
folder that imports numba and llvmlite. Targets know neither file formats nor network
definitions.
"""

if __name__ == "targets":
    raise ImportError("import opweave.targets, not targets: the repository root is on sys.path")
