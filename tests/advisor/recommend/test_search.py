"""judge(): what is chosen when it is open, what is kept when it is fixed, and what would help."""

from __future__ import annotations

import shlex
from functools import cache, partial

import pytest

from llmfit.advisor.hardware.machine import Machine, VramProcess
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.command import shell_command
from llmfit.advisor.recommend.judgement import VERDICT_ORDER, Judgement
from llmfit.advisor.recommend.ladders import HEAVY_LOSS_FILE_TYPES
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge, judge_on_gpus
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from llmfit.tui.session import machine_from


@cache
def model(name: str, quant: str = "Q4_K_M") -> Model:
    return build_model(find_model(name), quant)


@cache
def machine(gpu: str, ram: str = "64GiB", free: str | None = None) -> Machine:
    return machine_from({"gpu": gpu, "ram": ram, "vram_free": free, "ram_bandwidth": "50"})


def asked(
    name: str, computer: Machine, quant: str = "Q4_K_M", variants: bool = False, **fixed: object
) -> Judgement:
    build = (lambda other: model(name, other)) if variants else None
    return judge(model(name, quant), computer, Request(**fixed), variants=build)  # type: ignore[arg-type]


def test_the_default_is_32k_in_f16_on_the_card() -> None:
    found = asked("Llama-3.1-8B", machine("RTX 3090"))
    assert found.verdict == "fits_gpu" and found.remedies == ()
    assert (found.settings.context_tokens, found.settings.cache_type_k) == (32768, "f16")


def test_the_cache_is_quantised_before_the_context_is_cut() -> None:
    found = asked("Llama-3.3-70B", machine("2x RTX 3090"))
    assert (found.settings.context_tokens, found.settings.cache_type_k) == (32768, "q8_0")
    assert any("with f16 it does not stay" in reason for reason in found.reasons)


def test_what_is_fixed_is_kept_though_something_else_would_fit() -> None:
    found = asked("Llama-3.3-70B", machine("2x RTX 3090"), context_tokens=32768, cache_type_k="f16")
    assert (found.settings.context_tokens, found.settings.cache_type_k) == (32768, "f16")
    assert found.verdict == "fits_offload"


def test_a_depth_makes_room_for_itself() -> None:
    found = asked("Llama-3.1-8B", machine("RTX 3090"), depth_tokens=100_000)
    assert found.settings.context_tokens >= 100_000
    assert all(dict(remedy.change).get("context", 100_000) >= 100_000 for remedy in found.remedies)


@pytest.mark.parametrize(
    ("name", "card", "ram"),
    [
        ("Llama-3.1-8B", "RTX 3090", "64GiB"),
        ("Llama-3.3-70B", "2x RTX 3090", "64GiB"),
        ("Llama-3.3-70B", "RTX 3090", "64GiB"),
        ("Qwen3-30B-A3B", "RTX 3060 12GB", "64GiB"),
        ("MiMo-V2-Flash", "2x RTX 3090", "64GiB"),
        ("gemma-3-27b-it", "none", "32GiB"),
    ],
)
def test_on_gpus_is_judge_where_it_answers(name: str, card: str, ram: str) -> None:
    computer = machine(card, ram)
    whole = judge(model(name), computer, Request(), remedies=False)
    quick = judge_on_gpus(model(name), computer, Request())
    assert (quick is not None) == (whole.verdict == "fits_gpu")
    assert quick is None or quick == whole


def test_remedies_lead_to_a_better_verdict() -> None:
    for name, card, ram in (
        ("Llama-3.3-70B", "RTX 3090", "64GiB"),
        ("MiMo-V2-Flash", "2x RTX 3090", "64GiB"),
        ("Llama-3.3-70B", "none", "16GiB"),
    ):
        found = asked(name, machine(card, ram), variants=True, context_tokens=16384)
        for remedy in found.remedies:
            better = VERDICT_ORDER[remedy.verdict] < VERDICT_ORDER[found.verdict]
            faster = found.speed and (remedy.decode_tok_s or 0) > found.speed.decode_tok_s.expected
            nearer = remedy.shortfall_bytes < found.shortfall_bytes
            assert better or faster or nearer, remedy


def test_a_remedy_does_what_it_says() -> None:
    computer = machine("RTX 3060 12GB")
    found = asked("gemma-3-12b", computer, "Q8_0", variants=True, context_tokens=32768, cache_type_k="f16")
    assert found.verdict == "fits_offload"
    remedy = next(remedy for remedy in found.remedies if "quant" in dict(remedy.change))
    after = asked(
        "gemma-3-12b", computer, str(dict(remedy.change)["quant"]), context_tokens=32768, cache_type_k="f16"
    )
    assert after.verdict == remedy.verdict == "fits_gpu"
    assert remedy.saves_bytes == found.memory.total_bytes - after.memory.total_bytes


