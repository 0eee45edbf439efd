"""What a plan rests on, in words: the same for the command line, its JSON and the app."""

from __future__ import annotations

from collections.abc import Iterator

from llmfit.advisor.recommend.plan.hosts import RAM_BESIDE_CARDS_BYTES, Host
from llmfit.advisor.recommend.plan.values import CARDS_AND_RAM, OLDEST_RELEASE, RAM_USD_PER_GB, Plan
from llmfit.advisor.units import GIB

RAM_SOURCE = "the middle of Framework's prices for DDR5, February 2026"


def assumptions(plan: Plan) -> Iterator[str]:
    """Everything that was taken as given, a sentence or two each."""
    question, shown = plan.question, (*plan.options, *plan.nearest)
    yield (
        "Prices are makers' list prices from the date beside them, for a new one, without tax. What shops "
        "ask differs: RAM has been scarce since late 2025, and cards with an old date are mostly sold used."
    )
    around = "is not in the price of cards"
    if question.costs.host_usd is not None:
        around = f"counts USD {question.costs.host_usd:,.0f} in every row of cards (--host-usd)"
    ram_usd = question.costs.ram_usd_per_gb
    whose = RAM_SOURCE if ram_usd == RAM_USD_PER_GB else "--ram-usd-per-gb"
    beside = RAM_BESIDE_CARDS_BYTES // GIB
    yield (
        f"The computer around cards, with {beside} GiB of RAM, {around}. RAM above {beside} GiB counts "
        f"USD {ram_usd:g} a GB ({whose}; server modules cost more)."
    )
    hosts = [option.candidate.host for option in shown if option.candidate.kind == CARDS_AND_RAM]
    for host in sorted({host.id: host for host in hosts if host is not None}.items()):
        yield host_sentence(host[1])
    if not question.names_hardware:
        yield (
            f"Of cards of one maker, those that cost more and have no more memory or bandwidth than another "
            f"are left out, as are cards from before {OLDEST_RELEASE}; --gpu NAME asks for one of them."
        )


def host_sentence(host: Host) -> str:
    """``RAM of a desktop: …``."""
    steps = dict.fromkeys(host.ram_text(fit) for fit in host.ram_fits)
    sizes = {
        text: [round(fit.size_bytes / GIB) for fit in host.ram_fits if host.ram_text(fit) == text]
        for text in steps
    }
    said = "; ".join(f"{_sizes(found)} GiB {text}" for text, found in sizes.items())
    name = host.name if host.name.startswith("this") else f"a {host.name}"
    return f"RAM of {name}: {said} (peak)."


def _sizes(sizes: list[int]) -> str:
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
