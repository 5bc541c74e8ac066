"""Dense kernels written as LLVM instructions: register tiles, products, convolutions."""
