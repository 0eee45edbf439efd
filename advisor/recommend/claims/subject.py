"""What a claim is about, and what is computed of it once for all its parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from llmfit.advisor.errors import UsageError
from llmfit.advisor.hardware.machine import Cpu, Gpu, Machine, Memory
from llmfit.advisor.memory.margin import GPU_FLOOR_BYTES
from llmfit.advisor.memory.overhead import driver_overhead
from llmfit.advisor.memory.weights import weight_table
from llmfit.advisor.model.model import Model
from llmfit.advisor.recommend.judgement import Judgement
from llmfit.advisor.recommend.ladders import CONTEXT_LADDER, SAVING_CACHE_TYPE
from llmfit.advisor.recommend.remedies import find_remedies
from llmfit.advisor.recommend.request import Request
from llmfit.advisor.recommend.search import Variants, default_context, judge, judge_on_gpus
from llmfit.advisor.recommend.warnings import without_refused
from llmfit.advisor.units import GIB

NVIDIA_RESERVE_SHARE = 0.02
"""Of an idle card's memory CUDA does not offer so much: 24080 of 24576 MiB of an RTX 4090 (log in llama.cpp
issue 23679), 7805 of 8192 MiB of an RTX 4070 Laptop (llama.cpp pull request 20184)."""
RAISED_RESERVE_BYTES = 4 * GIB
"""Of a computer with unified memory, left to the system where its GPU's share was raised. A choice; macOS
and Linux set no limit of their own (sysctl iogpu.wired_limit_mb, kernel parameter ttm.pages_limit)."""
_ENDLESS_BYTES = 2**50
_ANY_CARD = Gpu(index=0, name="any GPU", vendor="nvidia", backend="cuda")


@dataclass(frozen=True, slots=True)
class Subject:
    """A model in one file type, and the machine that the claim names; ``None`` where it names none.

    ``n_boxes`` above 1: the machine is several computers, linked (``linked_boxes``). ``ram_is_known``: the
    claim says how much RAM there is, or the machine's memory is one. ``notes`` say what was taken for what.
    """

    model: Model
    request: Request
    machine: Machine | None = None
    ram_is_known: bool = False
    n_boxes: int = 1
    variants: Variants | None = None
    published_bytes: tuple[int, ...] = ()
    """Sizes of files that were published under the name of this file type."""
    notes: tuple[str, ...] = ()

    @property
    def offload_is_stated(self) -> bool:
        """The claim itself puts weights into RAM."""
        request = self.request
        return bool(request.n_cpu_moe or request.override_tensor) or request.gpu_layers is not None


class Evidence:
    """Everything of a Subject that its parts are held against, each computed once and only if asked.

    What a claim leaves open is read in its favour: one that says "fits" may have a short context, a q8_0
    cache and the last megabyte of a card; one that says "does not fit" has llama.cpp's own cache type, the
    default context, the doubt of the estimate and what a driver keeps.
    """

    def __init__(self, subject: Subject, is_negated: bool) -> None:
        self.subject = subject
        self.is_negated = is_negated

    @cached_property
    def alone(self) -> Judgement:
        """On one card without end, at the claim's context or the default one, in its cache types."""
        return self._alone(self.subject.request.context_tokens or default_context(self.subject.model))

    @cached_property
    def alone_short(self) -> Judgement:
        """The same at the shortest useful context, where the claim names none."""
        if self.subject.request.context_tokens is not None:
            return self.alone
        trained = self.subject.model.shape.context_train_tokens or CONTEXT_LADDER[0]
        return self._alone(min(CONTEXT_LADDER[0], trained))

    def alone_at(self, context_tokens: int) -> Judgement:
        return self._alone(context_tokens)

    @cached_property
    def on_gpus(self) -> Judgement | None:
        """Wholly in GPU memory on the claim's machine, read in the claim's favour; None where it is not."""
        subject, machine = self.subject, self.subject.machine
        if machine is None or not machine.gpus:
            return None
        request = replace(
            subject.request, gpu_layers=None, n_cpu_moe=None, override_tensor=None, search_experts=False
        )
        if self.is_negated:
            return judge_on_gpus(subject.model, _with_reserve(machine), _plain(request, subject.model))
        machines = dict.fromkeys((machine, _without_doubt(machine), _with_raised_share(machine)))
        tries = ((one, asked) for asked in _requests(request) for one in machines)
        found = (_judged(subject.model, one, asked) for one, asked in tries)
        judged = next((judged for judged in found if judged is not None), None)
        if judged is None or any(gpu.unified_memory for gpu in machine.gpus):
            return judged
        return _as_it_is(judged, machine)

    @cached_property
    def anywhere(self) -> Judgement:
        """As ``judge`` places it on the claim's machine, weights in RAM if need be."""
        subject = self.subject
        if subject.machine is None:
            raise ValueError("the claim names no machine")
        return judge(subject.model, subject.machine, subject.request, remedies=False)

    @cached_property
    def anywhere_short(self) -> Judgement:
        """The same at the shortest useful context, where the claim names none: the least that it takes."""
        subject = self.subject
        if subject.machine is None:
            raise ValueError("the claim names no machine")
        request = replace(subject.request, context_tokens=self.alone_short.settings.context_tokens)
        return judge(subject.model, subject.machine, request, remedies=False)

    @cached_property
    def advised(self) -> Judgement:
        """``anywhere`` with what would help, which takes many times as long."""
        judged, subject = self.anywhere, self.subject
        request, _ = without_refused(subject.model, subject.request)
        weights = weight_table(subject.model.shape, subject.model.tensors, load_mtp=request.loads_mtp)
        return replace(judged, remedies=find_remedies(judged, weights, request, subject.variants))

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the claim asks for and llama-server would not start with."""
        return tuple(warning.text for warning in without_refused(self.subject.model, self.subject.request)[1])

    @property
    def needs_raised_share(self) -> bool:
        """It fits a unified memory only beyond what the system gives its GPU by default."""
        return self._takes_more() and any(gpu.unified_memory for gpu in self._gpus)

    @property
    def is_tight(self) -> bool:
        """It fits only if the doubt of the estimate is spent."""
        return self._takes_more() and not self.needs_raised_share

    @property
    def _gpus(self) -> tuple[Gpu, ...]:
        return () if self.subject.machine is None else self.subject.machine.gpus

    def _takes_more(self) -> bool:
        judged = self.on_gpus
        if judged is None:
            return False
        free = {gpu.index: gpu.usable_bytes or 0 for gpu in self._gpus}
        return any(
            device.required_bytes > free.get(device.gpu_index or 0, 0) for device in judged.memory.gpus
        )

    def _alone(self, context_tokens: int) -> Judgement:
        machine, request = self.subject.machine, self.subject.request
        gpu = machine.gpus[0] if machine is not None and machine.gpus else _ANY_CARD
        card = replace(
            gpu,
            index=0,
            unified_memory=False,
            vram_total_bytes=_ENDLESS_BYTES,
            vram_free_bytes=_ENDLESS_BYTES,
        )
        endless = Machine("linux", Cpu(None, None, None), Memory(_ENDLESS_BYTES, _ENDLESS_BYTES), (card,))
        request = replace(
            request,
            gpu_layers=None,
            n_cpu_moe=None,
            override_tensor=None,
            tensor_split=None,
            split_mode=None,
            search_experts=False,
            context_tokens=context_tokens,
        )
        return judge(self.subject.model, endless, _plain(request, self.subject.model), remedies=False)


def _requests(request: Request) -> tuple[Request, ...]:
    """The claim's own, then with the smaller cache type that the advisor takes unasked of few models."""
    is_open = request.cache_type_k is None and request.cache_type_v is None
    if not is_open or request.flash_attn is False:
        return (request,)
    return request, replace(request, cache_type_k=SAVING_CACHE_TYPE)


