"""Files read with a bound, and nothing but files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from llmfit.advisor.files import read_start


def test_no_more_than_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert read_start(tmp_path / "a", 10) == b"x" * 10
    assert read_start(tmp_path / "a", 1000) == b"x" * 100


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes in folders")
def test_a_pipe_a_folder_and_a_device_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "none"):
        with pytest.raises(OSError):
            read_start(path, 10)
