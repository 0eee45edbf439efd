"""How fast, as the commands tell it: the document and the sums of ``--explain``."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from llmfit.advisor.recommend.ranking import Recommendation
from llmfit.tui.cli import recommend
from llmfit.tui.session import recommendations_for
from tests.tui.cli.conftest import Run
from tests.tui.cli.test_contract import CARD, NONE, RANGE, SPEED, check

TWO = ("--gpu", "2x RTX 3090", "--ram", "64GiB", "--ram-bandwidth", "50")
QWEN = ("Qwen/Qwen3-8B", "--quant", "Q4_K_M")
OFFLOADED = ("Qwen3-30B-A3B", "--quant", "Q8_0", *CARD)
NUMBER = (int, float, NONE)
TERM = {
    "what": str, "where": str, "cause": str, "seconds": float, "amount": NUMBER, "unit": (str, NONE),
    "rate_per_s": NUMBER,
}  # fmt: skip
CAUSES = {"gpu memory", "system memory", "compute", "launch overhead", "pcie"}
PLACEMENTS = [
    ("Qwen/Qwen3-8B", "--quant", "Q4_K_M", *CARD),
    ("Llama-3.3-70B", "--quant", "Q4_K_M", *TWO),
    OFFLOADED,
    ("gemma-3-27b", "--quant", "Q4_K_M", "--gpu", "RX 7900 XTX", "--ram", "32GiB", "--depth", "16k"),
    ("Qwen3-30B-A3B", "--quant", "Q4_K_M", "--gpu", "none", "--ram", "64GiB", "--ram-bandwidth", "50"),
    ("gpt-oss-20b", "--gpu", "M4 Max 128GB", "--prompt", "3000"),
    ("Qwen/Qwen3-8B", "--quant", "Q8_0", "--gpu-layers", "20", *CARD),
]


def speed_of(run: Run, *arguments: object) -> dict[str, Any]:
    answer = run("estimate", *arguments, "--json")
    assert answer.code == 0, answer.out
    speed = answer.document["speed"]
    assert isinstance(speed, dict)
    return speed


# ---------------------------------------------------------------- the document


def test_prefill_and_the_first_token_are_in_the_document(run: Run) -> None:
    speed = speed_of(run, *QWEN, *CARD)
    more = {
        "prefill_tok_s": RANGE,
        "prompt": int,
        "time_to_first_token_s": float,
        "prefill_bound_tok_s": float,
        "prefill_limited_by": str,
        "prefill_basis": str,
        "calibrated_on": NONE,
    }
    check(speed, SPEED | more)
    assert speed["prompt"] == 512 and speed["prefill_limited_by"] in CAUSES
    assert speed["basis"] == speed["prefill_basis"] == "formula"
    reading_s = 512 / speed["prefill_tok_s"]["expected"]
    assert reading_s < speed["time_to_first_token_s"] < reading_s + 2 / speed["decode_tok_s"]["expected"]
    assert "concurrency" not in speed and "speculation" not in speed


@pytest.mark.parametrize("arguments", PLACEMENTS, ids=lambda one: " ".join(one[:1] + one[3:5]))
def test_ranges_are_in_order_and_below_the_bounds(run: Run, arguments: tuple[str, ...]) -> None:
    speed = speed_of(run, *arguments)
    for name, bound in (("decode_tok_s", "bound_tok_s"), ("prefill_tok_s", "prefill_bound_tok_s")):
        tok_s = speed[name]
        assert 0 < tok_s["low"] < tok_s["expected"] <= tok_s["high"] <= speed[bound], name


def test_the_prompt_that_is_asked_for_is_the_one_answered(run: Run) -> None:
    speed = speed_of(run, *QWEN, *CARD, "--prompt", "8k", "--depth", "4k")
    assert speed["prompt"] == 8192 and speed["depth"] == 4096
    shallow = speed_of(run, *QWEN, *CARD, "--prompt", "8k")
    assert speed["time_to_first_token_s"] > shallow["time_to_first_token_s"]
    assert speed["prefill_tok_s"]["expected"] < shallow["prefill_tok_s"]["expected"]


def test_a_context_grows_with_the_prompt(run: Run) -> None:
    document = run("estimate", *QWEN, *CARD, "--prompt", "36000", "--json").document
    assert 36000 <= document["settings"]["context"] < 37000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--prompt", "0"), "prompt '0': out of range"),
        (("--prompt", "-1"), "prompt"),
        (("--prompt", "many"), "prompt 'many': not a number of tokens"),
        (("--prompt", "1e3"), "prompt '1e3': not a number of tokens"),
        (("--prompt", "999999999999"), "prompt '999999999999': out of range"),
        (("--prompt", "8k", "--context", "4k"), "prompt 8192: more than the context of 4096"),
        (
            ("--prompt", "3k", "--depth", "2k", "--context", "4k"),
            "prompt 3072 after depth 2048: more than the context of 4096",
        ),
    ],
)
def test_a_prompt_that_makes_no_sense_is_wrong_usage(run: Run, options: tuple[str, ...], said: str) -> None:
    answer = run("estimate", *QWEN, *CARD, *options)
    assert answer.code == 2 and answer.out == ""
    assert answer.err.startswith("llmfit: error: ") and answer.err.count("\n") == 1
    assert said in answer.err


def test_lines_take_prompt_and_explain(run: Run) -> None:
    card = {"gpu": "RTX 3090", "ram": "64GiB", "model": "Qwen/Qwen3-8B", "quant": "Q4_K_M"}
    questions = [
        {**card, "prompt": 2048, "explain": True},
        {**card, "prompt": "2k"},
        {**card, "prompt": 0},
        {**card, "prompt": True},
        {**card, "prompt": 1.5},
        {**card, "explain": "yes"},
    ]
    answer = run("estimate", "--jsonl", stdin="\n".join(map(json.dumps, questions)))
    first, second, *errors = answer.documents
    assert answer.code == 0 and answer.err == ""
    assert first["speed"] == second["speed"] and first["speed"]["prompt"] == 2048
    assert "terms" in first and "terms" not in second
    assert [error["error"]["code"] for error in errors] == ["usage"] * 4
    named = run("estimate", "--jsonl", "--prompt", "2k", "--explain", stdin=json.dumps(card))
    assert named.documents == [first]


# ---------------------------------------------------------------- several streams, speculation


def test_several_slots_have_a_figure_of_their_own(run: Run) -> None:
    speed = speed_of(run, *QWEN, *CARD, "--parallel", "6", "--context", "48k")
    plain = speed_of(run, *QWEN, *CARD, "--context", "48k")
    assert speed["decode_tok_s"] == plain["decode_tok_s"]
    found = speed["concurrency"]
    check(
        found,
        {
            "slots": int, "kv_unified": bool, "pool_tokens": int, "slot_tokens": int, "depth": int,
            "aggregate_tok_s": RANGE, "stream_tok_s": RANGE, "bound_tok_s": float, "limited_by": str,
            "by_streams": [{"streams": int, "aggregate_tok_s": RANGE, "stream_tok_s": RANGE}],
        },
    )  # fmt: skip
    assert (found["slots"], found["pool_tokens"], found["slot_tokens"]) == (6, 49152, 8192)
    assert [one["streams"] for one in found["by_streams"]] == [1, 2, 4, 6]
    assert found["by_streams"][0]["aggregate_tok_s"] == speed["decode_tok_s"]
    together = [one["aggregate_tok_s"]["expected"] for one in found["by_streams"]]
    each = [one["stream_tok_s"]["expected"] for one in found["by_streams"]]
    assert together == sorted(together) and each == sorted(each, reverse=True)
    assert found["aggregate_tok_s"]["expected"] == pytest.approx(6 * found["stream_tok_s"]["expected"])
    text = run("estimate", *QWEN, *CARD, "--parallel", "6", "--context", "48k").out
    assert "6 slots over 49152 tokens of cache, at most 8192 for one" in " ".join(text.split())


def test_streams_are_no_deeper_than_all_of_them_can_be(run: Run) -> None:
    speed = speed_of(run, *QWEN, *CARD, "--parallel", "auto", "--context", "32k", "--depth", "16k")
    assert speed["depth"] == 16384
    assert speed["concurrency"]["kv_unified"] is True and speed["concurrency"]["depth"] == 8192


def test_speculation_is_a_figure_of_its_own(run: Run) -> None:
    arguments = ("Qwen3.6-27B", "--quant", "Q4_K_M", "--context", "16k", *CARD)
    plain, speed = speed_of(run, *arguments), speed_of(run, *arguments, "--spec-type", "draft-mtp")
    assert speed["decode_tok_s"] == plain["decode_tok_s"]
    found = speed["speculation"]
    check(
        found,
        {
            "drafted_tokens": int, "acceptance": RANGE | {"source": str}, "tokens_a_round": float,
            "decode_tok_s": RANGE, "gain": RANGE, "pays": (bool, NONE),
        },
    )  # fmt: skip
    gained = found["decode_tok_s"]["expected"] / speed["decode_tok_s"]["expected"]
    assert found["gain"]["expected"] == pytest.approx(gained)
    text = run("estimate", *arguments, "--spec-type", "draft-mtp").out
    assert "With speculation" in text and "each accepted with a" in text


def test_no_command_has_speculation_that_llama_server_refuses(run: Run) -> None:
    asked = (*QWEN, *CARD, "--spec-type", "draft-mtp")
    document = run("estimate", *asked, "--json").document
    assert document["settings"]["spec_type"] is None and "speculation" not in document["speed"]
    assert "no_mtp" in [warning["code"] for warning in document["warnings"]]
    out = run("estimate", *asked).out
    assert "it is left out" in " ".join(out.split())
    assert "--spec-type" not in out.splitlines()[-1] and "With speculation" not in out
    line = run("command", *asked)
    assert line.out == run("command", *QWEN, *CARD).out and "it is left out" in line.err


# ---------------------------------------------------------------- the sums


@pytest.mark.parametrize("arguments", PLACEMENTS, ids=lambda one: " ".join(one[:1] + one[3:5]))
def test_the_terms_add_up_to_the_speeds(run: Run, arguments: tuple[str, ...]) -> None:
    document = run("estimate", *arguments, "--explain", "--json").document
    speed, terms = document["speed"], document["terms"]
    check(terms, {"decode": [TERM], "prefill": [TERM]})
    for one in (*terms["decode"], *terms["prefill"]):
        assert one["cause"] in CAUSES
        assert (one["amount"] is None) == (one["unit"] is None)
        assert one["unit"] != "B" or isinstance(one["amount"], int)
        if one["amount"] is not None and one["rate_per_s"] is not None:
            assert one["amount"] / one["rate_per_s"] == pytest.approx(one["seconds"])
    token_s = sum(one["seconds"] for one in terms["decode"])
    assert speed["decode_tok_s"]["expected"] == pytest.approx(1 / token_s)
    prompt_s = sum(one["seconds"] for one in terms["prefill"])
    assert speed["prefill_tok_s"]["expected"] == pytest.approx(speed["prompt"] / prompt_s)
    assert "terms" not in run("estimate", *arguments, "--json").document


@pytest.mark.parametrize("arguments", PLACEMENTS, ids=lambda one: " ".join(one[:1] + one[3:5]))
def test_the_tables_add_up_and_fit_80_columns(run: Run, arguments: tuple[str, ...]) -> None:
    out = run("estimate", *arguments, "--explain").out
    assert all(len(line) <= 80 or line.startswith("llama-server ") for line in out.splitlines())
    for title in ("Decode: one token", "Prefill: a prompt of "):
        table = out[out.index(title) :].split("\n  together", 1)
        times = [_milliseconds(line) for line in table[0].splitlines()[2:]]
        total = _milliseconds(f"together{table[1].splitlines()[0]}")
        # each row is rounded to the last of its digits
        assert sum(times) == pytest.approx(total, abs=0.06 * len(times))
    assert "docs/speed.md" in out


def _milliseconds(line: str) -> float:
    found = re.search(r"([\d,]+\.\d+)\s+(?:<?\d+) %$", line)
    assert found is not None, line
    return float(found[1].replace(",", ""))


@pytest.mark.parametrize("arguments", PLACEMENTS, ids=lambda one: " ".join(one[:1] + one[3:5]))
def test_the_bound_is_the_bytes_that_are_shown_over_the_peaks(run: Run, arguments: tuple[str, ...]) -> None:
    out = " ".join(run("estimate", *arguments, "--explain").out.split())
    parts, total = re.search(r"bytes over peak bandwidth, (.*?) = ([\d.]+) ms", out).groups()  # type: ignore[union-attr]
    units = {"GB": 1e9, "MB": 1e6, "kB": 1e3}
    shown = re.findall(r"([\d.,]+) (\w+) / ([\d.,]+) GB/s \(", parts)
    assert shown
    seconds = sum(
        float(size.replace(",", "")) * units[unit] / (float(peak.replace(",", "")) * 1e9)
        for size, unit, peak in shown
    )
    assert seconds * 1e3 == pytest.approx(float(total), rel=0.01)


def test_the_doubt_is_explained(run: Run) -> None:
    known = " ".join(run("estimate", *QWEN, *CARD, "--explain").out.split())
    assert "one card, a model without experts, of a class that several people measured" in known
    assert "a card that is not among theirs lies outside more often" in known
    assert "the matrices' operations over its peak" in known and "attention is not counted" in known
    unknown = " ".join(run("estimate", *QWEN, "--gpu", "RTX 2060", "--explain").out.split())
    assert "by formula, not measured here" in unknown
    spilled = " ".join(run("estimate", *OFFLOADED, "--explain").out.split())
    assert "a part is read from RAM" in spilled and "RAM to GPU0" in spilled
    two = " ".join(run("estimate", "Llama-3.3-70B", "--quant", "Q4_K_M", *TWO, "--explain").out.split())
    assert "several cards" in two and "With -sm tensor" in two


UNKNOWN_CPU = ("--gpu", "none", "--ram", "64GiB", "--ram-bandwidth", "64")


def test_a_cpu_of_unknown_cores_is_an_assumption(run: Run) -> None:
    out = " ".join(run("estimate", *QWEN, *UNKNOWN_CPU, "--explain").out.split())
    said = "the CPU has is not known: decode is calculated for 6, prompts by the RAM's bandwidth"
    assert "Assumed" in out and said in out
    assert "the CPU computes, of whose cores nothing is known" in out
    document = run("estimate", *QWEN, *UNKNOWN_CPU, "--json").document
    assert any(said in line for line in document["assumed"])
    prefill = document["speed"]["prefill_tok_s"]
    assert prefill["low"] < 0.5 * prefill["expected"] and prefill["high"] > 2 * prefill["expected"]
    assert said in " ".join(run("recommend", *UNKNOWN_CPU).out.split())
    picks = run("recommend", *UNKNOWN_CPU, "--json").document["recommendations"]
    assert any(said in line for pick in picks for line in pick["assumed"])


def test_of_cores_that_do_nothing_nothing_is_assumed(run: Run) -> None:
    assert not any("cores" in line for line in run("estimate", *QWEN, *CARD, "--json").document["assumed"])
    spilled = run("estimate", *OFFLOADED, "--json").document["assumed"]
    assert any("decode is calculated for" in line for line in spilled)


def test_what_does_not_run_explains_nothing(run: Run) -> None:
    options = ("--gpu", "none", "--ram", "2GiB", "--explain")
    assert run("estimate", *QWEN, *options, "--json").document["terms"] is None
    assert "Decode: one token" not in run("estimate", *QWEN, *options).out


# ---------------------------------------------------------------- the list


@pytest.mark.parametrize(
    "cards", [TWO, ("--gpu", "RTX 4060", "--ram", "64GiB"), ("--gpu", "8x H100", "--ram", "1000GiB")]
)
def test_the_list_has_prefill_and_fits_80_columns(
    run: Run, monkeypatch: pytest.MonkeyPatch, cards: tuple[str, ...]
) -> None:
    """As text and as JSON the same picks, so they are searched once."""
    found: list[tuple[Recommendation, ...]] = []

    def searched_once(*arguments: Any, **named: Any) -> tuple[Recommendation, ...]:
        if not found:
            found.append(recommendations_for(*arguments, **named))
        return found[0]

    monkeypatch.setattr(recommend, "recommendations_for", searched_once)
    out = run("recommend", *cards).out
    head = next(line for line in out.splitlines() if "purpose" in line)
    assert head.split()[-2:] == ["decode", "prefill"]
    for line in out.splitlines():
        assert len(line) <= 80 or line.strip().startswith(("llama-server ", "CUDA_")), line
    picks = run("recommend", *cards, "--json").document["recommendations"]
    assert all(pick["speed"] is None or pick["speed"]["prefill_tok_s"] for pick in picks)


def test_the_list_says_what_a_speed_needs_that_is_not_known(run: Run) -> None:
    blind = ("--gpu", "none", "--ram", "64GiB")
    out = " ".join(run("recommend", *blind).out.split())
    assert "?: needs the RAM's bandwidth (--ram-bandwidth GB/S, or llmfit hardware --measure)" in out
    assert "needs the RAM's bandwidth" not in run("recommend", *UNKNOWN_CPU).out
    assert "needs the RAM's bandwidth" not in run("recommend", *CARD).out
