"""Where the catalogue meets the advisor: the questions that the command line and the app both ask."""

from __future__ import annotations

from collections.abc import Mapping

