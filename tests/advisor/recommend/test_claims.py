"""Claims against physics: the article's, our own, and what holds for every claim."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.claims.checking import check_claim
from llmfit.advisor.recommend.claims.claim import (
    BYTES,
    CONTRADICTED,
    NEEDS_OFFLOAD,
    SUPPORTED,
    TOK_S,
    UNKNOWN,
    CheckedClaim,
    Claim,
    Reason,
)
from llmfit.advisor.recommend.claims.linked import HOST_BYTES, linked_boxes
from llmfit.advisor.recommend.claims.subject import Subject
from llmfit.advisor.recommend.cost.energy import usd_per_million_tokens
from llmfit.advisor.recommend.cost.of_judgement import energy_per_million
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.units import GB
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from llmfit.tui.claims import check_values
from llmfit.tui.cli.claim_rows import ClaimRow, read_claims
from llmfit.tui.session import machine_from

DATA = Path(__file__).parents[2] / "data"
FILES = ("claims.json", "claims_further.json")


@cache
def rows(name: str) -> dict[str, ClaimRow]:
    return {row.name: row for row in read_claims(DATA / name)}


@cache
def checked(file: str, name: str) -> CheckedClaim:
    """Each claim once for all tests: the same function as the command line's."""
    row = rows(file)[name]
    assert row.error is None
    return check_values(row.values, advice=False)


CLAIMS = [(file, name) for file in FILES for name in rows(file)]


@cache
def model(name: str = "meta-llama/Llama-3.1-8B-Instruct", quant: str = "Q4_K_M") -> Model:
    return build_model(find_model(name), quant)


@cache
def machine(spec: str, ram: str | None = None, bandwidth: str | None = None) -> Machine:
    return machine_from({"gpu": spec, "ram": ram, "ram_bandwidth": bandwidth})


def part(found: CheckedClaim, name: str) -> Reason:
    return next(reason for reason in found.reasons if reason.part == name)


def test_the_files_hold_what_they_should() -> None:
    assert len(rows("claims.json")) == 27
    assert len(rows("claims_further.json")) >= 40
    stated = [row.stated for row in rows("claims.json").values()]
    assert {verdict: stated.count(verdict) for verdict in set(stated)} == {
        CONTRADICTED: 13,
        SUPPORTED: 12,
        NEEDS_OFFLOAD: 2,
    }


@pytest.mark.parametrize(("file", "name"), CLAIMS, ids=[name for _, name in CLAIMS])
def test_a_claim_gets_its_stated_verdict(file: str, name: str) -> None:
    found = checked(file, name)
    assert found.verdict == rows(file)[name].stated, [reason.text for reason in found.reasons]


@pytest.mark.parametrize(("file", "name"), CLAIMS, ids=[name for _, name in CLAIMS])
def test_every_part_names_what_is_claimed_and_what_is_computed(file: str, name: str) -> None:
    found = checked(file, name)
    for reason in found.reasons:
        assert reason.unit
        nothing_runs = reason.part == "decode" and "it does not run there" in reason.text
        assert reason.computed is not None or reason.verdict == UNKNOWN or nothing_runs
        for value in (reason.claimed, reason.computed):
            if value is not None:
                assert _shown(value, reason.unit) in reason.text, reason
    parts = {reason.part for reason in found.reasons}
    claim = found.claim
    expected = {
        "GPU memory": claim.vram_bytes,
        "weights": claim.weights_bytes,
        "KV cache": claim.kv_bytes,
        "electricity": claim.usd_per_million_tokens,
        "bandwidth": claim.bandwidth_factor,
    }
    assert parts >= {name for name, value in expected.items() if value is not None}
    assert ("fit" in parts) == (found.machine_text is not None)


def _shown(value: float, unit: str) -> str:
    """The beginning of a figure as a text writes it."""
    if unit == BYTES:
        size = value / GB
        return f"{size:.1f} GB" if size >= 10 else f"{size:.2f} GB"
    if unit == TOK_S:
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    return f"{value:g}" if value == round(value, 2) else f"{value:.2f}"


@pytest.mark.parametrize("name", ("flash-q3ks-4090", "mimo29-128k-24gb", "glm5-2bit-24gb-300ram"))
def test_the_verdict_does_not_hang_on_the_sentence(name: str) -> None:
    row = rows("claims.json")[name]
    assert check_values({**row.values, "text": ""}, advice=False).verdict == row.stated


