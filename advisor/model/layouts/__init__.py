"""The tensors of each architecture: building blocks, and one short plan an architecture."""
