"""MindIR files: ``read`` makes a Graph of a model, ``write`` a model of a Graph."""
