"""What a user should know before starting a configuration, each with a stable code."""

from __future__ import annotations

from dataclasses import replace

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.model.model import Model
from llmfit.advisor.model.quantization import CACHE_TYPES
from llmfit.advisor.recommend.cache_advice import cache_types_worth_trying
from llmfit.advisor.recommend.command import launch_environment
from llmfit.advisor.recommend.judgement import Warning
from llmfit.advisor.recommend.ladders import DEFAULTS, FAST_CACHE_TYPES
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.units import format_context, format_gib

UNSEEN_GPU = "gpu_not_read"
"""A GPU that is or may be there took no part in the judgement."""
SERVER_SEES_NO_GPU = "server_sees_no_gpu"
"""What is planned for a GPU would run on the CPU alone."""
NO_MTP = "no_mtp"
"""Speculation was asked for and left out."""
OF_THE_MACHINE = frozenset({UNSEEN_GPU, SERVER_SEES_NO_GPU})
"""Warnings that are the same for every model: a list of picks tells them once."""
NOTABLE_SHARE = 0.015
"""A header and its vocabulary take up to 1 % of a small file; what is more is another mix."""


def find_warnings(
    model: Model, machine: Machine, settings: LaunchSettings, runs: bool = True
) -> tuple[Warning, ...]:
    """All warnings of one configuration, in a fixed order; ``runs``: it fits, so what it fills counts."""
    found = (
        *(Warning(UNSEEN_GPU, note) for note in machine.unseen_gpus),
        _server_sees_no_gpu(machine, settings),
        _context_beyond_training(model, settings),
        _slow_cache_type(settings),
        _ill_advised_cache_type(model, settings),
        _no_flash_attention(settings),
        _shared_context(settings),
        _unknown_free_memory(machine, settings),
        _slice_of_a_card(machine, settings),
        _order_of_cards(machine, settings),
        _mmproj(settings),
        _no_repository(model),
        _larger_file(model),
        _no_experts(model, settings),
        _prompt_cache(machine, settings) if runs else None,
    )
    return tuple(warning for warning in found if warning is not None)


def without_refused(model: Model, request: Request) -> tuple[Request, tuple[Warning, ...]]:
    """``request`` less what llama-server would not start with, and what was left out."""
    if model.is_embedding:
        request = _for_embedding(model, request)
    if not request.loads_mtp or model.shape.n_layer_all > model.shape.n_layer:
        return request, ()
    text = "This file has no MTP blocks: llama-server refuses --spec-type draft-mtp, so it is left out."
    return replace(request, spec_type=None), (Warning(NO_MTP, text),)


def _for_embedding(model: Model, request: Request) -> Request:
    """What ``--embedding`` changes by itself: every row of a batch is an output, and a batch is one
    micro-batch (tools/server/server.cpp). But for the last token's vector and scores, an input must be whole
    in it (server_slot::can_split, server-context.cpp), so it is as long as the context unless that is fixed.
    """
    from llmfit.advisor.recommend.search import default_context  # which imports this module

    ubatch = request.ubatch
    if ubatch is None and model.pooling in ("mean", "cls"):
        ubatch = request.context_tokens or default_context(model)
    limit = ubatch or DEFAULTS.ubatch
    batch = limit if request.batch is None else min(request.batch, limit)
    return replace(request, outputs=request.outputs or "embedding", ubatch=ubatch, batch=batch)


def _server_sees_no_gpu(machine: Machine, settings: LaunchSettings) -> Warning | None:
    """In the words in which ``hardware``, ``doctor`` and the app say it."""
    server = machine.llama_server
    if not settings.devices or server is None or server.sees_a_gpu is not False:
        return None
    from llmfit.advisor.diagnosis.server import server_problem  # the usual answer does without its patterns

    problem = server_problem(machine)
    return None if problem is None else Warning(SERVER_SEES_NO_GPU, problem.text)


def _context_beyond_training(model: Model, settings: LaunchSettings) -> Warning | None:
    trained = model.shape.context_train_tokens
    if trained and settings.context_tokens > trained * max(
        1, settings.parallel if not settings.kv_unified else 1
    ):
        return Warning(
            "context_beyond_training",
            f"The model was trained for {format_context(trained)} tokens: llama-server caps each slot there.",
        )
    return None


def _slow_cache_type(settings: LaunchSettings) -> Warning | None:
    k, v = settings.cache_type_k, settings.cache_type_v
    if settings.devices and (k != v or k not in FAST_CACHE_TYPES):
        return Warning(
            "slow_cache_type",
            f"KV cache {k}/{v} has no fast attention kernel in default CUDA builds: it is converted at every "
            f"step or runs on the CPU. Use one of {', '.join(FAST_CACHE_TYPES)} for both.",
        )
    return None


