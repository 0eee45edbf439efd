"""``python -m llmfit`` is the same as the console script ``llmfit``."""

import sys

from llmfit.tui.cli.main import entry

if __name__ == "__main__":
    sys.exit(entry())
