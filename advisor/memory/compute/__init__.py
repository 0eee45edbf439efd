"""Scheduler buffers: llama.cpp's worst graph, built small and run through its scheduler and allocator."""
