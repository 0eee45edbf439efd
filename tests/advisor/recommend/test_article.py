"""The article: its tables say what ``judge`` says, and nothing that cannot run has a speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.advisor.recommend.article import tables
from llmfit.advisor.recommend.article.build import largest_running
from llmfit.advisor.recommend.article.cards import RAM_SIZES_BYTES, card_of, cards_rows, with_cards
from llmfit.advisor.recommend.article.tables import (
    DEPTHS_TOKENS,
    LISTED_FILE_TYPES,
    SEARCH_STEP_TOKENS,
    Case,
    ladder_contexts,
)
from llmfit.advisor.recommend.article.values import Article, QuantRow
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.quality import QualityFacts
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import judge
from llmfit.advisor.units import GIB
from llmfit.catalog.build import build_model
from llmfit.catalog.models import find_model
from llmfit.tui.model_article import article_of, subject_of
from llmfit.tui.model_facts import quality_facts
from llmfit.tui.session import MachineCache, machine_from

MIMO = {"model": "mimo-v2-flash", "gpu": "2x RTX 3090", "ram": "64GiB"}
QWEN = {"model": "Qwen3-32B", "gpu": "RTX 3090", "ram": "64GiB", "ram_bandwidth": "60"}


@cache
def article(**values: str) -> Article:
    return article_of(subject_of(values, MachineCache()))


@cache
def mimo() -> Article:
    """With a few of its file types: most of them run with experts in RAM, a tenth of a second each."""
    with patch.object(tables, "LISTED_FILE_TYPES", ("Q8_0", "Q4_K_M", "IQ3_XXS", "Q2_K", "IQ2_XXS")):
        return article(**MIMO)


def mimo_facts() -> QualityFacts:
    return quality_facts(mimo().asked.model)


def qwen() -> Article:
    return article(**QWEN)


def judged(article: Article, quant: str, **fixed: object) -> Judgement:
    model = build_model(find_model(article.about.model_id), quant)
    request = Request(**{"context_tokens": article.context_tokens, **fixed})  # type: ignore[arg-type]
    return judge(model, article.machine, request, remedies=False)


# ---------------------------------------------------------------- file types


def test_every_file_type_is_judged_at_one_context() -> None:
    told = qwen()
    assert {row.quant for row in told.quants} == set(LISTED_FILE_TYPES)
    sizes = [row.weights_bytes for row in told.quants]
    assert sizes == sorted(sizes, reverse=True)
    for row in told.quants[::5]:
        alone = judged(told, row.quant)
        assert row.judgement.settings == alone.settings and row.judgement.memory == alone.memory
        assert (row.judgement.verdict, row.judgement.speed) == (alone.verdict, alone.speed)
    assert all(row.judgement.settings.context_tokens == 32768 for row in told.quants)


@pytest.mark.parametrize("found", [mimo, qwen], ids=["with MTP blocks, which stay in the file", "without"])
def test_weights_are_a_part_of_the_total(found: Callable[[], Article]) -> None:
    for row in found().quants:
        assert row.weights_bytes == row.judgement.memory.weights_bytes < row.total_bytes


def test_what_cannot_run_has_no_speed() -> None:
    for row in mimo().quants:
        assert row.fits or (row.judgement.speed is None and row.judgement.argv is None)
        assert row.fits == (row.judgement.shortfall_bytes == 0)
    assert not all(row.fits for row in mimo().quants) and any(row.fits for row in mimo().quants)


def test_a_model_that_cannot_run_as_asked_tells_of_the_largest_that_does() -> None:
    told = mimo()
    assert told.asked.model.quantization == "Q4_K_M" and not told.asked.fits
    assert told.running is not None and told.running.fits and told.is_compromise
    larger = [row for row in told.quants if row.weights_bytes > told.running.model.file_bytes]
    assert larger and not any(row.fits for row in larger)
    assert told.ladder.quant == told.running.model.quantization


def test_a_file_type_that_leaves_the_gpu_idle_is_not_what_runs_instead() -> None:
    spark = machine_from({"gpu": "DGX Spark"})
    entry, request = find_model("mimo-v2-flash"), Request(context_tokens=32768)
    rows = []
    for quant in ("Q4_K_M", "IQ3_XS", "IQ3_XXS"):
        model = build_model(entry, quant)
        alone = judge(model, spark, request, remedies=False)
        rows.append(QuantRow(quant, model.file_bytes, model.file_bytes, alone, None, None))
    assert [row.judgement.verdict for row in rows] == ["does_not_fit", "fits_cpu", "fits_gpu"]
    assert largest_running(rows) is rows[2].judgement
    assert largest_running(rows[:2]) is rows[1].judgement
    assert largest_running(rows[:1]) is None


def test_nothing_runs_where_nothing_fits() -> None:
    told = article(model="Qwen3-32B", gpu="none", ram="6GiB")
    assert told.running is None and told.subject is told.asked
    assert told.depths == () and told.prompts == () and told.energy is None and told.goals == ()
    assert told.running_quality is None


def test_a_model_trained_in_its_type_has_one_row_without_loss() -> None:
    told = article(model="gpt-oss-20b", gpu="RTX 3090", ram="64GiB")
    (row,) = told.quants
    assert row.is_native and row.quant == "MXFP4_MOE"
    assert row.loss is not None and row.loss.points == 0


def test_losses_lower_the_ability() -> None:
    rows = {row.quant: row for row in qwen().quants}
    best, worst = rows["Q8_0"].quality, rows["IQ2_XXS"].quality
    assert best is not None and worst is not None and worst.low < best.low <= best.score


# ---------------------------------------------------------------- contexts


@given(trained=st.integers(1, 2**21), asked=st.integers(0, 2**20))
def test_the_ladder_doubles_up_to_what_was_trained(trained: int, asked: int) -> None:
    steps = ladder_contexts(trained, asked)
    assert list(steps) == sorted(set(steps))
    assert max(trained, asked) == steps[-1]
    assert all(tokens in (trained, asked) or tokens % 4096 == 0 for tokens in steps)


def test_the_cache_takes_what_its_rows_take() -> None:
    # Qwen3-32B: 64 layers, 8 heads of 128 for K and for V, 2 bytes each in f16; q8_0 34 bytes for 32.
    columns = {column.cache_type: column for column in qwen().ladder.columns}
    for place, tokens in enumerate(qwen().ladder.contexts):
        row_bytes = 64 * 2 * 8 * 128
        assert columns["f16"].cells[place].kv_cache_bytes == tokens * row_bytes * 2
        assert columns["q8_0"].cells[place].kv_cache_bytes == tokens * row_bytes * 34 // 32


def test_the_largest_context_fits_and_the_next_does_not() -> None:
    told = qwen()
    for column in told.ladder.columns[:2]:
        tokens = column.largest_on_gpus_tokens
        fixed = {"cache_type_k": column.cache_type, "cache_type_v": column.cache_type}
        quant = told.ladder.quant
        assert judged(told, quant, context_tokens=tokens, **fixed).verdict == "fits_gpu"
        assert judged(told, quant, context_tokens=tokens + 256, **fixed).verdict != "fits_gpu"


def test_the_largest_that_runs_fits_and_the_next_step_does_not() -> None:
    told = mimo()
    column = next(column for column in told.ladder.columns if column.cache_type == "f16")
    tokens, trained = column.largest_tokens, told.architecture.context_train_tokens
    assert 0 < tokens < trained and column.largest_on_gpus_tokens == 0
    fixed = {"cache_type_k": "f16", "cache_type_v": "f16"}
    assert judged(told, told.ladder.quant, context_tokens=tokens, **fixed).fits
    assert not judged(told, told.ladder.quant, context_tokens=tokens + SEARCH_STEP_TOKENS, **fixed).fits


def test_cache_types_that_a_model_does_not_bear_are_marked() -> None:
    told = article(model="gpt-oss-20b", gpu="RTX 3090", ram="64GiB")
    advised = {column.cache_type: column.is_advised for column in told.ladder.columns}
    assert advised == {"f16": True, "q8_0": False, "q4_0": False}
    assert told.ladder.advice.reason


def test_an_own_cache_type_has_a_column() -> None:
    told = article(**QWEN, cache_type_k="q5_1")
    assert [column.cache_type for column in told.ladder.columns] == ["f16", "q8_0", "q4_0", "q5_1"]


# ---------------------------------------------------------------- speeds


def test_decode_falls_with_the_depth_and_is_the_plans_own() -> None:
    told = qwen()
    plan = told.subject.speed_plan
    assert plan is not None
    expected = [point.decode_tok_s.expected for point in told.depths]
    assert expected == sorted(expected, reverse=True)
    depths = [point.depth_tokens for point in told.depths]
    assert depths == [depth for depth in DEPTHS_TOKENS if depth <= told.context_tokens]
    for point in told.depths:
        assert point.decode_tok_s == plan.estimate(point.depth_tokens).decode_tok_s


def test_prompts_are_those_that_the_context_holds() -> None:
    assert [row.prompt_tokens for row in qwen().prompts] == [1024, 8192, 32768]
    short = article(**QWEN, context="8k")
    assert [row.prompt_tokens for row in short.prompts] == [1024, 8192]
    waits = [row.first_token_s for row in qwen().prompts]
    assert waits == sorted(waits)
    for row in qwen().prompts:
        assert row.first_token_s >= row.prompt_tokens / row.prefill_tok_s.expected


def test_ram_of_unknown_bandwidth_is_tried_at_usual_ones() -> None:
    slow, fast = mimo().ram_cases
    assert mimo().subject.speed is None
    assert slow.judgement.speed is not None and fast.judgement.speed is not None
    assert slow.bytes_per_s < fast.bytes_per_s
    assert slow.judgement.speed.decode_tok_s.expected < fast.judgement.speed.decode_tok_s.expected
    assert qwen().ram_cases == ()


# ---------------------------------------------------------------- cards and needs


def test_one_two_and_four_cards() -> None:
    told = mimo()
    assert [row.n_cards for row in told.cards] == [1, 2, 4]
    assert [row.is_this_machine for row in told.cards] == [False, True, False]
    assert told.cards[1].judgement is told.asked
    shortfalls = [row.judgement.shortfall_bytes for row in told.cards]
    assert shortfalls == sorted(shortfalls, reverse=True)


def test_the_number_of_cards_that_are_here_has_a_row() -> None:
    machine = machine_from({"gpu": "3x RTX 3090", "ram": "64GiB"})
    case = Case(machine, Request(context_tokens=4096), mimo_facts())
    asked = judge(build_model(find_model("Qwen3-0.6B"), "Q8_0"), machine, case.request, remedies=False)
    rows = cards_rows(case, asked, None)
    assert [(row.n_cards, row.is_this_machine) for row in rows] == [
        (1, False),
        (2, False),
        (3, True),
        (4, False),
    ]
    mixed = machine_from({"gpu": ["RTX 3090", "RTX 4070"], "ram": "64GiB"})
    rows = cards_rows(replace(case, machine=mixed), asked, None)
    assert [row.n_cards for row in rows] == [1, 2, 4] and not any(row.is_this_machine for row in rows)


def test_the_best_type_of_more_cards_is_no_smaller() -> None:
    order = [row.quant for row in qwen().quants]
    best = [row.best_on_gpus for row in qwen().cards]
    assert None not in best
    places = [order.index(quant) for quant in best if quant is not None]
    assert places == sorted(places, reverse=True)


def test_added_cards_are_empty_and_own_ones_as_they_are() -> None:
    machine = machine_from({"gpu": "2x RTX 3090", "ram": "64GiB", "vram_free": "24GiB,9GiB"})
    card = card_of(machine)
    assert card is not None
    assert with_cards(machine, card, 2) is machine
    four = with_cards(machine, card, 4)
    assert [gpu.vram_free_bytes for gpu in four.gpus] == [24 * GIB, 9 * GIB, 24 * GIB, 24 * GIB]
    assert [gpu.index for gpu in four.gpus] == [0, 1, 2, 3]


@pytest.mark.parametrize("gpu", ["M4 Max 128GB", "none"])
def test_machines_without_slots_have_no_cards(gpu: str) -> None:
    assert card_of(machine_from({"gpu": gpu})) is None
    assert article(model="gpt-oss-20b", gpu=gpu).cards == ()


def test_needs_are_the_least_that_do() -> None:
    ram, cards = mimo().needs
    model = mimo().asked.model
    request = Request(context_tokens=32768)
    assert ram.ram_bytes is not None and ram.judgement.fits
    smaller = RAM_SIZES_BYTES[RAM_SIZES_BYTES.index(ram.ram_bytes) - 1]
    less = machine_from({**MIMO, "ram": str(smaller)})
    assert not judge(model, less, request, remedies=False).fits
    assert cards.n_cards is not None and cards.judgement.verdict == "fits_gpu"
    fewer = with_cards(mimo().machine, mimo().machine.gpus[0], cards.n_cards - 1)
    assert judge(model, fewer, request, remedies=False).verdict != "fits_gpu"


def test_what_fits_needs_nothing() -> None:
    assert qwen().asked.verdict == "fits_gpu" and qwen().needs == ()


def test_goals_stay_at_the_articles_context() -> None:
    told = qwen()
    assert [choice.goal for choice in told.goals] == ["quality", "speed", "balance"]
    speeds = {choice.goal: choice.judgement.speed for choice in told.goals}
    quick, able = speeds["speed"], speeds["quality"]
    assert quick is not None and able is not None
    assert quick.decode_tok_s.expected >= able.decode_tok_s.expected
    assert all(choice.judgement.settings.context_tokens == 32768 for choice in told.goals)


# ---------------------------------------------------------------- what a model is


def test_the_architecture_counts_its_layers() -> None:
    built = mimo().architecture
    assert sum(count for _, count in built.layers) == built.n_layers == 48
    assert dict(built.layers)["sliding window"] == 39 and built.window_tokens == 128
    assert built.is_moe and (built.n_experts, built.n_experts_used) == (256, 8)
    assert not qwen().architecture.is_moe
