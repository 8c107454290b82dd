"""What clients of state of the world were served last, on disk: such a client comes back saying a version and no names.

After a restart its first answer is the union of what it may have and what it is to have, so that nothing goes before the
routes are acknowledged that stopped using it. Only types of which an answer lists everything are kept, and the endpoints for
which a cluster waits that never arrived; never a secret. The
cost of a change follows the change. Losing the file costs no more than that union, so it is never repaired: what cannot be
trusted is told and begun anew.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from legation.names import ENDPOINT
from legation.problems import Problem, Severity
from legation.snapshot import order
from legation.snapshot.snapshot import Change, Resource, Snapshot, snapshot

DATABASE: Final = "served.sqlite"

UNUSABLE: Final = "LEG0025"

LATELY: Final = 600.0
"""Seconds for which what was removed is remembered: clients go on using it until they have acknowledged what replaces it."""
SCOPES: Final = 64
PROXIES: Final = 20_000
"""How many scopes and clients are remembered, the latest."""
MUCH: Final = 500
"""Resources whose writing would be felt: some ten milliseconds."""
PAGES: Final = 128 << 10
"""Pages of 4 KiB that the file may have."""
SWEEP: Final = 1000
"""Changes after which contents that nobody has any longer are swept out."""

KEPT: Final = frozenset(row.type_url for row in order.ORDER if row.full_state) | {ENDPOINT}

_APPLICATION: Final = 0x4C454753  # "LEGS"
_FORMAT: Final = 1
_TABLES: Final = """
create table if not exists scopes (scope text primary key, seen real not null) without rowid;
create table if not exists proxies (
    proxy text not null, scope text not null, seen real not null, gone real, primary key (proxy, scope)
) without rowid;
create table if not exists members (
    scope text not null, type text not null, name text not null, version text not null, refs text not null, gone real,
    primary key (scope, type, name)
) without rowid;
create index if not exists removed on members (gone) where gone is not null;
create table if not exists bodies (version text primary key, body blob not null) without rowid;
"""

_Row = tuple[str, str, Resource | None, list[tuple[str, str]]]
"""Type, name, what is served now, and what it or the one before it refers to."""


class Served:
    """The memory of one server, on its own file in the state directory.

    Changes are written at once, which takes a fraction of a millisecond, so that they are known even if this process dies
    right after they were sent. What is much, and what would have to wait, is handed to `later`, which keeps the order. A
    scope is any text that is the same after a restart. Never raises: what fails goes to `told`, and nothing more is kept.
    """

    def __init__(
        self, directory: Path, later: Callable[[Callable[[], None]], object], told: Callable[[Problem], None]
    ) -> None:
        self._path = directory / DATABASE
        self._later = later
        self._told = told
        self._one_at_a_time = threading.Lock()
        self._scopes: set[str] = set()
        self._scope_of: dict[str, str] = {}
        self._before: dict[str, list[str]] = {}
        self._restored: dict[tuple[str, ...], Snapshot] = {}
        self._queued: deque[None] = deque()
        self._writes = 0
        self._database: sqlite3.Connection | None = None
        for _ in range(2):  # what cannot be trusted is told, removed, and begun anew
            try:
                self._database = self._opened()
                break
            except (sqlite3.Error, OSError, UnicodeError) as error:
                told(self._problem(f"cannot be read, and is begun anew ({error})"))
                self._remove()

    def previous(self, proxy: str) -> Snapshot:
        """What a client may have from before this server's start, the first time that it is asked for; else nothing."""
        scopes = tuple(sorted(self._before.pop(proxy, ())))
        if scopes not in self._restored:
            found = {(one.type_url, one.name): one for scope in scopes for one in self._read(scope)}
            self._restored[scopes] = snapshot(found.values())
        return self._restored[scopes]

    def joined(self, proxy: str, scope: str, served: Snapshot) -> None:
        """A client belongs to a scope from now on, and is served this."""
        if scope not in self._scopes:
            self._scopes.add(scope)
            whole: list[_Row] = [
                (url, name, one, sorted(one.refs)) for url in KEPT for name, one in served.of(url).items()
            ]
            self._do(lambda: self._write(scope, whole, is_whole=True), is_much=len(whole) > MUCH)
        if self._scope_of.get(proxy) != scope:
            self._scope_of[proxy] = scope
            self._do(lambda: self._enrol(proxy, scope))

    def changed(self, scope: str, before: Snapshot, served: Snapshot, change: Change) -> None:
        """A scope's clients will be served something else; nothing happens for one that no such client has joined."""
        if scope not in self._scopes:
            return
        rows: list[_Row] = []
        for url in change.keys() & KEPT:
            for name in change[url]:
                new, old = served.of(url).get(name), before.of(url).get(name)
                refs = {*(new.refs if new else ()), *(old.refs if old else ())}
                rows.append((url, name, new, sorted(refs)))
        if rows:
            self._do(lambda: self._write(scope, rows), is_much=len(rows) > MUCH)

    def idle(self, scope: str) -> None:
        """Nobody tells of its changes from now on."""
        self._scopes.discard(scope)

    def close(self) -> None:
        """Nothing is kept any longer."""
        with self._one_at_a_time:
            if self._database is not None:
                self._database.close()
                self._database = None

    # Writing.

    def _do(self, work: Callable[[], None], *, is_much: bool = False) -> None:
        """Now, unless it would take long or something waits that came before it."""
        if not is_much and not self._queued:
            work()
            return
        self._queued.append(None)

        def run() -> None:
            try:
                work()
            finally:
                self._queued.popleft()

        self._later(run)

    def _write(self, scope: str, rows: list[_Row], is_whole: bool = False) -> None:
        now = time.time()
        put = [(url, name, new, refs) for url, name, new, refs in rows if new is not None]
        gone = [(now, scope, url, name) for url, name, new, _ in rows if new is None]

        def work(database: sqlite3.Connection) -> None:
            if is_whole:
                listed = {(url, name) for url, name, _, _ in rows}
                known = database.execute("select type, name from members where scope = ? and gone is null", (scope,))
                gone.extend((now, scope, *key) for key in known.fetchall() if key not in listed)
                database.execute("insert or replace into scopes values (?, ?)", (scope, now))
            database.executemany(
                "insert or ignore into bodies values (?, ?)",
                [(new.version, new.body) for _, _, new, _ in put if new is not None],
            )
            database.executemany(
                "insert or replace into members values (?, ?, ?, ?, ?, null)",
                [(scope, url, name, new.version, json.dumps(refs)) for url, name, new, refs in put if new is not None],
            )
            database.executemany("update members set gone = ? where scope = ? and type = ? and name = ?", gone)
            database.execute("delete from members where gone < ?", (now - LATELY,))
            self._writes += 1
            if self._writes % SWEEP == 0:
                _sweep(database)

        self._keep(work)

    def _enrol(self, proxy: str, scope: str) -> None:
        now = time.time()

        def work(database: sqlite3.Connection) -> None:
            database.execute("update proxies set gone = ? where proxy = ? and gone is null", (now, proxy))
            database.execute("delete from proxies where proxy = ? and gone < ?", (proxy, now - LATELY))
            database.execute("insert or replace into proxies values (?, ?, ?, null)", (proxy, scope, now))

        self._keep(work)

    def _keep(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """All or nothing. If it fails nothing more is kept, nor is what would soon be wrong."""
        with self._one_at_a_time:
            if self._database is None:
                return
            try:
                self._database.execute("begin immediate")
                work(self._database)
                self._database.execute("commit")
            except (sqlite3.Error, OSError, UnicodeError) as error:
                self._give_up(f"cannot be written any longer ({error})")

    # Opening and reading.

    def _opened(self) -> sqlite3.Connection:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        with os.fdopen(descriptor) as file:
            os.fchmod(file.fileno(), 0o600)
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise sqlite3.DatabaseError("it is no regular file")
        database = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            database.execute("pragma locking_mode = exclusive")
            ((application,),) = database.execute("pragma application_id")
            ((written,),) = database.execute("pragma user_version")
            ((objects,),) = database.execute("select count(*) from sqlite_schema")
            if objects and (application, written) != (_APPLICATION, _FORMAT):
                raise sqlite3.DatabaseError("another program or another version wrote it")
            ((sound,), *_) = database.execute("pragma quick_check(1)")
            if sound != "ok":
                raise sqlite3.DatabaseError("it is damaged")
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = off")  # outlives the process, not the machine, and waits for no disk
            database.execute(f"pragma max_page_count = {PAGES}")
            database.executescript(_TABLES)
            database.execute(f"pragma application_id = {_APPLICATION}")
            database.execute(f"pragma user_version = {_FORMAT}")
            now = time.time()
            database.execute("begin immediate")
            _sweep(database)
            database.execute("commit")
            rows = database.execute("select proxy, scope from proxies where gone is null or gone > ?", (now - LATELY,))
            for proxy, scope in rows:
                self._before.setdefault(str(proxy), []).append(str(scope))
        except BaseException:
            database.close()
            raise
        return database

    def _read(self, scope: str) -> Iterator[Resource]:
        """What a scope's clients may have; what decayed is left out, and told."""
        with self._one_at_a_time:
            if self._database is None:
                return
            try:
                rows = self._database.execute(
                    "select type, name, version, refs, body from members join bodies using (version) where scope = ?",
                    (scope,),
                ).fetchall()
            except sqlite3.Error as error:
                self._give_up(f"cannot be read any longer ({error})")
                return
        decayed = False
        for url, name, version, refs, body in rows:
            try:
                found = [(str(to), str(what)) for to, what in json.loads(refs)]
                if url not in KEPT or blake2b(body, digest_size=8).hexdigest() != version:
                    raise ValueError
            except (ValueError, TypeError):
                decayed = True
                continue
            yield Resource(url, name, body, version, frozenset(found))
        if decayed:
            self._told(self._problem("is damaged in part"))

    def _give_up(self, why: str) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
        self._database = None
        self._remove()
        self._told(self._problem(why))

    def _remove(self) -> None:
        for more in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                os.unlink(f"{self._path}{more}")

    def _problem(self, why: str) -> Problem:
        said = f"what clients were served last {why}"
        hint = "it matters to clients of state of the world that reconnect after a restart, and to nothing else"
        return Problem(Severity.WARNING, UNUSABLE, said, file=str(self._path), hint=hint)


def _sweep(database: sqlite3.Connection) -> None:
    """Keeps the latest scopes and clients, and of contents only those that somebody has."""
    for table, key, most in (("scopes", "scope", SCOPES), ("proxies", "proxy", PROXIES)):
        kept = f"select {key} from {table} order by seen desc limit {most}"
        database.execute(f"delete from {table} where {key} not in ({kept})")
    database.execute("delete from proxies where scope not in (select scope from scopes)")
    database.execute("delete from members where scope not in (select scope from scopes)")
    database.execute("delete from members where gone < ?", (time.time() - LATELY,))
    database.execute("delete from bodies where version not in (select version from members)")
