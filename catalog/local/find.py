"""Finds the GGUF files of this computer and says what each is. Reads headers only and writes to no store."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmfit.advisor.folders import home_folder
from llmfit.advisor.text import clean_text, printable
from llmfit.catalog.local.header_cache import HeaderCache, cache_file
from llmfit.catalog.local.header_reader import read_summary
from llmfit.catalog.local.header_summary import HALF_DOWNLOADED, HeaderSummary
from llmfit.catalog.local.identify import Identity, identify
from llmfit.catalog.local.local_model import MODEL, OTHER, LocalModel, LocalModels
from llmfit.catalog.local.stores import Search, searches
from llmfit.catalog.local.walk import NOWHERE, Found, Walk

SILENCE_S = 10.0
"""A folder that shows nothing new for so long is on a disk or a network share that does not answer; a disk
that sleeps takes most of it to spin up."""
MAX_MODELS = 20_000
"""Of one folder."""


@dataclass(slots=True)
class _Look:
    """One search under way in a thread of its own; what it has found so far is always usable."""

    search: Search
    cache: HeaderCache
    found: list[tuple[Found, HeaderSummary]] = field(default_factory=list)
    walk: Walk = field(default_factory=Walk)
    exists: bool = False
    last_step_s: float = field(default_factory=time.monotonic)
    failure: str | None = None

    def run(self) -> None:
        self.walk.step = self._step
        try:
            self.exists = stat.S_ISDIR(self.search.folder.stat().st_mode)
            if self.exists:
                self._look()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            self.walk.note(self.search.folder, f"cannot be read ({error.strerror})")
        except Exception as error:  # noqa: BLE001  one store that surprises us must not hide the others
            self.failure = f"{type(error).__name__}: {error}"

    def _look(self) -> None:
        for found in self.search.list_models(self.search.folder, self.walk):
            if len(self.found) >= MAX_MODELS:
                self.walk.note(self.search.folder, f"more than {MAX_MODELS:,} models, the rest is left out")
                return
            self._step()
            self.found.append((found, self._summary(found)))

    def _summary(self, found: Found) -> HeaderSummary:
        """What the header says; a problem that the listing knows counts more, unless it knows no figures."""
        if found.stamps[0].identity == NOWHERE:
            return HeaderSummary(kind=OTHER, problem=found.problem)
        summary = self.cache.find(found.stamps)
        if summary is None:
            summary, may_be_kept = read_summary([stamp.path for stamp in found.stamps])
            if may_be_kept:
                self.cache.remember(found.stamps, summary)
        has_figures = (summary.problem or "").startswith(HALF_DOWNLOADED)
        if found.problem is None or (found.problem == HALF_DOWNLOADED and has_figures):
            return summary
        return replace(summary, problem=found.problem)

    def _step(self) -> None:
        self.last_step_s = time.monotonic()


def find_local_models(
    folders: Sequence[Path] = (),
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
    *,
    root: Path = Path("/"),
) -> LocalModels:
    """Every GGUF model in the stores of the known tools and in ``folders``, sound ones first.

    ``environ`` and ``home`` are this process's unless given; ``root`` is where system folders begin.
    Never raises: what cannot be looked at is a note, what cannot be used a model with a problem.
    """
    environ = os.environ if environ is None else environ
    cache = HeaderCache(cache_file(environ))
    wanted = searches(folders, environ, home_folder() if home is None else home, sys.platform, root)
    looks = [_Look(search, cache) for search in wanted]
    threads = [threading.Thread(target=look.run, daemon=True) for look in looks]
    for thread in threads:
        thread.start()
    for look, thread in zip(looks, threads, strict=True):
        _wait(look, thread)
    models = _models(looks)
    cache.save(str(path) for model in models for path in model.paths)
    existing = dict.fromkeys(look.search.folder for look in looks if look.exists)
    notes = dict.fromkeys(note for look in looks for note in look.walk.notes)
    return LocalModels(models, tuple(existing), tuple(notes))


def models_by_id(models: LocalModels) -> Mapping[tuple[str, str], LocalModel]:
    """(Catalogue id, quantisation) → the file to start; of several the largest, then the first by path."""
    usable = [
        model for model in models.models if model.model_id and model.quantization and model.problem is None
    ]
    usable.sort(key=lambda model: (-model.file_bytes, str(model.path)))
    chosen: dict[tuple[str, str], LocalModel] = {}
    for model in usable:
        if model.kind == MODEL:
            chosen.setdefault((str(model.model_id), str(model.quantization)), model)
    return chosen


def _wait(look: _Look, thread: threading.Thread) -> None:
    """Until the look ends or has been silent for too long."""
    while thread.is_alive():
        silent_s = time.monotonic() - look.last_step_s
        if silent_s >= SILENCE_S:
            look.walk.note(look.search.folder, f"does not answer, given up after {SILENCE_S:.0f} s")
            return
        thread.join(SILENCE_S - silent_s)
    if look.failure:
        look.walk.note(look.search.folder, f"could not be looked through ({clean_text(look.failure)})")


def _models(looks: Sequence[_Look]) -> tuple[LocalModel, ...]:
    """One model for one set of files, however many names lead to it; sound ones first, then by name."""
    models: list[LocalModel] = []
    seen: set[tuple[int, int]] = set()
    for look in looks:
        for found, summary in tuple(look.found):
            identity = found.stamps[0].identity
            if identity != NOWHERE and identity in seen:
                continue
            seen.add(identity)
            models.append(_model(look.search.store, found, summary))
    return tuple(sorted(models, key=_order))


def _order(model: LocalModel) -> tuple[bool, str, str, str]:
    return (
        model.problem is not None,
        model.name.lower(),
        model.quantization or "",
        str(model.path),
    )


def _model(store: str, found: Found, summary: HeaderSummary) -> LocalModel:
    identity = identify(summary) if summary.kind == MODEL else Identity()
    return LocalModel(
        paths=tuple(stamp.path for stamp in found.stamps),
        store=store,
        name=found.name or clean_text(printable(found.stamps[0].path.name)),
        file_bytes=sum(stamp.size_bytes for stamp in found.stamps),
        kind=summary.kind,
        quantization=summary.quantization,
        architecture=summary.architecture,
        n_parameters=summary.n_parameters,
        context_train_tokens=summary.context_train_tokens,
        model_id=identity.model_id,
        candidates=identity.candidates,
        problem=summary.problem,
    )
