"""How long every token takes."""
