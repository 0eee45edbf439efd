"""``python -m llmfit`` is the same as the console script ``llmfit``."""

import sys

from llmfit.tui.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
