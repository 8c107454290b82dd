"""The slow way to know what changed: looking at all files again and again. And, for platforms that tell of changes
but not of all, watchdog's observer beside it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from watchdog.events import (
    EVENT_TYPE_CLOSED_NO_WRITE,
    EVENT_TYPE_MOVED,
    EVENT_TYPE_OPENED,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from legation.ingest.walk import Found, distinct, hidden, matters, resolved, walk
from legation.problems import Problem

Tell = Callable[[float, AbstractSet[str], bool, Problem | None], None]
"""Takes news from a thread: monotonic time of the first event, paths, whether to read everything again, a problem."""

WATCH_LIMIT = "LEG0011"
POLLED = "LEG0012"

POLL_SECONDS: Final = 1.0
"""How often files are looked at where nothing tells of their changes."""

_SETTLE_SECONDS: Final = 0.1
_MOST_SETTLING: Final = 10


_Look = Mapping[str, tuple[object, ...]]


class Poll(threading.Thread):
    """Looks at all files every so many seconds. What is still changing when it is seen is looked at again first."""

    def __init__(self, roots: Sequence[str], seconds: float, tell: Tell, *, follow_outside: bool) -> None:
        super().__init__(name="legation-poll", daemon=True)
        self._roots = roots
        self._seconds = seconds
        self._tell = tell
        self._follow_outside = follow_outside
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        known = self._look()
        self._tell(time.monotonic(), frozenset(), True, None)
        while not self._stopped.wait(self._seconds):
            now = self._look()
            if now == known:
                continue
            at = time.monotonic()
            for _ in range(_MOST_SETTLING):
                if self._stopped.wait(min(_SETTLE_SECONDS, self._seconds)):
                    return
                before, now = now, self._look()
                if before == now:
                    break
            changed = {path for path in known.keys() | now.keys() if known.get(path) != now.get(path)}
            # A folder or root that could not be read before, or cannot be now, is an entry of its own.
            rescan = any(path.endswith(os.sep) for path in changed)
            if changed:
                self._tell(at, frozenset(path for path in changed if not path.endswith(os.sep)), rescan, None)
            known = now

    def _look(self) -> _Look:
        look: dict[str, tuple[object, ...]] = {}
        for root in distinct(self._roots):
            walked = walk(root, follow_outside=self._follow_outside)
            look[os.path.join(root, "")] = (walked.state, resolved(root))
            look.update((os.path.join(path, ""), ()) for path in walked.unread)
            look.update((found.path, _mark(found)) for found in walked.files)
        return look


def _mark(found: Found) -> tuple[object, ...]:
    """What differs when a file was changed."""
    if found.real is None:
        return (found.problem,)
    try:
        status = os.stat(found.real)
    except OSError as error:
        return (error.errno,)
    return (found.real, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)


class Observed(FileSystemEventHandler):
    """Other platforms than Linux: watchdog's observer for speed, and slow polling for what it does not see (links, a
    root that is exchanged). There may be no event for a close, so every modification counts."""

    def __init__(self, roots: Sequence[str], tell: Tell, *, follow_outside: bool) -> None:
        self._tell = tell
        self._poll = Poll(roots, POLL_SECONDS, tell, follow_outside=follow_outside)
        self._observer: BaseObserver = Observer()
        self._roots = roots

    def start(self) -> None:
        for root in self._roots:
            folder = root if os.path.isdir(root) else os.path.dirname(root) or os.curdir
            if os.path.isdir(folder):
                self._observer.schedule(self, folder, recursive=folder == root)
        self._observer.start()
        self._poll.start()

    def stop(self) -> None:
        self._observer.stop()
        self._poll.stop()

    def is_alive(self) -> bool:
        return self._observer.is_alive() or self._poll.is_alive()

    def join(self, timeout: float | None = None) -> None:
        for thread in (self._observer, self._poll):
            if thread.is_alive():
                thread.join(timeout)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog, in its thread."""
        if event.event_type in (EVENT_TYPE_OPENED, EVENT_TYPE_CLOSED_NO_WRITE):
            return
        paths = [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path]
        moved = event.is_directory and event.event_type == EVENT_TYPE_MOVED
        files = frozenset() if event.is_directory else frozenset(filter(self._read, paths))
        if files or moved:
            self._tell(time.monotonic(), files, moved, None)

    def _read(self, path: str) -> bool:
        for root in self._roots:
            if path == root:
                return True
            if path.startswith(os.path.join(root, "")):
                return matters(path) and not any(map(hidden, os.path.relpath(path, root).split(os.sep)))
        return False
