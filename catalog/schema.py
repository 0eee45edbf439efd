"""What a row of the catalogue must look like: strict, nothing extra, every row with its sources.

The tests hold every bundled row against these classes; at run time only the user's own rows and ``--spec``
files are. Importing this module imports pydantic: do it where one of those is read, not before.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from llmfit.advisor.model.layout import LayoutOptions
from llmfit.advisor.text import printable
from llmfit.catalog.tensor_rows import unfold

MAX_TEXT = 2000
MAX_ELEMENTS = 2**48
_ID = re.compile(r"[A-Za-z0-9][\w.+-]*(/[\w.+-]+)*", re.ASCII)
_REPO = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_UNION_BRANCH = re.compile(r"(constrained-)?(bool|int|float|str|list)(\[.*\])?|function-.*")
"""What pydantic puts between a field and its problem where a field has several types."""
_LAYERS = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*")


def _plain(text: str) -> str:
    if printable(text) != text:
        raise ValueError("it holds characters that cannot be shown, such as escape sequences")
    return text


def _matches(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"not {what}")
        return text

    return AfterValidator(check)


Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_plain)]
Id = Annotated[str, Field(max_length=200), _matches(_ID, "an id of letters, digits, '.', '_', '-' and '/'")]
Repo = Annotated[str, Field(max_length=200), _matches(_REPO, "OWNER/NAME")]
Date = Annotated[str, _matches(_DATE, "a date YYYY-MM-DD")]
Bytes = Annotated[int, Field(ge=0, le=2**50)]
Positive = Annotated[int, Field(gt=0, le=2**62)]
Sources = Annotated[list[Text], Field(min_length=1, max_length=50)]
Confidence = Literal["high", "medium", "low"]
MetadataValue = str | bool | int | float | list[int] | list[bool] | list[float]


class _Row(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ParametersRow(_Row):
    """Parameter counts; ``text`` is what a GGUF holds, ``total`` what the published weights hold."""

    text: Positive
    total: Positive | None = None
    active: Positive | None = None
    embedding: Positive | None = None
    experts: Positive | None = None
    mtp: Positive | None = None


class FileRow(_Row):
    """A published file. ``rounded_to_bytes`` is 0 where the size is exact."""

    file: Text
    kind: Literal["model", "mmproj"]
    quant: Text | None
    bytes: Bytes
    rounded_to_bytes: Bytes
    source: Text
    repo: Repo | None = None


class TensorRow(_Row):
    """Tensors of one name pattern, shape and type. ``{}`` in the name stands for each of ``layers``."""

    name: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
    dims: Annotated[list[Annotated[int, Field(gt=0, le=MAX_ELEMENTS)]], Field(min_length=1, max_length=4)]
    type: Annotated[str, Field(max_length=16)]
    layers: Annotated[str, Field(max_length=MAX_TEXT), _matches(_LAYERS, "layers like 0-3,7")] | None = None

    @model_validator(mode="after")
    def _layers_have_a_place(self) -> Self:
        if ("{}" in self.name) != (self.layers is not None):
            raise ValueError("a name with {} needs layers, and only such a name")
        return self


class HeaderRow(_Row):
    """What a GGUF header said, for a model whose architecture has no layout of its own."""

    metadata: Annotated[dict[Text, MetadataValue], Field(max_length=2000)]
    tensors: Annotated[list[TensorRow], Field(min_length=1, max_length=20_000)]
    file_bytes: Bytes
    quantization: Text

    @model_validator(mode="after")
    def _tensors_can_exist(self) -> Self:
        unfold([row.model_dump() for row in self.tensors])
        return self


class ModelRow(_Row):
    """One model."""

    id: Id
    architecture: Text
    parameters: ParametersRow
    sources: Sources
    name: Text | None = None
    family: Text | None = None
    generation: Text | None = None
    release_date: Date | None = None
    license: Text | None = None
    context_length: Positive | None = None
    modalities: Annotated[list[Literal["text", "image", "audio", "video"]], Field(max_length=4)] = ["text"]
    tool_use: Literal["native", "prompt", "none"] | None = None
    reasoning: Literal["always", "hybrid", "effort", "never"] | None = None
    use_cases: Annotated[list[Text], Field(max_length=20)] = []
    kind: Literal["instruct", "base", "embedding"] = "instruct"
    llama_cpp_supported: bool = True
    gguf_repos: Annotated[list[Repo], Field(max_length=50)] = []
    files: Annotated[list[FileRow], Field(max_length=500)] = []
    notes: Annotated[list[Text], Field(max_length=50)] = []
    confidence: Confidence | None = None
    header: HeaderRow | None = None


class PriceRow(_Row):
    usd: Positive
    date: Date
    kind: Literal["launch", "street"]
    source: Text


class GpuRow(_Row):
    """One card. ``memory_bytes`` lists the sizes it is sold with; empty where it uses system RAM."""

    id: Id
    name: Text
    vendor: Literal["nvidia", "amd", "intel", "apple"]
    sources: Sources
    chip: Text | None = None
    architecture: Text | None = None
    release_date: Date | None = None
    compute_capability: Annotated[str, _matches(re.compile(r"\d+\.\d+"), "MAJOR.MINOR")] | None = None
    memory_bytes: Annotated[list[Annotated[int, Field(gt=0, le=2**45)]], Field(max_length=12)] = []
    memory_type: Text | None = None
    memory_bus_bits: Positive | None = None
    bandwidth_bytes_per_s: Positive | None = None
    fp32_flops: Positive | None = None
    fp16_flops: Positive | None = None
    fp16_matrix_flops: Positive | None = None
    fp16_matrix_fp16_accumulate_flops: Positive | None = None
    int8_matrix_ops: Positive | None = None
    unified_memory: bool = False
    pcie_generation: Annotated[int, Field(ge=1, le=9)] | None = None
    pcie_width: Literal[1, 2, 4, 8, 16] | None = None
    tdp_w: Positive | None = None
    driver_names: Annotated[list[Text], Field(max_length=20)] = []
    aliases: Annotated[list[Text], Field(max_length=20)] = []
    pci_ids: Annotated[list[Text], Field(max_length=100)] = []
    price: PriceRow | None = None
    notes: Annotated[list[Text], Field(max_length=50)] = []
    confidence: Confidence | None = None


Points = Annotated[int, Field(ge=0, le=100)]
Ability = Annotated[list[Annotated[int, Field(ge=0, le=1000)]], Field(min_length=4, max_length=4)]


class ModeRow(_Row):
    """Abilities in one mode of thinking: per use score, lo80, hi80, number of direct scores."""

    grade: Literal["A", "B", "C", "D", "E"]
    scores: Annotated[int, Field(ge=0)]
    independent: Annotated[int, Field(ge=0)]
    general: Ability
    coding: Ability
    reasoning: Ability
    chat: Ability
    tools: Ability


class AbilityRow(_Row):
    """``sources`` are pairs: place in ability_sources.json, number of scores taken from it."""

    id: Id
    modes: Annotated[dict[Literal["thinking", "non-thinking", "low effort"], ModeRow], Field(min_length=1)]
    sources: list[Annotated[list[int], Field(min_length=2, max_length=2)]]


class EvidenceRow(_Row):
    """Scores of one model; a score is benchmark, score, run, counted, label and perhaps a 95 % interval."""

    id: Id
    labels: list[Text]
    scores: Annotated[
        list[Annotated[list[Annotated[int | float, Field(ge=0)]], Field(min_length=5, max_length=7)]],
        Field(min_length=1),
    ]


class BenchmarkRow(_Row):
    """``counts_for``: the ability it was fitted for; ``shown_for``: a use that has no fitted ability."""

    name: Text
    unit: Literal["%", "Elo", "index", "points"]
    higher_is_better: bool
    counts_for: Literal["general", "coding", "reasoning", "chat", "tools"] | None
    shown_for: Literal["vision", "long-context", "multilingual", "knowledge"] | None


class EvidenceParts(_Row):
    """``evidence_parts.json``. A run: source, setting, date, confidence, mode, 1 if another vendor's."""

    note: Text
    counted_modes: list[Literal["thinking", "non-thinking", "low effort"]]
    benchmarks: list[BenchmarkRow]
    settings: list[Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_plain)]]
    modes: list[Annotated[str, Field(max_length=100), AfterValidator(_plain)]]
    confidences: list[Text]
    runs: list[Annotated[list[int | Date | None], Field(min_length=6, max_length=6)]]