def test_the_bandwidth_claim_is_read_from_its_sentence_alone() -> None:
    row = rows("claims.json")["mimo29-bw-ratio"]
    found = check_values({"text": row.values["text"]})
    assert found.verdict == CONTRADICTED
    assert found.reasons[0].claimed == 1.78
    assert found.reasons[0].computed == pytest.approx(1792 / 936, rel=0.01)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("factor", "verdict"),
    ((1.0, SUPPORTED), (1.09, SUPPORTED), (0.91, SUPPORTED), (1.11, CONTRADICTED), (0.89, CONTRADICTED)),
)
def test_a_size_may_be_off_by_ten_percent(factor: float, verdict: str) -> None:
    weights = sum(tensor.n_bytes for tensor in model().tensors)
    subject = Subject(model(), Request(context_tokens=8192))
    assert check_claim(Claim(weights_bytes=round(weights * factor)), subject).verdict == verdict
    cache_bytes = 8192 * 32 * 8 * 128 * 2 * 2
    assert check_claim(Claim(kv_bytes=round(cache_bytes * factor)), subject).verdict == verdict


def test_a_cache_without_a_context_is_unknown_unless_no_context_gives_it() -> None:
    subject = Subject(model(), Request())
    assert check_claim(Claim(kv_bytes=2 * GB), subject).verdict == UNKNOWN
    assert check_claim(Claim(kv_bytes=40 * GB), subject).verdict == CONTRADICTED


def test_a_published_file_of_that_name_supports_its_size() -> None:
    mixed = Subject(model(), Request(), published_bytes=(6 * GB,))
    assert check_claim(Claim(weights_bytes=6 * GB), mixed).verdict == SUPPORTED
    assert (
        check_claim(Claim(weights_bytes=6 * GB), replace(mixed, published_bytes=())).verdict == CONTRADICTED
    )


@pytest.mark.parametrize(
    ("size_gb", "is_budget", "verdict"),
    ((9, False, SUPPORTED), (24, False, CONTRADICTED), (3, False, CONTRADICTED), (24, True, SUPPORTED)),
)
def test_gpu_memory_without_a_machine(size_gb: int, is_budget: bool, verdict: str) -> None:
    """Used between 4.9 GB (short context) and 9.5 GB (32K); what it fits in may be more."""
    found = check_claim(Claim(vram_bytes=size_gb * GB, is_budget=is_budget), Subject(model(), Request()))
    assert found.verdict == verdict
    assert found.judgement is None


def test_more_gpu_memory_than_the_card_has_is_contradicted() -> None:
    subject = Subject(model(), Request(), machine("RTX 3060"))
    found = check_claim(Claim(vram_bytes=20 * GB), subject)
    assert part(found, "GPU memory").verdict == CONTRADICTED
    assert part(found, "fit").verdict == SUPPORTED


# ---------------------------------------------------------------- fit


def test_ram_that_is_not_named_saves_no_claim() -> None:
    """The same machine; what differs is whether the claim says how much RAM there is."""
    big = model("Qwen/Qwen3-30B-A3B")
    card = machine("RTX 3060", "64GiB")
    named = check_claim(Claim(), Subject(big, Request(), card, ram_is_known=True))
    silent = check_claim(Claim(), Subject(big, Request(), card))
    assert (named.verdict, silent.verdict) == (NEEDS_OFFLOAD, CONTRADICTED)
    assert "no RAM is named" in silent.reasons[0].text
    assert named.judgement is not None and named.judgement.memory.host.weights_bytes > 5 * GB


def test_what_does_not_fit_with_the_named_ram_is_contradicted() -> None:
    subject = Subject(model("deepseek-r1-0528"), Request(), machine("RTX 4090", "64GiB"), ram_is_known=True)
    assert check_claim(Claim(), subject).verdict == CONTRADICTED


