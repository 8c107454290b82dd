"""Linux: which files changed, told the moment the kernel says so.

Watchdog's observers hold back whatever follows a file that is moved out of the tree for half a second, to pair the two
ends of a move; they lose overflows and the watch limit. What they stand on, `InotifyFD` and its callbacks, does not:
it reads the events and counts who is interested in which folder. What to watch is planned anew from the files
themselves whenever folders or links change, and the old plan is released after the new one stands, so nothing is missed
in between.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyEvent, InotifyFD, Mask, WatchDescriptor

from legation.ingest.polling import WATCH_LIMIT, Tell
from legation.ingest.walk import distinct, hidden, matters, resolved, shown, walk
from legation.problems import Problem, Severity

_SELF: Final = (
    InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_MASK_ADD
)
"""A folder above a DIR: only whether it is still there, however busy it is."""
_NAMES: Final = (
    _SELF
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVE
    | InotifyConstants.IN_ATTRIB
)
"""A folder in which a DIR, or a link on the way to one, may be exchanged."""
_FULL: Final = _NAMES | InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MODIFY
"""A folder with files to read."""

_COME: Final = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO
_MOST_LINKS: Final = 40  # Linux' own bound for one path
_MOST_PLANS: Final = 5
_LIMITS: Final = (errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE)

_NO_WATCH: Final = WatchDescriptor(-1)  # what watchdog answers, instead of raising, where permission is denied

_File = tuple[str, str]  # a resolved folder, a name in it


@dataclass(slots=True)
class _Folder:
    """A watched folder: the paths that users know it by (none if no file in it is read by its own name), and the names
    in it that links or DIRs depend on."""

    real: str
    watch: WatchDescriptor = _NO_WATCH
    mask: int = 0
    shown: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Plan:
    """What is watched. `targets` are files that visible links end in, with the paths of these links."""

    folders: dict[str, _Folder] = field(default_factory=dict)
    by_watch: dict[WatchDescriptor, list[_Folder]] = field(default_factory=dict)
    held: list[tuple[WatchDescriptor, CallbackId]] = field(default_factory=list)
    targets: dict[_File, set[str]] = field(default_factory=dict)
    limit: OSError | None = None


class InotifyWatch(InotifyFD):
    """A thread that watches all files below the roots, and tells of them once per read from the kernel.

    The first it tells is that everything must be read: from then on nothing is missed. Raises OSError when there are
    no inotify instances left.
    """

    def __init__(self, roots: Sequence[str], tell: Tell, *, follow_outside: bool = False) -> None:
        super().__init__()
        self.name = "legation-inotify"
        self._changes = _Changes(self, roots, follow_outside)
        self._tell = tell
        self._working = threading.Lock()

    def on_thread_start(self) -> None:
        # A watch that is given back at once is an event (IN_IGNORED): the thread reads, and finds that it has no plan.
        watch = self.add_callback(os.fsencode(os.sep), Mask(_SELF), self._changes, CallbackId(0))
        self.remove_callbacks([(watch, CallbackId(0))])
        if watch == _NO_WATCH:
            self.stop()
            raise PermissionError(errno.EACCES, "inotify may not watch")

    def stop(self) -> None:
        """Ends the thread, which gives up its watches. Waits for what it is doing, not for the thread's end."""
        with self._working:  # else a number of ours could be used on whatever is opened under it next
            super().stop()

    def run(self) -> None:
        """Reads events until stopped. An error ends the thread, which is told."""
        try:
            while self.should_keep_running():
                events = self.read_events()
                at = time.monotonic()
                with self._working:
                    if not self.should_keep_running():
                        break
                    for event in events:
                        self.handle_event(event)
                    changes = self._changes
                    # Told only when the new plan stands: whoever reads then misses nothing that comes later.
                    if changes.stale:
                        changes.replan()
                    if changes.paths or changes.rescan or changes.problem:
                        self._tell(at, frozenset(changes.paths), changes.rescan, changes.problem)
                    changes.forget()
        except Exception as error:
            self._tell(time.monotonic(), frozenset(), True, _ended(error))


