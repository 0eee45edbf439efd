"""Where the llama.cpp build of build.sh lies, and the processes that use it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

BUILD = "llama.cpp-b11434"
HOW = "run tests/llama_cpp/build.sh (about five minutes, once)"
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Card:
    """A fake graphics card."""

    total_mib: int
    free_mib: int | None = None

    @property
    def free_bytes(self) -> int:
        return (self.total_mib if self.free_mib is None else self.free_mib) * MIB

    def __str__(self) -> str:
        return f"{self.total_mib}" if self.free_mib is None else f"{self.total_mib}:{self.free_mib}"


@dataclass(frozen=True, slots=True)
class LlamaCppBuild:
    """The folder that build.sh made."""

    folder: Path

    @property
    def server(self) -> Path:
        return self.folder / "bin" / "llama-server"

    @property
    def quantize(self) -> Path:
        return self.folder / "bin" / "llama-quantize"

    @property
    def fake_gpu(self) -> Path:
        return self.folder / "fake" / "libggml-fakegpu.so"

    @property
    def memoracle(self) -> Path:
        return self.folder / "fake" / "memoracle"

    def environment(self, cards: tuple[Card, ...], device_prefix: str = "CUDA") -> dict[str, str]:
        """The environment in which llama.cpp sees exactly these cards (none: CPU only).

        ``device_prefix`` is what their names begin with; whatever it is, they reserve memory as CUDA does.
        """
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        if cards:
            environment["FAKEGPU"] = ",".join(map(str, cards))
            environment["FAKEGPU_NAME"] = device_prefix
            environment["LD_PRELOAD"] = str(self.fake_gpu)
        return environment


def default_folder() -> Path:
    """``$LLMFIT_LLAMA_CPP``, else the folder in the user's cache, as in build.sh."""
    named = os.environ.get("LLMFIT_LLAMA_CPP")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "llmfit-tests" / BUILD


def find_build() -> tuple[LlamaCppBuild | None, str]:
    """The build, or None and the reason with how to get it."""
    build = LlamaCppBuild(default_folder())
    for needed in (build.folder / "stamp", build.server, build.fake_gpu, build.memoracle):
        if not needed.exists():
            return None, f"no llama.cpp build ({needed} is missing): {HOW}"
    return build, ""
