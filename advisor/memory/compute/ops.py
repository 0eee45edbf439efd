"""The operations of ggml that decide sizes: each makes a tensor of the shape ggml.c gives it."""

from __future__ import annotations

from math import prod

from llmfit.advisor.memory.compute.tensor import Dims, Tensor, dims, view_of


def same(op: str, a: Tensor, *others: Tensor) -> Tensor:
    """An element-wise operation: the result is shaped like ``a``."""
    return Tensor(a.kind, a.ne, op, (a, *others))


def add(a: Tensor, b: Tensor) -> Tensor:
    return Tensor(a.kind, a.ne, "add", (a, b))


def mul(a: Tensor, b: Tensor) -> Tensor:
    return Tensor(a.kind, a.ne, "mul", (a, b))


def scale(a: Tensor) -> Tensor:
    return Tensor(a.kind, a.ne, "scale", (a,))


def unary(a: Tensor) -> Tensor:
    """silu, gelu, sigmoid, tanh, softplus, relu …: they may overwrite their operand."""
    return Tensor(a.kind, a.ne, "unary", (a,))


def glu(gate: Tensor, up: Tensor) -> Tensor:
    """swiglu, geglu and their kin on two operands."""
    return Tensor(gate.kind, gate.ne, "glu", (gate, up))


def glu_halves(a: Tensor) -> Tensor:
    """swiglu and its kin on the two halves of one operand."""
    return Tensor(a.kind, (a.ne[0] // 2, *a.ne[1:]), "glu", (a,))


def mul_mat(w: Tensor, x: Tensor) -> Tensor:
    return Tensor("F32", (w.ne[1], x.ne[1], x.ne[2], x.ne[3]), "mul_mat", (w, x))


def mul_mat_id(w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
    return Tensor("F32", (w.ne[1], ids.ne[0], x.ne[2], 1), "mul_mat_id", (w, x, ids))


def get_rows(a: Tensor, rows: Tensor) -> Tensor:
    kind = "I32" if a.kind == "I32" else "F32"
    return Tensor(kind, (a.ne[0], rows.ne[0], rows.ne[1], rows.ne[2]), "get_rows", (a, rows))


def set_rows(a: Tensor, values: Tensor, rows: Tensor) -> Tensor:
    """Writes into ``a``; the result is a view of it."""
    return view_of("set_rows", a, a.ne, a.nb, (values, rows, a))


def copy_to(a: Tensor, target: Tensor) -> Tensor:
    """ggml_cpy: the result is a view of ``target``."""
    return view_of("cpy", target, target.ne, target.nb, (a, target))


def cont(a: Tensor, *ne: int) -> Tensor:
    """A contiguous copy, in another shape where one is given."""
    return Tensor(a.kind, dims(*ne) if ne else a.ne, "cont", (a,))


def cast(a: Tensor, kind: str) -> Tensor:
    return Tensor(kind, a.ne, "cpy", (a,))


def reshape(a: Tensor, *ne: int) -> Tensor:
    shape = dims(*ne)
    out = Tensor(a.kind, shape, "reshape", (a,))
    out.view = a.root
    return out


def view(a: Tensor, ne: tuple[int, ...], *strides: int) -> Tensor:
    """ggml_view_Nd; the strides are those of dimensions 1 and up, the missing ones follow from the last."""
    shape = dims(*ne)
    if not strides:
        return view_of("view", a, shape, (a.nb[0], *Tensor(a.kind, shape).nb[1:]), (a,))
    nb1 = strides[0]
    nb2 = strides[1] if len(strides) > 1 else nb1 * shape[1]
    nb3 = strides[2] if len(strides) > 2 else nb2 * shape[2]
    return view_of("view", a, shape, (a.nb[0], nb1, nb2, nb3), (a,))


def permute(a: Tensor, *axes: int) -> Tensor:
    ne, nb = [0] * 4, [0] * 4
    for axis, target in enumerate(axes):
        ne[target], nb[target] = a.ne[axis], a.nb[axis]
    return view_of("permute", a, (ne[0], ne[1], ne[2], ne[3]), (nb[0], nb[1], nb[2], nb[3]), (a,))


def transpose(a: Tensor) -> Tensor:
    ne: Dims = (a.ne[1], a.ne[0], a.ne[2], a.ne[3])
    nb: Dims = (a.nb[1], a.nb[0], a.nb[2], a.nb[3])
    return view_of("transpose", a, ne, nb, (a,))


def concat(a: Tensor, b: Tensor, axis: int) -> Tensor:
    ne = list(a.ne)
    ne[axis] += b.ne[axis]
    return Tensor(a.kind, (ne[0], ne[1], ne[2], ne[3]), "concat", (a, b))


def repeat(a: Tensor, *ne: int) -> Tensor:
    return Tensor(a.kind, dims(*ne), "repeat", (a,))


def pad(a: Tensor, n0: int, n1: int = 0) -> Tensor:
    return Tensor(a.kind, (a.ne[0] + n0, a.ne[1] + n1, a.ne[2], a.ne[3]), "pad", (a,))


def soft_max(a: Tensor, *mask: Tensor) -> Tensor:
    return Tensor(a.kind, a.ne, "soft_max", (a, *mask))


def sum_rows(a: Tensor) -> Tensor:
    return Tensor(a.kind, (1, *a.ne[1:]), "sum_rows", (a,))


def argsort_top_k(a: Tensor, k: int) -> Tensor:
    order = Tensor("I32", a.ne, "argsort", (a,))
    return view(order, (k, *a.ne[1:]), *order.nb[1:])


def top_k(a: Tensor, k: int) -> Tensor:
    return Tensor("I32", (k, *a.ne[1:]), "top_k", (a,))


def flash_attn(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, *sinks: Tensor) -> Tensor:
    ne: Dims = (v.ne[0], q.ne[2], q.ne[1], q.ne[3])
    return Tensor("F32", ne, "flash_attn", (q, k, v, mask, *sinks))


def ssm_conv(sx: Tensor, kernel: Tensor) -> Tensor:
    n_tokens = sx.ne[0] - kernel.ne[0] + 1
    return Tensor("F32", (kernel.ne[1], n_tokens, sx.ne[2], 1), "ssm_conv", (sx, kernel))


def ssm_scan(
    state: Tensor, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, ids: Tensor, snapshots: int
) -> Tensor:
    n = prod(x.ne) + snapshots * prod(state.ne[:3]) * ids.ne[0]
    return Tensor("F32", dims(n), "ssm_scan", (state, x, dt, a, b, c, ids))