def test_closing_a_program_is_named_first() -> None:
    from dataclasses import replace

    computer = machine("RTX 3090", free="9GiB")
    card = replace(computer.gpus[0], processes=(VramProcess(7, "blender", 14 * 2**30),))
    found = asked("gemma-3-12b", replace(computer, gpus=(card,)), "Q8_0")
    assert found.verdict == "fits_offload"
    assert found.remedies[0].text.startswith("closing blender (14.0 GiB)")
    assert found.remedies[0].verdict == "fits_gpu"


def test_closing_a_program_frees_every_card_it_is_on_but_not_what_the_driver_keeps() -> None:
    from dataclasses import replace

    computer = machine("2x RTX 3090", free="9GiB")
    cards = tuple(
        replace(gpu, processes=(VramProcess(7, "trainer", 15 * 2**30),), vram_reserved_bytes=2**29)
        for gpu in computer.gpus
    )
    found = asked("Qwen3-32B", replace(computer, gpus=cards), "Q8_0")
    assert found.verdict != "fits_gpu"
    assert found.remedies[0].text.startswith("closing trainer (30.0 GiB)")
    assert dict(found.remedies[0].change) == {"vram_free": [24 * 2**30 - 2**29] * 2}


def test_nothing_helps_where_nothing_can() -> None:
    found = asked("Llama-3.3-70B", machine("none", "1GiB"), variants=True)
    assert found.verdict == "does_not_fit" and found.speed is None and found.argv is None
    assert all(remedy.verdict == "does_not_fit" for remedy in found.remedies)
    shortfalls = [remedy.shortfall_bytes for remedy in found.remedies]
    assert shortfalls == sorted(shortfalls)


def test_the_command_says_every_decision() -> None:
    found = asked("Qwen3-30B-A3B", machine("RTX 3060 12GB"))
    assert found.argv is not None
    argv = list(found.argv)
    value = {flag: argv[argv.index(flag) + 1] for flag in ("-c", "-np", "-fa", "-ctk", "-ctv", "-b", "-ub")}
    assert value == {
        "-c": "32768", "-np": "1", "-fa": "on", "-ctk": "f16", "-ctv": "f16", "-b": "2048", "-ub": "512",
    }  # fmt: skip
    assert argv[-2:] == ["-fit", "off"]
    assert found.verdict == "fits_offload" and {"-ncmoe", "-ot", "-cmoe"} & set(argv)


def test_a_card_that_stays_free_is_left_out_by_name() -> None:
    argv = asked("Llama-3.1-8B", machine("2x RTX 3090")).argv
    assert argv is not None and argv[argv.index("--device") + 1] in ("CUDA0", "CUDA1")
    assert "-ts" not in argv


def test_a_split_keeps_its_digits_in_the_command_and_the_reasons() -> None:
    found = asked("Llama-3.3-70B", machine("2x RTX 3090"), tensor_split=(12345678.0, 12345679.0))
    assert found.argv is not None and found.argv[found.argv.index("-ts") + 1] == "12345678,12345679"
    split = asked("Llama-3.3-70B", machine("2x RTX 3090"))
    assert split.argv is not None
    text = split.argv[split.argv.index("-ts") + 1]
    assert any(f"(-ts {text})" in reason for reason in split.reasons)


def test_no_gpu_is_used_where_none_is_meant() -> None:
    argv = asked("Llama-3.1-8B", machine("RTX 3090"), gpu_layers=0).argv
    assert argv is not None and argv[argv.index("-ngl") + 1] == "0"


def test_shell_quoting_survives_a_shell() -> None:
    argv = ("llama-server", "-m", "it's a $HOME `x`.gguf", "-ot", r"blk\.1\.=CPU")
    assert tuple(shlex.split(shell_command(argv))) == argv
    shown = shell_command(("-m", "a\x1b[2J'\u202e\n.gguf"))
    assert shown.isprintable() and r"\x1b" in shown


def test_what_runs_is_not_told_to_lose_its_mind() -> None:
    """A type below Q3_K_M is named only where nothing else makes a model run, and then with its price."""
    entry = find_model("Qwen3.6-35B-A3B")
    build = partial(build_model, entry)
    runs = machine_from({"gpu": "RTX 4070", "ram": "64GiB", "ram_bandwidth": "60"})
    spilled = judge(build("Q6_K"), runs, Request(context_tokens=32768), variants=build)
    assert spilled.verdict == "fits_offload"
    named = [dict(remedy.change).get("quant") for remedy in spilled.remedies]
    assert not set(named) & set(HEAVY_LOSS_FILE_TYPES)
    tiny = machine_from({"gpu": "none", "ram": "12GiB", "ram_bandwidth": "50"})
    short = judge(build("Q4_K_M"), tiny, Request(context_tokens=32768), variants=build)
    assert short.verdict == "does_not_fit"
    heavy = [remedy for remedy in short.remedies if dict(remedy.change).get("quant") in HEAVY_LOSS_FILE_TYPES]
    assert heavy and all("a heavy loss of ability" in remedy.text for remedy in heavy)