@pytest.mark.parametrize("spec", ("RTX 3060", "RTX 3090", "2x RTX 3090", "M4 Max 64GB", "DGX Spark"))
@pytest.mark.parametrize("name", ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"))
def test_no_claim_and_its_opposite_are_both_contradicted(spec: str, name: str) -> None:
    subject = Subject(model(name), Request(), machine(spec))
    verdicts = {check_claim(Claim(is_negated=negated), subject).verdict for negated in (False, True)}
    assert SUPPORTED in verdicts


def test_offload_that_the_claim_states_needs_its_ram_named() -> None:
    huge = model("Qwen/Qwen3-30B-A3B", "F32")
    stated = Request(n_cpu_moe=99, context_tokens=4096)
    card = machine("RTX 3060")
    assert check_claim(Claim(), Subject(huge, stated, card), advice=False).verdict == UNKNOWN
    small = model("Qwen/Qwen3-30B-A3B")
    assert check_claim(Claim(), Subject(small, stated, card), advice=False).verdict == NEEDS_OFFLOAD


def test_a_placement_that_the_claim_states_is_what_is_judged() -> None:
    """Ten layers on the card and the rest in RAM, though all of it would fit: no speed of the better way."""
    subject = Subject(
        model(), Request(gpu_layers=10, context_tokens=4096), machine("RTX 3090", "64GiB", "50")
    )
    found = check_claim(Claim(decode_tok_s=10.0), subject)
    assert found.judgement is not None and found.judgement.speed is not None
    assert found.judgement.memory.host.weights_bytes > 3 * GB
    assert part(found, "decode").computed == pytest.approx(found.judgement.speed.bound_tok_s, rel=0.01)


def test_several_slots_are_held_against_all_of_them_together() -> None:
    subject = Subject(model(), Request(parallel=4), machine("RTX 3090"))
    found = check_claim(Claim(decode_tok_s=300.0), subject, advice=False)
    assert "of 4 slots together" in part(found, "decode").text


def test_drafting_that_the_model_cannot_do_raises_no_bound_and_is_said() -> None:
    """Llama 3.1 has no MTP blocks; a draft model of another kind is for the sentence to name."""
    subject = Subject(model(), Request(spec_type="draft-mtp"), machine("RTX 3090"))
    found = check_claim(Claim(decode_tok_s=300.0), subject, advice=False)
    assert found.verdict == CONTRADICTED
    assert any("no MTP blocks" in note for note in found.notes)
    named = check_claim(Claim(decode_tok_s=300.0, is_speculative=True), subject, advice=False)
    assert named.verdict == SUPPORTED


def test_power_that_is_not_claimed_is_that_of_the_whole_computer_with_its_doubt() -> None:
    """As ``llmfit cost`` reckons it: one card of 350 W in a computer, at the claimed 100 tok/s."""
    claim = Claim(decode_tok_s=100.0, usd_per_kwh=0.3, usd_per_million_tokens=0.29)
    subject = Subject(model(), Request(), machine("RTX 3090"))
    found = part(check_claim(claim, subject, advice=False), "electricity")
    judged = check_claim(claim, subject).judgement
    assert judged is not None
    reckoned = energy_per_million(judged).output
    assert reckoned is not None
    assert found.computed == pytest.approx(usd_per_million_tokens(reckoned.power.watts.expected, 100.0, 0.3))
    assert found.verdict == SUPPORTED  # the card's own 350 W lie within the range
    assert part(check_claim(replace(claim, usd_per_million_tokens=0.05), subject), "electricity").verdict == (
        CONTRADICTED
    )


def test_advice_changes_no_verdict_and_no_figure() -> None:
    for name in ("qwen35-35b-4bit-12gb", "mimo29-128k-24gb"):
        row, quick = rows("claims.json")[name], checked("claims.json", name)
        full = check_values(row.values)
        assert full.verdict == quick.verdict
        assert [(r.part, r.verdict, r.computed) for r in full.reasons] == [
            (r.part, r.verdict, r.computed) for r in quick.reasons
        ]
        assert (full.judgement is not None) and quick.judgement is None


def test_a_computer_without_a_gpu_is_judged_by_the_ram_it_is_said_to_have() -> None:
    little, enough = machine("none", "4GiB"), machine("none", "16GiB")
    assert (
        check_claim(Claim(), Subject(model(), Request(), little, ram_is_known=True)).verdict == CONTRADICTED
    )
    assert check_claim(Claim(), Subject(model(), Request(), enough, ram_is_known=True)).verdict == SUPPORTED
    assert check_claim(Claim(), Subject(model(), Request(), enough)).verdict == UNKNOWN


def test_unified_memory_may_be_lent_to_the_gpu_beyond_its_default() -> None:
    """Qwen3-235B-A22B in Q3_K_M (112 GB) on 128 GB of which the GPU gets half by default: people run it."""
    subject = Subject(
        model("Qwen/Qwen3-235B-A22B", "Q3_K_M"), Request(context_tokens=8192), machine("Radeon 8060S 128GB")
    )
    found = check_claim(Claim(decode_tok_s=15.2), replace(subject, ram_is_known=True))
    assert found.verdict == SUPPORTED
    assert "the system's limit must be raised" in part(found, "fit").text


# ---------------------------------------------------------------- speed


@pytest.mark.parametrize("spec", ("RTX 3090", "2x RTX 3090", "M4 Max 64GB", "DGX Spark", "RX 7900 XTX"))
@pytest.mark.parametrize("depth_tokens", (0, 16000))
def test_a_speed_is_held_against_the_bound_of_the_estimate(spec: str, depth_tokens: int) -> None:
    request = Request(context_tokens=32768, cache_type_k="f16", depth_tokens=depth_tokens)
    subject = Subject(model(quant="Q8_0"), request, machine(spec), ram_is_known=True)
    found = check_claim(Claim(decode_tok_s=1.0), subject)
    assert found.judgement is not None and found.judgement.speed is not None
    bound = found.judgement.speed.bound_tok_s
    assert part(found, "decode").computed == pytest.approx(bound)
    assert check_claim(Claim(decode_tok_s=bound * 0.999), subject).verdict == SUPPORTED
    assert check_claim(Claim(decode_tok_s=bound * 1.001), subject).verdict == CONTRADICTED


def test_drafting_and_shared_layers_raise_the_bound() -> None:
    subject = Subject(model("meta-llama/Llama-3.3-70B-Instruct"), Request(), machine("2x RTX 3090"))
    plain = part(check_claim(Claim(decode_tok_s=1.0), subject), "decode").computed
    shared = part(check_claim(Claim(decode_tok_s=1.0, is_tensor_parallel=True), subject), "decode").computed
    drafted = part(check_claim(Claim(decode_tok_s=1.0, is_speculative=True), subject), "decode").computed
    assert plain is not None
    assert shared == pytest.approx(2 * plain, rel=0.01)
    assert drafted == pytest.approx(4 * plain)


def test_ram_of_unknown_bandwidth_leaves_a_speed_unknown_and_says_what_it_takes() -> None:
    big = model("Qwen/Qwen3-30B-A3B")
    silent = Subject(big, Request(), machine("RTX 3060", "64GiB"), ram_is_known=True)
    found = check_claim(Claim(decode_tok_s=40.0), silent)
    assert (found.verdict, part(found, "decode").verdict) == (NEEDS_OFFLOAD, UNKNOWN)
    needed = float(part(found, "decode").text.partition("at least ")[2].partition(" GB/s")[0])
    for bandwidth, verdict in ((needed + 2, SUPPORTED), (needed - 2, CONTRADICTED)):
        told = replace(silent, machine=machine("RTX 3060", "64GiB", f"{bandwidth:.1f}"))
        assert part(check_claim(Claim(decode_tok_s=40.0), told), "decode").verdict == verdict
    impossible = check_claim(Claim(decode_tok_s=900.0), silent)
    assert impossible.verdict == CONTRADICTED


def test_what_people_measured_with_shared_layers_is_not_contradicted() -> None:
    """Every row of tensor_split.csv: what the layer split reached, and what the shared one did."""
    with (DATA / "tensor_split.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    contradicted = []
    for row in found:
        values: dict[str, Any] = {
            "model": row["model"],
            "quant": row["quant"],
            "gpu": f"{row['n_gpus']}x {row['gpu']}",
            "depth": int(row["depth_tokens"]),
        }
        for speed, text in ((row["layer_tok_s"], ""), (row["tensor_tok_s"], "with -sm tensor")):
            if (
                speed
                and check_values({**values, "claim_tps": float(speed), "text": text}, advice=False).verdict
                != SUPPORTED
            ):
                contradicted.append((values, speed))
    assert len(found) == 21
    assert not contradicted


def test_what_people_measured_with_drafting_is_not_contradicted() -> None:
    with (DATA / "speculation.csv").open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.DictReader(file) if row["gpu"] in ("RTX 5090", "RTX 3090", "RTX 4090")]
    assert len(found) >= 8
    for row in found:
        values = {"model": row["model"], "quant": row["quant"], "gpu": row["gpu"], "text": "with MTP"}
        answer = check_values({**values, "claim_tps": float(row["tok_s"])}, advice=False)
        assert answer.verdict == SUPPORTED, (row, answer.reasons)


# ---------------------------------------------------------------- linked computers


def test_linked_boxes_add_up_and_leave_room_for_the_program() -> None:
    box = machine("DGX Spark")
    two = linked_boxes(box, 2)
    each = box.gpus[0].vram_total_bytes or 0
    assert sum(gpu.vram_total_bytes or 0 for gpu in two.gpus) == 2 * each - HOST_BYTES
    assert [gpu.index for gpu in two.gpus] == [0, 1]
    assert two.memory.total_bytes == HOST_BYTES


@pytest.mark.parametrize(("spec", "count"), (("RTX 3090", 2), ("DGX Spark", 1), ("DGX Spark", 9)))
def test_other_computers_are_not_linked(spec: str, count: int) -> None:
    with pytest.raises(UsageError):
        linked_boxes(machine(spec), count)


# ---------------------------------------------------------------- the whole


def test_nothing_claimed_is_an_error() -> None:
    with pytest.raises(UsageError, match="nothing is claimed"):
        check_claim(Claim(), Subject(model(), Request()))


def test_what_does_not_run_has_no_speed() -> None:
    subject = Subject(model("meta-llama/Llama-3.3-70B-Instruct"), Request(), machine("RTX 4090"))
    found = part(check_claim(Claim(decode_tok_s=20.0), subject, advice=False), "decode")
    assert found.verdict == CONTRADICTED and found.computed is None
    assert "20 tok/s claimed, none computed: it does not run there. With the memory for it" in found.text
