"""Claims about a model, held against the arithmetic: is this physically possible."""
