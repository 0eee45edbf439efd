"""RWKV 6 and 7: layers mix each token with the one before (src/models/rwkv6-base.cpp, rwkv7-base.cpp)."""

from __future__ import annotations

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.recurrent import Recurrence
from llmfit.advisor.memory.compute.tensor import Tensor


class RwkvLayers:
    """The layers of one graph; from the second on they also read the first one's values (RWKV 7)."""

    def __init__(self, states: Recurrence) -> None:
        self.r = states
        self.b = states.b
        self.first_value: Tensor | None = None

    def _w(self, layer: int, name: str) -> Tensor:
        return self.b.need(f"blk.{layer}.{name}.weight")

    def _mm(self, layer: int, name: str, x: Tensor) -> Tensor:
        return ops.mul_mat(self._w(layer, name), x)

    def _norm(self, layer: int, name: str, x: Tensor) -> Tensor:
        return self.b.norm(x, self.b.of(layer, name), bias=self.b.of(layer, name, "bias"), kind="norm")

    def _previous(self, shift: Tensor, x: Tensor) -> Tensor:
        """Each token's predecessor: the state for the first, else the row before."""
        n, seqs = self.r.n_seq_tokens, self.r.n_seqs
        return ops.concat(shift, ops.view(x, (x.ne[0], n - 1, seqs), *x.nb[1:3]), 1)

    def layer(self, layer: int, x: Tensor, rows: Tensor | None) -> Tensor:
        """One layer; ``rows`` drops all but these tokens in the last."""
        r, b = self.r, self.b
        n_embd, n, seqs = b.shape.n_embd, r.n_seq_tokens, r.n_seqs
        x = ops.reshape(x, n_embd, n, seqs)
        store = r.conv_store(layer)
        shift = ops.reshape(r.load(store), n_embd, 2, seqs)
        shifts = [ops.view(shift, (n_embd, 1, seqs), *shift.nb[1:3]) for _ in range(2)]
        normed = self._norm(layer, "attn_norm", x)
        mix = self._mix7 if b.of(layer, "time_mix_r_k") is not None else self._mix6
        cur = ops.add(mix(layer, normed, self._previous(shifts[0], normed)), x)
        second = self._norm(layer, "attn_norm_2", cur)
        before = self._previous(shifts[1], second)
        ends = [ops.view(one, (n_embd, 1, seqs), *one.nb[1:3]) for one in (normed, second)]
        joined = ops.concat(ends[0], ends[1], 1)
        flat = ops.view(joined, (2 * n_embd * seqs,))
        b.expand(ops.copy_to(flat, ops.view(store, (store.ne[0] * seqs,))))
        cur, second, before = (ops.reshape(one, n_embd, n * seqs) for one in (cur, second, before))
        if rows is not None:
            cur, second, before = (ops.get_rows(one, rows) for one in (cur, second, before))
        return ops.add(self._channel_mix(layer, second, before), cur)

    def _lerp(self, layer: int, name: str, change: Tensor, x: Tensor) -> Tensor:
        return ops.add(ops.mul(change, self._w(layer, name)), x)

    def _channel_mix(self, layer: int, x: Tensor, before: Tensor) -> Tensor:
        change = ops.same("sub", before, x)
        key = self._lerp(layer, "channel_mix_lerp_k", change, x)
        key = ops.same("sqr", ops.unary(self._mm(layer, "channel_mix_key", key)))
        value = self._mm(layer, "channel_mix_value", key)
        if self.b.of(layer, "channel_mix_receptance") is None:
            return value
        gate = self._lerp(layer, "channel_mix_lerp_r", change, x)
        return ops.mul(ops.unary(self._mm(layer, "channel_mix_receptance", gate)), value)

    def _heads(self, x: Tensor) -> Tensor:
        size = self.r.state.head_size
        return ops.reshape(x, size, self.b.shape.n_embd // size, self.b.n_tokens)

    def _recur(self, layer: int, op: str, *operands: Tensor) -> Tensor:
        """The recurrence over all tokens, and its new state written back."""
        r, n_embd, size = self.r, self.b.shape.n_embd, self.r.state.head_size
        store = r.scan_store(layer)
        state = r.load(store)
        n_rows = self.b.n_tokens + size * r.n_seqs
        out = Tensor("F32", (n_embd, n_rows, 1, 1), op, (*operands, state))
        new = ops.view(out, (n_embd * size * r.n_seqs,))
        self.b.expand(ops.copy_to(new, ops.view(store, (store.ne[0] * r.n_seqs,))))
        return ops.view(out, (n_embd * self.b.n_tokens,))

    def _group_norm(self, layer: int, x: Tensor) -> Tensor:
        cur = ops.reshape(ops.same("norm", self._heads(x)), self.b.shape.n_embd, self.b.n_tokens)
        return ops.add(
            ops.mul(cur, self._w(layer, "time_mix_ln")), self.b.need(f"blk.{layer}.time_mix_ln.bias")
        )

    def _mix6(self, layer: int, x: Tensor, before: Tensor) -> Tensor:
        b, n_embd, n = self.b, self.b.shape.n_embd, self.b.n_tokens
        change = ops.reshape(ops.same("sub", before, x), n_embd, n)
        x = ops.reshape(x, n_embd, n)
        w1, w2 = self._w(layer, "time_mix_w1"), self._w(layer, "time_mix_w2")
        mixed = ops.unary(ops.mul_mat(w1, self._lerp(layer, "time_mix_lerp_x", change, x)))
        mixed = ops.cont(ops.permute(ops.reshape(mixed, w1.ne[1] // 5, 1, 5, n), 0, 1, 3, 2))
        mixed = ops.mul_mat(ops.reshape(w2, w2.ne[0], w2.ne[1], 1, 5), mixed)
        change, x = ops.reshape(change, n_embd, 1, n), ops.reshape(x, n_embd, 1, n)
        mixed = ops.add(ops.mul(ops.add(mixed, self._w(layer, "time_mix_lerp_fused")), change), x)
        xw, xk, xv, xr, xg = (ops.view(mixed, (n_embd, n), mixed.nb[1]) for _ in range(5))
        r = self._mm(layer, "time_mix_receptance", xr)
        k, v = self._mm(layer, "time_mix_key", xk), self._mm(layer, "time_mix_value", xv)
        gate = ops.unary(self._mm(layer, "time_mix_gate", xg))
        k, v, r = self._heads(k), self._heads(v), self._heads(r)
        decay = self._mm(layer, "time_mix_decay_w2", ops.unary(self._mm(layer, "time_mix_decay_w1", xw)))
        decay = ops.unary(ops.unary(ops.unary(ops.add(decay, self._w(layer, "time_mix_decay")))))
        out = self._recur(layer, "wkv6", k, v, r, self._w(layer, "time_mix_first"), self._heads(decay))
        cur = ops.mul(self._group_norm(layer, out), gate)
        cur = self._mm(layer, "time_mix_output", cur)
        return ops.reshape(cur, n_embd, self.r.n_seq_tokens, b.batch.n_seqs)

    def _mix7(self, layer: int, x: Tensor, before: Tensor) -> Tensor:
        b, n_embd, n = self.b, self.b.shape.n_embd, self.b.n_tokens
        gated = b.of(layer, "time_mix_g1") is not None
        n_parts = 6 if gated else 5
        change = ops.same("sub", before, x)
        change = ops.repeat(change, n_embd, self.r.n_seq_tokens, self.r.n_seqs, n_parts)
        mixed = self._lerp(layer, "time_mix_lerp_fused", change, x)
        xr, xw, xk, xv, xa, *xg = (ops.view(mixed, (n_embd, n), mixed.nb[1]) for _ in range(n_parts))
        r = self._mm(layer, "time_mix_receptance", xr)
        decay = self._low_rank(layer, "w", xw, activated=True)
        decay = ops.unary(ops.scale(ops.unary(decay)))
        k = self._mm(layer, "time_mix_key", xk)
        v = self._value7(layer, xv)
        a = ops.unary(self._low_rank(layer, "a", xa))
        gate = None
        if xg:
            gate = self._mm(layer, "time_mix_g2", ops.unary(self._mm(layer, "time_mix_g1", xg[0])))
        kk = ops.same("l2_norm", self._heads(ops.mul(k, self._w(layer, "time_mix_k_k"))))
        ka = ops.mul(k, self._w(layer, "time_mix_k_a"))
        k = ops.add(k, ops.same("sub", ops.mul(a, ka), ka))
        r, decay, k, v, a = (self._heads(one) for one in (r, decay, k, v, a))
        cur = self._recur(layer, "wkv7", r, decay, k, v, ops.unary(kk), ops.mul(kk, a))
        cur = self._group_norm(layer, cur)
        scale = ops.reshape(self._w(layer, "time_mix_r_k"), *r.ne[:2])
        bonus = ops.sum_rows(ops.mul(ops.mul(k, r), scale))
        cur = ops.add(cur, ops.reshape(ops.mul(v, bonus), n_embd, n))
        cur = cur if gate is None else ops.mul(cur, gate)
        cur = self._mm(layer, "time_mix_output", cur)
        return ops.reshape(cur, n_embd, self.r.n_seq_tokens, self.r.n_seqs)

    def _low_rank(self, layer: int, which: str, x: Tensor, *, activated: bool = False) -> Tensor:
        inner = self._mm(layer, f"time_mix_{which}1", x)
        inner = ops.unary(inner) if activated else inner
        return ops.add(self._mm(layer, f"time_mix_{which}2", inner), self._w(layer, f"time_mix_{which}0"))

    def _value7(self, layer: int, x: Tensor) -> Tensor:
        v = self._mm(layer, "time_mix_value", x)
        if self.first_value is None:
            self.first_value = v
            return v
        share = ops.unary(self._low_rank(layer, "v", x))
        return ops.add(v, ops.mul(ops.same("sub", self.first_value, v), share))
