"""Text for a bug report without home folders, user names in paths and UUIDs of cards. See ``Mask``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_CARD = re.compile(r"\b(GPU|MIG)-(?=[0-9a-fA-F-]*\d)[0-9a-fA-F][0-9a-fA-F-]{3,}(?![\w-])")
"""NVIDIA's UUIDs, also shortened as CUDA_VISIBLE_DEVICES takes them."""
_HOMES = re.compile(r"""/(home|Users)/(?!(?:linuxbrew|Shared)\b)[^/\\\s:,;()"']*[^/\\\s:,;()"'.]""")
"""A folder of a person on Linux and macOS; Homebrew's and macOS' shared one are nobody's."""
_PATH = re.compile(r"""(?<![^\s:,;()"'])[^\s:,;()"']*[/\\][^:,;()"'\n]*""")
"""What may be a path, blanks in it included: from its first word to the next mark that ends a phrase."""
_MIN_NAME = 2


class Mask:
    """Hides, in a text or with ``document`` in everything inside a document:

    - ``home``, which becomes ``~``, and every other folder of a person below /home and /Users;
    - the names in ``users`` where they are a word of a path (``/data/ann_models``, ``/media/ann``), but for
      root and names of one letter;
    - UUIDs of NVIDIA cards and slices, and ``uuids``.

    Names of programs, models, folders and machines of other kinds stay.
    """

    def __init__(
        self, home: Path | None, users: Iterable[str] = (), uuids: frozenset[str] = frozenset()
    ) -> None:
        homes = {str(home), os.path.realpath(home)} if home is not None and home != Path(home.anchor) else ()
        self._homes = [
            re.compile(rf"{re.escape(text)}(?![\w-]|\.\w)") for text in sorted(homes, key=len)[::-1]
        ]
        names = sorted({name for name in users if len(name) >= _MIN_NAME and name != "root"}, key=len)[::-1]
        words = "|".join(map(re.escape, names))
        self._users = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])") if names else None
        self._uuids = sorted((text for text in uuids if len(text) >= 8), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """``HOME/x`` → ``~/x``, ``/media/ann/x`` → ``/media/USER/x``, UUIDs → ``GPU-xxxx…``."""
        for home in self._homes:
            text = home.sub("~", text)
        text = _HOMES.sub(r"/\1/USER", text)
        if self._users is not None:
            text = _PATH.sub(self._without_users, text)
        text = _CARD.sub(r"\1-xxxx…", text)
        for uuid in self._uuids:
            text = text.replace(uuid, "xxxx…")
        return text

    def document(self, value: Any) -> Any:
        """The same value with every text in it masked."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {key: self.document(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(inner) for inner in value]
        return value

    def _without_users(self, path: re.Match[str]) -> str:
        return path[0] if self._users is None else self._users.sub("USER", path[0])


def user_names() -> frozenset[str]:
    """Who runs this, and who called sudo or doas for it; empty where the system does not know (a container's
    number without a name)."""
    found = {os.environ.get(name) for name in ("SUDO_USER", "DOAS_USER")}
    try:
        import pwd

        found.add(pwd.getpwuid(os.getuid()).pw_name)
    except (ImportError, KeyError, OSError):
        found.add(os.environ.get("USER"))
    return frozenset(name for name in found if name)
