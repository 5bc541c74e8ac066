"""Dense kernels written as LLVM instructions: register tiles, packed products."""
