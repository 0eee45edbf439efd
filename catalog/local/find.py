"""Finds the GGUF files of this computer and says what each is. Reads headers only and writes to no store."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmfit.advisor.folders import home_folder
from llmfit.advisor.model.gguf_split import parse_split_name
from llmfit.advisor.text import clean_text, printable
from llmfit.catalog.local.header_cache import HeaderCache, cache_file
from llmfit.catalog.local.header_reader import read_summary
from llmfit.catalog.local.header_summary import HALF_DOWNLOADED, HeaderSummary
from llmfit.catalog.local.identify import Identity, identify
from llmfit.catalog.local.local_model import FOLDER, MODEL, OTHER, LocalModel, LocalModels
from llmfit.catalog.local.stores import Search, searches
from llmfit.catalog.local.walk import NOWHERE, Found, Walk, single

SILENCE_S = 10.0
"""A folder that shows nothing new for so long is on a disk or a network share that does not answer; a disk
that sleeps takes most of it to spin up."""
MAX_MODELS = 20_000
"""Of one folder."""
PROGRESS_EVERY_S = 0.2
ONLY_NAMED_LIKE_A_PART = (
    "named like a part of a split model, but its header names no other parts: "
    "llama.cpp takes it for a whole model"
)
"""By split.count alone: src/llama-model-loader.cpp, llama_model_loader."""
OnProgress = Callable[[int, int], None]
"""Takes how many files have been read, and of how many that have been found so far."""


@dataclass(slots=True)
class _Look:
    """One search under way in a thread of its own; what it has found so far is always usable."""

    search: Search
    cache: HeaderCache
    n_read: int = 0
    """Files whose header is known, or why it is not."""
    found: list[tuple[Found, HeaderSummary]] = field(default_factory=list)
    walk: Walk = field(default_factory=Walk)
    exists: bool = False
    missing: str | None = None
    last_step_s: float = field(default_factory=time.monotonic)
    failure: str | None = None

    def run(self) -> None:
        self.walk.step, self.walk.top = self._step, self.search.folder
        try:
            self.exists = stat.S_ISDIR(self.search.folder.stat().st_mode)
            if self.exists:
                self._look()
            else:
                self.missing = "not a folder"
        except (FileNotFoundError, NotADirectoryError):
            self.missing = "no such folder"
        except OSError as error:
            self.walk.note(self.search.folder, f"cannot be read ({error.strerror})")
        except Exception as error:  # noqa: BLE001  one store that surprises us must not hide the others
            self.failure = f"{type(error).__name__}: {error}"

    def _look(self) -> None:
        for found in self.search.list_models(self.search.folder, self.walk):
            self._step()
            if len(self.found) >= MAX_MODELS:
                self.walk.note(self.search.folder, f"more than {MAX_MODELS:,} models, the rest is left out")
                return
            self.found.extend(self._with_summaries(found))
            self.n_read += len(found.stamps)

    def _with_summaries(self, found: Found) -> Iterator[tuple[Found, HeaderSummary]]:
        """The model; or where its files are only named like parts of one, each as a model of its own."""
        summary, first = self._summary(found), found.stamps[0].path
        name = parse_split_name(first.name)
        if summary.n_parts != 1 or name is None or name.count == 1:
            yield found, summary
            return
        self.walk.note(first, ONLY_NAMED_LIKE_A_PART)
        for stamp in found.stamps:
            one = single(stamp.path, found.name)
            yield one, self._summary(one)

    def _summary(self, found: Found) -> HeaderSummary:
        """What the header says; a problem that the listing knows counts more, unless it knows no figures."""
        if found.stamps[0].identity == NOWHERE:
            return HeaderSummary(kind=OTHER, problem=found.problem)
        # rights may have been taken away since, which changes neither size nor time
        may_be_read = all(os.access(stamp.path, os.R_OK) for stamp in found.stamps)
        summary = self.cache.find(found.stamps) if may_be_read else None
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
    on_progress: OnProgress = lambda n_read, n_found: None,
) -> LocalModels:
    """Every GGUF model in the stores of the known tools and in ``folders``, sound ones first.

    ``environ`` and ``home`` are this process's unless given; ``root`` is where system folders begin.
    ``on_progress`` is called in this thread, now and then and at the end.
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
        _wait(look, thread, lambda: on_progress(*_progress(looks)))
    models = _models(looks)
    cache.save(str(path) for model in models for path in model.paths)
    existing = dict.fromkeys(look.search.folder for look in looks if look.exists)
    notes = dict.fromkeys(note for look in looks for note in look.walk.notes)
    named = {look.search.folder: look.missing for look in looks if look.search.store == FOLDER}
    missing = tuple((folder, why) for folder, why in named.items() if why is not None)
    return LocalModels(models, tuple(existing), tuple(notes), missing)


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


def _progress(looks: Sequence[_Look]) -> tuple[int, int]:
    """Files that have been looked at, and all that are known so far."""
    counts = [(look.n_read, look.walk.n_files) for look in looks]
    return sum(n_read for n_read, _ in counts), sum(max(count) for count in counts)


def _wait(look: _Look, thread: threading.Thread, on_progress: Callable[[], None]) -> None:
    """Until the look ends or has been silent for too long."""
    while thread.is_alive():
        on_progress()
        silent_s = time.monotonic() - look.last_step_s
        if silent_s >= SILENCE_S:
            look.walk.note(look.search.folder, f"does not answer, given up after {SILENCE_S:.0f} s")
            return
        thread.join(min(SILENCE_S - silent_s, PROGRESS_EVERY_S))
    if look.failure:
        look.walk.note(look.search.folder, f"could not be looked through ({clean_text(look.failure)})")
    on_progress()


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
