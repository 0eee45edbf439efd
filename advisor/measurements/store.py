"""The measurements of this computer: a small SQLite file in llmfit's data folder.

Read and written by several processes at once; a rollback journal, because it needs no second file that a
network share or a read-only folder would have to hold. What cannot be read is an error in one sentence, and
calibrates nothing. Nothing is ever lost: a file that is broken is put aside under another name, and only when
something is to be written; one of a newer llmfit is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from llmfit.advisor.errors import LlmfitError
from llmfit.advisor.folders import DATA_VARIABLE
from llmfit.advisor.measurements.place import measurements_file
from llmfit.advisor.measurements.record import from_document, to_document
from llmfit.advisor.speed.calibration.measurement import Measurement
from llmfit.advisor.text import printable

if TYPE_CHECKING:
    import sqlite3

APPLICATION_ID = 0x6C6C6D66
"""``llmf`` in the header of the file (PRAGMA application_id): it is ours."""
BUSY_TIMEOUT_S = 5.0
_WITHOUT = "Estimates go on without it."
_ANOTHER = f"Name another folder with {DATA_VARIABLE}."
_ELSEWHERE = f"Look at its permissions, or name another folder with {DATA_VARIABLE}."


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE measurements (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, "
        "machine_key TEXT NOT NULL, document TEXT NOT NULL)"
    )
    connection.execute("CREATE INDEX of_machine ON measurements (machine_key)")


MIGRATIONS: Sequence[Callable[[sqlite3.Connection], None]] = (_create,)
"""Step N makes a file of version N one of version N + 1, in the transaction that opened it for writing."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A measurement and the number that names it."""

    id: int
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Added:
    """What ``add`` did; ``n_known`` were kept already. ``note`` says what happened to a broken file."""

    ids: tuple[int, ...]
    n_known: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What ``read`` found; ``n_broken`` rows are there that nobody can read."""

    kept: tuple[Kept, ...] = ()
    n_broken: int = 0


class MeasurementStore:
    """Opened when it is asked, and only then: a file that does not exist costs a look at the folder."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or measurements_file()

    @property
    def exists(self) -> bool:
        """Raises LlmfitError where something is there that is no file."""
        try:
            mode = self.path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError) as error:
            raise self._error(_reason(error), _WITHOUT) from None
        if not stat.S_ISREG(mode):
            raise self._error("no file", _WITHOUT)
        return True

    def read(self, machine_key: str | None = None) -> Found:
        """Every measurement, or those of one machine, the oldest first. Raises LlmfitError."""
        if not self.exists:
            return Found()
        with self._opened() as connection:
            if self._version(connection) == 0:
                return Found()
            where, values = ("", ()) if machine_key is None else (" WHERE machine_key = ?", (machine_key,))
            query = f"SELECT id, document FROM measurements{where} ORDER BY id"  # noqa: S608 no outside text
            rows = connection.execute(query, values).fetchall()
        kept = []
        for number, document in rows:
            try:
                kept.append(Kept(number, from_document(document)))
            except (ValueError, TypeError):
                continue
        return Found(tuple(kept), len(rows) - len(kept))

    def all(self, machine_key: str | None = None) -> tuple[Kept, ...]:
        """The readable ones of ``read``."""
        return self.read(machine_key).kept

    def add(self, measurements: Sequence[Measurement]) -> Added:
        """Keeps what is not kept yet, all or nothing. Raises LlmfitError.

        A broken file is put aside first; ``Added.note`` says under which name.
        """
        documents = [(one.machine_key, to_document(one)) for one in measurements]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            why = "no folder can be there: a file is in its way"
            raise LlmfitError(printable(str(self.path.parent)), why, _ANOTHER) from None
        except OSError as error:
            raise self._error(_reason(error), _ELSEWHERE) from None
        note = None
        if self.exists:
            broken = self._identity()
            if self._is_broken():
                note = self._put_aside(broken)
        ids, n_known = [], 0
        with self._opened(for_writing=True) as connection:
            for machine_key, document in documents:
                digest = hashlib.sha256(document.encode()).hexdigest()
                if connection.execute("SELECT 1 FROM measurements WHERE digest = ?", (digest,)).fetchone():
                    n_known += 1
                    continue
                done = connection.execute(
                    "INSERT INTO measurements (digest, machine_key, document) VALUES (?, ?, ?)",
                    (digest, machine_key, document),
                )
                ids.append(int(done.lastrowid or 0))
        return Added(tuple(ids), n_known, note)

    def forget(self, ids: Sequence[int] | None) -> int:
        """How many were deleted of these, or of all with ``None``. Raises LlmfitError."""
        if not self.exists:
            return 0
        with self._opened(for_writing=True) as connection:
            if ids is None:
                return connection.execute("DELETE FROM measurements").rowcount
            return sum(
                connection.execute("DELETE FROM measurements WHERE id = ?", (number,)).rowcount
                for number in set(ids)
            )

    # ------------------------------------------------------------ the file

    @contextmanager
    def _opened(self, for_writing: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection; for writing in one transaction, with the file of the newest version."""
        sqlite = _sqlite()
        connection = None
        try:
            connection = self._connect(create=for_writing)
            if for_writing:
                connection.execute("BEGIN IMMEDIATE")
                self._migrate(connection)
            yield connection
            if for_writing:
                connection.execute("COMMIT")
        except sqlite.Error as error:
            hints = [_WITHOUT] * (not for_writing) + [_ELSEWHERE] * _name(error).startswith(_FORBIDDEN)
            raise self._error(_sqlite_reason(error), " ".join(hints)) from None
        finally:
            if connection is not None:
                connection.close()

    def _connect(self, create: bool) -> sqlite3.Connection:
        import sqlite3

        # rw, also to read: a journal that a crash left behind has to be rolled back.
        uri = f"{self.path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)

    def _version(self, connection: sqlite3.Connection) -> int:
        """0 of an empty file. Raises LlmfitError for one of another program or of a newer llmfit."""
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if application != APPLICATION_ID:
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] or version:
                raise self._error("a database of another program", "Move it away.")
            return 0
        if version > len(MIGRATIONS):
            why = f"written by a newer llmfit (form {version}, known is {len(MIGRATIONS)})"
            raise self._error(why, "Update llmfit; the file is left as it is.")
        return version

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version = self._version(connection)
        if version == len(MIGRATIONS):
            return
        for step in MIGRATIONS[version:]:
            step(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _is_broken(self) -> bool:
        """Whether SQLite cannot make sense of it; what merely cannot be read now is not broken."""
        sqlite = _sqlite()
        connection = None
        try:
            connection = self._connect(create=False)
            return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok"
        except sqlite.Error as error:
            return _name(error).startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))
        finally:
            if connection is not None:
                connection.close()

    def _identity(self) -> tuple[int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise self._error(_reason(error)) from None
        return found.st_dev, found.st_ino

    def _put_aside(self, broken: tuple[int, int]) -> str | None:
        """Renames the broken file, unless another process has done so already. Raises LlmfitError."""
        try:
            for number in range(1, 1000):
                aside = self.path.with_name(f"{self.path.name}.aside-{number}")
                if os.path.lexists(aside):
                    continue
                if self._identity() != broken:
                    return None
                self.path.rename(aside)
                journal = self.path.with_name(f"{self.path.name}-journal")
                if journal.exists():
                    journal.rename(aside.with_name(f"{aside.name}-journal"))
                return f"{printable(str(self.path))} could not be read; it is now {printable(aside.name)}"
        except OSError as error:
            raise self._error(_reason(error)) from None
        raise self._error("too many broken files put aside", "Delete some of them.")

    def _error(self, why: str, hint: str = "") -> LlmfitError:
        return LlmfitError(printable(str(self.path)), why, hint)


def _sqlite() -> ModuleType:
    """The module, when it is needed: it costs 5 ms, and some builds of Python lack it. Raises LlmfitError."""
    try:
        import sqlite3
    except ImportError:
        raise LlmfitError("measurements", "this Python was built without sqlite3", _WITHOUT) from None
    return sqlite3


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


_REASONS = {
    "SQLITE_NOTADB": "not a file of measurements",
    "SQLITE_CORRUPT": "damaged",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "cannot be written",
    "SQLITE_PERM": "permission denied",
    "SQLITE_AUTH": "permission denied",
    "SQLITE_CANTOPEN": "cannot be opened",
    "SQLITE_BUSY": f"another program has kept it locked for {BUSY_TIMEOUT_S:.0f} s",
    "SQLITE_LOCKED": f"another program has kept it locked for {BUSY_TIMEOUT_S:.0f} s",
    "SQLITE_IOERR": "the disk does not read or write it",
}


_FORBIDDEN = ("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH", "SQLITE_CANTOPEN")
"""What permissions, or another folder, help against."""


def _sqlite_reason(error: sqlite3.Error) -> str:
    name = _name(error)
    known = next((text for start, text in _REASONS.items() if name.startswith(start)), None)
    return known or printable(str(error).lower() or type(error).__name__)


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) else str(error)
    return printable((text or type(error).__name__).lower())
