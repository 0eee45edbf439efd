"""``python -m tests.reviewed_lists``: writes the lists of docs/machines anew and keeps what people wrote.

A list that changed is printed: read it as somebody with that machine would, and mend the paragraph above it.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from llmfit.advisor.recommend.ranking import Recommendation
from llmfit.advisor.units import format_context
from llmfit.tui.cli.render import picks_table
from llmfit.tui.session import machine_from, recommendations_for
from tests.reviewed_machines import CONTEXT_TOKENS, MACHINES, USES

FOLDER = Path(__file__).parents[1] / "docs" / "machines"


def command_line(name: str, use: str) -> str:
    """What a person types to see the list."""
    words = ["llmfit", "recommend", "--use-case", use, "--context", format_context(CONTEXT_TOKENS).lower()]
    for option, value in MACHINES[name].items():
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{option.replace('_', '-')}", str(one)]
    return shlex.join(words)


def list_text(picks: Sequence[Recommendation]) -> str:
    return "\n".join(picks_table(picks))


def section(name: str, use: str) -> str:
    picks = recommendations_for(machine_from(MACHINES[name]), use, context_tokens=CONTEXT_TOKENS)
    return f"## {use}\n\n```\n$ {command_line(name, use)}\n\n{list_text(picks)}\n```\n"


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for name in MACHINES:
        path = FOLDER / f"{name}.md"
        old = path.read_text(encoding="utf-8") if path.exists() else f"# {name}\n\n"
        written = old.split("## ", 1)[0]
        new = written + "\n".join(section(name, use) for use in USES)
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(f"{path.name} changed\n{new}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
