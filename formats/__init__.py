"""Readers and writers of model files; ``adapter`` has the protocol and ``load``."""

if __name__ == "formats":
    raise ImportError("import opweave.formats, not formats: the repository root is on sys.path")
