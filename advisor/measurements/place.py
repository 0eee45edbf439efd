"""Where the measurements lie. Apart from the store, because most runs only ask whether there are any."""

from __future__ import annotations

import os
from pathlib import Path

from llmfit.advisor.folders import data_folder

FILE_NAME = "measurements.sqlite3"


def measurements_file() -> Path:
    return data_folder() / FILE_NAME


def has_measurements() -> bool:
    """Whether anything is there; what it is, the store says."""
    return os.path.lexists(measurements_file())
