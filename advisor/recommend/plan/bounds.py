"""What hardware cannot do, by arithmetic alone: a plan judges in full only what this leaves.

Every figure that is shown comes from ``judge``.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmfit.advisor.model.model import Model
from llmfit.advisor.model.tensor_names import ROUTED_EXPERTS, decode_share
from llmfit.advisor.recommend.plan.values import BOX, CARDS, Candidate

ROUGH_GPU_SHARE = 0.8
ROUGH_RAM_SHARE = 0.67
"""Of their peaks, as weights are read at best: a rough speed is rather too high than too low."""


@dataclass(frozen=True, slots=True)
class ModelBytes:
    """What must lie on the GPUs or in RAM, and what one token reads of it."""

    weights_bytes: int
    read_bytes: float
    expert_bytes: int
    """Of the weights, those of routed experts: what goes into RAM first."""
    expert_read_share: float
    """Of an expert's bytes, what one token reads on average."""

    @staticmethod
    def of(model: Model) -> ModelBytes:
        weights = experts = 0
        read = expert_read = 0.0
        for tensor in model.tensors:
            used, of = decode_share(tensor, model.shape)
            if not used:  # tables that rows are looked up in stay in RAM, MTP blocks are not loaded
                continue
            weights += tensor.n_bytes
            read += tensor.n_bytes * used / of
            if used < of and ROUTED_EXPERTS.search(tensor.name):
                experts += tensor.n_bytes
                expert_read += tensor.n_bytes * used / of
        return ModelBytes(weights, read, experts, expert_read / experts if experts else 1.0)

    def in_ram_bytes(self, vram_bytes: int) -> int:
        """At least so much does not go on the cards."""
        return max(0, self.weights_bytes - vram_bytes)

    def holds(self, vram_bytes: int) -> bool:
        return self.weights_bytes <= vram_bytes

    def seconds(self, vram_bytes: int, gpu_bytes_per_s: float, ram_bytes_per_s: float) -> float:
        """One token at least, at these rates: experts in RAM first, then everything else."""
        in_ram = self.in_ram_bytes(vram_bytes)
        experts = min(in_ram, self.expert_bytes)
        read_in_ram = experts * self.expert_read_share + (in_ram - experts)
        return read_in_ram / ram_bytes_per_s + max(0.0, self.read_bytes - read_in_ram) / gpu_bytes_per_s


def bound_tok_s(candidate: Candidate, size: ModelBytes) -> float:
    """No estimate is faster; 0 where a bandwidth is not known."""
    return _tok_s(candidate, size, 1.0, 1.0)


def rough_tok_s(candidate: Candidate, size: ModelBytes) -> float:
    """About what good hardware of that bandwidth reaches."""
    return _tok_s(candidate, size, ROUGH_GPU_SHARE, ROUGH_RAM_SHARE)


def vram_bytes(candidate: Candidate) -> int:
    """Of all cards together; of a whole computer its RAM."""
    if candidate.box is not None:
        return candidate.box.memory_bytes
    return 0 if candidate.card is None else candidate.card.memory_bytes * candidate.n_cards


def may_hold(candidate: Candidate, size: ModelBytes) -> bool:
    """Whether the weights alone have room where the kind of the candidate wants them."""
    held = size.holds(vram_bytes(candidate))
    return held if candidate.kind in (CARDS, BOX) else True


def _tok_s(candidate: Candidate, size: ModelBytes, gpu_share: float, ram_share: float) -> float:
    facts = candidate.box or candidate.card
    gpu_bytes_per_s = 0 if facts is None else facts.facts.bandwidth_bytes_per_s or 0
    if candidate.kind in (CARDS, BOX):
        return gpu_share * gpu_bytes_per_s / size.read_bytes
    if candidate.host is None or candidate.ram is None:
        return 0.0
    ram_bytes_per_s = candidate.host.bytes_per_s(candidate.ram) * ram_share
    seconds = size.seconds(
        vram_bytes(candidate), gpu_share * gpu_bytes_per_s or ram_bytes_per_s, ram_bytes_per_s
    )
    return 1 / seconds if seconds else 0.0
