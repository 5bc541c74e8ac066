"""The graph compiler: rewrite rules, passes, memory plan, cost model, cache, driver."""

if __name__ == "compiler":
    raise ImportError("import opweave.compiler, not compiler: the repository root is on sys.path")
