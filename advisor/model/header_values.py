"""Typed access to GGUF metadata of one architecture: ``{arch}.attention.head_count`` and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmfit.advisor.errors import GgufError


class HeaderValues:
    """Keys are given without the architecture's prefix. A wrong type or length raises GgufError."""

    __slots__ = ("_metadata", "architecture")

    def __init__(self, metadata: Mapping[str, object]) -> None:
        self._metadata = metadata
        architecture = metadata.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise GgufError("the header", "it names no architecture")
        self.architecture = architecture

    def raw(self, key: str) -> object:
        return self._metadata.get(f"{self.architecture}.{key}")

    def has(self, key: str) -> bool:
        return self.raw(key) is not None

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer key; without ``default`` it must be there. An array in its place is refused."""
        value = self.raw(key)
        if value is None:
            if default is None:
                raise GgufError(f"{self.architecture}.{key}", "the header lacks it")
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**40:
            raise GgufError(f"{self.architecture}.{key}", f"not a sensible number ({str(value)[:40]!r})")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.raw(key)
        return default if value is None else bool(value)

    def array(self, key: str) -> tuple[int, ...] | None:
        """The integers or booleans of an array key, or ``None`` where it is absent or a single value."""
        value = self.raw(key)
        if value is None or isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            return None
        if not all(isinstance(item, int) for item in value):
            raise GgufError(f"{self.architecture}.{key}", "not an array of whole numbers")
        return tuple(int(item) for item in value)

    def per_layer(self, key: str, n_layer: int, default: int | None = None) -> tuple[int, ...]:
        """One value a layer from a number or an array of at least ``n_layer`` (llama.cpp get_key_or_arr)."""
        values = self.array(key)
        if values is None:
            return (self.integer(key, default),) * n_layer
        if len(values) < n_layer:
            raise GgufError(f"{self.architecture}.{key}", f"{len(values)} values for {n_layer} layers")
        return values[:n_layer]
