"""What holds of the whole tree: packages that are listed, data that is shipped, rooms that import little."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("advisor", "catalog", "tui")
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
HEAVY = (
    "textual",
    "rich",
    "pydantic",
    "httpx",
    "huggingface_hub",
    "psutil",
    "pynvml",
    "pyamdgpuinfo",
    "platformdirs",
)
HEADLESS = {
    "llmfit.tui.cli.main": HEAVY,
    "llmfit.tui.cli.options": HEAVY,
    "llmfit.tui.session": HEAVY,
    "llmfit.tui.cli.estimate": HEAVY,
    "llmfit.catalog.build": HEAVY,
    "llmfit.catalog.gpus": HEAVY,
    "llmfit.advisor.recommend.ranking": HEAVY,
    "llmfit.advisor.hardware.probe": ("textual", "rich", "pydantic", "httpx", "pynvml", "pyamdgpuinfo"),
}


def test_every_folder_of_the_rooms_is_a_listed_package() -> None:
    found = {"llmfit"}
    for room in ROOMS:
        for module in (ROOT / room).rglob("*.py"):
            found.add(".".join(("llmfit", *module.parent.relative_to(ROOT).parts)))
            assert (module.parent / "__init__.py").exists(), f"{module.parent} is no package"
    assert sorted(SETUPTOOLS["packages"]) == sorted(found)
    assert SETUPTOOLS["package-dir"] == {"llmfit": "llmfit"} | {f"llmfit.{room}": room for room in ROOMS}


def test_every_file_that_is_no_module_is_shipped() -> None:
    patterns = {
        package.removeprefix("llmfit."): names for package, names in SETUPTOOLS["package-data"].items()
    }
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            if path.is_dir() or path.suffix in (".py", ".pyc"):
                continue
            name = str(path.relative_to(ROOT / room))
            assert any(fnmatch(name, pattern) for pattern in patterns.get(room, ())), f"{room}/{name}"


@pytest.mark.parametrize("module", HEADLESS)
def test_what_answers_without_a_screen_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not set(HEADLESS[module]) & set(loaded.split())
