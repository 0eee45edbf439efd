"""Ollama's store: manifests name blobs, ``manifests/HOST/NAMESPACE/NAME/TAG`` and ``blobs/sha256-…``.

Layout: Ollama manifest/paths.go and types/model/name.go (DisplayShortest); unfinished downloads:
server/download.go (blobDownloadPart).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmfit.advisor.text import clean_text, printable
from llmfit.catalog.local.header_cache import FileStamp
from llmfit.catalog.local.header_summary import HALF_DOWNLOADED, half_downloaded
from llmfit.catalog.local.walk import NOWHERE, Found, Walk, stamp

_DEFAULT_HOST = "registry.ollama.ai"
_DEFAULT_NAMESPACE = "library"
_MAX_MANIFEST_BYTES = 2**20
_MAX_LAYERS = 4096
_GGUF_LAYERS = frozenset(f"application/vnd.ollama.image.{kind}" for kind in ("model", "projector", "adapter"))
_DIGEST = re.compile(r"sha256[:-][0-9a-f]{64}")
_PARTIAL = re.compile(r"sha256-[0-9a-f]{64}-partial")


class _ManifestError(Exception):
    """Why a manifest leads nowhere."""


def models_in_ollama_store(store: Path, walk: Walk) -> Iterator[Found]:
    """Every blob that a manifest names, once, under all its names; then what leads nowhere."""
    names: dict[Path, list[str]] = {}
    for manifest in _manifests(store / "manifests", walk):
        try:
            for digest in _digests(manifest.path):
                names.setdefault(_blob(store, digest), []).append(manifest.name)
        except _ManifestError as error:
            yield Found((_stamp(manifest.path),), manifest.name, str(error))
    walk.n_files += len(names)
    for blob, called in names.items():
        found = stamp(blob)
        shown = clean_text(", ".join(sorted(set(called))))
        if found is None:
            yield Found(
                (_stamp(blob),), shown, f"its manifest names {printable(blob.name)}, which is missing"
            )
        else:
            yield Found((found,), shown)
    yield from _unfinished(store / "blobs", walk)


@dataclass(frozen=True, slots=True)
class _Manifest:
    path: Path
    name: str


def _manifests(top: Path, walk: Walk) -> Iterator[_Manifest]:
    """Four levels down: host, namespace, name, tag."""
    for host in walk.entries(top):
        for namespace in walk.entries(Path(host.path)):
            for model in walk.entries(Path(namespace.path)):
                for tag in walk.entries(Path(model.path)):
                    if not tag.name.startswith("."):
                        name = _display_name(host.name, namespace.name, model.name, tag.name)
                        yield _Manifest(Path(tag.path), name)


def _display_name(host: str, namespace: str, model: str, tag: str) -> str:
    """As ``ollama list`` shows it: what is usual is left out."""
    parts = [host, namespace, model]
    if host == _DEFAULT_HOST:
        parts = [model] if namespace == _DEFAULT_NAMESPACE else [namespace, model]
    return clean_text("/".join(parts) + ":" + tag)


def _digests(path: Path) -> list[str]:
    """The digests of the GGUF layers; none for a model of the cloud or in another format.

    Raises _ManifestError for a manifest that cannot be understood.
    """
    try:
        if not path.is_file():
            raise _ManifestError("its manifest is not a regular file")
        with path.open("rb") as file:
            manifest = json.loads(file.read(_MAX_MANIFEST_BYTES))
    except OSError as error:
        raise _ManifestError(f"its manifest cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise _ManifestError("its manifest is no JSON") from None
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    if not isinstance(layers, list):
        raise _ManifestError("its manifest lists no layers")
    digests = []
    for layer in layers[:_MAX_LAYERS]:
        if not isinstance(layer, dict) or layer.get("mediaType") not in _GGUF_LAYERS:
            continue
        digest = layer.get("digest")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise _ManifestError("its manifest names a layer by something that is no digest")
        digests.append(digest)
    return digests


def _blob(store: Path, digest: str) -> Path:
    """``sha256-…``; early versions wrote a colon."""
    path = store / "blobs" / digest.replace(":", "-")
    older = store / "blobs" / digest.replace("-", ":")
    return older if stamp(path) is None and stamp(older) is not None else path


def _unfinished(blobs: Path, walk: Walk) -> Iterator[Found]:
    """Pulls that stopped: the file has its full size at once, the parts beside it know how far it got."""
    entries = list(walk.entries(blobs))
    for entry in entries:
        if _PARTIAL.fullmatch(entry.name):
            parts = [Path(part.path) for part in entries if part.name.startswith(entry.name + "-")]
            name = entry.name[: len("sha256-") + 12]
            yield Found((_stamp(Path(entry.path)),), name, _progress(parts))


def _progress(parts: list[Path]) -> str:
    completed = total = 0
    for path in parts:
        try:
            with path.open("rb") as file:
                part = json.loads(file.read(_MAX_MANIFEST_BYTES))
            completed += int(part["Completed"])
            total += int(part["Size"])
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return HALF_DOWNLOADED
    return half_downloaded(completed, total) if total > 0 else HALF_DOWNLOADED


def _stamp(path: Path) -> FileStamp:
    return stamp(path) or FileStamp(path, 0, 0, NOWHERE)
