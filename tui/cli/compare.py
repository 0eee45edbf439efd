"""``llmfit compare``: two to four models or configurations side by side."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path

from llmfit.advisor.errors import UsageError
from llmfit.advisor.recommend.article.comparison import Entry, compare
from llmfit.advisor.text import printable
from llmfit.tui.cli.option_groups import add_machine_options, add_model, add_setting_options
from llmfit.tui.cli.options import Parser
from llmfit.tui.cli.options_advice import MAX_COMPARED
from llmfit.tui.cli.output import print_json, print_lines, print_notes
from llmfit.tui.model_article import subject_of
from llmfit.tui.session import MachineCache

MIN_COMPARED = 2
_NOT_SHARED = frozenset({"models", "command", "json", "gpu_before_command"})
_MACHINE = frozenset({"gpu", "machine"})


def run(parsed: argparse.Namespace) -> int:
    machines = MachineCache()
    comparison = compare([_entry(values, machines) for values in columns_of(vars(parsed))])
    if parsed.json:
        from llmfit.tui.cli.compare_documents import comparison_document

        print_json(comparison_document(comparison))
        return 0
    from llmfit.tui.cli.render_compare import comparison_lines

    print_lines(list(comparison_lines(comparison)))
    print_notes(machines.notes)
    return 0


def columns_of(options: Mapping[str, object]) -> list[dict[str, object]]:
    """The options of each column: its own ones, then those that stand for all.

    Raises UsageError for another number than two to four, and for a column that cannot be understood.
    """
    models = options["models"]
    if not isinstance(models, list) or not MIN_COMPARED <= len(models) <= MAX_COMPARED:
        count = len(models) if isinstance(models, list) else 0
        raise UsageError(
            "compare",
            f"{count} model{'s' * (count != 1)}",
            f"Name {MIN_COMPARED} to {MAX_COMPARED}; quote a model that has options of its own.",
        )
    shared = {name: value for name, value in options.items() if name not in _NOT_SHARED and value is not None}
    return [_column(model, shared) for model in models]


def _entry(values: Mapping[str, object], machines: MachineCache) -> Entry:
    subject = subject_of(values, machines)
    return Entry(
        subject.model,
        subject.machine,
        subject.request,
        subject.known,
        build=subject.choice.build,
        speeds=subject.speeds,
    )


def _column(text: str, shared: Mapping[str, object]) -> dict[str, object]:
    own = {name: value for name, value in _own_options(text).items() if value is not None}
    if own.keys() & _MACHINE:
        shared = {name: value for name, value in shared.items() if name not in _MACHINE}
    if "spec" in own:
        shared = {name: value for name, value in shared.items() if name != "quant"}
    return {**shared, **own}


def _own_options(text: str) -> dict[str, object]:
    """``qwen3-32b --quant Q6_K --gpu 'RTX 4090'`` as a command line of its own; a file's name may hold
    blanks."""
    if not any(character.isspace() for character in text.strip()) or Path(text).expanduser().exists():
        return {"model": text}
    try:
        words = shlex.split(text)
    except ValueError:
        raise UsageError(f"MODEL {printable(text, 80)!r}", "a quotation mark is not closed") from None
    parser = Parser(prog="llmfit compare", add_help=False)
    add_model(parser)
    add_machine_options(parser)
    add_setting_options(parser)
    return vars(parser.parse_args(words))
