"""Generated kernels for recurrent layers with constant weights."""
