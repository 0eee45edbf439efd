"""Asks llama.cpp itself what it would allocate: the memoracle program, started once for each set of cards."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

from llama_cpp_build import Card, LlamaCppBuild


class MemoracleError(Exception):
    """llama.cpp refused the arguments, the model or the context; the text is its own."""


@dataclass(frozen=True, slots=True)
class Buffers:
    """llama.cpp's three numbers for one device, in bytes."""

    model_bytes: int
    context_bytes: int
    compute_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.model_bytes + self.context_bytes + self.compute_bytes

    def __add__(self, other: Buffers) -> Buffers:
        return Buffers(
            self.model_bytes + other.model_bytes,
            self.context_bytes + other.context_bytes,
            self.compute_bytes + other.compute_bytes,
        )


NOTHING = Buffers(0, 0, 0)


@dataclass(frozen=True, slots=True)
class OracleAnswer:
    """What llama.cpp would allocate on each card, in order, and on the host (its buffer types together)."""

    gpus: tuple[Buffers, ...]
    host: Buffers
    raw: dict[str, Any]

    @property
    def n_ctx(self) -> int:
        return int(self.raw["n_ctx"])


class Memoracle:
    """One memoracle process. A question is a tuple of llama-server arguments (without the program's name).

    ``ask(args, tool=True)`` behaves like llama-fit-params (logits for a whole batch); ``fit=True`` lets --fit
    change what is not given before measuring. An answer takes 30 to 300 ms; no weights are read.
    """

    def __init__(self, build: LlamaCppBuild, cards: Sequence[Card] = (), device_prefix: str = "CUDA") -> None:
        self.cards = tuple(cards)
        self._device_prefix = device_prefix
        self._build = build
        self._process: subprocess.Popen[str] | None = None

    def ask(self, args: Sequence[str], *, tool: bool = False, fit: bool = False) -> OracleAnswer:
        """Raises MemoracleError with llama.cpp's own message where it refuses."""
        words = (["@tool"] if tool else []) + (["@fit"] if fit else []) + list(args)
        raw = self._exchange(" ".join(_quoted(word) for word in words))
        if "error" in raw:
            raise MemoracleError(f"{raw['error']}: {raw.get('msg', '').strip()}")
        return self._answer(raw)

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Memoracle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, line: str) -> dict[str, Any]:
        stdin, stdout = self._pipes()
        stdin.write(line + "\n")
        stdin.flush()
        reply = stdout.readline()
        if not reply:
            status = self._process.wait() if self._process else None
            self._process = None
            raise MemoracleError(f"memoracle ended with status {status} at: {line}")
        answer: dict[str, Any] = json.loads(reply)
        return answer

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process is None:
            self._process = subprocess.Popen(
                [str(self._build.memoracle)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=self._build.environment(self.cards, self._device_prefix),
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _answer(self, raw: dict[str, Any]) -> OracleAnswer:
        gpus = [NOTHING] * len(self.cards)
        host = NOTHING
        for name, numbers in raw["bufts"].items():
            buffers = Buffers(numbers["model"], numbers["context"], numbers["compute"])
            device = name.removeprefix(self._device_prefix)
            if device.isdigit():
                gpus[int(device)] += buffers
            else:
                host += buffers
        return OracleAnswer(tuple(gpus), host, raw)


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word or not word else word
