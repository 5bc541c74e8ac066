"""Network definitions: the building blocks, and one module a family of networks.

A network is a function that builds a graph out of blocks; its parameters come from a checkpoint.
"""

if __name__ == "networks":
    raise ImportError("import opweave.networks, not networks: the repository root is on sys.path")
