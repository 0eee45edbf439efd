"""What running a model costs: energy, electricity, hardware, and against what an API would charge."""
