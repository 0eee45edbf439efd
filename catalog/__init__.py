"""Facts, each with its source: models, GPUs, quantisations, quality."""
