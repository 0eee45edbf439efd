"""``llmfit show``: the article about one model on this machine or any."""

from __future__ import annotations

import argparse

from llmfit.tui.cli.output import print_json, print_lines, print_notes
from llmfit.tui.model_article import article_for
from llmfit.tui.session import MachineCache


def run(parsed: argparse.Namespace) -> int:
    machines = MachineCache()
    article = article_for(vars(parsed), machines)
    if parsed.json:
        from llmfit.tui.cli.article_documents import article_document

        print_json(article_document(article))
        return 0
    from llmfit.tui.cli.render_article import article_lines

    print_lines(list(article_lines(article, with_scores=parsed.evidence)))
    print_notes(machines.notes)
    return 0
