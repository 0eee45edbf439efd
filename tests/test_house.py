"""The house keeps its own rules: packages, doors, headless commands, nothing of one machine in the tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("advisor", "catalog", "tui")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEADLESS = (
    ("estimate", "Llama-3.3-70B", "--gpu", "RTX 3090", "--json"),
    ("command", "gpt-oss-20b", "--gpu", "RTX 3090"),
    ("recommend", "--gpu", "RTX 3090", "--json"),
    ("hardware", "--json"),
    ("catalog", "list"),
)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_package_list_is_the_folders() -> None:
    folders = {
        "llmfit." + ".".join(path.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == {"llmfit", *folders}


def test_every_folder_with_code_is_a_package() -> None:
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path


def test_data_files_are_packaged() -> None:
    packaged = PROJECT["tool"]["setuptools"]["package-data"]
    for room in ROOMS:
        patterns = packaged.get(f"llmfit.{room}", [])
        files = {
            path for path in (ROOT / room).rglob("*") if path.suffix in {".json", ".jsonl", ".tcss", ".txt"}
        }
        found = {path for pattern in patterns for path in (ROOT / room).glob(pattern)}
        assert files <= found, f"not packaged: {files - found}"


def test_one_version() -> None:
    done = python("-m", "llmfit", "--version")
    assert done.stdout == f"llmfit {PROJECT['project']['version']}\n"


@pytest.mark.parametrize("arguments", HEADLESS, ids=lambda arguments: arguments[0])
def test_headless_commands_load_no_screen_and_nothing_they_do_not_need(arguments: tuple[str, ...]) -> None:
    program = (
        "import sys; from llmfit.tui.cli.main import main\n"
        f"code = main({list(arguments)!r})\n"
        "print(code, *sorted(sys.modules), file=sys.stderr)"
    )
    done = python("-c", program)
    code, *modules = done.stderr.split()
    assert code == "0", done.stderr[-500:]
    banned = {"textual", "rich", "httpx", "huggingface_hub"}
    if "--gpu" in arguments:
        banned |= {"pydantic", "psutil", "pynvml", "pyamdgpuinfo"}
    assert not banned & set(modules)


def test_every_headless_module_imports_without_a_screen() -> None:
    names = [
        "llmfit." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for room in (*ROOMS[:2], "tui/cli")
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.name != "__init__.py"
    ]
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'textual' not in sys.modules, name\n"
    )
    done = python("-c", program)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_doors() -> None:
    done = python("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def _tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_nothing_of_one_machine_is_in_the_tree() -> None:
    here = Path(__file__)
    foreign = re.compile(
        rb"\.\./shared\b|/(?:work/(?:main|shared)|root)/|/home/[a-z]+/|/tmp/(?!llmfit)[a-z]+/"
    )
    found = []
    for path in _tracked():
        if path == here or path.is_symlink() or not path.is_file() or path.suffix in {".gz", ".png", ".head"}:
            continue
        match = foreign.search(path.read_bytes())
        if match:
            found.append(f"{path.relative_to(ROOT)}: {match[0]!r}")
    assert not found


_QUANTITY = re.compile(r"(?:^|_)(bandwidth|memory|vram|speed|capacity|rate|duration|latency)$")


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.dump(decorator) for decorator in node.decorator_list)


def test_numeric_fields_carry_their_unit() -> None:
    """A field of a dataclass named like a rate or an amount of memory says in which unit it is."""
    found = []
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.ClassDef) or not any(
                    "dataclass" in ast.dump(d) for d in node.decorator_list
                ):
                    continue
                for field in node.body:
                    if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                        continue
                    numeric = re.search(r"\b(int|float)\b", ast.unparse(field.annotation))
                    if numeric and _QUANTITY.search(field.target.id):
                        found.append(f"{path.relative_to(ROOT)}: {node.name}.{field.target.id}")
    assert not found
