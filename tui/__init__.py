"""The room of everything that people read or type: commands and the terminal app."""
