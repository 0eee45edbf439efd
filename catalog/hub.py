"""Models on a Hugging Face hub: ``hf:OWNER/REPO[:QUANT]`` → the header of the file llama.cpp would take.

The listing and the headers are read over plain HTTP with the client that everything else here uses: across
the versions of huggingface_hub that we allow, its own client raises errors of three different libraries. From
that package come the address of the hub and the login of the person. Which file is meant follows llama.cpp
b11434, common/download.cpp (find_best_model, get_split_files). Only listings and headers are downloaded.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from llmfit.advisor.errors import GgufError, NetworkError, UsageError
from llmfit.advisor.model.gguf import GgufHeader, read_header
from llmfit.advisor.model.gguf_split import SplitName, merge_parts, parse_split_name
from llmfit.advisor.text import printable
from llmfit.advisor.units import MIB
from llmfit.catalog.http_source import (
    TIMEOUT_S,
    HttpRangeSource,
    check_status,
    network_errors,
    open_client,
    read_body,
)

if TYPE_CHECKING:
    import httpx

PREFIX = "hf:"
DEFAULT_QUANTS = ("Q4_K_M", "Q8_0")
"""What llama.cpp looks for, in this order, where no quantisation is named; then it takes the first file."""
_SIDECARS = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
"""Files that are no model of their own (gguf_filename_is_model)."""
_REPO_PART = r"[A-Za-z0-9_]+(?:[.-]+[A-Za-z0-9_]+)*"
_REFERENCE = re.compile(rf"({_REPO_PART}/{_REPO_PART})(?::([A-Za-z0-9_.-]{{1,64}}))?")
_QUANT_OF_NAME = re.compile(r"[-.]([A-Z0-9_]+)$", re.IGNORECASE)
_MAX_LISTING_BYTES = 32 * MIB
_MAX_PAGES = 50
_SYNTAX = "Write hf:OWNER/REPO or hf:OWNER/REPO:QUANT, for example hf:OWNER/Some-Model-GGUF:Q4_K_M."


@dataclass(frozen=True, slots=True)
class HubReference:
    """What a person wrote; ``quant`` is empty where none was named."""

    repo: str
    quant: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}:{self.quant}" if self.quant else f"{PREFIX}{self.repo}"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository and its size."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of a repository: its files in order and one header for all of them.

    ``quant`` is the name that finds the same file again, for ``hf:`` and for ``llama-server -hf``.
    """

    reference: HubReference
    quant: str
    files: tuple[HubFile, ...]
    header: GgufHeader


def is_hub_reference(text: str) -> bool:
    return text.startswith(PREFIX)


