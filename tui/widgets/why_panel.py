"""Why this configuration: the verdict in words, the reasons, the warnings, what would help."""

from __future__ import annotations

from rich.text import Text
from textual.reactive import reactive
from textual.widgets import Static

from llmfit.advisor.recommend.judgement import DOES_NOT_FIT, FITS_GPU
from llmfit.advisor.text import printable
from llmfit.tui.cli.render import verdict_text
from llmfit.tui.messages import Pick

_STYLES = {FITS_GPU: "bold green", DOES_NOT_FIT: "bold red"}


class WhyPanel(Static):
    """Draws the reasons of one pick."""

    pick: reactive[Pick | None] = reactive(None)

    def watch_pick(self, pick: Pick | None) -> None:
        self.update(Text("") if pick is None else why_text(pick))


def why_text(pick: Pick) -> Text:
    """The verdict, then one paragraph a reason."""
    judgement = pick.judgement
    lines = [Text(verdict_text(judgement), _STYLES.get(judgement.verdict, "bold yellow"))]
    lines += [Text(printable(reason)) for reason in pick.why or judgement.reasons]
    lines += [Text(f"Helps: {printable(remedy.text)}", "cyan") for remedy in judgement.remedies]
    lines += [Text(f"Mind: {printable(warning.text)}", "dim") for warning in judgement.warnings]
    return Text("\n").join(lines)
