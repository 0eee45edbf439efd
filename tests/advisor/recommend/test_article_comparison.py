"""Side by side: what is said to differ follows from the figures in the columns."""

from __future__ import annotations

from functools import cache

from llmfit.advisor.recommend.article.comparison import Comparison, Entry, compare
from llmfit.advisor.recommend.quality import TIE_POINTS
from llmfit.tui.model_article import subject_of
from llmfit.tui.session import MachineCache


def entry(**values: str) -> Entry:
    found = subject_of({"ram": "64GiB", "ram_bandwidth": "60", **values}, MachineCache())
    return Entry(
        found.model, found.machine, found.request, found.known, build=found.choice.build, speeds=found.speeds
    )


@cache
def three() -> Comparison:
    names = ("Qwen3-32B", "gpt-oss-20b", "gemma-3-27b")
    return compare([entry(model=name, gpu="RTX 3090") for name in names])


def test_columns_are_told_apart() -> None:
    names = [one.name for one in three().contenders]
    assert names == ["Qwen3-32B", "gpt-oss-20b", "gemma-3-27b-it"]
    twice = compare([entry(model="Qwen3-32B", gpu="RTX 3090", quant=quant) for quant in ("Q4_K_M", "Q6_K")])
    assert [one.name for one in twice.contenders] == ["Qwen3-32B Q4_K_M", "Qwen3-32B Q6_K"]
    mixed = compare(
        [entry(model=name, gpu="RTX 3090", quant=quant) for name, quant in
         (("Qwen3-32B", "Q4_K_M"), ("Qwen3-8B", "Q4_K_M"), ("Qwen3-32B", "Q6_K"))]
    )  # fmt: skip
    assert [one.name for one in mixed.contenders] == ["Qwen3-32B Q4_K_M", "Qwen3-8B", "Qwen3-32B Q6_K"]
    same = compare([entry(model="Qwen3-32B", gpu=gpu, quant="Q4_K_M") for gpu in ("RTX 3090", "RTX 4090")])
    assert [one.name for one in same.contenders] == ["Qwen3-32B Q4_K_M (1)", "Qwen3-32B Q4_K_M (2)"]


def test_ties_and_differences_follow_from_the_lower_bounds() -> None:
    lows = {one.name: one.reduced.low for one in three().contenders if one.reduced is not None}
    assert len(lows) == 3
    assert lows["Qwen3-32B"] - lows["gpt-oss-20b"] < TIE_POINTS
    assert lows["Qwen3-32B"] - lows["gemma-3-27b-it"] >= TIE_POINTS
    said = " ".join(three().differences)
    assert "Qwen3-32B and gpt-oss-20b are a tie in ability" in said
    assert "Qwen3-32B is abler than gemma-3-27b-it" in said
    assert f"{lows['Qwen3-32B']:.0f} and {lows['gemma-3-27b-it']:.0f} of 100" in said


def test_the_fastest_is_named_with_both_figures() -> None:
    speeds = {one.name: one.judgement.speed for one in three().contenders}
    quick, slow = speeds["gpt-oss-20b"], speeds["Qwen3-32B"]
    assert quick is not None and slow is not None
    said = next(line for line in three().differences if line.startswith("gpt-oss-20b writes"))
    ratio = quick.decode_tok_s.expected / slow.decode_tok_s.expected
    assert f"{ratio:.1f} times as fast as Qwen3-32B ({slow.decode_tok_s.expected:.0f})" in said
    assert quick.decode_tok_s.low > slow.decode_tok_s.high and "overlap" not in said


def test_what_is_hardly_faster_is_called_alike() -> None:
    found = compare([entry(model=name, gpu="RTX 4090") for name in ("Qwen3-32B", "gemma-3-27b")])
    said = " ".join(found.differences)
    assert "gemma-3-27b-it and Qwen3-32B write about as fast" in said and "times" not in said


def test_depth_and_prompt_are_the_same_for_all() -> None:
    found = compare(
        [entry(model=name, gpu="RTX 3090", context=size) for name, size in
         (("Qwen3-32B", "32k"), ("gpt-oss-20b", "4k"))]
    )  # fmt: skip
    assert (found.depth_tokens, found.prompt_tokens) == (4096, 4096)
    for one in found.contenders:
        assert one.deep is not None and one.deep.depth_tokens == 4096
        assert one.prompt is not None and one.prompt.prompt_tokens == 4096


def test_what_does_not_run_has_no_speed_and_is_said() -> None:
    found = compare([entry(model=name, gpu="RTX 3090") for name in ("mimo-v2-flash", "gpt-oss-20b")])
    mimo = found.contenders[0]
    assert not mimo.judgement.fits
    assert mimo.deep is None and mimo.prompt is None and mimo.energy.output is None
    assert found.differences[0].startswith("MiMo-V2-Flash does not run")
    assert not any("as fast" in line or "abler" in line for line in found.differences)


def test_about_as_fast_comes_with_each_ones_figure() -> None:
    """Those that are alike are not given the quickest one's figure, nor its lead over the others."""
    found = compare(
        [
            entry(model="qwen3.6-27b", gpu="RTX 3090", quant="Q4_K_M"),
            entry(model="gemma-3-27b", gpu="RTX 3090", quant="Q5_K_M"),
            entry(model="gpt-oss-20b", gpu="none"),
        ]
    )
    quick, alike, slow = (one.judgement.speed for one in found.contenders)
    assert quick is not None and alike is not None and slow is not None
    figures = f"{quick.decode_tok_s.expected:.0f} and {alike.decode_tok_s.expected:.0f}"
    assert f"Qwen3.6-27B and gemma-3-27b-it write about as fast: {figures} tok/s." in found.differences
    ratio = quick.decode_tok_s.expected / slow.decode_tok_s.expected
    assert f"Qwen3.6-27B writes {quick.decode_tok_s.expected:.0f} tok/s, {ratio:.1f} times" in " ".join(
        found.differences
    )
