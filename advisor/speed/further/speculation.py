"""Speculative decoding as a figure of its own: what MTP blocks or a draft model gain, or lose.

A round drafts ``n_draft`` tokens one after the other, verifies them and the last accepted token in one step
of the model, and lets the draft catch up with what was verified (common_speculative_impl_draft_mtp,
common_speculative_impl_draft_simple: common/speculative.cpp). Verifying reads the cache once, but of the
experts those that all of the tokens touch: where that costs more than the accepted tokens save, the gain is
below 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, hypot, log

from llmfit.advisor.memory.assignment import Assignment
from llmfit.advisor.model.shape import ModelShape
from llmfit.advisor.model.tensor_names import ROUTED_EXPERTS, block_of
from llmfit.advisor.model.tensors import Tensor
from llmfit.advisor.speed.decode.card import Card
from llmfit.advisor.speed.decode.host import Host
from llmfit.advisor.speed.decode.plan import DecodePlan, plan_decode
from llmfit.advisor.speed.further.acceptance import Acceptance, tokens_a_round
from llmfit.advisor.speed.further.batch import BatchPlan, Tokens
from llmfit.advisor.speed.reads import CacheReads, DecodeReads, PlaceReads, Role, WeightReads
from llmfit.advisor.speed.speed_range import SpeedRange
from llmfit.advisor.speed.terms import Cause, StepTime, Term

MTP_ARCHITECTURES = frozenset(
    ("bailingmoe3", "cohere2moe", "deepseek2", "deepseek32", "deepseek4", "glm-dsa", "glm4moe", "glm5-next")
) | {"hy_v3", "mimo2", "nemotron_h_moe", "qwen35", "qwen35moe", "qwen3next", "qwen4exp", "step35"}
"""Those with a graph for drafting (LLM_GRAPH_TYPE_DECODER_MTP in src/models/*.cpp, b11434)."""
BLOCK_KERNELS = 30
"""Kernels of an MTP block: an attention layer with its feed-forward, two norms and the projection before."""
HEAD_KERNELS = 4
COST_RANGE = (0.75, 1.12)
"""Measured gains over those expected for the acceptance that was measured with them: between these lie four
of five (tests/bench/speculation_accuracy.py). Young builds of llama.cpp gained far less."""
_LOOKED_UP = "nextn.embed_tokens."
_OWN_HEAD = "nextn.shared_head_head."


@dataclass(frozen=True, slots=True)
class DraftPlan:
    """What drafting costs.

    ``token`` is the plain step of the draft with its output head, ``catch_up`` the same without it, where
    only the cache is filled. ``n_max`` is the longest draft that it can make.
    """

    token: DecodePlan
    catch_up: DecodePlan
    n_catch_ups: int = 1
    n_max: int | None = None


@dataclass(frozen=True, slots=True)
class SpeculativeSpeed:
    """What speculation makes of the plain speed of one stream, for an assumed acceptance.

    ``gain_factor`` is (low, expected, high) of ``tok_s`` over the plain speed, from the acceptance and the
    cost of a round; below 1 it is slower than without. ``verify`` is the step of ``n_draft`` + 1 tokens,
    ``draft_s`` what the draft takes a round.
    """

    n_draft: int
    acceptance: Acceptance
    tokens_a_round: float
    tok_s: SpeedRange
    gain_factor: tuple[float, float, float]
    verify: StepTime
    draft_s: float

    @property
    def pays(self) -> bool | None:
        """``None``: it depends on the text."""
        low, _, high = self.gain_factor
        return True if low > 1 else False if high < 1 else None


def speculative_speed(
    batches: BatchPlan,
    draft: DraftPlan,
    one: StepTime,
    plain_tok_s: SpeedRange,
    acceptance: Acceptance,
    n_draft: int,
    depth_tokens: int,
    cache_types: tuple[str, str] = ("f16", "f16"),
    snapshot_s: float = 0.0,
) -> SpeculativeSpeed:
    """``one`` and ``plain_tok_s`` are the plain step and speed at this depth.

    ``cache_types`` are those of the draft's K and V, ``snapshot_s`` is writing one more snapshot of the
    recurrent states (``state_snapshot_s``).
    """
    n_draft = min(n_draft, draft.n_max or n_draft)
    verify = batches.step(one, n_draft + 1, Tokens.DRAFTED, depth_tokens)
    if snapshot_s:
        rollback = Term("state snapshots", one.terms[0].where, Cause.GPU_MEMORY, n_draft * snapshot_s)
        verify = StepTime((*verify.terms, rollback), verify.bound_s)
    token_s = draft.token.total_s(depth_tokens, *cache_types)
    catch_up_s = draft.catch_up.total_s(depth_tokens, *cache_types)
    draft_s = n_draft * token_s + draft.n_catch_ups * catch_up_s
    round_s = verify.total_s + draft_s
    low, expected, high = (
        tokens_a_round(share, n_draft) * one.total_s / round_s
        for share in (acceptance.low_share, acceptance.expected_share, acceptance.high_share)
    )
    worst, best = _together(low / expected, COST_RANGE[0]), _together(high / expected, COST_RANGE[1])
    tok_s = plain_tok_s.expected * expected
    return SpeculativeSpeed(
        n_draft=n_draft,
        acceptance=acceptance,
        tokens_a_round=tokens_a_round(acceptance.expected_share, n_draft),
        tok_s=SpeedRange(
            tok_s / _together(worst, plain_tok_s.low / plain_tok_s.expected),
            tok_s,
            tok_s * _together(best, plain_tok_s.high / plain_tok_s.expected),
        ),
        gain_factor=(expected / worst, expected, expected * best),
        verify=verify,
        draft_s=draft_s,
    )


def _together(*factors: float) -> float:
    """How much several independent doubts make together, at least 1."""
    return exp(hypot(*(log(factor) for factor in factors)))


def best_draft(found: Iterable[SpeculativeSpeed]) -> SpeculativeSpeed | None:
    """The fastest with the expected acceptance; the shorter draft of equals."""
    return max(found, key=lambda one: (one.tok_s.expected, -one.n_draft), default=None)


def plan_mtp(
    shape: ModelShape,
    tensors: Sequence[Tensor],
    assignment: Assignment,
    cards: Sequence[Card],
    host: Host | None,
) -> DraftPlan | None:
    """The model's own MTP blocks as a draft, where ``--spec-type draft-mtp`` puts them.

    ``None`` where it has none, llama.cpp cannot draft with them, or a bandwidth that matters is not known.
    Several blocks draft one token each (step35, mimo2: ``chain_heads``).
    """
    n_blocks = shape.n_layer_all - shape.n_layer
    if not n_blocks or shape.architecture not in MTP_ARCHITECTURES:
        return None
    token = plan_decode(_mtp_reads(shape, tensors, assignment, with_head=True), cards, host)
    block = plan_decode(_mtp_reads(shape, tensors, assignment, with_head=False), cards, host)
    if token is None or block is None:
        return None
    return DraftPlan(token, block, n_blocks, n_blocks if n_blocks > 1 else None)


def plan_draft_model(plan: DecodePlan) -> DraftPlan:
    """A second model (``--spec-draft-model``): its own plain step, on the devices where it lies.

    Catching up takes a step, too: it computes the head for its last token.
    """
    return DraftPlan(plan, plan)


def state_snapshot_s(reads: DecodeReads, cards: Sequence[Card]) -> float:
    """Writing one more snapshot of the recurrent states on the GPUs, to go back to after a rejected token.

    Those in RAM are not counted.
    """
    return sum(
        place.cache.state_bytes / card.cache_bytes_per_s
        for place, card in zip(reads.gpus, cards, strict=True)
    )


def _mtp_reads(
    shape: ModelShape, tensors: Sequence[Tensor], assignment: Assignment, *, with_head: bool
) -> DecodeReads:
    """What one block reads for one token. All blocks are alike: of several the first is taken."""
    layer = shape.n_layer
    device, head = assignment.layer_device[layer], assignment.output_device
    own_head = any(block_of(one.name) == layer and _OWN_HEAD in one.name for one in tensors)
    places: list[list[WeightReads]] = [[] for _ in range(assignment.n_devices + 1)]
    for tensor in tensors:
        if block_of(tensor.name) == layer:
            is_head = _OWN_HEAD in tensor.name
            if _LOOKED_UP not in tensor.name and (with_head or not is_head):
                places[device].append(_weight_read(tensor, shape, Role.OUTPUT if is_head else None))
        elif with_head and not own_head and tensor.name == _head_name(shape):
            places[head].append(_weight_read(tensor, shape, Role.OUTPUT))
    cache = _mtp_cache(shape)
    found = [
        PlaceReads(
            weights=tuple(weights),
            cache=cache if index == device % len(places) else CacheReads(),
            n_layers=int(index == device % len(places)),
            n_expert_layers=0,
            n_expert_only_layers=0,
            n_kernels=_n_kernels(index == device % len(places), with_head and bool(weights)),
        )
        for index, weights in enumerate(places)
    ]
    return DecodeReads(tuple(found[:-1]), found[-1])


def _n_kernels(has_block: bool, has_head: bool) -> int:
    return (BLOCK_KERNELS if has_block else 0) + (HEAD_KERNELS if has_head else 0)


def _head_name(shape: ModelShape) -> str:
    return "token_embd.weight" if shape.traits.tied_embeddings else "output.weight"


def _weight_read(tensor: Tensor, shape: ModelShape, role: Role | None) -> WeightReads:
    expert = ROUTED_EXPERTS.search(tensor.name) is not None and shape.n_expert > 0
    of = tensor.dims[-1] if expert else 1
    read = min(shape.n_expert_used, of) if expert else 1
    return WeightReads(
        tensor.type_name,
        role or (Role.EXPERT if expert else Role.DENSE),
        tensor.n_bytes * read / of,
        tensor.n_elements * read / of,
    )


def _mtp_cache(shape: ModelShape) -> CacheReads:
    block = next((one for one in shape.mtp_cache if one.layer == shape.n_layer), None)
    if block is None:
        return CacheReads()
    if block.windowed:
        return CacheReads(
            window_k_elements=block.k_elements,
            window_v_elements=block.v_elements,
            window_tokens=shape.window_tokens,
        )
    return CacheReads(full_k_elements=block.k_elements, full_v_elements=block.v_elements)
