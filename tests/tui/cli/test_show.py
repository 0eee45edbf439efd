"""``llmfit show``: what a person reads and what a program gets, from the same article."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.recommend.article import tables
from llmfit.advisor.recommend.article.tables import LISTED_FILE_TYPES
from llmfit.advisor.recommend.article.values import Score
from llmfit.advisor.recommend.quality import NO_LOSS, Loss
from llmfit.advisor.units import GIB
from llmfit.tui.article_words import billions_text, loss_words
from llmfit.tui.candidates import candidates_for, file_type_loss
from llmfit.tui.cli.render_evidence import evidence_lines
from llmfit.tui.model_article import article_for
from llmfit.tui.session import MachineCache
from tests.tui.cli.conftest import Answer, Run

MIMO = ("mimo-v2-flash", "--gpu", "2x RTX 3090", "--ram", "64GiB")
CARD = ("--gpu", "RTX 3090", "--ram", "64GiB", "--ram-bandwidth", "60")
SPEC = {
    "name": "Paper-1B", "architecture": "llama", "n_layer": 16, "n_embd": 2048, "n_head": 32, "n_head_kv": 8,
    "n_ff": 8192, "n_vocab": 32000, "context_length": 8192,
}  # fmt: skip


FEW_TYPES = ("Q8_0", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ2_XXS")
"""A quarter of the rows, for every row with experts in RAM takes a tenth of a second."""


@pytest.fixture(autouse=True)
def few_file_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LISTED_FILE_TYPES", FEW_TYPES)


_KNOWN: dict[tuple[object, ...], Answer] = {}


def ask(run: Run, *arguments: object) -> Answer:
    """The same question has the same answer: it is asked once."""
    if arguments not in _KNOWN:
        _KNOWN[arguments] = run("show", *arguments)
    answer = _KNOWN[arguments]
    assert answer.code == 0, answer.err
    return answer


def lines_of(run: Run, *arguments: object) -> list[str]:
    return ask(run, *arguments).out.splitlines()


def too_wide(lines: list[str]) -> list[str]:
    """Commands are to be copied and may be as long as they are."""
    return [line for line in lines if len(line) > 80 and not line.startswith("llama-server ")]


# ---------------------------------------------------------------- the article as text


def test_a_model_that_cannot_run_says_so_first_and_promises_no_speed(run: Run) -> None:
    lines = lines_of(run, *MIMO)
    head = " ".join(lines[1:4])
    assert lines[0].startswith("XiaomiMiMo/MiMo-V2-Flash on 2x RTX 3090")
    assert head.startswith("✗ Q4_K_M with 32K of context cannot run here")
    assert "173.5 GiB" in head.replace("  ", " ") and "missing" in head
    assert not any("tok/s" in line for line in lines[:6])
    rows = [line for line in lines if "✗" in line and "GiB short" in line]
    assert len(rows) > 3 and all(line.rstrip().split()[-3:-1] == ["–", "–"] for line in rows[:-3])
    assert too_wide(lines) == []


def test_what_would_run_it_is_named_with_the_command_that_asks_on(run: Run) -> None:
    text = "\n".join(lines_of(run, *MIMO))
    assert "What would run Q4_K_M" in text
    assert "192 GiB of RAM: then it runs" in text
    assert "9x RTX 3090: then all of it fits on the cards" in text
    assert "llmfit plan mimo-v2-flash --quant Q4_K_M --context 32k" in text


def test_a_model_that_fits_has_every_section(run: Run) -> None:
    lines = lines_of(run, "Qwen3-32B", *CARD)
    for title in (
        "The model", "What to run: Q4_K_M", "The best for a goal", "File types with 32K",
        "Context by type of KV cache", "Decode of Q4_K_M", "Time to the first token",
        "Q4_K_M by number of cards", "Electricity for a million tokens", "Known pitfalls", "Evidence",
    ):  # fmt: skip
        assert any(line.startswith(title) for line in lines), title
    assert any(line.startswith("llama-server ") for line in lines)
    assert too_wide(lines) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("gpt-oss-120b", "--gpu", "RTX 3060", "--ram", "32GiB", "--evidence"),
        ("gemma-3-27b", "--gpu", "M4 Max 128GB", "--evidence"),
        ("Qwen3-32B", "--gpu", "RTX 3060", "--ram", "12GiB"),
        ("Qwen3-0.6B", "--gpu", "none", "--ram", "8GiB"),
    ],
    ids=["gpt-oss", "gemma", "partly in RAM", "small"],
)
def test_no_line_is_wider_than_a_terminal(run: Run, arguments: tuple[str, ...]) -> None:
    assert too_wide(lines_of(run, *arguments)) == []


def test_evidence_lists_every_score_under_its_source(run: Run) -> None:
    short = lines_of(run, "Qwen3-32B", *CARD)
    long = lines_of(run, "Qwen3-32B", *CARD, "--evidence")
    scores = ask(run, "Qwen3-32B", *CARD, "--json").document["evidence"]
    assert any("--evidence lists them" in line for line in short)
    assert len(long) > len(short) + len(scores) / 2
    text = " ".join(" ".join(long).split())
    for score in scores:
        assert f"{score['score']:g} {score['unit']} " in text


def test_a_goal_that_only_changes_the_file_type_is_shown(run: Run) -> None:
    """Its settings are those of the article; only the type differs."""
    document = ask(run, "Qwen3-8B", *CARD, "--json").document
    types = {choice["goal"]: choice["quantization"] for choice in document["goals"]}
    assert types["speed"] != types["quality"] == document["running"]["model"]["quantization"]
    assert all(choice["settings"] == document["running"]["settings"] for choice in document["goals"])
    lines = lines_of(run, "Qwen3-8B", *CARD)
    start = next(number for number, line in enumerate(lines) if line.startswith("The best for a goal"))
    shown = {line.split("  ")[1].strip(): line for line in lines[start + 2 : start + 5]}
    assert any("speed" in goals and types["speed"] in line for goals, line in shown.items())


def test_larger_steps_are_named_where_they_read_prompts_much_faster(run: Run) -> None:
    text = " ".join("\n".join(lines_of(run, "gpt-oss-120b", *CARD)).split())
    assert "With -ub 4096 it reads prompts of 4096 tokens at" in text
    assert "With -ub" not in "\n".join(lines_of(run, "Qwen3-32B", *CARD))


def test_an_embedding_model_promises_no_text(run: Run) -> None:
    lines = lines_of(run, "Qwen3-Embedding-0.6B", *CARD)
    assert "writes none" in " ".join(lines[1:6])
    assert any(line.startswith("llama-server ") and "--embedding" in line for line in lines)
    assert not any("Decode" in line for line in lines)
    assert not any(line.startswith(("Decode of", "The best for a goal")) for line in lines)


def test_of_uses_without_an_ability_the_sure_scores_are_printed_independent_ones_first() -> None:
    def score(value: float, kind: str, date: str, doubtful: bool = False) -> Score:
        return Score("RULER", value, "%", kind, "x", date, shown_for="long-context", is_doubtful=doubtful)

    scores = (
        score(1, "vendor", "2026-05"), score(2, "independent", "2025-01"), score(3, "independent", "2026-01"),
        score(0, "independent", "2026-06", doubtful=True),
    )  # fmt: skip
    told = article_for({"model": "Qwen3-0.6B", "gpu": "none", "ram": "8GiB"}, MachineCache())
    lines = [line.split() for line in evidence_lines(replace(told, scores=scores), with_scores=False)]
    assert [cells[0] for cells in lines if "RULER" in cells] == ["3", "2", "1"]


def test_the_depth_chart_is_longest_where_nothing_is_in_the_context(run: Run) -> None:
    lines = lines_of(run, "Qwen3-32B", *CARD)
    start = next(number for number, line in enumerate(lines) if line.startswith("Decode of"))
    bars = [line.count("=") for line in lines[start + 2 : start + 7]]
    assert bars[0] == 40 and bars == sorted(bars, reverse=True)


# ---------------------------------------------------------------- where else models come from


def test_a_file_has_one_type_and_no_evidence(run: Run, llama: Path) -> None:
    lines = lines_of(run, llama, *CARD)
    assert "A file has the type that it has." in " ".join(" ".join(lines).split())
    assert any("Nobody's scores of this model" in line for line in lines)
    assert too_wide(lines) == []
    document = run("show", llama, *CARD, "--json").document
    assert [row["quantization"] for row in document["quantizations"]] == ["Q4_K_M"]
    assert document["quality"] is None and document["evidence"] == []
    assert document["model"]["license"] is None


def test_a_model_on_paper_has_every_file_type(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "LISTED_FILE_TYPES", LISTED_FILE_TYPES)
    spec = tmp_path / "paper.json"
    spec.write_text(json.dumps(SPEC))
    document = run("show", "--spec", spec, *CARD, "--json").document
    assert len(document["quantizations"]) == len(LISTED_FILE_TYPES)
    assert document["model"]["id"] == "Paper-1B" and document["asked"]["verdict"] == "fits_gpu"


def test_names_of_files_cannot_move_the_cursor(run: Run, llama: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil\x1b[2J\u202emodel.gguf"
    evil.symlink_to(llama)
    for command in (("show", evil), ("compare", evil, "gpt-oss-20b")):
        answer = run(*command, *CARD)
        assert answer.code == 0, answer.err
        assert "evil" in answer.out
        assert "\x1b" not in answer.out and "\u202e" not in answer.out


# ---------------------------------------------------------------- the document


def test_the_document_says_all_of_it(run: Run) -> None:
    document = ask(run, "Qwen3-32B", "--gpu", "RTX 3060", "--ram", "12GiB", "--json").document
    assert document["schema"] == "llmfit.show/1" and next(iter(document)) == "schema"
    rows = document["quantizations"]
    assert {row["quantization"] for row in rows} == set(FEW_TYPES)
    for row in rows:
        assert isinstance(row["total_bytes"], int) and row["total_bytes"] > 0
        assert (row["verdict"] == "does_not_fit") == (row["shortfall_bytes"] > 0)
        assert row["verdict"] != "does_not_fit" or row["decode_tok_s"] is None
    assert document["asked"]["verdict"] == "does_not_fit" and document["asked"]["speed"] is None
    assert document["running"]["verdict"] == "fits_offload" and document["running"]["speed"] is None
    cells = document["context_ladder"]["cells"]
    assert {cell["cache_type"] for cell in cells} == {"f16", "q8_0", "q4_0"}
    assert {cell["context"] for cell in cells} == {4096, 8192, 16384, 32768, 40960}
    assert [row["cards"] for row in document["cards"]] == [1, 2, 4]
    assert [need["cards"] or need["ram_bytes"] for need in document["needs"]] == [16 * GIB]
    assert document["depths"] == [] and document["prompts"] == [] and len(document["ram_cases"]) == 2
    assert document["energy_per_million_tokens"]["output"] is None
    assert len(document["evidence"]) > 10


def test_speeds_and_energy_are_in_the_document_of_what_runs(run: Run) -> None:
    document = ask(run, "Qwen3-32B", *CARD, "--json").document
    assert [point["depth"] for point in document["depths"]] == [0, 4096, 8192, 16384, 32768]
    assert [row["prompt"] for row in document["prompts"]] == [1024, 8192, 32768]
    kwh = document["energy_per_million_tokens"]["output"]["kwh"]
    watts = document["energy_per_million_tokens"]["output"]["watts"]
    decode = document["running"]["speed"]["decode_tok_s"]
    assert kwh["expected"] == pytest.approx(watts["expected"] / decode["expected"] * 1e6 / 3.6e6)
    assert {choice["goal"] for choice in document["goals"]} == {"quality", "speed", "balance"}
    estimate = run("estimate", "Qwen3-32B", "--context", "32k", *CARD, "--json").document
    assert document["asked"]["memory"] == estimate["memory"]
    assert document["asked"]["argv"] == estimate["argv"]


# ---------------------------------------------------------------- bad input and words


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "MODEL: missing"),
        (("no-such-model",), "not in the catalogue"),
        (("Qwen3-32B", "--gpu", "RTX 99999"), "RTX 99999"),
        (("Qwen3-32B", "--quant", "Q9"), "Q9"),
        (("/no/such/file.gguf",), "file.gguf"),
        (("Qwen3-32B", "--depth", "64k", "--context", "8k"), "context"),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    answer = run("show", *arguments)
    assert answer.code in (1, 2) and answer.out == ""
    assert answer.err.startswith("llmfit: error: ") and said in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (None, "?"),
        (NO_LOSS, "0"),
        (Loss(0.3, 0.15, 0.6, ""), "<1"),
        (Loss(0.6, 0.3, 1.2, ""), "0-2"),
        (Loss(0.5, 0.25, 1.0, ""), "0-1"),
        (Loss(2.0, 1.0, 4.0, ""), "1-4"),
    ],
)
def test_losses_in_a_table(loss: Loss | None, text: str) -> None:
    assert loss_words(loss) == text


def test_parameters_in_words() -> None:
    assert billions_text(308_778_780_864) == "309 billion"
    assert billions_text(30_532_122_624) == "30.5 billion"
    assert billions_text(596_000_000) == "0.6 billion"


# ---------------------------------------------------------------- what was trained in its file type


def test_the_only_file_of_a_model_is_not_what_it_was_trained_in(run: Run, llama: Path) -> None:
    """A row of the user's own has one file type, and that costs what it costs."""
    assert run("catalog", "add", llama, "--id", "me/mine").code == 0
    mine, known = (
        article_for({"model": name, "gpu": ["RTX 3090"], "quant": "Q4_K_M"}, MachineCache()).quants
        for name in ("me/mine", "Llama-3.1-8B")
    )
    usual = next(row for row in known if row.quant == "Q4_K_M")
    assert [row.quant for row in mine] == ["Q4_K_M"]
    assert mine[0].loss == usual.loss and usual.loss is not None and usual.loss.points > 0
    assert not mine[0].is_native
    text = " ".join(ask(run, "me/mine", *CARD).out.split())
    assert "A file has the type that it has." in text and "trained in" not in text.split("Evidence")[0]
    (found,) = [one for one in candidates_for("general") if one.model_id == "me/mine"]
    assert found.only_quant == "Q4_K_M" and found.native_quant is None
    assert file_type_loss("Q4_K_M", found).points == usual.loss.points


def test_a_model_trained_in_a_small_type_loses_nothing_in_it(run: Run) -> None:
    (row,) = article_for({"model": "gpt-oss-20b", "gpu": ["RTX 3090"]}, MachineCache()).quants
    assert row.is_native and row.loss is not None and row.loss.points == 0
    (found,) = [one for one in candidates_for("general") if one.model_id == "openai/gpt-oss-20b"]
    assert found.only_quant == found.native_quant == "MXFP4_MOE"
