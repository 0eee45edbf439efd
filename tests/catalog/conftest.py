"""Every test of this folder sees the bundled catalogue and an empty folder of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmfit.catalog.overlay import FOLDER_VARIABLE, overlay


@pytest.fixture(autouse=True)
def own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's catalogue folder; it does not exist yet."""
    folder = tmp_path / "own catalogue"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    overlay.cache_clear()
    yield folder
    overlay.cache_clear()