class _Changes:
    """Keeps the plan, and makes of raw events what they mean for the files that are read."""

    def __init__(self, watches: InotifyFD, roots: Sequence[str], follow_outside: bool) -> None:
        self._watches = watches
        self._roots = roots
        self._follow_outside = follow_outside
        self._base = resolved(os.curdir)
        self._plan = _Plan()
        self._ids = 0
        self._told_limit = False
        # Files that are being written, with their inode numbers where they were created under our eyes.
        self._open: dict[_File, int] = {}
        self.forget()
        self.rescan = self.stale = True

    def forget(self) -> None:
        self.paths: set[str] = set()
        self.rescan = self.stale = False
        self.problem: Problem | None = None

    # What watchdog calls

    def on_event(self, event: InotifyEvent) -> None:
        name = os.fsdecode(event.name)
        for folder in self._plan.by_watch.get(event.wd, ()):
            if name:
                self._entry(folder, name, event.mask)
            else:
                self._self(folder, event.mask)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        self._plan.by_watch.pop(wd, None)

    def on_queue_overflow(self) -> None:
        self._open.clear()
        self.rescan = self.stale = True

    # What an event means

    def _self(self, folder: _Folder, mask: int) -> None:
        if mask & InotifyConstants.IN_DELETE_SELF and folder.shown:
            return  # its files' deletions were told, and whoever depends on it has its parent watched
        self.rescan = self.stale = True

    def _entry(self, folder: _Folder, name: str, mask: int) -> None:
        file = (folder.real, name)
        if mask & InotifyConstants.IN_MODIFY:
            self._open.setdefault(file, 0)
            return
        is_folder = bool(mask & InotifyConstants.IN_ISDIR)
        if mask & InotifyConstants.IN_ATTRIB and file in self._open:
            return
        if mask & InotifyConstants.IN_CREATE and not is_folder and self._begun(file):
            return
        if mask & InotifyConstants.IN_CLOSE_WRITE and (linked := self._linked(file)) is not None:
            self._open.pop(file, None)
            file, name = linked, linked[1]
        self._open.pop(file, None)
        if name in folder.names:
            known = self._plan.targets.get(file, set())
            if known and not is_folder and not (mask & _COME and os.path.islink(os.path.join(*file))):
                self.paths |= known
            else:
                self.rescan = self.stale = True
        if not folder.shown or hidden(name):
            return
        if is_folder:
            self.stale |= bool(mask & (_COME | InotifyConstants.IN_MOVED_FROM | InotifyConstants.IN_ATTRIB))
            self.rescan |= bool(mask & (InotifyConstants.IN_MOVED_FROM | InotifyConstants.IN_ATTRIB))
            return
        if mask & _COME and os.path.islink(os.path.join(*file)):
            self.stale = True
        self.paths.update(path for known in folder.shown if matters(path := os.path.join(known, name)))

    def _begun(self, file: _File) -> bool:
        """Whether a file that was created is still to be written and closed: not so a link, symbolic or hard."""
        try:
            status = os.lstat(os.path.join(*file))
        except OSError:
            return True  # gone again, which will be told
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            return False
        self._open[file] = status.st_ino
        return True

    def _linked(self, file: _File) -> _File | None:
        """A file that is made without a name (O_TMPFILE) and linked into place is closed as `#<inode>`."""
        folder, name = file
        if not name.startswith("#") or not name[1:].isdecimal():
            return None
        inode = int(name[1:])
        return next((made for made, born in self._open.items() if born == inode and made[0] == folder), None)

    # What is watched

    def replan(self) -> None:
        """Watches what now must be watched, and nothing else; sets `rescan` if files were found in new folders."""
        for _ in range(_MOST_PLANS):
            old, self._plan = self._plan, _Plan()
            sound = self._watch_all(old)
            self._watches.remove_callbacks(old.held)
            if sound:
                break
            self.rescan = True
        self.stale = False
        if self._plan.limit is not None and not self._told_limit:
            self._told_limit = True
            self.problem = _limited(self._plan.limit)

    def _watch_all(self, old: _Plan) -> bool:
        """Whether no link changed while this looked."""
        sound = True
        fresh: set[str] = set()
        for root in distinct(self._roots):
            end = self._trail(os.path.join(self._base, root), root)

            def entering(path: str, real: str, root: str = root, end: str = end) -> None:
                nonlocal sound
                sound = sound and (path != root or real == end)
                folder = self._watch(real, _FULL)
                folder.shown.add(path)
                if not any(path in known.shown for known in old.by_watch.get(folder.watch, ())):
                    fresh.add(path)

            walked = walk(root, follow_outside=self._follow_outside, entering=entering)
            for path, end in walked.links:
                here = os.path.join(resolved(os.path.dirname(path)), os.path.basename(path))
                sound = (self._trail(here, path) == end or not os.path.exists(end)) and sound
            seen = (*(found.path for found in walked.files), *(path for path, _ in walked.links))
            self.rescan |= any(os.path.dirname(path) in fresh for path in seen)
        return sound

    def _watch(self, real: str, mask: int) -> _Folder:
        folder = self._plan.folders.setdefault(real, _Folder(real))
        if mask & ~folder.mask == 0:
            return folder
        folder.mask |= mask
        self._ids += 1
        held = CallbackId(self._ids)
        try:
            folder.watch = self._watches.add_callback(os.fsencode(real), Mask(mask), self, held)
        except OSError as error:
            # A folder that is gone again is told by the one above it.
            if error.errno in _LIMITS:
                self._plan.limit = error
            return folder
        self._plan.held.append((folder.watch, held))
        if folder.watch != _NO_WATCH and folder not in self._plan.by_watch.setdefault(folder.watch, []):
            self._plan.by_watch[folder.watch].append(folder)
        return folder

    def _trail(self, path: str, known: str) -> str:
        """Watches everything that decides what an absolute path leads to, and follows it to its end.

        `known` is the path by which users know what is at the end. Every place is watched before it is looked at.
        """
        names = [name for name in reversed(path.split(os.sep)) if name not in ("", os.curdir)]
        real = os.sep
        links = 0
        while names:
            name = names.pop()
            if name == os.pardir:
                real = os.path.dirname(real)
                continue
            here = os.path.join(real, name)
            if names and _is_folder(here):
                self._watch(here, _SELF)
                real = here
                continue
            self._watch(real, _NAMES if names or _is_folder(here) else _FULL).names.add(name)
            try:
                end = os.readlink(here)
            except OSError as error:
                if error.errno == errno.EINVAL:  # no link
                    if not names:
                        self._plan.targets.setdefault((real, name), set()).add(known)
                    real = here
                    continue
                return os.path.join(here, *reversed(names))
            links += 1
            if links > _MOST_LINKS:
                return here
            if os.path.isabs(end):
                real = os.sep
            names += [name for name in reversed(end.split(os.sep)) if name not in ("", os.curdir)]
        return real


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _limited(error: OSError) -> Problem:
    return Problem(
        Severity.WARNING,
        WATCH_LIMIT,
        f"{error.strerror}: files are looked at every second instead, and changes act later",
        hint="raise fs.inotify.max_user_watches and fs.inotify.max_user_instances (sysctl)",
    )


def _ended(error: Exception) -> Problem:
    return Problem(
        Severity.WARNING,
        WATCH_LIMIT,
        f"watching through inotify ended ({shown(str(error))}): files are looked at every second instead",
    )