class PitfallRow(_Row):
    """``models``: ids of the catalogue; ``architectures``: GGUF names, for files that no id names."""

    id: Id
    family: Text
    scope: Literal["model", "hardware", "runtime"]
    severity: Literal["critical", "high", "medium", "low"]
    pitfall: Text
    symptom: Text
    fix: Text
    source: Text
    models: Annotated[list[Id], Field(max_length=100)]
    architectures: Annotated[list[Text], Field(max_length=20)]
    machines: Annotated[list[Text], Field(max_length=20)]
    min_build: Positive | None
    bad_builds: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None
    fixed_since: Date | None
    status: Text | None


class CacheLossRow(_Row):
    k: Annotated[list[Text], Field(min_length=1)]
    v: Annotated[list[Text], Field(min_length=1)]
    delicate_keys: bool | None
    rotated: bool | None
    points: Annotated[float, Field(ge=0, le=45)]
    basis: Text
    sources: list[Text]


class CacheLosses(_Row):
    """``cache_losses.json``; ``sources`` of a row are keys of ``sources``."""

    sources: dict[Text, Text]
    method: Text
    rows: list[CacheLossRow]


Count = Annotated[int, Field(ge=0, le=2**32)]
Whole = Annotated[int, Field(ge=1, le=2**32)]
Wholes = Whole | Annotated[list[Count], Field(min_length=1, max_length=512)]
Counts = Count | Annotated[list[Count], Field(min_length=1, max_length=512)]
"""One number, or one a layer."""


