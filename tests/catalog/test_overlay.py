"""The user's own rows: strict, and one broken line takes nothing else down."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import pytest

from llmfit.catalog import overlay as overlay_module
from llmfit.catalog.models import find_model, list_models
from llmfit.catalog.overlay import FOLDER_VARIABLE, overlay, overlay_folder, read_overlay
from llmfit.catalog.search import tail

GOOD = {
    "id": "me/Mine-7B",
    "architecture": "llama",
    "parameters": {"text": 7 * 10**9},
    "sources": ["my own training run"],
}


def write(folder: Path, text: str | bytes, name: str = "models.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_no_folder_is_no_problem(tmp_path: Path) -> None:
    found = read_overlay(tmp_path / "missing")
    assert (dict(found.models), dict(found.gpus), found.problems) == ({}, {}, ())


def test_a_row_is_found_and_says_where_it_stands(own_rows: Path) -> None:
    path = write(own_rows, json.dumps(GOOD))
    overlay.cache_clear()
    model = find_model("mine-7b")
    assert model.id == "me/Mine-7B"
    assert model.overlay == f"{path}:1"
    assert len(list_models()) == 198


def test_a_row_replaces_the_bundled_one(own_rows: Path) -> None:
    write(own_rows, json.dumps(GOOD | {"id": "openai/gpt-oss-20b", "notes": ["mine"]}))
    overlay.cache_clear()
    assert find_model("gpt-oss-20b").notes == ("mine",)
    assert len(list_models()) == 197


def test_the_later_row_counts(own_rows: Path) -> None:
    write(own_rows, json.dumps(GOOD | {"notes": ["b"]}), "models-b.jsonl")
    write(own_rows, json.dumps(GOOD | {"notes": ["a"]}), "models-a.jsonl")
    overlay.cache_clear()
    assert find_model("me/Mine-7B").notes == ("b",)


BROKEN = {
    "truncated": (json.dumps(GOOD)[:-20], "EOF"),
    "not JSON": ("hello", "expected value"),
    "a list": ("[]", "object"),
    "a key nobody knows": (json.dumps(GOOD | {"vram": 8}), "vram"),
    "a number as text": (json.dumps(GOOD | {"parameters": {"text": "7B"}}), "parameters.text"),
    "no sources": (json.dumps(GOOD | {"sources": []}), "sources"),
    "an id that is a path": (json.dumps(GOOD | {"id": "../../etc/passwd"}), "id"),
    "an id with markup": (json.dumps(GOOD | {"id": "[red]x"}), "id"),
    "escape sequences": (json.dumps(GOOD | {"family": "\x1b[2Jgone"}), "family"),
    "right-to-left": (json.dumps(GOOD | {"notes": ["a\u202eb"]}), "notes.0"),
    "a key with escape sequences": (json.dumps(GOOD | {"\x1b[31m": 1}), "Extra"),
    "negative": (json.dumps(GOOD | {"context_length": -1}), "context_length"),
    "not a date": (json.dumps(GOOD | {"release_date": "soon"}), "release_date"),
    "infinite": (json.dumps(GOOD).replace("7000000000", "1e999"), "parameters.text"),
    "deep": ("[" * 100_000, "recursion"),
    "not UTF-8": (b'{"id":"\xff"}', ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_line_is_named_and_left_out(name: str, own_rows: Path) -> None:
    line, why = BROKEN[name]
    raw = line if isinstance(line, bytes) else line.encode()
    path = write(own_rows, b"\n".join([raw, b"", json.dumps(GOOD | {"id": "me/Good"}).encode()]))
    found = read_overlay(own_rows)
    assert list(found.models) == ["me/Good"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{path}:1: ")
    assert why in found.problems[0]
    assert found.problems[0].isprintable()
    assert len(found.problems[0]) < 400 + len(str(path))


def test_a_line_of_ten_megabytes_costs_no_memory(own_rows: Path) -> None:
    path = write(own_rows, json.dumps(GOOD) + "\n" + '{"id":"' + "x" * 10_000_000 + '"}\n' + json.dumps(GOOD))
    read_overlay(own_rows)  # imports pydantic, which is not to be counted
    tracemalloc.start()
    found = read_overlay(own_rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(found.models) == ["me/Mine-7B"]
    assert found.problems == (f"{path}:2: a line longer than 4 MiB; the rest is not read",)
    assert peak < 12 * 2**20


def test_a_huge_file_is_not_read(own_rows: Path) -> None:
    path = write(own_rows, json.dumps(GOOD) + "\n")
    os.truncate(path, overlay_module.MAX_FILE_BYTES + 1)
    found = read_overlay(own_rows)
    assert found.models == {}
    assert found.problems == (f"{path}: not read, larger than 64 MiB",)


def test_hostile_tensor_lists_are_refused(own_rows: Path) -> None:
    tensor = {"name": "blk.{}.x", "dims": [256, 1], "type": "Q4_K", "layers": ",".join(["0-9999"] * 200)}
    header = {"metadata": {}, "file_bytes": 1, "quantization": "Q4_K_M"}
    for change, why in (
        ({}, "more than 131072 tensors"),
        ({"layers": "0", "type": "Q9_Z"}, "unknown type"),
        ({"layers": "0", "dims": [255]}, "no multiple"),
        ({"layers": "x"}, "layers like"),
        ({"name": "output.weight"}, "needs layers"),
    ):
        row = GOOD | {"header": header | {"tensors": [tensor | change]}}
        write(own_rows, json.dumps(row))
        found = read_overlay(own_rows)
        assert found.models == {}
        assert why in found.problems[0]


def test_other_files_and_folders_are_not_taken_for_rows(own_rows: Path) -> None:
    write(own_rows, "x", "notes.txt")
    path = write(own_rows, json.dumps(GOOD), "prices.jsonl")
    (own_rows / "models-dir.jsonl").mkdir()
    found = read_overlay(own_rows)
    assert found.models == {}
    assert f"{path}: not read, the name must begin with models or gpus" in found.problems
    assert any("models-dir.jsonl" in problem for problem in found.problems)


def test_a_file_in_place_of_the_folder(own_rows: Path) -> None:
    own_rows.write_text("x")
    found = read_overlay(own_rows)
    assert len(found.problems) == 1


def test_the_folder_is_in_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert overlay_folder().parts[-2:] == ("llmfit", "catalog")
    monkeypatch.setenv(FOLDER_VARIABLE, "~/mine")
    assert overlay_folder() == Path.home() / "mine"


def test_names_are_the_tail_of_the_id_where_none_is_given(own_rows: Path) -> None:
    write(own_rows, json.dumps(GOOD))
    overlay.cache_clear()
    model = find_model("me/Mine-7B")
    assert model.name == tail(model.id) == "Mine-7B"


def test_a_pipe_with_the_name_of_a_file_of_rows(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "models-pipe.jsonl")
    found = read_overlay(tmp_path)
    assert found.problems == (f"{tmp_path / 'models-pipe.jsonl'}: not read, not a regular file",)
