"""Which files changed since they were read: one stream of news from inotify, from the platform's own events, or from
looking at them again and again. A burst of saves is one piece of news; a single save hardly waits.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Protocol

from legation.ingest.polling import POLL_SECONDS, POLLED, WATCH_LIMIT, Observed, Poll, Tell
from legation.ingest.walk import STANDARD_INPUT, distinct, inside, resolved
from legation.problems import Problem, Severity

if sys.platform == "linux":
    from legation.ingest.inotify import InotifyWatch

_STOP_SECONDS: Final = 5.0

ALONE: Final = 0.0005
"""Seconds of silence after one file was saved and nothing else; see docs/decisions/0004-quiet.md."""

LONGEST: Final = 0.1
"""Seconds after which a change is told of, however much is being saved."""

# File systems whose changes on the other side this kernel does not see.
_REMOTE: Final = frozenset(
    ("9p", "afs", "ceph", "cifs", "lustre", "ncpfs", "nfs", "nfs4", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs")
)


@dataclass(frozen=True, slots=True)
class Changed:
    """Something changed.

    `paths` are files to read again, or that are gone, as `read_tree` names them. `rescan` says to read the whole tree
    instead: a folder or a link came, went or was replaced, or events were lost. `at` is the monotonic time (seconds) of
    the first event. `problems` is all that hampers the watching at present.
    """

    paths: frozenset[str]
    rescan: bool
    at: float
    problems: tuple[Problem, ...] = ()


async def watch(
    roots: Sequence[str],
    *,
    quiet: float = 0.003,
    longest: float = LONGEST,
    poll: float | None = None,
    follow_outside: bool = False,
    ahead: Callable[[str], object] | None = None,
) -> AsyncGenerator[Changed, None]:
    """News of all files that `read_tree` reads below these roots, until the iterator is closed.

    The first is always a `rescan`: it says that the watch stands, so that whoever reads then misses nothing. After
    that news comes `quiet` seconds after the last event (sooner, if one file was saved and nothing else happened), and at
    the latest `longest` seconds after the first. What happens while news is dealt with is in the next. A root that does
    not exist (yet) is waited for.

    `ahead` is called with the first file of a change before anything is waited for, so that the time is not lost.
    `poll` looks at the files every so many seconds, and listens to no events. Raises nothing of its own: where events
    cannot be had, the files are polled, and `Changed.problems` says so.
    """
    loop = asyncio.get_running_loop()
    names = [root for root in distinct(roots) if root != STANDARD_INPUT]
    news = _News(quiet, longest, ahead)
    sources: list[_Source] = []

    def tell(at: float, paths: AbstractSet[str], rescan: bool, problem: Problem | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(take, at, paths, rescan, problem)

    def take(at: float, paths: AbstractSet[str], rescan: bool, problem: Problem | None) -> None:
        if problem is not None:
            hampered(problem)
        news.take(at, paths, rescan)

    def hampered(problem: Problem) -> None:
        news.problems[problem] = None
        start_polling(POLL_SECONDS)

    def start_polling(seconds: float) -> None:
        if not stopped and not any(isinstance(source, Poll) for source in sources):
            sources.append(Poll(names, seconds, tell, follow_outside=follow_outside))
            sources[-1].start()

    stopped = False
    try:
        if poll is not None:
            start_polling(poll)
        elif not names:
            take(time.monotonic(), frozenset(), True, None)
        else:
            try:
                sources.append(_platform(names, tell, follow_outside=follow_outside))
                sources[-1].start()
            except OSError as error:
                hampered(_no_events(error))
            mounts = _mounts()
            for root in names:
                if (kind := remote(root, mounts)) is not None:
                    hampered(_far(root, kind))
        while True:
            yield await news.next()
    finally:
        stopped = True
        for source in sources:
            source.stop()
        for source in sources:
            if source.is_alive():
                source.join(_STOP_SECONDS)


class _Source(Protocol):
    """A thread that tells of changes."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def is_alive(self) -> bool: ...
    def join(self, timeout: float | None = None) -> None: ...


class _News:
    """Collects what the threads tell until it is quiet. Lives in the loop."""

    def __init__(self, quiet: float, longest: float, ahead: Callable[[str], object] | None) -> None:
        self._ahead = ahead
        self._quiet = quiet
        self._longest = longest
        self._some = asyncio.Event()
        self._paths: set[str] = set()
        self._rescan = False
        self._first = self._last = self._heard = 0.0
        self.problems: dict[Problem, None] = {}

    def take(self, at: float, paths: AbstractSet[str], rescan: bool) -> None:
        self._heard = time.monotonic()
        if not self._some.is_set():
            self._first = at
            if self._ahead is not None and len(paths) == 1 and not rescan:
                self._ahead(next(iter(paths)))  # what happens meanwhile is heard before anyone is told
        self._last = at
        self._paths |= paths
        self._rescan |= rescan
        self._some.set()

    def _due(self) -> float:
        """When it has been quiet for long enough. One file that was saved is rarely the first of many: bursts mostly
        begin with a removal or a folder.
        """
        alone = len(self._paths) == 1 and not self._rescan and os.path.lexists(next(iter(self._paths)))
        quiet_at = self._heard + min(ALONE, self._quiet) if alone else self._last + self._quiet
        return min(quiet_at, self._first + self._longest)

    async def next(self) -> Changed:
        await self._some.wait()
        heard = 0.0
        while (left := self._due() - time.monotonic()) > 0 or heard != self._heard:
            heard = self._heard
            await asyncio.sleep(max(left, 0.0))  # at least one turn of the loop, for what is waiting to be told
        changed = Changed(frozenset(self._paths), self._rescan, self._first, tuple(self.problems))
        self._paths.clear()
        self._rescan = False
        self._some.clear()
        return changed


def _platform(roots: Sequence[str], tell: Tell, *, follow_outside: bool) -> _Source:
    if sys.platform == "linux":
        return InotifyWatch(roots, tell, follow_outside=follow_outside)
    return Observed(roots, tell, follow_outside=follow_outside)


def remote(root: str, mounts: Iterable[str]) -> str | None:
    """The kind of file system that a path is on, or has mounted below it, if others can change it unknown to this
    kernel; None for all others. `mounts` are lines as of `/proc/self/mountinfo`."""
    real = resolved(root)
    above, kind = "", ""
    for line in mounts:
        before, _, after = line.partition(" - ")
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
        system = after.split(" ")[0]
        if inside(place, real) and place != real and _is_remote(system):
            return system
        if inside(real, place) and len(place) >= len(above):
            above, kind = place, system
    return kind if _is_remote(kind) else None


def _mounts() -> list[str]:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            return mounts.read().splitlines()
    except OSError:
        return []


def _is_remote(kind: str) -> bool:
    return kind in _REMOTE or kind.startswith("fuse.")


def _no_events(error: OSError) -> Problem:
    return Problem(
        Severity.WARNING,
        WATCH_LIMIT,
        f"{error.strerror}: files are looked at every {POLL_SECONDS:g} s instead, and changes act later",
        hint="raise fs.inotify.max_user_instances (sysctl)",
    )


def _far(root: str, kind: str) -> Problem:
    return Problem(
        Severity.INFO,
        POLLED,
        f"is on {kind}, where not every change is told: files are also looked at every {POLL_SECONDS:g} s",
        file=root,
    )
