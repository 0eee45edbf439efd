"""What each place of a model costs while a prompt is read: matrices, weights, attention, copies from RAM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.model.shape import LayerKind, ModelShape
from llmfit.advisor.speed.prefill.constants import PrefillConstants
from llmfit.advisor.speed.prefill.rates import FLOP_PER_PARAMETER, CardRates, host_flops, matrix_s, typed
from llmfit.advisor.speed.prefill.stages import Cost, Floor, Stage
from llmfit.advisor.speed.reads import F32_BYTES, CacheReads, DecodeReads, PlaceReads, Role
from llmfit.advisor.speed.terms import Cause

RAM = "RAM"
STATE_FLOP = 8
"""Operations for each element of a recurrent state and token: decay, read, difference, update."""
F16_BYTES = 2
USUAL_HEAD = 128


@dataclass(frozen=True, slots=True)
class PlaceCosts:
    """What the places of one model cost."""

    shape: ModelShape
    reads: DecodeReads
    constants: PrefillConstants
    attention_flop: tuple[float, float]

    @staticmethod
    def of(shape: ModelShape, reads: DecodeReads, constants: PrefillConstants) -> PlaceCosts:
        return PlaceCosts(shape, reads, constants, _attention_flop(shape))

    def gpu_stage(self, place: PlaceReads, card: CardRates) -> Stage:
        """What a GPU does with the weights and the cache that it holds."""
        costs = [*self._matrices(place, card), *self._weight_reads(place, card)]
        costs += self._attention(place.cache, card, card.label)
        layers = place.n_layers + self.constants.expert_layers * place.n_expert_layers
        layers += self.constants.state_layers * self._state_layers(place.cache)
        costs += self._layers(layers, card)
        floor = Floor(
            token_s=self._flop(place) / card.peak_flops,
            ubatch_s=place.weight_bytes(Role.DENSE, Role.EXPERT) / card.bytes_per_s,
        )
        return Stage.of(costs, floor)

    def copied_stage(
        self, card: CardRates, copy_bytes_per_s: float, link_bytes_per_s: float, *, with_cache: bool
    ) -> Stage:
        """What the first GPU does with weights that lie in RAM, and their way there. The cache of such layers
        is copied, too, unless attention is left to the CPU (``-nkvo``)."""
        host = self.reads.host
        costs = list(self._matrices(host, card))
        dense, experts = host.weight_bytes(Role.DENSE), self._all_experts(host.weight_bytes(Role.EXPERT))
        cache_bytes = 0.0
        if with_cache:
            costs += self._attention(host.cache, card, card.label)
            cache_bytes = F16_BYTES * float(host.cache.full_k_elements + host.cache.full_v_elements)
        costs.append(
            Cost(
                "weights from RAM",
                f"{RAM} to {card.label}",
                Cause.PCIE,
                ubatch_s=dense / copy_bytes_per_s,
                touch_s=experts / copy_bytes_per_s,
                cache_token_s=cache_bytes / copy_bytes_per_s,
                per_s=copy_bytes_per_s,
                unit="B",
            )
        )
        costs += self._layers(host.n_layers + self.constants.expert_layers * host.n_expert_layers, card)
        floor = Floor(
            token_s=self._flop(host) / card.peak_flops,
            ubatch_s=host.weight_bytes(Role.DENSE, Role.EXPERT) / link_bytes_per_s,
        )
        return Stage.of(costs, floor)

    def host_stage(
        self, machine: Machine, *, with_weights: bool = True, with_cache: bool = True
    ) -> Stage | None:
        """What the CPU multiplies and reads; ``None`` where its speed is not known."""
        flops, ram = host_flops(machine, self.constants), machine.memory.bandwidth_bytes_per_s
        if flops is None:
            return None
        host = self.reads.host
        costs = [
            Cost(role.value, RAM, Cause.COMPUTE, token_s=self._flop(host, role) / flops, per_s=flops)
            for role in (Role.DENSE, Role.EXPERT)
            if with_weights and host.n_parameters(role)
        ]
        if with_cache:
            cell, window_cell = self._cell_flop(host.cache)
            state_s = STATE_FLOP * host.cache.state_bytes / F32_BYTES / flops
            cell_s, window_s = cell / flops, window_cell / flops
            if cell or window_cell or state_s:
                costs.append(
                    Cost("attention", RAM, Cause.COMPUTE, state_s, 0.0, 0.0, cell_s, window_s, per_s=flops)
                )
        if not with_weights or ram is None:
            return Stage.of(costs, Floor())
        dense = host.weight_bytes(Role.DENSE)
        experts = self._all_experts(host.weight_bytes(Role.EXPERT))
        costs.append(
            Cost(
                "weights",
                RAM,
                Cause.SYSTEM_MEMORY,
                ubatch_s=dense / ram,
                touch_s=experts / ram,
                per_s=float(ram),
                unit="B",
            )
        )
        peak = float(max(ram, machine.memory.peak_bandwidth_bytes_per_s or 0))
        return Stage.of(costs, Floor(ubatch_s=host.weight_bytes(Role.DENSE, Role.EXPERT) / peak))

    def _layers(self, layers: float, card: CardRates) -> Iterator[Cost]:
        if layers:
            yield Cost("layers", card.label, Cause.LAUNCH, ubatch_s=layers * card.kernels.layer_s)

    def _flop(self, place: PlaceReads, *roles: Role) -> float:
        """Operations for one token; of all but the output head without roles."""
        return FLOP_PER_PARAMETER * place.n_parameters(*(roles or (Role.DENSE, Role.EXPERT)))

    def _matrices(self, place: PlaceReads, card: CardRates) -> Iterator[Cost]:
        dense = typed(place, Role.DENSE)
        if dense:
            seconds = matrix_s(dense, card)
            flop = FLOP_PER_PARAMETER * place.n_parameters(Role.DENSE)
            yield Cost(Role.DENSE.value, card.label, Cause.COMPUTE, token_s=seconds, per_s=flop / seconds)
        experts = typed(place, Role.EXPERT)
        if experts:
            seconds = matrix_s(experts, card) / card.kernels.expert_factor
            flop = FLOP_PER_PARAMETER * place.n_parameters(Role.EXPERT)
            yield Cost(
                Role.EXPERT.value,
                card.label,
                Cause.COMPUTE,
                token_s=seconds,
                touch_s=self._all_experts(seconds) * card.kernels.pad_tokens,
                per_s=flop / seconds,
            )

    def _weight_reads(self, place: PlaceReads, card: CardRates) -> Iterator[Cost]:
        dense, experts = place.weight_bytes(Role.DENSE), self._all_experts(place.weight_bytes(Role.EXPERT))
        rate = card.bytes_per_s * self.constants.weight_read_share
        if dense or experts:
            yield Cost(
                "weights",
                card.label,
                Cause.GPU_MEMORY,
                ubatch_s=dense / rate,
                touch_s=experts / rate,
                per_s=rate,
                unit="B",
            )

    def _attention(self, cache: CacheReads, card: CardRates, where: str) -> Iterator[Cost]:
        cell, window_cell = self._cell_flop(cache)
        rate = card.attention_flops * self._head_factor()
        if cell or window_cell:
            yield Cost(
                "attention",
                where,
                Cause.COMPUTE,
                cell_s=cell / rate,
                window_cell_s=window_cell / rate,
                per_s=rate,
            )
        if cache.state_bytes:
            flop, rate = STATE_FLOP * cache.state_bytes / F32_BYTES, card.state_flops
            yield Cost("recurrence", where, Cause.COMPUTE, token_s=flop / rate, per_s=rate)

    def _cell_flop(self, cache: CacheReads) -> tuple[float, float]:
        """Operations for one token looking at one cached token: in the layers here that see all of the cache,
        and in those with a window. Each head multiplies a row of K and one of V."""
        full, window = self.attention_flop
        caches = [place.cache for place in self.reads.places]
        all_full = sum(one.full_k_elements for one in caches)
        all_window = sum(one.window_k_elements for one in caches)
        return (
            full * cache.full_k_elements / all_full if all_full else 0.0,
            window * cache.window_k_elements / all_window if all_window else 0.0,
        )

    def _head_factor(self) -> float:
        """Kernels are tuned for heads of the usual width."""
        usual = self.shape.mla is None and USUAL_HEAD in self.shape.head_dim_k
        return 1.0 if usual else self.constants.odd_head_factor

    def _state_layers(self, cache: CacheReads) -> float:
        elements = self.shape.recurrent_elements
        return cache.state_bytes / (F32_BYTES * elements) if elements else 0.0

    def _all_experts(self, active: float) -> float:
        """From what one token uses of the experts to all of them."""
        return active * self.shape.n_expert / self.shape.n_expert_used if self.shape.n_expert_used else active


def _attention_flop(shape: ModelShape) -> tuple[float, float]:
    full = window = 0.0
    for layer in range(shape.n_layer):
        if not shape.has_attention(layer):
            continue
        flop = 2.0 * shape.n_head[layer] * (shape.head_dim_k[layer] + shape.head_dim_v[layer])
        if shape.kinds[layer] is LayerKind.SWA and shape.window_tokens:
            window += flop
        else:
            full += flop
    return full, window
