"""Where claims meet the catalogue: names of models, file types and machines become what is checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import GpuFacts, Machine
from llmfit.advisor.recommend.claims.checking import check_claim
from llmfit.advisor.recommend.claims.claim import CheckedClaim, Claim
from llmfit.advisor.recommend.claims.formats import (
    ClaimedFormat,
    as_nvfp4,
    claimed_cache_type,
    claimed_format,
)
from llmfit.advisor.recommend.claims.linked import linked_boxes
from llmfit.advisor.recommend.claims.sentences import (
    bandwidth_sentence,
    names_a_budget,
    names_speculation,
    names_tensor_parallel,
)
from llmfit.advisor.recommend.claims.subject import Subject
from llmfit.advisor.units import GB
from llmfit.tui.cli.settings import request_from
from llmfit.tui.session import ModelChoice, looks_like_path, machine_from, model_choice, with_projector

if TYPE_CHECKING:
    from llmfit.advisor.model.model import Model
    from llmfit.advisor.recommend.request import Request

Values = Mapping[str, object]
_MACHINE_KEYS = ("gpu", "ram", "ram_bandwidth", "machine")
_SEVERAL = re.compile(r"\s*(\d{1,2})\s*[xX×*]\s*(.+)", re.DOTALL)


def check_values(values: Values, advice: bool = True) -> CheckedClaim:
    """The claim that parsed options or a row of a file make, checked; ``advice`` as in ``check_claim``.

    Raises UsageError and what reading a model raises.
    """
    claim = claim_from(values)
    ratio = _ratio(values, claim)
    if ratio is not None:
        claim = replace(claim, bandwidth_factor=ratio[2])
    named = any(values.get(key) is not None for key in ("model", "spec"))
    subject = _subject(values) if named else None
    if subject is None:
        _refuse_without_model(claim)
    return check_claim(claim, subject, None if ratio is None else ratio[:2], advice)


def claim_from(values: Values) -> Claim:
    """What is claimed, from the names of the options."""

    def number(name: str) -> float | None:
        return cast("float | None", values.get(name))

    def size_bytes(name: str) -> int | None:
        size_gb = number(name)
        return None if size_gb is None else round(size_gb * GB)

    text = str(values.get("text") or "")
    return Claim(
        text=text,
        is_negated=bool(values.get("claim_does_not_fit")),
        is_budget=names_a_budget(text),
        vram_bytes=size_bytes("claim_vram"),
        weights_bytes=size_bytes("claim_weights"),
        kv_bytes=size_bytes("claim_kv"),
        decode_tok_s=number("claim_tps"),
        is_speculative=names_speculation(text),
        is_tensor_parallel=names_tensor_parallel(text),
        watts=number("watts"),
        usd_per_kwh=number("usd_per_kwh"),
        usd_per_million_tokens=number("claim_usd_per_million"),
        bandwidth_factor=number("claim_bandwidth_ratio"),
    )


def _subject(values: Values) -> Subject:
    request = with_projector(request_from({**values, **_cache_types(values)}))
    machine, n_boxes = _machine(values)
    model, variants, notes = _model(values, machine, request)
    unified = machine is not None and any(gpu.unified_memory for gpu in machine.gpus)
    described = values.get("machine") is not None
    return Subject(
        model=model,
        request=request,
        machine=machine,
        ram_is_known=n_boxes == 1 and (values.get("ram") is not None or unified or described),
        n_boxes=n_boxes,
        variants=variants,
        published_bytes=_published_sizes(model),
        notes=notes,
    )


def _cache_types(values: Values) -> dict[str, object]:
    """The cache types as llama.cpp calls them."""
    named = {key: values.get(key) for key in ("cache_type_k", "cache_type_v")}
    return {key: claimed_cache_type(name) for key, name in named.items() if isinstance(name, str)}


def _machine(values: Values) -> tuple[Machine | None, int]:
    """The machine of the claim and of how many linked boxes it is; never the one at hand."""
    if all(values.get(key) is None for key in _MACHINE_KEYS):
        return None, 1
    named = dict(values)
    if isinstance(values.get("gpu"), str):
        named["gpu"] = [part.strip() for part in str(values["gpu"]).split(" + ")]
    if values.get("gpu") is None and values.get("machine") is None:
        named["gpu"] = ["none"]
    try:
        return machine_from(named), 1
    except UsageError:
        boxes = _linked(named)
        if boxes is None:
            raise
        return boxes


def _linked(values: Values) -> tuple[Machine, int] | None:
    """``2x DGX Spark``, which is not one computer; None for anything else."""
    specs = values.get("gpu")
    spec = specs[0] if isinstance(specs, list) and len(specs) == 1 else specs
    match = _SEVERAL.fullmatch(spec) if isinstance(spec, str) else None
    if match is None or int(match[1]) < 2:
        return None
    try:
        box = machine_from({**values, "gpu": [match[2]], "ram": None})
    except UsageError:
        return None
    if len(box.gpus) != 1 or not box.gpus[0].unified_memory:
        return None
    return linked_boxes(box, int(match[1])), int(match[1])


def _model(
    values: Values, machine: Machine | None, request: Request
) -> tuple[Model, Callable[[str], Model] | None, tuple[str, ...]]:
    """The model in the claim's file type, how to build it in others, and what was taken for what."""
    quant, named = values.get("quant"), values.get("model")
    if quant is not None and not isinstance(quant, str):
        raise UsageError(f"quant {quant!r}", "not a name", "Write Q4_K_M.")
    is_file = isinstance(named, str) and (named.startswith("hf:") or looks_like_path(named))
    if quant is None or is_file:
        choice = model_choice({key: values.get(key) for key in ("model", "quant", "spec")})
        return _without_quant(choice, machine, request), choice.build, _spec_note(choice)
    meant = claimed_format(quant)
    choice = model_choice({"model": named, "spec": values.get("spec"), "quant": meant.quant})
    if choice.build is None or choice.quant is None:
        raise ValueError("a model with a file type is built")
    model = _published(choice.build(choice.quant), quant, meant)
    if meant.is_nvfp4:
        model = as_nvfp4(model)
    notes = (*((meant.note,) if meant.note else ()), *_paper_note(model))
    return model, choice.build, notes


