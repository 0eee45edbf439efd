"""llmfit's own folders: one rule for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from llmfit.advisor import folders
from llmfit.advisor.folders import cache_folder, catalog_folder, config_path, data_folder, home_folder

Place = Callable[[Mapping[str, str]], Path]
PLACES: tuple[tuple[str, Place], ...] = (
    ("LLMFIT_CONFIG", config_path),
    ("LLMFIT_CATALOG", catalog_folder),
    ("LLMFIT_CACHE", cache_folder),
    ("LLMFIT_DATA", data_folder),
)


@pytest.mark.parametrize(("variable", "place"), PLACES, ids=lambda value: str(value)[:20])
def test_a_variable_names_the_place_and_a_tilde_is_the_home_folder(
    variable: str, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place({variable: "~/own"}) == tmp_path / "own"
    assert place({variable: "/a/b"}) == Path("/a/b")
    assert place({variable: "~nobody-of-this-name/x"}) == Path("~nobody-of-this-name/x")


def test_without_one_each_has_a_place_of_its_own() -> None:
    usual = [place({}) for _, place in PLACES]
    assert len(set(usual)) == len(usual) and all("llmfit" in path.parts for path in usual)
    assert [place({name: ""}) for name, place in PLACES] == usual


def test_every_room_asks_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a search for models, the answers of llama-servers and a measurement write stays together."""
    from llmfit.advisor.hardware.bandwidth import remembered
    from llmfit.catalog import overlay
    from llmfit.catalog.local import header_cache
    from llmfit.tui import config

    monkeypatch.setenv("HOME", str(tmp_path))
    for variable, _ in PLACES:
        monkeypatch.setenv(variable, f"~/{variable}")
    assert config.cache_folder() == header_cache.cache_file(os.environ).parent == tmp_path / "LLMFIT_CACHE"
    assert config.config_path() == tmp_path / "LLMFIT_CONFIG"
    assert overlay.overlay_folder() == tmp_path / "LLMFIT_CATALOG"
    assert remembered.data_folder() == tmp_path / "LLMFIT_DATA"
    for variable, _ in PLACES:
        monkeypatch.setenv(variable, "~nobody-of-this-name/x")
    assert overlay.overlay_folder() == config.config_path() == Path("~nobody-of-this-name/x")


def test_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(folders.Path, "home", none)
    assert home_folder() is None
