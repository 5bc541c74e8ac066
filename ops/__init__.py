"""The operators, one module a family; ``define`` has the decorators, ``registry`` the list."""

if __name__ == "ops":
    raise ImportError("import opweave.ops, not ops: the repository root is on sys.path")