def _without_quant(choice: ModelChoice, machine: Machine | None, request: Request) -> Model:
    """No file type is claimed: the best that fits there, or the usual one."""
    return choice.sample() if machine is None else choice.best_for(machine, request)


def _spec_note(choice: ModelChoice) -> tuple[str, ...]:
    return () if choice.model is None else _paper_note(choice.model)


def _paper_note(model: Model) -> tuple[str, ...]:
    """A model on paper whose stated size and layers contradict each other."""
    if model.source != "spec" or "scaled" not in model.file_bytes_source:
        return ()
    source = model.file_bytes_source.partition(": ")[2]
    return (f"The numbers of this model contradict each other; it is {source}.",)


def _published(model: Model, quant: str, meant: ClaimedFormat) -> Model:
    """A publisher's own mix has the size that was published of it, if any was."""
    if not meant.note or model.source != "catalog":
        return model
    from llmfit.catalog.models import find_model

    wanted = quant.strip().upper()
    for file in find_model(model.id).files:
        if file.quant is not None and file.quant.upper() == wanted:
            return replace(model, file_bytes=file.bytes, file_bytes_source=f"published: {file.source}")
    return model


def _published_sizes(model: Model) -> tuple[int, ...]:
    """Of files that somebody calls by the same file type: publishers mix their own under a common name."""
    if model.source != "catalog":
        return ()
    from llmfit.catalog.models import find_model

    return tuple(file.bytes for file in find_model(model.id).files if file.quant == model.quantization)


def _ratio(values: Values, claim: Claim) -> tuple[GpuFacts, GpuFacts, float] | None:
    """The two cards of a claim about their bandwidth, from options or from its sentence."""
    from llmfit.catalog.gpus import lookup_gpu, split_memory_size

    def facts(name: str) -> GpuFacts:
        try:
            return lookup_gpu(name)[0]
        except UsageError:
            return lookup_gpu(split_memory_size(name)[0])[0]

    if claim.bandwidth_factor is not None:
        gpus, than = values.get("gpu"), values.get("than")
        one = gpus[0] if isinstance(gpus, list) and gpus else gpus
        if not isinstance(one, str) or not isinstance(than, str):
            raise UsageError("bandwidth ratio", "needs two cards", "Name them with --gpu and --than.")
        return facts(one), facts(than), claim.bandwidth_factor
    if values.get("than") is not None:
        raise UsageError("--than", "nothing is claimed of the two", "Add --claim-bandwidth-ratio N.")
    found = bandwidth_sentence(claim.text)
    if found is None or any(values.get(key) is not None for key in ("model", "spec", "claim_tps", "watts")):
        return None
    return facts(found[0]), facts(found[1]), found[2]


def _refuse_without_model(claim: Claim) -> None:
    """Sizes and speeds are those of a model; electricity and bandwidth need none."""
    alone = claim.usd_per_million_tokens is not None or claim.bandwidth_factor is not None
    if claim.is_of_a_model or not alone:
        raise UsageError("MODEL", "missing", "Give a catalogue name, a path to a GGUF or --spec FILE.")


__all__ = ["check_values", "claim_from"]
