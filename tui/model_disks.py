"""The disks under the folders in which models lie or will lie."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from llmfit.advisor.folders import home_folder
from llmfit.advisor.hardware.host.disks import read_disks
from llmfit.advisor.hardware.machine import Machine
from llmfit.catalog.local.stores import searches
from llmfit.tui.config import user_config


def with_model_disks(machine: Machine) -> Machine:
    """``machine``, this computer, with the space on each file system that holds a model store, or would."""
    own = user_config().model_folders
    stores = [search.folder for search in searches(own, os.environ, home_folder(), sys.platform, Path("/"))]
    return replace(machine, disks=read_disks([*own, *stores]))
