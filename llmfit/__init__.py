"""llmfit: which language model fits this computer with llama.cpp, and with which flags.

The rooms ``advisor/``, ``catalog/`` and ``tui/`` stand at the top of the source tree and are imported as
``llmfit.advisor``, ``llmfit.catalog`` and ``llmfit.tui``: pyproject.toml maps them for builds, and three
relative links in this folder do the same for type checkers and for running uninstalled.
"""

__version__ = "0.1.0"
