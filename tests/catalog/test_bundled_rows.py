"""Every bundled row: strict schema, sources, and figures that can be true."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from llmfit.catalog import loader, schema
from llmfit.catalog.gpus import list_gpus
from llmfit.catalog.models import list_models
from llmfit.catalog.search import name_key, tail

GIB = 2**30
SCHEMAS: dict[str, type[BaseModel]] = {
    loader.MODELS: schema.ModelRow,
    loader.GPUS: schema.GpuRow,
    loader.ABILITIES: schema.AbilityRow,
    loader.EVIDENCE: schema.EvidenceRow,
    loader.PITFALLS: schema.PitfallRow,
}


@pytest.mark.parametrize("file_name", SCHEMAS)
def test_every_row_is_valid_and_names_its_sources(file_name: str) -> None:
    assert SCHEMAS[file_name].model_config["extra"] == "forbid"
    assert SCHEMAS[file_name].model_config["strict"] is True
    broken = []
    for row_id, line in loader.bundled_lines(file_name).items():
        try:
            row = SCHEMAS[file_name].model_validate_json(line)
        except ValidationError as error:
            broken.append(f"{row_id}: {schema.first_problem(error)}")
            continue
        assert row.model_dump()["id"] == row_id
        if file_name == loader.ABILITIES:
            assert row.model_dump()["sources"] or '"scores":0' in line, row_id
        elif file_name in (loader.MODELS, loader.GPUS):
            assert row.model_dump()["sources"], row_id
    assert broken == []


@pytest.mark.parametrize(
    ("file_name", "n_rows"),
    [
        (loader.MODELS, 197),
        (loader.GPUS, 237),
        (loader.ABILITIES, 195),
        (loader.EVIDENCE, 174),
        (loader.PITFALLS, 99),
    ],
)
def test_no_row_is_lost(file_name: str, n_rows: int) -> None:
    text = (loader.DATA_FOLDER / file_name).read_text(encoding="utf-8")
    assert len(text.splitlines()) == len(loader.bundled_lines(file_name)) == n_rows


@pytest.mark.parametrize("file_name", [loader.MODELS, loader.GPUS])
def test_bundled_rows_leave_no_field_out(file_name: str) -> None:
    """A field may be unknown (null) in a bundled row, never forgotten; ``header`` is for the user's rows."""
    wanted = set(SCHEMAS[file_name].model_fields) - {"header"}
    for line in loader.bundled_lines(file_name).values():
        assert set(json.loads(line)) == wanted


def test_strict_means_strict() -> None:
    line = loader.bundled_lines(loader.MODELS)["openai/gpt-oss-20b"]
    for changed in (
        line.replace('"name":"gpt-oss-20b"', '"name":"gpt-oss-20b","vram_gb":16'),
        line.replace('"text":20914757184', '"text":"20914757184"'),
        line.replace('"text":20914757184', '"text":-1'),
        re.sub(r'"sources":\[.*?\]', '"sources":[]', line),
    ):
        assert changed != line
        with pytest.raises(ValidationError):
            schema.ModelRow.model_validate_json(changed)


def test_no_path_of_the_collecting_machine_is_in_the_data() -> None:
    for path in sorted(loader.DATA_FOLDER.glob("*.json*")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"(?<![\w.])/(?:work|tmp|root|home)/|\.\./shared|pypi\.org|\bnot_found\b", text
        ), path


def test_published_files_weigh_what_their_parameters_allow() -> None:
    """1.5 to 34 bits a weight; a rounded size may be off by its rounding."""
    for model in list_models():
        for file in model.files:
            if file.kind != "model":
                continue
            bits = 8 * (file.bytes + file.rounded_to_bytes) / model.parameters.text
            assert 1.5 < bits < 34, (model.id, file)


def test_repositories_are_those_of_the_model_itself() -> None:
    """A sibling's repository would download another model."""
    for model in list_models():
        for repo in model.gguf_repos:
            assert name_key(model.name) in name_key(tail(repo)), (model.id, repo)


def test_parameter_counts_are_consistent() -> None:
    for model in list_models():
        count = model.parameters
        assert count.total is not None and count.active is not None
        # Selection biases of experts are in a GGUF and not in the published count: a few thousand.
        assert count.text <= count.total * 1.000001
        assert count.active <= count.text + (count.embedding or 0)
        if count.experts is not None:
            assert count.active < count.text
            assert count.experts < count.text


def test_only_one_model_is_unsupported_by_llama_cpp() -> None:
    assert [model.id for model in list_models() if not model.llama_cpp_supported] == ["XiaomiMiMo/MiMo-7B-RL"]


def test_abilities_belong_to_models_and_lie_in_their_intervals() -> None:
    models = set(loader.bundled_lines(loader.MODELS))
    n_sources = len(loader.bundled_document("ability_sources.json")["sources"])  # type: ignore[arg-type]
    for row_id, row in loader.bundled_rows(loader.ABILITIES).items():
        assert row_id in models
        parsed = schema.AbilityRow.model_validate(row)
        assert all(0 <= place < n_sources and n > 0 for place, n in parsed.sources)
        for mode in parsed.modes.values():
            for use in ("general", "coding", "reasoning", "chat", "tools"):
                score, low, high, _ = getattr(mode, use)
                assert 0 <= low <= score <= high <= 100
            untested = mode.grade == "E"
            assert untested == (mode.scores == 0)
            assert mode.independent <= mode.scores


def test_ability_sources_follow_their_schema() -> None:
    class Source(BaseModel):
        model_config = ConfigDict(strict=True, extra="forbid")
        text: str
        kind: str

    class Document(BaseModel):
        model_config = ConfigDict(strict=True, extra="forbid")
        method: str
        fields: list[str]
        measured_at: str
        sources: list[Source]

    document = Document.model_validate(loader.bundled_document("ability_sources.json"))
    assert {source.kind for source in document.sources} == {"independent", "vendor"}
    assert len({(source.text, source.kind) for source in document.sources}) == len(document.sources)


def test_cards_have_figures_that_can_be_true() -> None:
    for facts in list_gpus():
        assert facts.default_memory_bytes == max(facts.memory_bytes_options, default=None)
        assert all(size % GIB == 0 for size in facts.memory_bytes_options), facts
        assert facts.unified_memory or facts.memory_bytes_options, facts
        if facts.bandwidth_bytes_per_s is not None:
            assert 50e9 <= facts.bandwidth_bytes_per_s <= 10e12, facts
        else:
            assert facts.unified_memory, facts
        if facts.fp16_flops is not None:
            assert 1e12 <= facts.fp16_flops <= 3e15, facts


@pytest.mark.parametrize(
    ("name", "gib", "gb_s", "compute"),
    [
        ("GeForce RTX 3090", 24, 936, "8.6"),
        ("GeForce RTX 4090", 24, 1008, "8.9"),
        ("GeForce RTX 5060", 8, 448, "12.0"),
        ("H100 SXM5 80 GB", 80, 3350, "9.0"),
        ("Radeon RX 7900 XTX", 24, 960, None),
        ("Radeon RX 9070 XT", 16, 640, None),
        ("GB10", 128, 273, "12.1"),
        ("Apple M4 Max (40-core GPU)", 128, 546, None),
    ],
)
def test_known_cards(name: str, gib: int, gb_s: int, compute: str | None) -> None:
    facts = next(facts for facts in list_gpus() if facts.name == name)
    assert facts.default_memory_bytes == gib * GIB
    assert facts.bandwidth_bytes_per_s == pytest.approx(gb_s * 1e9, rel=0.005)
    assert facts.compute_capability == compute