def parse_hub_reference(text: str) -> HubReference:
    """``hf:OWNER/REPO[:QUANT]``. Raises UsageError for anything else."""
    match = _REFERENCE.fullmatch(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else None
    if match is None or len(match[1]) > 256:
        raise UsageError(f"model '{printable(text, 120)}'", "not the name of a hub repository", _SYNTAX)
    return HubReference(match[1], match[2] or "")


def read_hub_model(text: str, *, timeout_s: float = TIMEOUT_S) -> HubModel:
    """The model that ``hf:OWNER/REPO[:QUANT]`` means, by its header.

    Asks the hub of ``HF_ENDPOINT`` with the token of ``HF_TOKEN`` or of the person's login. Raises UsageError
    for a wrong name or an unknown quantisation, NetworkError, and GgufError for a file that is no sound
    model or has a part missing.
    """
    reference = parse_hub_reference(text)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise NetworkError(str(reference), "HF_HUB_OFFLINE is set", "Unset it to ask the hub.")
    token = _token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    endpoint = _endpoint()
    with open_client(headers, timeout_s=timeout_s) as client:
        listing = list_files(client, endpoint, reference)
        chosen = choose_files(listing, reference)
        parts = []
        for file in chosen:
            url = f"{endpoint}/{reference.repo}/resolve/main/{quote(file.path)}"
            source = HttpRangeSource(client, url, file.path)
            parts.append((file.path, read_header(source, file.path)))
    files = tuple(HubFile(path, header.file_bytes) for path, header in parts)
    return HubModel(reference, reference.quant or quant_of(files[0].path), files, merge_parts(parts))


def list_files(client: httpx.Client, endpoint: str, reference: HubReference) -> tuple[HubFile, ...]:
    """All files of the repository's main branch, in the hub's order, page by page."""
    import httpx

    what = str(reference)
    files: list[HubFile] = []
    url: httpx.URL | None = None
    with network_errors(what):
        url = start = httpx.URL(f"{endpoint}/api/models/{reference.repo}/tree/main?recursive=true")
    for _ in range(_MAX_PAGES):
        with network_errors(what), client.stream("GET", url) as response:
            check_status(response, what)
            files += _files_of(read_body(response, _MAX_LISTING_BYTES, what), what)
            following = response.links.get("next", {}).get("url")
            url = response.url.join(following) if following else None
        if url is None:
            return tuple(files)
        if (url.scheme, url.host, url.port) != (start.scheme, start.host, start.port):
            break  # our token would go to another server
    raise NetworkError(what, "the hub's list of files does not end", "Try again later.")


def choose_files(listing: Sequence[HubFile], reference: HubReference) -> tuple[HubFile, ...]:
    """The file that llama.cpp would load, or all parts of it in order.

    Raises UsageError that names the quantisations there are, where the one asked for is not among them.
    """
    models = [file for file in listing if _is_first_of_model(file.path)]
    if not models:
        hint = "Name a repository with .gguf files; those often end in -GGUF."
        raise UsageError(str(reference), "no GGUF model in this repository", hint)
    for quant in (reference.quant,) if reference.quant else DEFAULT_QUANTS:
        pattern = re.compile(re.escape(quant) + "[.-]", re.IGNORECASE)
        for file in models:
            if pattern.search(file.path):
                return _all_parts(file, listing, reference)
    if not reference.quant:
        return _all_parts(models[0], listing, reference)
    known = ", ".join(dict.fromkeys(quant_of(file.path) for file in models))
    hint = f"There are: {printable(known, 400)}."
    raise UsageError(str(reference), f"no file of quantisation {reference.quant} in this repository", hint)


def quant_of(path: str) -> str:
    """The quantisation that a file name ends with, in capitals; its bare name where there is none.

    get_gguf_split_info (common/download.cpp).
    """
    split = parse_split_name(path)
    stem = split.prefix if split else path.removesuffix(".gguf")
    match = _QUANT_OF_NAME.search(stem)
    return match[1].upper() if match else stem.rpartition("/")[2]


def _is_first_of_model(path: str) -> bool:
    name = path.rpartition("/")[2]
    if not name.endswith(".gguf") or any(sidecar in name for sidecar in _SIDECARS):
        return False
    split = parse_split_name(path)
    return split is None or split.number == 1


def _all_parts(first: HubFile, listing: Sequence[HubFile], reference: HubReference) -> tuple[HubFile, ...]:
    split: SplitName | None = parse_split_name(first.path)
    if split is None:
        return (first,)
    by_path = {file.path: file for file in listing}
    for path in split.parts():
        if path not in by_path:
            why = f"{printable(path)} is missing in this repository"
            raise GgufError(str(reference), why, "Its upload may not be finished: try again later.")
    return tuple(by_path[path] for path in split.parts())


def _files_of(body: bytes, what: str) -> list[HubFile]:
    try:
        entries = json.loads(body)
        return [
            HubFile(str(entry["path"]), int(entry["size"])) for entry in entries if entry["type"] == "file"
        ]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        why = "the hub's list of files cannot be understood"
        raise NetworkError(what, why, "Check HF_ENDPOINT, or try again later.") from None


def _endpoint() -> str:
    endpoint = os.environ.get("HF_ENDPOINT", "").strip()
    if not endpoint:
        from huggingface_hub import constants

        endpoint = constants.ENDPOINT
    return endpoint.rstrip("/")


def _token() -> str | None:
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        from huggingface_hub import get_token

        try:
            token = (get_token() or "").strip()
        except Exception:  # noqa: BLE001  a broken login must not keep anyone from a public model
            return None
    return token if token.isascii() and token.isprintable() and token else None
