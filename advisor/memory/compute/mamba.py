"""Mamba layers (src/models/mamba-base.cpp)."""

from __future__ import annotations

from llmfit.advisor.memory.compute import ops
from llmfit.advisor.memory.compute.recurrent import Recurrence
from llmfit.advisor.memory.compute.tensor import Tensor


def _plain(r: Recurrence, layer: int, name: str) -> Tensor:
    """A weight whose name may lack a suffix (ssm_a, ssm_d)."""
    found = r.b.of(layer, name, "") or r.b.of(layer, name)
    if found is None:
        raise KeyError(f"blk.{layer}.{name}")
    return found


def _convolve_loaded(
    r: Recurrence, layer: int, x: Tensor, channels: int, kernel: Tensor, store: Tensor, loaded: Tensor
) -> Tensor:
    state = ops.reshape(loaded, kernel.ne[0] - 1, channels, r.n_seqs)
    joined = ops.concat(state, ops.transpose(x), 0)
    r.save_window(joined, store, kernel.ne[0], channels)
    out = ops.ssm_conv(joined, kernel)
    bias = r.b.of(layer, "ssm_conv1d", "bias")
    return ops.unary(ops.add(out, bias) if bias is not None else out)


def mamba2(r: Recurrence, layer: int, x: Tensor) -> Tensor:
    """build_mamba2_layer."""
    b, s, n, seqs = r.b, r.state, r.n_seq_tokens, r.n_seqs
    heads, inner, groups, size = s.time_step_rank, s.inner_size, s.group_count, s.state_size
    width, channels = inner // heads, inner + 2 * groups * size
    store = r.conv_store(layer)
    loaded = r.load(store)
    zxbcdt = r.sequences(ops.mul_mat(b.need(f"blk.{layer}.ssm_in.weight"), x))
    row, plane = zxbcdt.nb[1], zxbcdt.nb[2]
    z = ops.view(zxbcdt, (width, heads, n, seqs), 4 * width, row, plane)
    xbc = ops.view(zxbcdt, (channels, n, seqs), row, plane)
    dt = ops.view(zxbcdt, (heads, n, seqs), row, plane)
    kernel = b.need(f"blk.{layer}.ssm_conv1d.weight")
    xbc = _convolve_loaded(r, layer, xbc, channels, kernel, store, loaded)
    row, plane = xbc.nb[1], xbc.nb[2]
    value = ops.view(xbc, (width, heads, n, seqs), 4 * width, row, plane)
    keys, queries = (ops.view(xbc, (size, groups, n, seqs), 4 * size, row, plane) for _ in range(2))
    dt = ops.add(ops.cont(dt), b.need(f"blk.{layer}.ssm_dt.bias"))
    out = _scan(r, layer, (width, heads, size), value, dt, keys, queries)
    y = ops.view(out, (width, heads, n, seqs), 4 * width, 4 * inner, 4 * inner * n)
    y = ops.add(y, ops.mul(value, _plain(r, layer, "ssm_d")))
    y = ops.glu(ops.cont(z), y)
    norm = b.of(layer, "ssm_norm")
    if norm is not None:
        y = b.norm(ops.reshape(y, inner // groups, groups, n, seqs), norm)
    return b.linear(layer, "ssm_out", ops.reshape(y, inner, n * seqs))


def _scan(
    r: Recurrence,
    layer: int,
    sizes: tuple[int, int, int],
    x: Tensor,
    dt: Tensor,
    keys: Tensor,
    queries: Tensor,
    decay: Tensor | None = None,
) -> Tensor:
    """The selective scan, reading the states where they lie and writing the new ones back."""
    width, heads, size = sizes
    store = r.scan_store(layer)
    decays = _plain(r, layer, "ssm_a") if decay is None else decay

    def reader(states: Tensor, rows: Tensor) -> Tensor:
        state = ops.reshape(states, size, width, heads, store.ne[1])
        return ops.ssm_scan(state, x, dt, decays, keys, queries, rows, r.snapshots)

    out = r.load(store, reader)
    elements = size * width * heads
    new = ops.view(out, (elements, r.n_seqs, min(r.n_seq_tokens, r.snapshots)), 4 * elements)
    r.save(new, store, *new.ne[:3])
    return out


def mamba(r: Recurrence, layer: int, x: Tensor) -> Tensor:
    """build_mamba_layer (the first Mamba)."""
    b, s, n, seqs = r.b, r.state, r.n_seq_tokens, r.n_seqs
    inner, size, rank = s.inner_size, s.state_size, s.time_step_rank
    store = r.conv_store(layer)
    loaded = r.load(store)
    xz = ops.mul_mat(b.need(f"blk.{layer}.ssm_in.weight"), r.sequences(x))
    value = ops.view(xz, (inner, n, seqs), *xz.nb[1:3])
    z = ops.view(xz, (inner, n, seqs), *xz.nb[1:3])
    kernel = b.need(f"blk.{layer}.ssm_conv1d.weight")
    value = _convolve_loaded(r, layer, value, inner, kernel, store, loaded)
    joined = ops.mul_mat(b.need(f"blk.{layer}.ssm_x.weight"), value)
    dt = ops.view(joined, (rank, n, seqs), *joined.nb[1:3])
    keys, queries = (ops.view(joined, (size, 1, n, seqs), 4 * size, *joined.nb[1:3]) for _ in range(2))
    dt, keys, queries = _dt_b_c(r, layer, dt, keys, queries)
    dt = b.linear(layer, "ssm_dt", dt)
    flat = ops.reshape(value, 1, inner, n, seqs)
    out = _scan(r, layer, (1, inner, size), flat, dt, keys, queries)
    y = ops.view(out, (inner, n, seqs), *flat.nb[2:4])
    y = ops.add(y, ops.mul(value, _plain(r, layer, "ssm_d")))
    y = ops.glu(ops.cont(z), y)
    y = b.linear(layer, "ssm_out", y)
    return ops.reshape(y, y.ne[0], n * seqs)


def _dt_b_c(
    r: Recurrence, layer: int, dt: Tensor, keys: Tensor, queries: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Norms of dt, B and C where the model has them (jamba), else dt alone is made contiguous."""
    b = r.b
    if b.of(layer, "ssm_dt_norm") is None and b.shape.architecture != "falcon-mamba":
        return ops.cont(dt), keys, queries
    parts = zip((dt, keys, queries), ("dt", "b", "c"), strict=True)
    dt, keys, queries = (b.norm(one, b.of(layer, f"ssm_{name}_norm")) for one, name in parts)
    return dt, keys, queries


def plamo2_mamba(r: Recurrence, layer: int, x: Tensor) -> Tensor:
    """PLaMo 2's mixer: Mamba with heads and z beside x in every head (src/models/plamo2.cpp)."""
    b, s, n, seqs = r.b, r.state, r.n_seq_tokens, r.n_seqs
    heads, inner, size = s.time_step_rank, s.inner_size, s.state_size
    width, rank = inner // heads, max(64, b.shape.n_embd // 16)
    store = r.conv_store(layer)
    loaded = r.load(store)
    zx = ops.mul_mat(b.need(f"blk.{layer}.ssm_in.weight"), r.sequences(x))
    zx = ops.cont(ops.permute(zx, 0, 2, 1, 3), 2 * width, heads, n, seqs)
    value, z = (ops.view(zx, (width, heads, n, seqs), *zx.nb[1:4]) for _ in range(2))
    value = ops.cont(value, inner, n, seqs)
    kernel = b.need(f"blk.{layer}.ssm_conv1d.weight")
    value = _convolve_loaded(r, layer, value, inner, kernel, store, loaded)
    joined = ops.mul_mat(b.need(f"blk.{layer}.ssm_x.weight"), value)
    keys, queries = (ops.view(joined, (size, n, seqs), *joined.nb[1:3]) for _ in range(2))
    dt = ops.view(joined, (rank, n, seqs), *joined.nb[1:3])
    keys, queries, dt = (
        b.norm(one, b.of(layer, f"ssm_{name}_norm", ""))
        for one, name in zip((keys, queries, dt), ("b", "c", "dt"), strict=True)
    )
    dt = b.linear(layer, "ssm_dt", dt)
    parts = ops.view(value, (width, heads, n, seqs), 4 * width, 4 * inner, 4 * inner * n)
    keys, queries = (ops.view(one, (size, 1, n, seqs), 4 * size, *one.nb[1:3]) for one in (keys, queries))
    decay = ops.reshape(_plain(r, layer, "ssm_a"), 1, heads)
    out = _scan(r, layer, (width, heads, size), parts, dt, keys, queries, decay)
    y = ops.view(out, (width, heads, n, seqs), 4 * width, 4 * inner, 4 * inner * n)
    y = ops.add(y, ops.mul(parts, ops.reshape(_plain(r, layer, "ssm_d"), 1, heads)))
    y = ops.glu(ops.cont(z), y)
    y = b.linear(layer, "ssm_out", ops.view(y, (inner, n, seqs), *y.nb[2:4]))
    return ops.reshape(y, y.ne[0], n * seqs)
