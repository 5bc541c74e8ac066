"""Packages (``.owx``): compiled models in one file that is mapped into memory.

Saving needs the compiler; loading needs NumPy and the C library alone.
"""
