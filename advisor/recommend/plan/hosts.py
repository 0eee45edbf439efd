"""The computers that cards are put into: what their RAM gives, stated, not guessed.

The price of a host is nobody's list price and is never invented: see ``Question.host_usd``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.units import GB, GIB

BYTES_A_TRANSFER = 8
"""A channel of RAM is 64 bits wide."""


@dataclass(frozen=True, slots=True)
class RamFit:
    """A size of RAM that a host takes, and how fast it then is (millions of transfers a second)."""

    size_bytes: int
    transfer_rate_mt_s: int


@dataclass(frozen=True, slots=True)
class Host:
    """``ram_fits`` in rising size. ``bandwidth_bytes_per_s`` of the user's own words stands for all sizes."""

    id: str
    name: str
    n_channels: int
    ram_fits: tuple[RamFit, ...]
    max_cards: int
    stated_bytes_per_s: int | None = None
    n_cores: int | None = None

    def ram_at_least(self, size_bytes: float) -> RamFit | None:
        """The smallest RAM that holds so much; None where the host takes less."""
        return next((fit for fit in self.ram_fits if fit.size_bytes >= size_bytes), None)

    def bytes_per_s(self, fit: RamFit) -> int:
        """The peak: channels × 8 bytes × transfers."""
        return self.stated_bytes_per_s or self.n_channels * BYTES_A_TRANSFER * fit.transfer_rate_mt_s * 10**6

    def with_ram(self, machine: Machine, fit: RamFit) -> Machine:
        """``machine`` with that RAM, all of it available."""
        stated = self.stated_bytes_per_s is not None
        memory = replace(
            machine.memory,
            total_bytes=fit.size_bytes,
            available_bytes=fit.size_bytes,
            bandwidth_bytes_per_s=self.bytes_per_s(fit),
            bandwidth_source="--ram-bandwidth" if stated else f"assumed: {self.ram_text(fit)}",
            memory_type=None if stated else "DDR5",
            channels=None if stated else self.n_channels,
            transfer_rate_mt_s=None if stated else fit.transfer_rate_mt_s,
        )
        cpu = replace(machine.cpu, physical_cores=self.n_cores) if self.n_cores else machine.cpu
        return replace(machine, memory=memory, cpu=cpu)

    def ram_text(self, fit: RamFit) -> str:
        """``in 2 channels of DDR5-5600, 90 GB/s``; ``at 50 GB/s`` where that was stated."""
        rate = f"{self.bytes_per_s(fit) / GB:.0f} GB/s"
        if self.stated_bytes_per_s is not None:
            return f"at {rate}"
        return f"in {self.n_channels} channels of DDR5-{fit.transfer_rate_mt_s}, {rate}"


DESKTOP = Host(
    "desktop",
    "desktop",
    n_channels=2,
    ram_fits=(
        RamFit(32 * GIB, 5600),
        RamFit(64 * GIB, 5600),
        RamFit(128 * GIB, 5600),
        RamFit(256 * GIB, 3600),
    ),
    max_cards=2,
)
"""Two channels, four slots. Two modules of up to 64 GB run at DDR5-5600, four at DDR5-3600: what AMD states
for its AM5 processors (product pages of Ryzen 9000, "Max Memory Speed": 2x2R 5600, 4x2R 3600; recalled, not
read again; Kingston's guide says that a second pair of modules slows all down). Boards take 256 GB
(tomshardware.com 2023-12-15). Many run four modules faster, outside of what is promised."""
SERVER = Host(
    "server",
    "server",
    n_channels=12,
    ram_fits=(RamFit(192 * GIB, 4800), RamFit(384 * GIB, 4800), RamFit(768 * GIB, 4800)),
    max_cards=8,
)
"""Twelve channels of DDR5-4800, 460.8 GB/s a socket (EPYC 9004; tomshardware.com 2021-12-09), one module of
16, 32 or 64 GB in each."""
HOSTS = (DESKTOP, SERVER)
RAM_BESIDE_CARDS_BYTES = 64 * GIB
"""What a host has where the cards hold everything: enough for the system and llama-server's prompt cache."""


__all__ = ["DESKTOP", "HOSTS", "RAM_BESIDE_CARDS_BYTES", "SERVER", "Host", "RamFit"]
