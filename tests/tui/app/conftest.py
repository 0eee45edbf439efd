"""The app's tests: no probes, no animations, nothing from this computer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual import constants

from llmfit.catalog.overlay import FOLDER_VARIABLE, overlay
from tests.tui.app.fake_advice import FakeAdvice


@pytest.fixture(autouse=True)
def quiet_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(constants, "TEXTUAL_ANIMATIONS", "none")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "own"))
    overlay.cache_clear()
    yield
    overlay.cache_clear()


@pytest.fixture
def advice() -> FakeAdvice:
    return FakeAdvice()
