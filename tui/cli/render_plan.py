"""A plan as an article one can act on: what it needs, the options by kind, what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llmfit.advisor.memory.breakdown import MemoryEstimate
from llmfit.advisor.recommend.judgement import FITS_GPU
from llmfit.advisor.recommend.plan.hosts import RAM_BESIDE_CARDS_BYTES
from llmfit.advisor.recommend.plan.values import BOX, CARDS, CARDS_AND_RAM, Candidate, Cheaper, Option, Plan
from llmfit.advisor.recommend.warnings import OF_THE_MACHINE
from llmfit.advisor.text import printable
from llmfit.advisor.units import GB, GIB, format_context, format_gib
from llmfit.tui.cli.render import table, two_figures, wrapped
from llmfit.tui.plan_words import assumptions
from llmfit.tui.speed_words import speed_text

MAX_NAME_CHARACTERS = 27
HEAD = ["", "RAM", "USD", "list of", "tok/s", "prompts", "watts", ""]
_RIGHT = (1, 2, 5, 6)
_RAM_GIB = RAM_BESIDE_CARDS_BYTES // GIB


def plan_lines(plan: Plan, target_is_given: bool, cheaper: Sequence[Cheaper]) -> Iterator[str]:
    """Everything ``plan --json`` says that a person needs, at most 80 columns."""
    yield from _introduction(plan, target_is_given)
    shown = plan.options or plan.nearest
    notes = _Notes()
    for group, title in _groups(shown):
        yield ""
        yield from wrapped(title)
        yield from _table([option for option in shown if option.candidate.group == group], notes)
    if notes.texts:
        yield ""
    for number, text in enumerate(notes.texts, 1):
        yield from wrapped(text, start=f"{number} ")
    yield from _below(plan, cheaper)


def _introduction(plan: Plan, target_is_given: bool) -> Iterator[str]:
    question = plan.question
    model = question.model
    name = printable(model.id.rpartition("/")[2] or model.id, 60)
    context = format_context(question.request.context_tokens or 0)
    yield f"{name} {printable(model.quantization, 20)} at {context} of context"
    yield ""
    shown = plan.options or plan.nearest
    if not shown:
        limit = ", not with eight of the largest cards"
        if question.budget_usd is not None:
            limit = f" for at most USD {question.budget_usd:,.0f}"
        where = "of what is named" if question.names_hardware else "in the catalogue"
        yield from wrapped(f"Nothing {where} runs it{limit}.")
        return
    yield from wrapped(_needs(shown))
    wanted = f"Wanted: {two_figures(question.target_tok_s)} tok/s"
    if not target_is_given:
        wanted += " (as fast as a person reads; --tps asks for more)"
    if question.budget_usd is not None:
        wanted += f", for at most USD {question.budget_usd:,.0f}"
    if not plan.options:
        wanted += ". Nothing here reaches that; this comes nearest"
    yield from wrapped(f"{wanted}.")
    yield from wrapped(
        "In the tables: RAM in GiB; USD, and the month of that list price; tokens generated a second "
        f"with {_depth(question.request.depth_tokens)}, in brackets where four of five machines should "
        "lie; prompt tokens read a second; watts that the cards are rated at, or that the whole computer was "
        "seen to draw."
    )


def _depth(tokens: int) -> str:
    return f"{format_context(tokens)} tokens in the context" if tokens else "an empty context"


def _needs(shown: Sequence[Option]) -> str:
    """From what is wholly on GPUs, where there is one: the bytes of llama.cpp's own three buffers."""
    option = next((one for one in shown if one.judgement.verdict == FITS_GPU), shown[0])
    judgement = option.judgement
    memory: MemoryEstimate = judgement.memory
    model = judgement.model
    file_bytes = model.file_bytes or sum(tensor.n_bytes for tensor in model.tensors)
    where = f"on {option.candidate.name}"
    if judgement.verdict != FITS_GPU:
        where = f"{where} and in RAM" if option.candidate.n_cards else "in RAM"
    size_gb = f"{file_bytes / GB:.0f}" if file_bytes >= 10 * GB else f"{file_bytes / GB:.1f}"
    return (
        f"The file has {size_gb} GB ({format_gib(file_bytes)}), the KV cache in "
        f"{judgement.settings.cache_type_k} {format_gib(memory.kv_cache_bytes)}; loaded, with buffers and "
        f"driver, that is {format_gib(memory.total_bytes)} {where}."
    )


def _groups(shown: Sequence[Option]) -> Iterator[tuple[str, str]]:
    """(group, title) in the order of how simple they are to buy for."""
    candidates = {option.candidate.group: option.candidate for option in shown}
    order = {CARDS: 0, BOX: 1}
    for group in sorted(candidates, key=lambda name: (order.get(name, 2), name)):
        yield group, _title(candidates[group])


