"""The command line: one module a command, text and JSON renderers."""
