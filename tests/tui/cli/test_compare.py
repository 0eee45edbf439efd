"""``llmfit compare``: columns with options of their own, no cell cut, the same figures as ``estimate``."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.tui.cli.compare import columns_of
from llmfit.tui.cli.options import parse_arguments
from llmfit.tui.cli.render_compare import fold
from tests.tui.cli.conftest import Run

CARD = ("--gpu", "RTX 3090", "--ram", "64GiB", "--ram-bandwidth", "60")


def columns(*arguments: str) -> list[dict[str, object]]:
    return columns_of(vars(parse_arguments(["compare", *arguments])))


# ---------------------------------------------------------------- options of a column


def test_a_quoted_model_has_options_of_its_own() -> None:
    first, second = columns("qwen3-32b --quant Q6_K --context 8k --depth 1k", "gpt-oss-20b", *CARD)
    assert (first["model"], first["quant"], first["context"]) == ("qwen3-32b", "Q6_K", 8192)
    assert first["gpu"] == second["gpu"] == ["RTX 3090"]
    assert "quant" not in second and "context" not in second


def test_an_own_machine_replaces_the_shared_one() -> None:
    first, second = columns("a --gpu '2x RTX 4090'", "b --machine here.json", *CARD)
    assert first["gpu"] == ["2x RTX 4090"] and first["ram"] == "64GiB"
    assert second["machine"] == "here.json" and "gpu" not in second


def test_shared_settings_hold_for_all_that_say_nothing_else() -> None:
    first, second = columns("a --quant Q8_0", "b", "--quant", "Q4_K_M", "--context", "16k")
    assert (first["quant"], second["quant"]) == ("Q8_0", "Q4_K_M")
    assert first["context"] == second["context"] == 16384


def test_a_file_name_may_hold_blanks(tmp_path: Path) -> None:
    path = tmp_path / "my model.gguf"
    path.touch()
    assert columns(str(path), "b")[0]["model"] == str(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a",), "1 model. Name 2 to 4"),
        (("a", "b", "c", "d", "e"), "5 models. Name 2 to 4"),
        (("a 'b", "c"), "a quotation mark is not closed"),
        (("a --quant", "c"), "expected one argument"),
        (("a --no-such-option", "c"), "--no-such-option"),
        (("a b", "c"), "unrecognized arguments"),
        (("no-such-model", "gpt-oss-20b"), "not in the catalogue"),
        ((" ", "gpt-oss-20b"), "MODEL: missing"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(run: Run, arguments: tuple[str, ...], said: str) -> None:
    answer = run("compare", *arguments, *CARD)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err and answer.err.count("\n") == 1


# ---------------------------------------------------------------- what is printed


def test_four_columns_fit_in_eighty_and_nothing_is_cut(run: Run) -> None:
    names = ("Qwen3-30B-A3B-Instruct-2507", "gpt-oss-20b", "gemma-3-27b", "mimo-v2-flash --gpu none")
    answer = run("compare", *names, *CARD)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "…" not in answer.out
    assert "Qwen3-30B-A3B-" in lines[2] and "Instruct-2507" in lines[3]
    decode = next(line for line in lines if line.startswith("decode"))
    assert decode.endswith("–")
    assert "MiMo-V2-Flash does not run" in answer.out


def test_the_document_holds_the_estimates(run: Run) -> None:
    document = run("compare", "Qwen3-32B --quant Q4_K_M", "gpt-oss-20b", *CARD, "--json").document
    assert document["schema"] == "llmfit.compare/1" and next(iter(document)) == "schema"
    for one, arguments in zip(
        document["configurations"], (("Qwen3-32B", "--quant", "Q4_K_M"), ("gpt-oss-20b",)), strict=True
    ):
        estimate = run("estimate", *arguments, "--context", "32k", *CARD, "--json").document
        for key in ("memory", "verdict", "speed", "argv", "settings"):
            assert one[key] == estimate[key], key
    assert (document["depth"], document["prompt"]) == (32768, 8192)
    assert document["differences"]


def test_machines_have_a_row_only_where_they_differ(run: Run) -> None:
    same = run("compare", "gpt-oss-20b", "gemma-3-27b", *CARD).out
    other = run("compare", "gpt-oss-20b", "gpt-oss-20b --gpu 'RTX 4090'", *CARD).out
    assert "\nmachine" not in same and "\nmachine" in other


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=60), st.integers(4, 30))
def test_a_folded_text_keeps_every_letter(text: str, width: int) -> None:
    lines = fold(text, width)
    assert max(map(len, lines)) <= width
    assert "".join(lines) == text


@given(st.lists(st.text("abc-", min_size=1, max_size=9), max_size=8), st.integers(9, 30))
def test_words_are_broken_only_where_they_must(words: list[str], width: int) -> None:
    lines = fold(" ".join(words), width)
    assert max(map(len, lines)) <= width
    assert " ".join(lines).split() == words
