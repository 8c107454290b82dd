"""The directory that a server keeps its state in: its own alone, and one server's at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from legation.ingest.walk import inside, shown
from legation.problems import Problem, Severity

LOCK: Final = "legation.lock"

IN_USE = "LEG0021"
UNUSABLE = "LEG0022"

_HINT: Final = "another directory: --state-dir"


class StateError(Exception):
    """The directory cannot hold the state; `problem` says why and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class StateUnavailable(StateError):
    """The disk does not let us: full, read-only, failing. No reason not to start."""


def default_directory(roots: Sequence[str | Path]) -> Path:
    """`$XDG_STATE_HOME/legation/<hash of the absolute DIRs>`: the same for the same DIRs in any order.

    Raises StateUnavailable where there is neither XDG_STATE_HOME nor a home.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    try:
        if not os.path.isabs(base):
            base = str(Path.home() / ".local" / "state")
        # Not resolved: a DIR that is a link keeps its state when the link is swapped.
        places = sorted({os.path.abspath(root) for root in roots})
    except (RuntimeError, OSError) as error:  # no home, or no working directory
        why = f"there is no place for the state: {error}"
        raise StateUnavailable(Problem(Severity.ERROR, UNUSABLE, why, hint="name one: --state-dir")) from error
    digest = sha256(b"\0".join(map(os.fsencode, places))).hexdigest()
    return Path(base) / "legation" / digest[:16]


def take(directory: Path, watched: Sequence[Path]) -> int:
    """Makes the directory, or makes sure that it is ours alone, and locks it: the descriptor that holds the lock.

    The kernel releases it when the process ends, however it ends. Raises StateError; StateUnavailable where the disk is to
    blame.
    """
    real = os.path.realpath(directory)
    for root in watched:
        if inside(real, os.path.realpath(root)):
            raise StateError(unusable(directory, f"it lies inside {shown(str(root))}, which is watched"))
    try:
        _make_private(directory)
        return _locked(directory)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ELOOP):  # something else is in its place
            raise StateError(unusable(directory, error.strerror or str(error))) from error
        raise StateUnavailable(unusable(directory, error.strerror or str(error))) from error


def _make_private(directory: Path) -> None:
    os.makedirs(directory, mode=0o700, exist_ok=True)
    # Held open, so that what is looked at is what is changed.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise StateError(unusable(directory, f"it belongs to user {status.st_uid}, not to {os.geteuid()}"))
        if stat.S_IMODE(status.st_mode) != 0o700:
            # Never taken from others by mistake: --state-dir /tmp, say.
            names = {*os.listdir(descriptor)} - {"lost+found"}
            if status.st_mode & stat.S_ISVTX or (names and LOCK not in names):
                raise StateError(unusable(directory, "it is no state directory, and is not empty"))
            os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _locked(directory: Path) -> int:
    lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(lock, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):  # a full disk; it only says who holds it
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        process = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise StateError(in_use(directory, f"another server (process {process or 'unknown'})")) from error
    except BaseException:
        os.close(lock)
        raise
    return lock


def in_use(directory: Path, by: str) -> Problem:
    """Somebody else holds the directory or the database."""
    return Problem(
        Severity.ERROR, IN_USE, f"the state directory is in use by {by}", file=shown(str(directory)), hint=_HINT
    )


def unusable(directory: Path, why: str) -> Problem:
    """The directory cannot serve."""
    return Problem(
        Severity.ERROR, UNUSABLE, f"cannot be the state directory: {why}", file=shown(str(directory)), hint=_HINT
    )
