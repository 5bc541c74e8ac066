"""Attention in one pass: scores, softmax and weighted sums of a few rows that stay in a cache."""
