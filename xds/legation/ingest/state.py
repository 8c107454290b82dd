"""Accepted versions on disk, so that a restarted server serves what the last one served, whatever the files say now.

One SQLite file in a directory that nobody else may read, one row per document. A database that cannot be trusted is set
aside and a new one begun: it never stops a start. Nor does a disk that is full or read-only: what is there is read, what
cannot be written is told and written when it can be.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from legation.ingest.state_directory import (
    StateError,
    StateUnavailable,
    default_directory,
    in_use,
    take,
    unusable,
)
from legation.ingest.walk import shown
from legation.model.meta import Key
from legation.problems import Problem, Severity

__all__ = ["NOT_SAVED", "Accepted", "State", "StateError", "StateUnavailable", "default_directory", "rescued"]

DATABASE: Final = "state.sqlite"

SET_ASIDE = "LEG0023"
NOT_SAVED = "LEG0024"

_APPLICATION: Final = 0x4C45474E  # "LEGN", in the header of every database of ours
_FORMAT: Final = 1
_KEPT_ASIDE: Final = 3
# What SQLite says of the disk, not of the database.
_OUTER: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
}
_TABLES: Final = """
create table if not exists accepted (
    kind text not null, namespace text not null, name text not null,
    file text not null, line integer not null, text text not null, digest blob not null,
    primary key (kind, namespace, name)
);
create table if not exists notes (key text primary key, value text not null);
"""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The version of a document that is in service: where it came from, and a text that reads as it alone."""

    key: Key
    file: str
    line: int
    text: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        """Tells a row that was written from one that decayed."""
        parts = (*self.key, self.file, str(self.line), self.text)
        return blake2b("\0".join(parts).encode(), digest_size=8).digest()


