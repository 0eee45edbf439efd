"""The published benchmark scores behind the abilities, one by one.

4,567 scores of 174 models. ``evidence.jsonl`` holds a line a model, ``evidence_parts.json`` what the lines
point to by place, ``ability_sources.json`` the sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

from llmfit.catalog import loader

_PARTS = "evidence_parts.json"
_LOW = "low"
_N_FIXED_CELLS = 5
"""Benchmark, score, run, counted, label; an interval may follow."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One published score.

    ``kind`` is ``independent`` or ``vendor``. ``counts_for`` is the ability it was fitted for and
    ``counts_in`` the mode of thinking; both None where the score is shown only: parts or sums of others,
    estimates, benchmarks with fewer than five models. ``label`` is the model's name at the source.
    """

    benchmark: str
    score: float
    unit: str
    """``%``, ``Elo``, ``index`` or ``points`` (of 10)."""
    higher_is_better: bool
    mode: str | None
    """As the source states it."""
    setting: str
    source: str
    kind: str
    date: str | None
    confidence: str
    counts_for: str | None
    counts_in: str | None
    shown_for: str | None
    """``vision``, ``long-context``, ``multilingual`` or ``knowledge``: uses without a fitted ability."""
    label: str | None
    interval: tuple[float, float] | None = None
    """95 % interval where the source gives one."""

    @property
    def is_doubtful(self) -> bool:
        """Estimated by its source, or a zero that means that it was not run."""
        return self.confidence.startswith(_LOW)


def evidence_of(model_id: str) -> tuple[Evidence, ...]:
    """Every score that is known of a model, the most widely used benchmarks first; empty for none."""
    row = loader.bundled_row(loader.EVIDENCE, model_id)
    if row is None:
        return ()
    labels = cast(Sequence[str], row["labels"])
    return tuple(_evidence(cells, labels) for cells in cast(Sequence[Sequence[float]], row["scores"]))


def _evidence(cells: Sequence[float], labels: Sequence[str]) -> Evidence:
    parts = _parts()
    benchmark_place, score, run_place, counted, label = cells[:_N_FIXED_CELLS]
    benchmark = parts.benchmarks[int(benchmark_place)]
    source_place, setting, date, confidence, mode, by_another = parts.runs[int(run_place)]
    source = parts.sources[cast(int, source_place)]
    note = "reported by another vendor" if by_another else ""
    low_high = tuple(cells[_N_FIXED_CELLS:])
    return Evidence(
        benchmark=str(benchmark["name"]),
        score=score,
        unit=str(benchmark["unit"]),
        higher_is_better=bool(benchmark["higher_is_better"]),
        mode=parts.modes[cast(int, mode)] or None,
        setting="; ".join(part for part in (parts.settings[cast(int, setting)], note) if part),
        source=source["text"],
        kind=source["kind"],
        date=cast("str | None", date),
        confidence=parts.confidences[cast(int, confidence)],
        counts_for=cast("str | None", benchmark["counts_for"]) if counted else None,
        counts_in=parts.counted_modes[int(counted) - 1] if counted else None,
        shown_for=cast("str | None", benchmark["shown_for"]),
        label=labels[int(label) - 1] if label else None,
        interval=(low_high[0], low_high[1]) if low_high else None,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    benchmarks: Sequence[loader.Row]
    runs: Sequence[Sequence[object]]
    settings: Sequence[str]
    modes: Sequence[str]
    confidences: Sequence[str]
    counted_modes: Sequence[str]
    sources: Sequence[dict[str, str]]


@cache
def _parts() -> _Parts:
    document = loader.bundled_document(_PARTS)
    sources = loader.bundled_document("ability_sources.json")["sources"]
    return _Parts(
        benchmarks=cast(Sequence[loader.Row], document["benchmarks"]),
        runs=cast(Sequence[Sequence[object]], document["runs"]),
        settings=cast(Sequence[str], document["settings"]),
        modes=cast(Sequence[str], document["modes"]),
        confidences=cast(Sequence[str], document["confidences"]),
        counted_modes=cast(Sequence[str], document["counted_modes"]),
        sources=cast("Sequence[dict[str, str]]", sources),
    )
