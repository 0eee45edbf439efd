"""Scheduler buffers: llama.cpp's worst-case graph, built small and replayed through its scheduler and allocator."""
