"""Channels-last kernels: convolutions, poolings and their like over [N, H, W, C].

A 1x1 convolution is a plain matrix product in this layout, vectors run over channels whatever
their number, and neither halos nor padded channels are stored.
"""
