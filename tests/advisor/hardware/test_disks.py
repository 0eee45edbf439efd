"""Free space under model folders: nearest folder, one row a file system, and a mount that hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmfit.advisor.hardware.host import disks as disks
from llmfit.advisor.hardware.host.disks import read_disks


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folders named ``hangs`` do not answer until the test is over."""
    over = threading.Event()
    real = disks.shutil.disk_usage

    def usage(path: Path) -> object:
        if path.name == "hangs":
            over.wait(30)
            raise OSError("Stale file handle")
        return real(path)

    monkeypatch.setattr(disks.shutil, "disk_usage", usage)
    yield
    over.set()


def test_one_row_for_one_file_system(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (disk,) = read_disks([tmp_path / "a", tmp_path / "b"])
    assert disk.path == str(tmp_path / "a")
    assert 0 <= disk.free_bytes <= disk.total_bytes
    assert disk.total_bytes == disks.shutil.disk_usage(tmp_path).total


def test_a_folder_that_is_not_there_yet_is_judged_by_the_nearest_one(tmp_path: Path) -> None:
    (disk,) = read_disks([tmp_path / "models/that/will/come"])
    assert disk.path == str(tmp_path)


def test_a_file_in_the_way_counts_as_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (disk,) = read_disks([tmp_path / "file"])
    assert disk.path == str(tmp_path)


def test_nothing_to_read_is_nothing() -> None:
    assert read_disks([]) == ()
    assert [disk.path for disk in read_disks([Path("nowhere\0at all")])] in ([], ["."])


def test_a_mount_that_hangs_is_left_out(tmp_path: Path, hang: None) -> None:
    (tmp_path / "hangs").mkdir()
    (tmp_path / "answers").mkdir()
    found = read_disks([tmp_path / "hangs", tmp_path / "answers"], timeout_s=0.2)
    assert [disk.path for disk in found] == [str(tmp_path / "answers")]


def test_an_error_of_the_system_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(disks.shutil, "disk_usage", fail)
    assert read_disks([tmp_path]) == ()


def test_no_more_folders_than_anybody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(disks, "_ask", lambda folder, answer: asked.append(folder))
    read_disks([tmp_path / str(number) for number in range(1000)])
    assert len(asked) == disks.MAX_FOLDERS
