"""Which tensors are stored channels last, and the graph rewritten so.

``cut.py`` decides (a minimum cut: the fewest bytes are transposed), ``rules.py`` says what each
operator does with its channels at the end, ``channels_last.py`` rewrites.
"""