def _judged(model: Model, machine: Machine, request: Request) -> Judgement | None:
    """``judge_on_gpus``; None, too, where llama.cpp has no such cache for this model."""
    try:
        return judge_on_gpus(model, machine, request)
    except UsageError:
        if request.cache_type_k != SAVING_CACHE_TYPE:
            raise
        return None


def _as_it_is(judged: Judgement, machine: Machine) -> Judgement:
    """A judgement that spent the doubt, with the free memory that there is."""
    free = {gpu.index: gpu.vram_free_bytes for gpu in machine.gpus}
    devices = tuple(
        device if device.gpu_index is None else replace(device, free_bytes=free[device.gpu_index])
        for device in judged.memory.devices
    )
    return replace(judged, machine=machine, memory=replace(judged.memory, devices=devices))


def _plain(request: Request, model: Model) -> Request:
    """``request`` with llama.cpp's own cache type and the default context where it names none."""
    return replace(
        request,
        context_tokens=request.context_tokens or default_context(model),
        cache_type_k=request.cache_type_k or "f16",
        cache_type_v=request.cache_type_v or request.cache_type_k or "f16",
    )


def _with_reserve(machine: Machine) -> Machine:
    """NVIDIA cards less what their driver keeps, where free memory was stated and not read."""
    return replace(machine, gpus=tuple(_less_reserve(gpu) for gpu in machine.gpus))


def _less_reserve(gpu: Gpu) -> Gpu:
    total = gpu.vram_total_bytes
    if gpu.vendor != "nvidia" or gpu.unified_memory or total is None or gpu.vram_free_bytes != total:
        return gpu
    return replace(gpu, vram_free_bytes=round(total * (1 - NVIDIA_RESERVE_SHARE)))


def _without_doubt(machine: Machine) -> Machine:
    """Cards with so much more memory as the estimate keeps in doubt."""
    return replace(machine, gpus=tuple(_plus_doubt(gpu) for gpu in machine.gpus))


def _with_raised_share(machine: Machine) -> Machine:
    """A computer with unified memory whose owner lets the GPU have nearly all of it.

    Not where its share was read or stated: then that is the claim.
    """
    total = machine.memory.total_bytes
    gpu = machine.gpus[0] if len(machine.gpus) == 1 else None
    if gpu is None or total is None or not gpu.unified_memory or gpu.vram_free_bytes != gpu.vram_total_bytes:
        return machine
    share = max(gpu.vram_total_bytes or 0, total - RAISED_RESERVE_BYTES)
    return replace(machine, gpus=(replace(gpu, vram_total_bytes=share, vram_free_bytes=share),))


def _plus_doubt(gpu: Gpu) -> Gpu:
    if gpu.vram_free_bytes is None:
        return gpu
    doubt_bytes = driver_overhead(gpu.backend).doubt_bytes + GPU_FLOOR_BYTES
    return replace(gpu, vram_free_bytes=gpu.vram_free_bytes + doubt_bytes)


__all__ = ["NVIDIA_RESERVE_SHARE", "Evidence", "Subject"]
