"""Text for a bug report without what it would tell about a person: home folder, user name, UUIDs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_UUID = re.compile(r"\b(GPU|MIG)-[0-9a-fA-F]{8}-[0-9a-fA-F-]{4,}")
_MIN_NAME = 2


class Mask:
    """Knows what to hide: call it with a text, or ``document`` with everything inside a document."""

    def __init__(self, home: Path | None, user: str | None, uuids: frozenset[str] = frozenset()) -> None:
        homes = {str(home), os.path.realpath(home)} if home is not None and home != Path(home.anchor) else ()
        self._homes = [
            re.compile(rf"{re.escape(text)}(?![\w-]|\.\w)") for text in sorted(homes, key=len)[::-1]
        ]
        named = user is not None and len(user) >= _MIN_NAME and user != "root"
        self._user = re.compile(rf"(?<=[/\\]){re.escape(user or '')}(?=[/\\]|\W|$)") if named else None
        self._uuids = sorted((text for text in uuids if len(text) >= 8), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """``HOME/x`` → ``~/x``, ``/media/ann/x`` → ``/media/USER/x``, UUIDs → ``GPU-xxxx…``."""
        for home in self._homes:
            text = home.sub("~", text)
        if self._user is not None:
            text = self._user.sub("USER", text)
        text = _UUID.sub(r"\1-xxxx…", text)
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


def user_name() -> str | None:
    """Who runs this; ``None`` where the system does not know (a container's number without a name)."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError, OSError):
        return os.environ.get("USER")
