"""``--goal`` in ``estimate`` and ``command``: what is chosen, why, and that nothing changes without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tui.cli.conftest import Run
from tests.tui.cli.test_jsonl import SPEC

CARD = ("--gpu", "RTX 3090", "--ram", "64GiB", "--ram-bandwidth", "60")
GOALS = ("quality", "speed", "context", "balance")
DIMENSIONS = ["file type", "cache type", "context", "placement", "micro-batch", "slots"]
NEW_KEYS = {"goal", "choices", "quality", "search"}


def test_without_a_goal_there_are_no_choices(run: Run) -> None:
    assert not NEW_KEYS & set(run("estimate", "qwen3-14b", *CARD, "--json").document)
    assert "Choices" not in run("estimate", "qwen3-14b", *CARD).out


@pytest.mark.parametrize("goal", GOALS)
def test_the_document_has_goal_and_choices(run: Run, goal: str) -> None:
    answer = run("estimate", "qwen3-14b", "--goal", goal, *CARD, "--json")
    document = answer.document
    assert answer.code == 0 and document["goal"] == goal
    assert [choice["dimension"] for choice in document["choices"]] == DIMENSIONS
    for choice in document["choices"]:
        assert choice["reason"] and isinstance(choice["fixed"], bool)
        for runner_up in choice["runner_ups"]:
            assert {"value", "text", "verdict", "decode_tok_s", "prefill_tok_s", "loss_points", "total_bytes",
                    "context"} == set(runner_up)  # fmt: skip
    found = document["search"]
    assert found["judged"] + sum(pruned["count"] for pruned in found["pruned"]) == found["considered"]
    assert document["quality"]["low"] < document["quality"]["score"] < document["quality"]["high"]


def test_the_text_has_the_section_before_the_command(run: Run) -> None:
    answer = run("estimate", "qwen3-14b", "--goal", "quality", *CARD)
    before, _, after = answer.out.partition("Choices for quality")
    assert "How fast" in before and "\nllama-server " in after
    assert all(dimension in after for dimension in DIMENSIONS)
    prose = [line for line in answer.out.splitlines() if not line.startswith("llama-server")]
    assert max(map(len, prose)) <= 80


def test_command_prints_the_line_alone_and_the_choices_as_notes(run: Run) -> None:
    answer = run("command", "qwen3-14b", "--goal", "speed", *CARD)
    assert answer.code == 0
    assert answer.out.startswith("llama-server ") and answer.out.count("\n") == 1
    assert "note: file type" in answer.err and "note: slots" in answer.err
    document = run("command", "qwen3-14b", "--goal", "speed", *CARD, "--json").document
    assert document["schema"] == "llmfit.command/1" and document["goal"] == "speed"
    assert document["shell"] == answer.out.rstrip("\n")


def test_what_is_given_stays(run: Run) -> None:
    given = ("--quant", "Q5_K_M", "--context", "8k", "--cache-type-k", "q8_0", "--parallel", "2")
    document = run("estimate", "qwen3-14b", "--goal", "quality", *given, *CARD, "--json").document
    settings = document["settings"]
    assert document["model"]["quantization"] == "Q5_K_M"
    assert (settings["context"], settings["cache_type_k"], settings["parallel"]) == (8192, "q8_0", 2)
    fixed = {choice["dimension"] for choice in document["choices"] if choice["fixed"]}
    assert fixed == {"file type", "cache type", "context", "slots"}


def test_a_file_has_the_type_it_has(run: Run, llama: Path) -> None:
    document = run("estimate", llama, "--goal", "quality", *CARD, "--json").document
    first = document["choices"][0]
    assert (first["chosen"], first["fixed"]) == ("Q4_K_M", True)
    assert "this file" in first["reason"]
    assert document["quality"] is None  # nobody's file has an ability in the catalogue


def test_a_model_on_paper_is_ranked_by_its_losses(run: Run, tmp_path: Path) -> None:
    spec = tmp_path / "paper.json"
    spec.write_text(json.dumps(SPEC))
    document = run("estimate", "--spec", spec, "--goal", "quality", *CARD, "--json").document
    assert document["model"]["quantization"] == "Q8_0"
    assert document["quality"] is None and document["choices"][0]["runner_ups"]


def test_the_type_that_a_model_was_trained_in_is_taken(run: Run) -> None:
    first = run("estimate", "gpt-oss-20b", "--goal", "speed", *CARD, "--json").document["choices"][0]
    assert first["chosen"] == "MXFP4_MOE" and "trained in it" in first["reason"]


def test_where_nothing_fits_the_nearest_is_shown_and_said(run: Run) -> None:
    small = ("--gpu", "RTX 3060", "--ram", "8GiB")
    answer = run("estimate", "Llama-3.3-70B", "--goal", "quality", *small)
    assert answer.code == 0
    assert "Not even IQ2_XXS fits" in answer.out and "llama-server -" not in answer.out
    document = run("estimate", "Llama-3.3-70B", "--goal", "quality", *small, "--json").document
    assert document["verdict"] == "does_not_fit" and document["choices"] == []
    assert document["search"]["nothing_fits"] and document["remedies"]
    assert run("command", "Llama-3.3-70B", "--goal", "quality", *small).code == 1


def test_what_is_slow_says_what_would_help(run: Run) -> None:
    document = run("estimate", "Llama-3.3-70B", "--goal", "quality", *CARD, "--json").document
    assert document["speed"]["decode_tok_s"]["expected"] < 8
    assert document["remedies"]


def test_lines_take_a_goal_each(run: Run) -> None:
    base: dict[str, Any] = {"model": "qwen3-14b", "gpu": "RTX 3090", "ram": "64GiB"}
    lines = [base | {"goal": "speed"}, base, base | {"goal": "fame"}, base | {"goal": ["speed"]}]
    answers = run("estimate", "--jsonl", stdin="\n".join(map(json.dumps, lines))).documents
    assert answers[0]["goal"] == "speed" and answers[0]["choices"]
    assert "goal" not in answers[1]
    assert all("goal" in answer["error"]["message"] for answer in answers[2:])
    with_default = run("estimate", "--jsonl", "--goal", "speed", stdin=json.dumps(base)).documents[0]
    assert with_default["goal"] == "speed"


def test_an_unknown_goal_is_wrong_usage(run: Run) -> None:
    answer = run("estimate", "qwen3-14b", "--goal", "fame", *CARD)
    assert answer.code == 2 and "--goal" in answer.err
