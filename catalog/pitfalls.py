"""Known pitfalls of models, cards and llama-server, with what one sees and what helps.

99 entries of 2026-11, each with its source. They are reports: what was seen on one build may be gone in the
next, so each says the builds it was seen on or fixed in, where that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

from llmfit.catalog import loader

if TYPE_CHECKING:
    from llmfit.advisor.hardware.machine import Gpu, Machine

SEVERITIES = ("critical", "high", "medium", "low")
"""The worst first."""


@dataclass(frozen=True, slots=True)
class Pitfall:
    """``scope`` is ``model``, ``hardware`` or ``runtime``. ``id`` is stable.

    ``min_build`` is the first llama.cpp build without it; ``bad_builds`` the first and last one it was
    reported for, ``fixed_since`` the date (``YYYY-MM`` or longer) of the builds or files without it. None is
    unknown. A report for some builds does not say that later ones are without it.
    """

    id: str
    family: str
    scope: str
    severity: str
    pitfall: str
    symptom: str
    fix: str
    source: str
    models: tuple[str, ...]
    architectures: tuple[str, ...]
    machines: tuple[str, ...]
    """Kinds of machine, keys of ``machine_kinds``; empty for any."""
    min_build: int | None
    bad_builds: tuple[int, int] | None
    fixed_since: str | None
    status: str | None

    @property
    def is_of_models(self) -> bool:
        return bool(self.models or self.architectures)

    @property
    def builds_text(self) -> str | None:
        """``seen on b8200 to b8643; gone since b8701``; ``None`` where nothing of it is known."""
        parts = []
        if self.bad_builds is not None:
            first, last = self.bad_builds
            parts.append(f"seen on b{first}" if first == last else f"seen on b{first} to b{last}")
        if self.min_build is not None:
            parts.append(f"gone since b{self.min_build}")
        if self.fixed_since is not None:
            parts.append(f"fixed in builds or files since {self.fixed_since}")
        if self.status is not None:
            parts.append(self.status)
        return "; ".join(parts) or None


def pitfalls_of(model_id: str, architecture: str, machine: Machine | None = None) -> tuple[Pitfall, ...]:
    """What is known of a model, by its catalogue id or its GGUF architecture, the worst first.

    With ``machine`` only what can happen there: not what is of other hardware, nor what its llama-server is
    too new for.
    """
    return _worst_first(
        row
        for row in all_pitfalls()
        if (model_id in row.models or architecture in row.architectures) and _can_happen(row, machine)
    )


def pitfalls_of_machine(machine: Machine) -> tuple[Pitfall, ...]:
    """What is known of this hardware whatever the model, the worst first."""
    return _worst_first(
        row for row in all_pitfalls() if row.machines and not row.is_of_models and _can_happen(row, machine)
    )


def general_pitfalls(machine: Machine | None = None) -> tuple[Pitfall, ...]:
    """What holds for llama-server with any model on any machine, the worst first.

    With ``machine`` not what its llama-server is too new for.
    """
    return _worst_first(
        row
        for row in all_pitfalls()
        if row.scope == "runtime" and not row.machines and not row.is_of_models and _can_happen(row, machine)
    )


@cache
def all_pitfalls() -> tuple[Pitfall, ...]:
    """Every entry, in the order of the file."""
    return tuple(_pitfall(row) for row in loader.bundled_rows(loader.PITFALLS).values())


def machine_kinds() -> Mapping[str, Callable[[Machine], bool]]:
    """What the ``machines`` of an entry mean."""
    return {
        "apple": _any_gpu(lambda gpu: gpu.vendor == "apple"),
        "intel": _any_gpu(lambda gpu: gpu.vendor == "intel"),
        # A card of AMD or Intel may run with Vulkan whatever backend is planned with here.
        "vulkan": _any_gpu(lambda gpu: gpu.backend == "vulkan" or gpu.vendor in ("amd", "intel")),
        "cuda": _any_gpu(lambda gpu: gpu.backend == "cuda"),
        "blackwell": _any_gpu(lambda gpu: gpu.backend == "cuda" and "Blackwell" in (gpu.architecture or "")),
        "gtx-16": _any_gpu(lambda gpu: "GTX 16" in gpu.name),
        "rdna3": _any_gpu(lambda gpu: gpu.vendor == "amd" and gpu.architecture == "RDNA 3.0"),
        "strix-halo": _any_gpu(lambda gpu: gpu.catalog_id in ("amd-radeon-8060s", "amd-radeon-8050s")),
        "several-amd": lambda machine: sum(gpu.vendor == "amd" for gpu in machine.gpus) > 1,
        "cuda-windows": lambda machine: (
            machine.os == "windows" and any(gpu.backend == "cuda" for gpu in machine.gpus)
        ),
    }


def _any_gpu(holds: Callable[[Gpu], bool]) -> Callable[[Machine], bool]:
    return lambda machine: any(holds(gpu) for gpu in machine.gpus)


def _can_happen(row: Pitfall, machine: Machine | None) -> bool:
    if machine is None:
        return True
    server = machine.llama_server
    build = None if server is None else server.build
    if row.min_build is not None and build is not None and build >= row.min_build:
        return False
    kinds = machine_kinds()
    return not row.machines or any(kinds[kind](machine) for kind in row.machines)


def _worst_first(rows: Iterable[Pitfall]) -> tuple[Pitfall, ...]:
    return tuple(sorted(rows, key=lambda row: SEVERITIES.index(row.severity)))


def _pitfall(row: loader.Row) -> Pitfall:
    fields = dict(row)
    for name in ("models", "architectures", "machines", "bad_builds"):
        values = cast("Sequence[object] | None", fields[name])
        fields[name] = None if values is None else tuple(values)
    return Pitfall(**fields)  # type: ignore[arg-type]  # the tests hold every row against the schema
