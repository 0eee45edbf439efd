"""What was measured on a machine: the measurements, which of them count, and the factors that follow."""
