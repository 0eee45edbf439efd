"""How long one decoded token takes: bytes, kernels and hops on GPUs, reading and arithmetic on the CPU."""
