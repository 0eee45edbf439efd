"""The scores behind the abilities: all there, all of known models, and as many as the abilities claim."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfit.catalog import loader, schema
from llmfit.catalog.evidence import Evidence, evidence_of
from llmfit.catalog.knowledge import knowledge_of, knowledge_share
from llmfit.catalog.models import find_model, list_models
from llmfit.catalog.quality import quality_of

ABILITIES = ("general", "coding", "reasoning", "chat", "tools")


def grade_of(n_independent: int, n_scores: int) -> str:
    """The rule of the study, written down again."""
    if n_independent >= 15:
        return "A"
    if n_independent >= 6:
        return "B"
    return "C" if n_scores >= 3 else "D" if n_scores else "E"


def benchmarks(rows: list[Evidence]) -> set[str]:
    return {row.benchmark for row in rows}


def test_the_parts_follow_their_schema_and_every_place_exists() -> None:
    parts = schema.EvidenceParts.model_validate(loader.bundled_document("evidence_parts.json"))
    n_sources = len(loader.bundled_document("ability_sources.json")["sources"])  # type: ignore[arg-type]
    sizes = (n_sources, len(parts.settings), None, len(parts.confidences), len(parts.modes), 2)
    for run in parts.runs:
        for place, size in zip(run, sizes, strict=True):
            assert size is None or 0 <= int(place or 0) < size
    used: Counter[str] = Counter()
    for row in loader.bundled_rows(loader.EVIDENCE).values():
        parsed = schema.EvidenceRow.model_validate(row)
        for benchmark, _, run_place, counted, label, *interval in parsed.scores:
            used[parts.benchmarks[int(benchmark)].name] += 1
            assert run_place < len(parts.runs) and counted <= len(parts.counted_modes)
            assert label <= len(parsed.labels) and len(interval) in (0, 2)
    assert used.total() == 4567 and len(used) == len(parts.benchmarks)
    assert len({benchmark.name for benchmark in parts.benchmarks}) == len(parts.benchmarks)


def test_every_row_is_of_a_model_and_can_be_true() -> None:
    known = {model.id for model in list_models()}
    kinds: Counter[str] = Counter()
    for model_id in loader.bundled_lines(loader.EVIDENCE):
        assert model_id in known
        for row in evidence_of(model_id):
            kinds[row.kind] += 1
            low, high = {"%": (0, 100), "Elo": (900, 1600), "index": (0, 100), "points": (0, 10)}[row.unit]
            assert low <= row.score <= high, row
            if row.interval is not None:
                assert row.interval[0] <= row.score <= row.interval[1], row
            assert row.source and (row.date is None or "2023" <= row.date[:4] <= "2026"), row
            assert not (row.is_doubtful and row.counts_for), row
    assert kinds == {"independent": 3666, "vendor": 901}


def test_grades_and_counts_agree_with_the_evidence() -> None:
    """The abilities say how many scores they rest on, by use and mode: these are the ones."""
    for model_id, row in loader.bundled_rows(loader.ABILITIES).items():
        ability = schema.AbilityRow.model_validate(row)
        rows = [found for found in evidence_of(model_id) if found.counts_in]
        assert {found.counts_in for found in rows} <= set(ability.modes), model_id
        for name, mode in ability.modes.items():
            of_mode = [found for found in rows if found.counts_in == name]
            independent = benchmarks([found for found in of_mode if found.kind == "independent"])
            n_scores = len(benchmarks(of_mode))
            assert (mode.scores, mode.independent) == (n_scores, len(independent)), (model_id, name)
            assert mode.grade == grade_of(len(independent), n_scores), (model_id, name)
            for use in ABILITIES:
                direct = benchmarks([found for found in of_mode if found.counts_for == use])
                assert getattr(mode, use)[3] == len(direct), (model_id, name, use)


def test_the_named_sources_are_those_of_the_scores_that_count() -> None:
    for model_id in loader.bundled_lines(loader.ABILITIES):
        quality = quality_of(model_id, "general")
        assert quality is not None
        counted = Counter((row.source, row.kind) for row in evidence_of(model_id) if row.counts_in)
        assert {(source.text, source.kind): source.n_scores for source in quality.sources} == counted


def test_an_unknown_model_has_no_evidence() -> None:
    assert evidence_of("nobody/Nothing-7B") == ()


def test_a_score_is_told_whole() -> None:
    rows = evidence_of("Qwen/Qwen3.6-27B")
    gpqa = next(row for row in rows if row.benchmark == "GPQA Diamond (AA)" and row.mode == "thinking")
    assert (gpqa.score, gpqa.unit, gpqa.kind, gpqa.date) == (84.24, "%", "independent", "2026-07")
    assert (gpqa.counts_for, gpqa.counts_in) == ("reasoning", "thinking")
    assert gpqa.label == "Qwen3.6 27B (Reasoning)" and "Artificial Analysis" in gpqa.source
    arena = next(row for row in evidence_of("zai-org/GLM-4.6") if row.benchmark.startswith("LMArena text ov"))
    assert (arena.score, arena.unit, arena.interval) == (1425.3, "Elo", (1420.5, 1430.0))
    assert arena.mode is None and arena.counts_in == "thinking"


def test_uses_without_a_fitted_ability_are_shown_raw() -> None:
    vision = [row for row in evidence_of("Qwen/Qwen3.6-27B") if row.shown_for == "vision"]
    assert {row.benchmark for row in vision} == {"MMMU-Pro (AA)"}
    assert all(row.counts_for is None for row in vision)
    long_context = {
        row.benchmark
        for row in evidence_of("meta-llama/Llama-3.1-70B-Instruct")
        if row.shown_for == "long-context"
    }
    assert {"RULER 128K", "AA-LCR (long context reasoning) (AA)"} <= long_context


def test_a_zero_that_means_not_run_is_not_shown_as_a_score() -> None:
    doubtful = [
        row
        for model_id in loader.bundled_lines(loader.EVIDENCE)
        for row in evidence_of(model_id)
        if row.benchmark.startswith("AA-LCR") and row.score == 0
    ]
    assert len(doubtful) == 37 and all(row.is_doubtful for row in doubtful)


@pytest.mark.parametrize(
    ("name", "percent"),
    [("Qwen3.6-27B", 19), ("DeepSeek-R1-0528", 31), ("gpt-oss-120b", 22), ("Qwen3.5-4B", 13)],
)
def test_measured_knowledge(name: str, percent: int) -> None:
    found = knowledge_of(find_model(name))
    assert found is not None and found.is_measured
    assert round(100 * found.share) == percent and found.low_share == found.share == found.high_share


def test_the_law_of_knowledge_holds_for_the_scores_it_was_fitted_to() -> None:
    """R2 .79, and the interval holds what it promises."""
    measured, missed, inside = [], [], 0
    for model in list_models():
        for row in evidence_of(model.id):
            estimate = knowledge_share(model.parameters.text, model.parameters.active, model.release_date)
            if row.benchmark != "AA-Omniscience accuracy (AA)" or estimate is None:
                continue
            logit = math.log(row.score / (100 - row.score))
            measured.append(logit)
            missed.append(logit - math.log(estimate.share / (1 - estimate.share)))
            inside += estimate.low_share <= row.score / 100 <= estimate.high_share
    mean = sum(measured) / len(measured)
    explained = 1 - sum(gap**2 for gap in missed) / sum((value - mean) ** 2 for value in measured)
    assert len(measured) == 154, "one of the 155 has no date"
    assert explained == pytest.approx(0.79, abs=0.01)
    assert inside / len(measured) == pytest.approx(0.80, abs=0.02)


@given(
    n_parameters=st.integers(10**8, 2 * 10**12),
    active_share=st.floats(0.01, 1.0),
    year=st.integers(2023, 2030),
    month=st.integers(1, 12),
)
def test_larger_and_newer_models_know_more(
    n_parameters: int, active_share: float, year: int, month: int
) -> None:
    n_active = max(1, int(n_parameters * active_share))
    found = knowledge_share(n_parameters, n_active, f"{year}-{month:02}")
    larger = knowledge_share(2 * n_parameters, 2 * n_active, f"{year}-{month:02}")
    newer = knowledge_share(n_parameters, n_active, f"{year + 1}-{month:02}-28")
    assert found is not None and larger is not None and newer is not None
    assert 0 < found.low_share < found.share < found.high_share < 1
    assert larger.share > found.share <= newer.share
    assert not found.is_measured
    if year > 2026:
        assert newer.share == found.share, "nothing is extrapolated beyond the newest model of the fit"


def test_without_a_date_nothing_is_estimated() -> None:
    assert knowledge_share(8 * 10**9, None, None) is None
