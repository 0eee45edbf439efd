"""Files that others may have put there, read so that none can stop or fill this process."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_start(path: Path, max_bytes: int) -> bytes:
    """The first ``max_bytes`` of a regular file.

    Raises OSError, also for what is no regular file: reading a pipe would wait for ever. Raises ValueError
    for a name that cannot be one.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file")
    with path.open("rb") as file:
        return file.read(max_bytes)