def _ill_advised_cache_type(model: Model, settings: LaunchSettings) -> Warning | None:
    """Only what the user asked for can be that: nothing of the kind is chosen unasked."""
    k, v = settings.cache_type_k, settings.cache_type_v
    if not (CACHE_TYPES[k].is_quantized or CACHE_TYPES[v].is_quantized):
        return None
    advice = cache_types_worth_trying(model, settings)
    if advice.allows(k, v):
        return None
    return Warning(advice.code, f"KV cache {k}/{v}: {advice.reason} Source: {advice.source}.")


def _no_flash_attention(settings: LaunchSettings) -> Warning | None:
    if settings.flash_attn:
        return None
    return Warning(
        "no_flash_attention",
        "Without flash attention the compute buffer grows with context times heads: use -fa on.",
    )


def _shared_context(settings: LaunchSettings) -> Warning | None:
    if settings.parallel <= 1:
        return None
    if settings.kv_unified:
        text = (
            f"{settings.parallel} slots share one cache of {format_context(settings.context_tokens)} tokens."
        )
    else:
        each = settings.context_tokens // settings.parallel
        text = f"{settings.parallel} slots get {format_context(each)} tokens each."
    return Warning("shared_context", text)


def _unknown_free_memory(machine: Machine, settings: LaunchSettings) -> Warning | None:
    unknown = [
        gpu.name for gpu in machine.gpus if gpu.index in settings.devices and gpu.vram_free_bytes is None
    ]
    if not unknown:
        return None
    return Warning(
        "unknown_free_memory",
        f"Free memory of {', '.join(unknown)} is not known: checked as if nothing else held any.",
    )


def _slice_of_a_card(machine: Machine, settings: LaunchSettings) -> Warning | None:
    """CUDA takes the first slice unless it is told otherwise."""
    slices = [gpu for gpu in machine.gpus if gpu.partition is not None]
    used = [gpu for gpu in slices if gpu.index in settings.devices]
    if not used or len(machine.gpus) == 1:
        return None
    which = used[0].uuid or "the UUID of this slice (nvidia-smi -L)"
    return Warning(
        "mig_slice",
        f"Planned for one slice, {used[0].name}: the command shows llama-server nothing else "
        f"(CUDA_VISIBLE_DEVICES={which}).",
    )


def _order_of_cards(machine: Machine, settings: LaunchSettings) -> Warning | None:
    environment = launch_environment(settings, machine)
    if not environment or any(gpu.partition is not None for gpu in machine.gpus):
        return None
    name = environment[0][0]
    return Warning(
        "device_order",
        f"These cards differ, and CUDA counts the fastest first unless told otherwise, so the "
        f"command sets {name}: without it --device and -ts would mean other cards.",
    )


def _mmproj(settings: LaunchSettings) -> Warning | None:
    if not settings.projector_bytes:
        return None
    return Warning(
        "projector",
        f"The vision projector counts with {format_gib(settings.projector_bytes)}, the size of its file; its "
        "buffers are not modelled, so 1 GiB more is kept as margin.",
    )


def _no_repository(model: Model) -> Warning | None:
    if model.source != "catalog" or model.launch_args[0] != "-m":
        return None
    return Warning(
        "no_repository",
        f"No repository with this file is known: write your own path in place of {model.launch_args[1]}.",
    )


def _larger_file(model: Model) -> Warning | None:
    """Publishers mix file types in their own ways; the estimate is of llama-quantize's."""
    computed_bytes = sum(tensor.n_bytes for tensor in model.tensors)
    more_bytes = model.file_bytes - computed_bytes
    if model.source != "catalog" or more_bytes <= computed_bytes * NOTABLE_SHARE:
        return None
    return Warning(
        "larger_file",
        f"The published file is {format_gib(more_bytes)} larger than llama-quantize's mix, which is what is "
        "counted here: keep that much more free, or ask about the file itself with hf:OWNER/REPO:QUANT.",
    )


def _no_experts(model: Model, settings: LaunchSettings) -> Warning | None:
    if not settings.n_cpu_moe or model.shape.n_expert:
        return None
    return Warning("no_experts", "The model has no experts: --n-cpu-moe and --cpu-moe change nothing.")


def _prompt_cache(machine: Machine, settings: LaunchSettings) -> Warning | None:
    available = machine.memory.available_bytes
    if available is not None and settings.cache_ram_bytes > available // 4:
        return Warning(
            "prompt_cache",
            f"llama-server may keep up to {format_gib(settings.cache_ram_bytes)} of prompts in RAM, of which "
            f"{format_gib(available)} are free: add -cram 0 if memory gets short.",
        )
    return None
