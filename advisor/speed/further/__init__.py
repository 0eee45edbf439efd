"""Figures beside the plain speed: several streams at once, drafting, GPUs that work side by side."""
