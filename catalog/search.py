"""Find by a part of a name: forgiving about case, spaces, hyphens, dots; never guessing between two."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

_SEPARATORS = re.compile(r"[^a-z0-9]+")
_TUNING_WORDS = frozenset({"instruct", "it", "chat"})
"""What a tuned model's name says and people leave out: ``Llama-3.3-70B`` for ``Llama-3.3-70B-Instruct``."""


def words(text: str) -> tuple[str, ...]:
    """Lower-case runs of letters and digits: ``Qwen3-30B-A3B`` → qwen3, 30b, a3b."""
    return tuple(word for word in _SEPARATORS.split(text.lower()) if word)


def name_key(text: str) -> str:
    """``text`` without case and separators, except between digits: ``3-1b`` is not ``31b``."""
    return _join(words(text))


def _join(parts: Iterable[str]) -> str:
    key = ""
    for part in parts:
        key += "-" + part if key[-1:].isdigit() and part[0].isdigit() else part
    return key


def tail(model_id: str) -> str:
    """The model's own name: what follows the owner in ``owner/name``."""
    return model_id.rsplit("/", 1)[-1]


def _untuned_key(text: str) -> str:
    return _join(word for word in words(text) if word not in _TUNING_WORDS)


def best_matches(query: str, ids: Sequence[str]) -> tuple[str, ...]:
    """The ids that ``query`` may mean, from the strictest reading that fits any.

    Exact id, exact name, name without "Instruct", start of a name, part of an id. More than one id in the
    answer means that the query is ambiguous; none, that nothing is called so.
    """
    wanted = name_key(query)
    if not wanted:
        return ()
    untuned = _untuned_key(query)
    tails = {model_id: tail(model_id) for model_id in ids}
    readings: tuple[Callable[[str], bool], ...] = (
        lambda model_id: name_key(model_id) == wanted,
        lambda model_id: name_key(tails[model_id]) == wanted,
        lambda model_id: _untuned_key(tails[model_id]) == untuned,
        lambda model_id: name_key(tails[model_id]).startswith(wanted),
        lambda model_id: wanted in name_key(model_id),
    )
    for fits in readings:
        found = tuple(model_id for model_id in ids if fits(model_id))
        if found:
            return found
    return ()


def contains_words(query: str, texts: Iterable[str]) -> bool:
    """Whether every word of ``query`` is a part of one of the ``texts``; an empty query fits everything."""
    keys = [name_key(text) for text in texts]
    return all(any(word in key for key in keys) for word in words(query))


def nearest(query: str, names: Mapping[str, str], limit: int = 5) -> tuple[str, ...]:
    """The ``limit`` names whose keys look most like ``query``; ``names`` maps keys to what is shown."""
    wanted = name_key(query)[:200]
    close = difflib.get_close_matches(wanted, names, n=limit * 2, cutoff=0.5)
    return tuple(dict.fromkeys(names[key] for key in close))[:limit]


def one_of(names: Sequence[str], limit: int = 8) -> str:
    """``A, B or C``; what is over the limit is counted."""
    shown = list(names[:limit])
    if len(names) > limit:
        shown.append(f"{len(names) - limit} more")
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " or " + shown[-1]
