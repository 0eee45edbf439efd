"""Tensors of a computation graph: shapes, strides and views, without data (struct ggml_tensor)."""

from __future__ import annotations

from math import prod

from llmfit.advisor.model.quantization import TENSOR_TYPES

_BLOCKS = {name: (kind.block_elements, kind.block_bytes) for name, kind in TENSOR_TYPES.items()}

Dims = tuple[int, int, int, int]

NOWHERE = -1
"""``home`` and ``backend`` of a tensor that has none."""
VIEW_OPS = frozenset(("view", "reshape", "permute", "transpose"))


class Tensor:
    """One tensor. ``ne`` are elements, ``nb`` byte strides, ``n_bytes`` what ggml_nbytes says.

    ``view`` is the tensor that owns the bytes (ggml follows views of views to the first one). ``home`` is the
    backend whose buffer holds it already: weights and caches. The last fields are the scheduler's and the
    allocator's notes; a tensor belongs to one graph only.
    """

    __slots__ = (
        "allocated",
        "backend",
        "buffer",
        "children",
        "copies",
        "home",
        "is_input",
        "is_output",
        "is_weight",
        "kind",
        "n_bytes",
        "nb",
        "ne",
        "op",
        "scratch_bytes",
        "seen",
        "src",
        "strict",
        "taken",
        "view",
        "views",
    )

    def __init__(self, kind: str, ne: Dims, op: str = "", src: tuple[Tensor, ...] = ()) -> None:
        block, block_bytes = _BLOCKS[kind]
        row = ne[0] * block_bytes // block
        plane = row * ne[1]
        cube = plane * ne[2]
        self.kind = kind
        self.ne = ne
        self.nb: Dims = (block_bytes, row, plane, cube)
        self.n_bytes = cube * ne[3]
        self.op = op
        self.src = list(src)
        self.view: Tensor | None = None
        self.home = NOWHERE
        self.is_weight = False
        self.is_input = False
        self.is_output = False
        self.strict = False
        self.seen = False
        self.scratch_bytes = 0
        self.backend = NOWHERE
        self.copies: dict[int, list[Tensor]] | None = None
        self.children = 0
        self.views = 0
        self.buffer = NOWHERE
        self.taken = NOWHERE
        self.allocated = False

    @property
    def is_contiguous(self) -> bool:
        block, block_bytes = _BLOCKS[self.kind]
        row = self.ne[0] * block_bytes // block
        return self.nb == (block_bytes, row, row * self.ne[1], row * self.ne[1] * self.ne[2])

    @property
    def root(self) -> Tensor:
        """The tensor whose buffer this one lies in."""
        return self if self.view is None else self.view

    def __repr__(self) -> str:
        return f"<{self.op or 'leaf'} {self.kind} {self.ne}>"


def dims(*ne: int) -> Dims:
    """Four dimensions, the missing ones 1."""
    return (*ne, 1, 1, 1)[:4]  # type: ignore[return-value]


def view_of(op: str, a: Tensor, ne: Dims, nb: Dims, src: tuple[Tensor, ...]) -> Tensor:
    """A tensor that looks into the bytes of ``a``."""
    out = Tensor(a.kind, ne, op, src)
    out.view = a.root
    if nb != out.nb:
        out.nb = nb
        block, block_bytes = _BLOCKS[a.kind]
        last = sum((n - 1) * stride for n, stride in zip(ne[1:], nb[1:], strict=True))
        first = (ne[0] - 1) * nb[0] + block_bytes if block == 1 else ne[0] * nb[0] // block
        out.n_bytes = first + last if prod(ne) else 0
    return out


def duplicate(a: Tensor) -> Tensor:
    """The copy of ``a`` that the scheduler makes on another backend (ggml_dup_tensor_layout)."""
    out = Tensor(a.kind, a.ne)
    out.nb = a.nb
    out.n_bytes = a.n_bytes
    return out


def row_bytes(kind: str, n_elements: int) -> int:
    """ggml_row_size."""
    block, block_bytes = _BLOCKS[kind]
    return n_elements * block_bytes // block


def is_quantized(kind: str) -> bool:
    return _BLOCKS[kind][0] > 1
