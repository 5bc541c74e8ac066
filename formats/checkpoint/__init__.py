"""Checkpoints: named arrays on disk, MindSpore's .ckpt files and safetensors.

``entries.py`` is what a checkpoint holds, ``read.py`` and ``write.py`` are MindSpore's files,
``safetensors.py`` the others. What the arrays mean to a network is said in ``networks``.
"""