class SpecRow(_Row):
    """``--spec``: a model that need not exist. See ``spec``."""

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_plain)] = "spec"
    id: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_plain)] | None = None
    params_total: Annotated[int, Field(ge=1, le=10**14)] | None = None
    metadata: Annotated[dict[Text, MetadataValue], Field(max_length=2000)] = {}
    options: Annotated[dict[Text, bool | Count | Text], Field(max_length=50)] = {}
    architecture: Text | None = None
    n_layer: Count | None = None
    n_embd: Whole | None = None
    n_head: Wholes | None = None
    n_head_kv: Wholes | None = None
    head_dim: Whole | None = None
    head_dim_k: Whole | None = None
    head_dim_v: Whole | None = None
    n_ff: Counts | None = None
    n_vocab: Whole | None = None
    context_length: Whole | None = None
    tied_embeddings: bool | None = None
    qkv_bias: bool | None = None
    n_expert: Count | None = None
    n_expert_used: Count | None = None
    n_expert_shared: Count | None = None
    n_ff_expert: Count | None = None
    n_ff_shared: Count | None = None
    leading_dense_layers: Count | None = None
    sliding_window: Count | None = None
    kv_lora_rank: Count | None = None
    q_lora_rank: Count | None = None
    rope_dimensions: Count | None = None
    mtp_layers: Count | None = None


LAYOUT_OPTIONS: TypeAdapter[LayoutOptions] = TypeAdapter(LayoutOptions)
MODEL_ROW: TypeAdapter[ModelRow] = TypeAdapter(ModelRow)
GPU_ROW: TypeAdapter[GpuRow] = TypeAdapter(GpuRow)


def first_problem(error: ValidationError) -> str:
    """``field: what is wrong with it`` of the first of pydantic's findings, in one printable line."""
    finding = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in finding["loc"] if not _UNION_BRANCH.fullmatch(str(part)))
    text = finding["msg"].removeprefix("Value error, ")
    return printable(f"{field}: {text}" if field else text, 200)
