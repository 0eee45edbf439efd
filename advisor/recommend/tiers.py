"""Classes of hardware by the memory their GPUs have, each with a usual computer that stands for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

TIER_RAM = "64GiB"
TIER_RAM_GB_PER_S = "60"
"""What two channels of DDR5 deliver to a program; their peak is 77 to 90."""


@dataclass(frozen=True, slots=True)
class Tier:
    """``memory_gb`` names the class as cards are sold (GiB in truth); ``gpu`` is what stands for it."""

    memory_gb: int
    gpu: str
    shares_memory: bool = False
    """The GPU uses the computer's own RAM: there is none beside it to describe."""

    @property
    def described(self) -> dict[str, object]:
        """The machine options of the command line."""
        if self.shares_memory:
            return {"gpu": [self.gpu]}
        return {"gpu": [self.gpu], "ram": TIER_RAM, "ram_bandwidth": TIER_RAM_GB_PER_S}


TIERS = (
    Tier(12, "RTX 3060 12GB"),
    Tier(16, "RTX 5060 Ti 16GB"),
    Tier(24, "RTX 3090"),
    Tier(32, "RTX 5090"),
    Tier(48, "2x RTX 3090"),
    Tier(96, "RTX PRO 6000"),
    Tier(128, "M4 Max 128GB", shares_memory=True),
)