class State:
    """The state directory of one server, which holds it alone until `close` or its death.

    `problems` is what was found wrong when it was opened and loaded. Methods may be called from any thread, one at a
    time waits for the other.
    """

    def __init__(self, directory: Path, lock: int, *, keep_secrets: bool) -> None:
        """For `open` only."""
        self.directory = directory
        self.problems: list[Problem] = []
        self._path = directory / DATABASE
        self._lock = lock
        self._keep_secrets = keep_secrets
        self._one_at_a_time = threading.Lock()
        # What could not be saved goes with the next save: None stands for a removal.
        self._owed: dict[Key, Accepted | None] = {}
        self._owed_notes: dict[str, str | None] = {}
        self._is_prepared = False
        self._database = self._connected()

    @classmethod
    def open(cls, directory: Path, watched: Sequence[Path], *, keep_secrets: bool = False) -> State:
        """Takes the directory, which is made if need be, or must be empty or a state directory.

        Secrets are kept in it only if `keep_secrets`; otherwise those of an earlier server are removed. Raises
        StateError if it is in use by another server, belongs to another user, holds other things, or lies inside a
        watched DIR; StateUnavailable if the disk does not let it be one.
        """
        lock = take(directory, watched)
        try:
            return cls(directory, lock, keep_secrets=keep_secrets)
        except BaseException:
            os.close(lock)
            raise

    def load(self) -> list[Accepted]:
        """All accepted versions, by kind, namespace and name. A row that decayed is left out and told in `problems`.

        Raises StateUnavailable if the disk fails: then nothing is known, which is not the same as nothing.
        """
        with self._one_at_a_time:
            rows: list[tuple[bytes, ...]] = []
            try:
                rows = self._rows()
            except sqlite3.Error as error:
                self._refuse_outer(error)
                with suppress(sqlite3.Error):
                    self._database.close()
                self._set_aside(error)
                self._database = self._connected()
        loaded, decayed = [], 0
        for *words, line, digest in rows:
            try:
                kind, namespace, name, file, text = (word.decode() for word in words)
                accepted = Accepted(Key(kind, namespace, name), file, int(line), text)
            except (ValueError, AttributeError):
                decayed += 1
                continue
            if accepted.digest == digest:
                loaded += [accepted] if self._keeps(accepted.key) else []
            else:
                decayed += 1
        if decayed:
            self.problems.append(
                Problem(
                    Severity.ERROR,
                    SET_ASIDE,
                    f"{decayed} accepted versions in the state are damaged and are left out",
                    file=shown(str(self._path)),
                )
            )
        return loaded

    def save(self, put: Iterable[Accepted], removed: Iterable[Key]) -> Problem | None:
        """Removes and then puts, all or nothing, on the disk when this returns.

        What cannot be saved (a full disk, a file system that became read-only) is told, and saved with the next call.
        """
        with self._one_at_a_time:
            self._owed.update(dict.fromkeys(removed))
            self._owed.update({accepted.key: accepted for accepted in put})
            return self._pay()

    def note(self, key: str) -> str | None:
        """A value that `set_notes` kept, or None."""
        with self._one_at_a_time:
            if key in self._owed_notes:
                return self._owed_notes[key]
            with suppress(sqlite3.Error, UnicodeError):
                for (value,) in self._database.execute("select value from notes where key = ?", (key,)):
                    return str(value, "utf-8")
            return None

    def set_notes(self, notes: Mapping[str, str | None]) -> Problem | None:
        """Keeps values beside the documents (None removes one); told and kept for the next call like `save`."""
        with self._one_at_a_time:
            self._owed_notes.update(notes)
            return self._pay()

    def close(self) -> None:
        """Gives the directory up. Further calls but this one are errors."""
        with self._one_at_a_time, suppress(sqlite3.Error):
            self._database.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _rows(self) -> list[tuple[bytes, ...]]:
        if self._is_blank():
            return []
        return self._database.execute(
            "select kind, namespace, name, file, text, line, digest from accepted order by kind, namespace, name"
        ).fetchall()

    def _is_blank(self) -> bool:
        """Whether it could not even be begun."""
        return not self._is_prepared and not _count(self._database)

    def _pay(self) -> Problem | None:
        """Writes all that is owed in one transaction."""
        put = [accepted for accepted in self._owed.values() if accepted is not None and self._keeps(accepted.key)]
        notes = [(key, value) for key, value in self._owed_notes.items() if value is not None]
        try:
            if os.stat(self._path).st_ino != self._inode:
                raise FileNotFoundError
            if not self._is_prepared:
                self._prepare(self._database)
            rows = [(*a.key, a.file, a.line, a.text, a.digest) for a in put]
            with _transaction(self._database):
                self._database.executemany(
                    "delete from accepted where kind = ? and namespace = ? and name = ?", self._owed.keys()
                )
                self._database.executemany("insert into accepted values (?, ?, ?, ?, ?, ?, ?)", rows)
                self._database.executemany("delete from notes where key = ?", ((key,) for key in self._owed_notes))
                self._database.executemany("insert into notes values (?, ?)", notes)
        except FileNotFoundError:
            return self._not_saved("the database was removed while it was in use; a restart begins a new one")
        except (sqlite3.Error, OSError, UnicodeError) as error:
            return self._not_saved(str(error))
        self._owed.clear()
        self._owed_notes.clear()
        return None

    def _keeps(self, key: Key) -> bool:
        return self._keep_secrets or key.kind != "Secret"

    def _not_saved(self, why: str) -> Problem:
        return Problem(
            Severity.ERROR,
            NOT_SAVED,
            f"accepted versions are not saved, and a restart may not know the latest: {why}",
            file=shown(str(self._path)),
        )

    # Opening

    def _connected(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.Error as error:
            self._refuse_outer(error)
            self._set_aside(error)
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise StateUnavailable(unusable(self.directory, str(error))) from error

    def _connect(self) -> sqlite3.Connection:
        """A database that is sound and of this format. Raises sqlite3.Error for any other."""
        fresh = not os.path.lexists(self._path)
        try:
            # SQLite gives its other files the mode of this one.
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            os.fchmod(descriptor, 0o600)
            status = os.fstat(descriptor)
            os.close(descriptor)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # something else is in its place
                raise sqlite3.DatabaseError(f"{error.strerror}") from error
            raise StateUnavailable(unusable(self.directory, error.strerror or str(error))) from error
        if not stat.S_ISREG(status.st_mode):
            raise sqlite3.DatabaseError("it is no regular file")
        if not fresh and status.st_size == 0:
            raise sqlite3.DatabaseError("it is empty")
        self._inode = status.st_ino
        database = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            database.text_factory = bytes  # text that decayed must not stop the reading of the rest
            # Nobody else opens it, so the log's index need not be shared memory, which not every file system has.
            database.execute("pragma locking_mode = exclusive")
            database.execute("pragma secure_delete = on")
            self._check(database)
            try:
                self._prepare(database)
            except sqlite3.Error as error:
                if not _cannot_write(error):
                    raise
                self.problems.append(self._not_saved(str(error)))
            if _count(database):
                # A database with our marks and other columns is none of ours.
                database.execute(
                    "select kind, namespace, name, file, text, line, digest from accepted limit 1"
                ).fetchall()
                database.execute("select key, value from notes limit 1").fetchall()
        except BaseException:
            database.close()
            raise
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        """Makes what is missing, and removes what is not to be kept."""
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = full")
        with _transaction(database):
            for statement in _TABLES.split(";"):
                database.execute(statement)
            database.execute(f"pragma application_id = {_APPLICATION}")
            database.execute(f"pragma user_version = {_FORMAT}")
            if not self._keep_secrets:
                database.execute("delete from accepted where kind = 'Secret'")
        self._is_prepared = True

    @staticmethod
    def _check(database: sqlite3.Connection) -> None:
        ((application,),) = database.execute("pragma application_id")
        ((written,),) = database.execute("pragma user_version")
        objects = _count(database)
        if objects and application != _APPLICATION:
            raise sqlite3.DatabaseError("it is another program's")
        if objects and written != _FORMAT:
            raise sqlite3.DatabaseError(f"its format is {written}, not {_FORMAT}: another version of legation wrote it")
        ((sound,), *_) = database.execute("pragma quick_check(1)")
        if sound != b"ok":
            raise sqlite3.DatabaseError("it is damaged")

    def _refuse_outer(self, error: sqlite3.Error) -> None:
        extended = getattr(error, "sqlite_errorcode", 0)
        code = extended & 0xFF
        if extended == sqlite3.SQLITE_IOERR_SHORT_READ:
            return  # the file is shorter than it says, which is its own fault
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StateError(in_use(self.directory, "another program")) from error
        if code in _OUTER:
            raise StateUnavailable(unusable(self.directory, str(error))) from error

    def _set_aside(self, why: Exception) -> None:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        number = 0
        while os.path.lexists(aside := self.directory / f"{DATABASE}.{now}-{number}.aside"):
            number += 1
        try:
            os.rename(self._path, aside)
            for more in ("-wal", "-journal"):  # SQLite finds them again by name
                with suppress(FileNotFoundError):
                    os.rename(f"{self._path}{more}", f"{aside}{more}")
            with suppress(FileNotFoundError):
                os.unlink(f"{self._path}-shm")
        except OSError as error:
            raise StateUnavailable(unusable(self.directory, error.strerror or str(error))) from error
        self.problems.append(
            Problem(
                Severity.ERROR,
                SET_ASIDE,
                f"the accepted versions of the last run cannot be read ({why}); set aside as {aside.name}",
                file=shown(str(self._path)),
            )
        )
        for old in sorted(self.directory.glob(f"{DATABASE}.*.aside"))[:-_KEPT_ASIDE]:
            for more in ("", "-wal", "-journal"):
                with suppress(OSError):
                    os.unlink(f"{old}{more}")


def rescued(directory: Path, *, keep_secrets: bool = False) -> tuple[list[Accepted], list[Problem]]:
    """What can be read of a state directory that cannot be used (a read-only file system, say), and what was wrong with it.

    From a copy, since SQLite writes even to read. Never raises: what cannot be had is not there.
    """
    with suppress(OSError, StateError), TemporaryDirectory(prefix="legation-state-") as beside:
        if os.stat(directory).st_uid != os.geteuid():
            return [], []
        for name in (DATABASE, f"{DATABASE}-wal"):
            with suppress(FileNotFoundError):
                if stat.S_ISREG(os.lstat(directory / name).st_mode):
                    shutil.copyfile(directory / name, Path(beside, name))
        copy = State(Path(beside), -1, keep_secrets=keep_secrets)
        try:
            return copy.load(), [replace(one, file=shown(str(directory / DATABASE))) for one in copy.problems]
        finally:
            copy.close()
    return [], []


# What a failing disk says of writing, beside being full or read-only.
_WRITING: Final = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_DIR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_DELETE,
}


def _cannot_write(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code in _WRITING or code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)


def _count(database: sqlite3.Connection) -> int:
    """The tables and indexes that it has."""
    ((objects,),) = database.execute("select count(*) from sqlite_schema")
    return int(objects)


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("begin immediate")
    try:
        yield
        database.execute("commit")
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("rollback")
        raise
