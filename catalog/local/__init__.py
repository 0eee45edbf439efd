"""GGUF files that are already on this computer: where tools keep them, what they are, which are broken."""
