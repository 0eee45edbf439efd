"""Draws the app for the docs: python tests/bench/screenshot.py [--size 160x45] [--press c,down] OUT.svg

The machine is the one of the README unless --machine, --gpu, --ram, --ram-bandwidth or --vram-free say
otherwise; the models and every number come from the catalogue and the arithmetic, nothing is staged. Of the
models on the computer that draws only those in --folder are found.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from llmfit.catalog.local.find import find_local_models
from llmfit.catalog.local.local_model import LocalModels
from llmfit.tui.app import LlmfitApp
from llmfit.tui.live_advice import LiveAdvice

PATIENCE_S = 120


class DrawnAdvice(LiveAdvice):
    """Finds models in the named folders only: a picture must not show whose computer drew it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(vars(arguments))
        self._folders = [folder.resolve() for folder in arguments.folder]

    def local_models(self) -> LocalModels:
        with TemporaryDirectory() as empty:
            environ = {"XDG_CACHE_HOME": empty, "HF_HOME": empty}
            return find_local_models(self._folders, environ, home=Path(empty), root=Path(empty))


async def wait_for_answer(app: LlmfitApp) -> None:
    """Until the answer to the last question, with what would help, stands on the screen."""
    for _ in range(PATIENCE_S * 20):
        await asyncio.sleep(0.05)
        if all(getattr(screen, "is_settled", True) for screen in app.screen_stack):
            return
    raise SystemExit(f"no answer within {PATIENCE_S} s")


async def draw(arguments: argparse.Namespace) -> str:
    """The screen as SVG, after the keys have been pressed one after the other."""
    columns, rows = (int(number) for number in arguments.size.split("x"))
    app = LlmfitApp(DrawnAdvice(arguments))
    async with app.run_test(size=(columns, rows)) as pilot:
        await wait_for_answer(app)
        for key in filter(None, arguments.press.split(",")):
            await pilot.press(key)
            await pilot.pause(0.4)
            await wait_for_answer(app)
        await pilot.pause()
        return app.export_screenshot(title="llmfit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="160x45", help="columns x rows")
    parser.add_argument("--press", default="", help="keys by their Textual names, with commas between")
    parser.add_argument("--machine", help="a file written by llmfit hardware --json")
    parser.add_argument("--gpu", action="append")
    parser.add_argument("--ram")
    parser.add_argument("--ram-bandwidth")
    parser.add_argument("--vram-free")
    parser.add_argument("--folder", action="append", type=Path, default=[], help="GGUF files that are here")
    arguments = parser.parse_args()
    if arguments.machine is None:
        arguments.gpu = arguments.gpu or ["2x RTX 3090"]
        arguments.ram = arguments.ram or "64GiB"
        arguments.ram_bandwidth = arguments.ram_bandwidth or "51"
    arguments.out.write_text(asyncio.run(draw(arguments)), encoding="utf-8")


if __name__ == "__main__":
    main()