def _title(candidate: Candidate) -> str:
    whole = candidate.costs.host_usd is not None
    if candidate.kind == BOX:
        return "WHOLE COMPUTERS whose GPU uses their RAM. The price is of everything."
    if candidate.kind == CARDS:
        price = "cards and computer" if whole else "the cards alone"
        return f"CARDS THAT HOLD ALL OF IT, beside any {_RAM_GIB} GiB of RAM. The price is of {price}."
    name = "computer" if candidate.host is None else candidate.host.name
    host = name.upper() if name.startswith("this") else f"A {name.upper()}"
    price = "everything" if whole else f"the cards and of RAM above {_RAM_GIB} GiB, not of the {name}"
    price = price.replace("the this", "this")
    return f"{host}, weights in its RAM beside what cards hold. The price is of {price}."


class _Notes:
    """Footnotes, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return str(self.texts.index(text) + 1)


def _table(options: Sequence[Option], notes: _Notes) -> list[str]:
    rows = [list(HEAD), *(_row(option, notes) for option in options)]
    right: Sequence[int] = _RIGHT
    if not any(row[1] for row in rows[1:]):
        rows = [[row[0], *row[2:]] for row in rows]
        right = [column - 1 for column in _RIGHT[1:]]
    return ["  " + line for line in table(rows, right=right)]


def _row(option: Option, notes: _Notes) -> list[str]:
    candidate, speed = option.candidate, option.judgement.speed
    price = candidate.price_usd
    prefill = option.prefill_tok_s
    return [
        printable(candidate.name, MAX_NAME_CHARACTERS),
        _ram(candidate),
        "?" if price is None else f"{price:,.0f}",
        candidate.price.date[:7] if candidate.price else "",
        "?" if speed is None else speed_text(speed.decode_tok_s),
        "?" if prefill is None else two_figures(prefill),
        _watts(option),
        " ".join(sorted(notes.mark(text) for text in _remarks(option))),
    ]


def _ram(candidate: Candidate) -> str:
    if candidate.kind != CARDS_AND_RAM or candidate.ram is None:
        return ""
    return str(round(candidate.ram.size_bytes / GIB))


def _watts(option: Option) -> str:
    if option.candidate.n_cards == 0:
        return ""
    return "?" if option.tdp_w is None else f"{option.tdp_w:.0f}"


def _name(candidate: Candidate) -> str:
    if candidate.kind != CARDS_AND_RAM or candidate.ram is None:
        return candidate.name
    return f"{candidate.name} + {round(candidate.ram.size_bytes / GIB)} GiB"


def _remarks(option: Option) -> Iterator[str]:
    judgement, box = option.judgement, option.candidate.box
    if judgement.settings.cache_type_k != "f16":
        yield f"with the KV cache in {judgement.settings.cache_type_k}: in f16 it does not fit there."
    if box is not None and judgement.verdict != FITS_GPU:
        yield "the CPU computes a part: its GPU may not use more by default, or the settings say so."
    if box is not None and box.withdrawn is not None:
        yield "withdrawn by its maker; the price is its last, and only used ones are left."
    for caution in option.cautions:
        yield _without_numbers(caution)


def _without_numbers(caution: str) -> str:
    """One footnote for all rows that it holds for."""
    if "cards need" in caution:
        return "needs a board with so many slots, risers and more than one power supply."
    return "draws more than one household circuit carries for hours (1,440 W in the US)."


def _below(plan: Plan, cheaper: Sequence[Cheaper]) -> Iterator[str]:
    for title, lines in (
        ("Cheaper, but too slow", [_miss(option) for option in plan.nearest] if plan.options else []),
        ("What would make it cheaper", [_cheaper(one) for one in cheaper]),
        ("To know", [*_warnings(plan), *assumptions(plan)]),
    ):
        if lines:
            yield ""
            yield title
        for line in lines:
            yield from wrapped(line, start="  - ")


def _miss(option: Option) -> str:
    candidate = option.candidate
    price = candidate.price_usd or 0.0
    where = ""
    if candidate.kind == CARDS_AND_RAM and candidate.host is not None:
        name = candidate.host.name
        where = f" in {name if name.startswith('this') else 'a ' + name}"
    return f"{_name(candidate)}{where}, USD {price:,.0f}: {option.decode_tok_s:.1f} tok/s."


def _cheaper(one: Cheaper) -> str:
    before, after = one.before.candidate, one.after.candidate
    return (
        f"{one.text[0].upper()}{one.text[1:]}: {after.name} for USD {after.price_usd or 0:,.0f} "
        f"({two_figures(one.after.decode_tok_s)} tok/s) in place of {before.name} for "
        f"USD {before.price_usd or 0:,.0f}."
    )


def _warnings(plan: Plan) -> list[str]:
    """Of the model and the settings: the same for every machine."""
    for option in plan.options or plan.nearest:
        return [
            printable(warning.text)
            for warning in option.judgement.warnings
            if warning.code not in OF_THE_MACHINE and warning.code not in _OF_ONE_MACHINE
        ]
    return []


_OF_ONE_MACHINE = frozenset({"prompt_cache", "device_order", "no_repository"})


__all__ = ["plan_lines"]
