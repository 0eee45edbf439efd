"""``llmfit doctor``: everything for a bug report, one finding a line, each with its source and its fix.

Home folders, the names of who runs it in paths, and UUIDs of cards are masked (see ``privacy.Mask``). Names
of programs, models and folders stay: read a report before you send it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from llmfit import __version__
from llmfit.advisor.diagnosis.diagnose import count_levels, diagnose
from llmfit.advisor.diagnosis.findings import NOTE, OK, PROBLEM, WARNING, Finding, Level
from llmfit.advisor.folders import home_folder
from llmfit.advisor.hardware.machine import Machine
from llmfit.advisor.hardware.machine_file import machine_to_json
from llmfit.advisor.server.answers import ServerDevice
from llmfit.advisor.text import printable
from llmfit.tui.cli.output import print_json, print_lines
from llmfit.tui.known_pitfalls import few_of, pitfall_findings
from llmfit.tui.llama_servers import ask_afresh
from llmfit.tui.privacy import Mask, user_names
from llmfit.tui.session import machine_from
from llmfit.tui.surroundings import look_around

SCHEMA = "llmfit.doctor/1"
TEXT_WIDTH = 78
MIN_WIDTH, MAX_WIDTH = 50, 120
MARKS: Mapping[Level, str] = {OK: "✓ ok", NOTE: "· note", WARNING: "! warning", PROBLEM: "✗ problem"}
"""A glyph and its word: never colour alone, and readable where the glyph is lost."""
_MARK_WIDTH = max(map(len, MARKS.values()))


def run(parsed: argparse.Namespace) -> int:
    """Prints the findings; the exit code is 0, whatever they are: the question was answered."""
    values, devices = vars(parsed), dict[str, tuple[ServerDevice, ...]]()

    def ask(machine: Machine) -> Machine:
        machine, found = ask_afresh(machine)
        devices.update(found)
        return machine

    machine = machine_from(values, find_server=True, ask_servers=ask)
    mask = Mask(home_folder(), user_names(), _uuids(machine))
    surroundings = look_around(machine, devices, values)
    findings = [_masked(finding, mask) for finding in diagnose(machine, surroundings)]
    pitfalls = pitfall_findings(machine)
    if parsed.json:
        print_json(_document([*findings, *pitfalls], machine, mask))
    else:
        print_lines(list(finding_lines([*findings, *few_of(pitfalls)], text_width())))
    return 0


def _uuids(machine: Machine) -> frozenset[str]:
    """Without those that are only a place on the bus, which tells nothing and is in other sentences, too."""
    return frozenset(gpu.uuid for gpu in machine.gpus if gpu.uuid and gpu.uuid != gpu.pci_bus)


def finding_lines(findings: Sequence[Finding], width: int = TEXT_WIDTH) -> Iterator[str]:
    """``! warning  RAM  its bandwidth is not known. (system)``, the fix below it; last how many there are."""
    subject_width = max((len(finding.subject) for finding in findings), default=0)
    for finding in findings:
        start = f"{MARKS[finding.level]:{_MARK_WIDTH}}  {printable(finding.subject):{subject_width}}  "
        yield from _wrapped(f"{printable(finding.text)} ({printable(finding.source)})", start, width)
        if finding.fix is not None:
            yield from _wrapped(f"fix: {printable(finding.fix)}", " " * (len(start) + 2), width)
    yield ""
    yield count_levels(findings)


def text_width() -> int:
    """Columns of the terminal, within reason; ``TEXT_WIDTH`` where output goes elsewhere."""
    if not sys.stdout.isatty():
        return TEXT_WIDTH
    return max(MIN_WIDTH, min(MAX_WIDTH, shutil.get_terminal_size((TEXT_WIDTH, 24)).columns))


def _masked(finding: Finding, mask: Mask) -> Finding:
    fix = None if finding.fix is None else mask(finding.fix)
    return Finding(finding.level, finding.subject, mask(finding.text), mask(finding.source), fix)


def _document(findings: Sequence[Finding], machine: Machine, mask: Mask) -> dict[str, object]:
    described = machine_to_json(machine)
    described.pop("schema", None)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "findings": [asdict(finding) for finding in findings],
        "machine": mask.document(described),
    }


def _wrapped(text: str, start: str, width: int) -> list[str]:
    """A path or a variable that is longer than a line stays whole: it is to be copied."""
    return textwrap.wrap(
        text, width, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
