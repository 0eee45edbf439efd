"""The file of measurements: several writers, every way in which it can be broken, and nothing lost."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.measurements import store as store_module
from llmfit.advisor.measurements.store import Kept, MeasurementStore
from llmfit.advisor.memory.settings import LaunchSettings
from llmfit.advisor.speed.calibration.measurement import Measurement

ONE = Measurement(
    machine_key="here",
    backend="cuda",
    model_id="Qwen/Qwen3-8B",
    quantization="Q4_K_M",
    file_bytes=5_000_000_000,
    family="qwen3",
    settings=LaunchSettings(4096, devices=(0, 1), tensor_split=(3.0, 1.0), override_tensor=("a=CPU",)),
    kind="decode",
    depth_tokens=64,
    prompt_tokens=0,
    tok_s=100.5,
    measured_at="2026-11-22T11:26:19Z",
    source="llama-bench",
)
TWO = replace(ONE, machine_key="there", tok_s=50.0)


@pytest.fixture
def store(tmp_path: Path) -> MeasurementStore:
    return MeasurementStore(tmp_path / "data" / "measurements.sqlite3")


def test_what_is_added_comes_back(store: MeasurementStore) -> None:
    assert store.add([ONE, TWO]).ids == (1, 2)
    assert store.all() == (Kept(1, ONE), Kept(2, TWO))
    assert store.all("there") == (Kept(2, TWO),)


def test_the_same_again_is_kept_once(store: MeasurementStore) -> None:
    store.add([ONE])
    again = store.add([ONE, TWO, TWO])
    assert (again.ids, again.n_known) == ((2,), 2)
    assert len(store.all()) == 2


def test_forgetting_some_and_all(store: MeasurementStore) -> None:
    assert store.forget([1]) == 0
    store.add([ONE, TWO, replace(ONE, tok_s=1.0)])
    assert store.forget([1, 1, 99]) == 1
    assert [one.id for one in store.all()] == [2, 3]
    assert store.forget(None) == 2 and store.all() == ()
    assert store.add([ONE]).ids == (4,), "a number never names another measurement"


def test_nothing_is_opened_where_nothing_is(store: MeasurementStore) -> None:
    assert store.all() == () and not store.exists
    assert not store.path.parent.exists()
    program = (
        "import sys; from pathlib import Path\n"
        "from llmfit.advisor.measurements.store import MeasurementStore\n"
        f"print(MeasurementStore(Path({str(store.path)!r})).all(), 'sqlite3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "() False\n"


def test_several_processes_write_at_once(store: MeasurementStore) -> None:
    program = (
        "import sys; from dataclasses import replace; from pathlib import Path\n"
        "from llmfit.advisor.measurements.store import MeasurementStore\n"
        "from llmfit.advisor.measurements.record import from_document\n"
        "one, store = from_document(sys.argv[2]), MeasurementStore(Path(sys.argv[1]))\n"
        "for i in range(10): store.add([replace(one, tok_s=float(sys.argv[3]) + i)])\n"
    )
    from llmfit.advisor.measurements.record import to_document

    running = [
        subprocess.Popen([sys.executable, "-c", program, str(store.path), to_document(ONE), str(start)])
        for start in (100, 200, 300)
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert sorted(one.measurement.tok_s for one in store.all()) == [
        float(start + i) for start in (100, 200, 300) for i in range(10)
    ]


BROKEN = {
    "text": b"these are no measurements " * 100,
    "cut": b"SQLite format 3\0" + b"\1" * 50,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_an_error_to_read_and_put_aside_to_write(
    store: MeasurementStore, content: bytes
) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    with pytest.raises(LlmfitError, match=r"not a file of measurements|damaged") as error:
        store.all()
    assert error.value.what == str(store.path) and "\n" not in str(error.value)
    assert store.path.read_bytes() == content, "reading changes nothing"
    added = store.add([ONE])
    assert added.note is not None and added.note.endswith("it is now measurements.sqlite3.aside-1")
    assert store.path.with_name("measurements.sqlite3.aside-1").read_bytes() == content
    assert store.all() == (Kept(1, ONE),)
    store.path.write_bytes(content)
    assert "aside-2" in str(store.add([ONE]).note)


def test_damage_in_the_middle_is_seen(store: MeasurementStore) -> None:
    store.add([replace(ONE, tok_s=float(i)) for i in range(1, 200)])
    with store.path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 16384)
    with pytest.raises(LlmfitError):
        store.all()
    assert store.add([ONE]).note is not None
    assert len(store.all()) == 1


def test_an_empty_file_is_a_new_one(store: MeasurementStore) -> None:
    store.path.parent.mkdir()
    store.path.touch()
    assert store.all() == ()
    added = store.add([ONE])
    assert added.ids == (1,) and added.note is None


def test_rows_that_nobody_can_read_are_counted_and_stay(store: MeasurementStore) -> None:
    store.add([ONE, TWO])
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE measurements SET document = '{\"kind\": 3}' WHERE id = 1")
        connection.execute(
            "INSERT INTO measurements (digest, machine_key, document) VALUES ('x', 'here', x'00ff')"
        )
    connection.close()
    found = store.read()
    assert found.kept == (Kept(2, TWO),) and found.n_broken == 2
    store.add([replace(ONE, tok_s=3.0)])
    assert store.read().n_broken == 2


def test_a_file_of_a_newer_llmfit_is_left_alone(store: MeasurementStore) -> None:
    store.add([ONE])
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    before = store.path.read_bytes()
    for ask in (store.all, lambda: store.add([TWO]), lambda: store.forget(None)):
        with pytest.raises(LlmfitError, match=r"newer llmfit \(form 7, known is 1\)"):
            ask()
    assert store.path.read_bytes() == before


def test_a_database_of_another_program_is_left_alone(store: MeasurementStore) -> None:
    store.path.parent.mkdir()
    with sqlite3.connect(store.path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    before = store.path.read_bytes()
    for ask in (store.all, lambda: store.add([TWO])):
        with pytest.raises(LlmfitError, match="a database of another program"):
            ask()
    assert store.path.read_bytes() == before


def test_an_older_form_is_carried_over(store: MeasurementStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add([ONE])

    def add_column(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE measurements ADD COLUMN note TEXT")

    monkeypatch.setattr(store_module, "MIGRATIONS", (*store_module.MIGRATIONS, add_column))
    assert store.all() == (Kept(1, ONE),), "reading needs no migration"
    store.add([TWO])
    assert len(store.all()) == 2
    connection = sqlite3.connect(store.path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert "note" in [row[1] for row in connection.execute("PRAGMA table_info(measurements)")]
    connection.close()


def test_a_full_disk_keeps_what_was_there(store: MeasurementStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add([ONE])
    connect = MeasurementStore._connect

    def on_a_full_disk(self: MeasurementStore, create: bool) -> sqlite3.Connection:
        connection = connect(self, create)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(MeasurementStore, "_connect", on_a_full_disk)
    with pytest.raises(LlmfitError, match="the disk is full"):
        store.add([replace(ONE, tok_s=float(i)) for i in range(1, 500)])
    assert store.all() == (Kept(1, ONE),)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file(store: MeasurementStore, kind: str) -> None:
    store.path.parent.mkdir()
    store.path.mkdir() if kind == "folder" else os.mkfifo(store.path)
    for ask in (store.all, lambda: store.add([ONE]), lambda: store.forget(None)):
        with pytest.raises(LlmfitError, match="no file"):
            ask()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = MeasurementStore(tmp_path / "file" / "measurements.sqlite3")
    assert store.all() == ()
    with pytest.raises(LlmfitError, match=r"a file is in its way\. Name another folder with LLMFIT_DATA"):
        store.add([ONE])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_folder(store: MeasurementStore) -> None:
    store.add([ONE])
    store.path.chmod(stat.S_IRUSR)
    store.path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert store.all() == (Kept(1, ONE),)
        with pytest.raises(LlmfitError, match="cannot be"):
            store.add([TWO])
    finally:
        store.path.parent.chmod(stat.S_IRWXU)


def test_a_file_that_may_not_be_written(store: MeasurementStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a read-only disk, for root as well."""
    store.add([ONE])
    connect = MeasurementStore._connect

    def read_only(self: MeasurementStore, create: bool) -> sqlite3.Connection:
        connect(self, create).close()
        return sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, isolation_level=None)

    monkeypatch.setattr(MeasurementStore, "_connect", read_only)
    assert store.all() == (Kept(1, ONE),)
    with pytest.raises(
        LlmfitError,
        match=r"cannot be written\. Look at its permissions, or name another folder with LLMFIT_DATA",
    ):
        store.add([TWO])


def test_a_file_that_another_program_keeps_locked(
    store: MeasurementStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add([ONE])
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_S", 0.01)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LlmfitError, match="another program has kept it locked"):
        store.add([TWO])
    other.execute("COMMIT")
    other.close()
    assert store.add([TWO]).ids == (2,)


def test_a_journal_that_a_crash_left_is_rolled_back(store: MeasurementStore) -> None:
    store.add([ONE])
    program = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN')\n"
        "c.executemany('INSERT INTO measurements (digest, machine_key, document) VALUES (?, ?, ?)',"
        " [(str(i), 'here', 'x' * 3000) for i in range(50)])\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, str(store.path)], check=False)
    assert store.path.with_name(f"{store.path.name}-journal").exists()
    assert store.read().kept == (Kept(1, ONE),) and store.read().n_broken == 0


def test_a_name_with_marks_of_an_address(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "a?b#c %20" / "m.sqlite3")
    store.add([ONE])
    assert store.all() == (Kept(1, ONE),) and store.path.is_file()
