"""Which files below the DIRs are read: names, symbolic links, folders of secrets. Nothing here looks into a file.

`*.yaml`, `*.yml` and `*.json` are read, at any depth; not what begins with a dot or ends in `~`. A link is followed as
far as it resolves inside its DIR (Kubernetes' `..data` does). A folder `secrets/<namespace>/<name>/` is a Secret.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from legation.problems import Problem, Severity

SUFFIXES: Final = (".yaml", ".yml", ".json")
SECRET_FILES: Final = ("tls.crt", "tls.key", "ca.crt")
STANDARD_INPUT: Final = "-"
MAX_DEPTH: Final = 64
"""Folders in folders, below a DIR."""
MAX_ENTRIES: Final = 500_000
"""Directory entries below one DIR: a `/` given by mistake ends here."""

MISSING = "LEG0001"
UNREADABLE = "LEG0002"
NOT_FOLLOWED = "LEG0003"
NO_FILE = "LEG0004"
TOO_MUCH = "LEG0005"
SECRET_NAME = "LEG0006"

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL.pattern}(\.{_LABEL.pattern})*")


class RootState(Enum):
    """What became of one DIR."""

    FINE = "fine"
    EMPTY = "empty"
    MISSING = "missing"
    UNREADABLE = "unreadable"


class SecretPlace(NamedTuple):
    """The folder `secrets/<namespace>/<name>`, its path as the user gave it."""

    folder: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """One file to read. `real` is where its text is, every link resolved; None where `problem` says why not."""

    path: str
    real: str | None
    link: bool = False
    problem: Problem | None = None


@dataclass(slots=True)
class Walked:
    """What one DIR holds. `unread` are paths below which nothing is known; `links` all visible links, with their ends."""

    root: str
    state: RootState = RootState.FINE
    files: list[Found] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is passed over: dot files, backups, editors' swap and lock files."""
    return name.startswith(".") or name.endswith("~")


def wanted(name: str) -> bool:
    """Whether a file of this name holds documents."""
    return name.lower().endswith(SUFFIXES) and not hidden(name)


def secret_place(path: str) -> SecretPlace | None:
    """The folder of secrets that a file belongs to, or None."""
    folder, file = os.path.split(path)
    if file not in SECRET_FILES:
        return None
    try:
        whole = os.path.abspath(folder)  # DIR may be `secrets` itself, or `.` in it
    except OSError:
        whole = folder  # the working directory is gone
    *_, parent, namespace, name = ("", "", "", *whole.split(os.sep))
    return SecretPlace(folder, namespace, name) if parent == "secrets" else None


def sound_secret(place: SecretPlace) -> Problem | None:
    """Namespace and name become part of names and paths, so they must be what Kubernetes allows."""
    if _LABEL.fullmatch(place.namespace) and _SUBDOMAIN.fullmatch(place.name):
        return None
    return Problem(
        Severity.ERROR,
        SECRET_NAME,
        f"namespace {place.namespace!r} or name {place.name!r} is no Kubernetes name; the secret is left out",
        file=shown(place.folder),
        hint="secrets/<namespace>/<name>/, in lower case letters, digits and '-'",
    )


def matters(path: str) -> bool:
    """Whether a file at this path would be read, were its folders visible."""
    return wanted(os.path.basename(path)) or secret_place(path) is not None


def shown(path: str) -> str:
    """A path that can be printed and sent: bytes that are not UTF-8 are escaped."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def resolved(path: str) -> str:
    """The path with every link followed as far as it goes; itself where even the working directory is gone."""
    try:
        return os.path.realpath(path)
    except OSError:
        return path


def inside(real: str, folder: str) -> bool:
    """Whether a resolved path is a resolved folder or below it."""
    return real == folder or real.startswith(os.path.join(folder, ""))


def distinct(roots: Iterable[str]) -> list[str]:
    """The roots without those that another one covers, so that no document is read twice."""
    kept = list(dict.fromkeys(roots))
    reals = {root: resolved(root) for root in kept if root != STANDARD_INPUT}

    def covered(root: str, index: int) -> bool:
        real = reals.get(root)
        for at, other in enumerate(kept):
            theirs = reals.get(other)
            if real is None or theirs is None or other == root or not inside(real, theirs):
                continue
            below = os.path.relpath(real, theirs)
            if real == theirs:
                if at < index:
                    return True
            elif not any(map(hidden, below.split(os.sep))) and (os.path.isdir(real) or wanted(below)):
                return True
        return False

    return [root for index, root in enumerate(kept) if not covered(root, index)]


def walk(
    root: str, *, follow_outside: bool = False, entering: Callable[[str, str], None] = lambda path, real: None
) -> Walked:
    """Every file below a DIR (or the file itself, whatever its name), in the order of their names.

    `entering(path, real)` is called before a folder is listed, so that a watch on it misses nothing. Raises nothing:
    what cannot be read is in the result.
    """
    return _Walk(root, follow_outside, entering).run()


def locate(path: str, roots: Sequence[str], *, follow_outside: bool = False) -> Found | None:
    """What `walk` would say of one path below one of the (distinct) roots; None if it is no file of theirs (any more)."""
    for root in roots:
        if path == root or path.startswith(os.path.join(root, "")):
            return _Walk(root, follow_outside, lambda path, real: None).one(path)
    return None


class _Walk:
    def __init__(self, root: str, follow_outside: bool, entering: Callable[[str, str], None]) -> None:
        self._real = resolved(root)
        self._follow_outside = follow_outside
        self._entering = entering
        self._entries = 0
        self._out = Walked(root)

    def run(self) -> Walked:
        out = self._out
        try:
            mode = os.stat(out.root).st_mode
        except OSError as error:
            self._no_root(error)
            return out
        if stat.S_ISDIR(mode):
            self._folder(out.root, self._real, ())
            if out.state is RootState.FINE and not out.files and not out.unread:
                out.state = RootState.EMPTY
        else:
            out.files.append(_plain(out.root, self._real, mode, link=os.path.islink(out.root)))
        return out

    def one(self, path: str) -> Found | None:
        root = self._out.root
        if path == root:
            return None if os.path.isdir(root) else next(iter(self.run().files), None)
        parts = os.path.relpath(path, root).split(os.sep)
        if any(map(hidden, parts)) or not matters(path):
            return None
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return Found(path, None, problem=unreadable(path, error))
        folder = os.path.dirname(path)
        real = resolved(folder)
        if real != os.path.normpath(os.path.join(self._real, *parts[:-1])) and not self._passable(parts[:-1]):
            return None
        if not stat.S_ISLNK(mode):
            return None if stat.S_ISDIR(mode) else _plain(path, os.path.join(real, parts[-1]), mode)
        self._link(path, os.path.join(real, parts[-1]), None)
        return next(iter(self._out.files), None)

    def _passable(self, folders: Sequence[str]) -> bool:
        """Whether the walk would come through these folders, some of which are links."""
        passed = [self._real]
        path = self._out.root
        for name in folders:
            path = os.path.join(path, name)
            real = resolved(path)
            if real in passed or not self._allowed(real):
                return False
            passed.append(real)
        return True

    def _allowed(self, real: str) -> bool:
        return self._follow_outside or inside(real, self._real)

    def _no_root(self, error: OSError) -> None:
        out = self._out
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        out.state = RootState.MISSING if missing else RootState.UNREADABLE
        out.unread.append(out.root)
        out.problems.append(unreadable(out.root, error))

    def _folder(self, path: str, real: str, above: tuple[str, ...]) -> None:
        out = self._out
        if real in above:
            out.problems.append(_not_followed(path, "leads back to a folder that it is in"))
            return
        if len(above) >= MAX_DEPTH:
            out.unread.append(path)
            out.problems.append(_too_much(path, f"more than {MAX_DEPTH} folders deep"))
            return
        self._entering(path, real)
        try:
            with os.scandir(real) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if path == out.root:
                self._no_root(error)
            elif not isinstance(error, FileNotFoundError | NotADirectoryError):
                out.unread.append(path)
                out.problems.append(unreadable(path, error))
            return
        self._entries += len(entries)
        if self._entries > MAX_ENTRIES:
            out.unread.append(path)
            out.problems.append(_too_much(path, f"more than {MAX_ENTRIES:,} files and folders"))
            return
        for entry in entries:
            if hidden(entry.name):
                continue
            below = os.path.join(path, entry.name)
            try:
                self._entry(entry, below, os.path.join(real, entry.name), (*above, real))
            except FileNotFoundError:
                continue
            except OSError as error:
                out.unread.append(below)
                out.problems.append(unreadable(below, error))

    def _entry(self, entry: os.DirEntry[str], path: str, real: str, above: tuple[str, ...]) -> None:
        if entry.is_symlink():
            self._link(path, real, above)
        elif entry.is_dir(follow_symlinks=False):
            self._folder(path, real, above)
        elif matters(path):
            mode = stat.S_IFREG if entry.is_file(follow_symlinks=False) else 0
            self._out.files.append(_plain(path, real, mode))

    def _link(self, path: str, real: str, above: tuple[str, ...] | None) -> None:
        """`above` is None where only a file is asked for."""
        out = self._out
        end = resolved(real)
        out.links.append((path, end))
        try:
            mode = os.stat(end).st_mode
        except OSError as error:
            # What it led to may have been a folder: then nothing is known of what is below.
            out.unread.append(path)
            problem = _not_followed(path, f"cannot be followed to {shown(os.readlink(real))}: {error.strerror}", error)
            if matters(path):
                out.files.append(Found(path, None, link=True, problem=problem))
            else:
                out.problems.append(problem)
            return
        if not stat.S_ISDIR(mode) and not matters(path):
            return
        if not self._allowed(end):
            problem = _not_followed(path, f"leads out of {shown(out.root)}, to {shown(end)}")
            if stat.S_ISDIR(mode):
                out.problems.append(problem)
            else:
                out.files.append(Found(path, None, link=True, problem=problem))
        elif not stat.S_ISDIR(mode):
            out.files.append(_plain(path, end, mode, link=True))
        elif above is not None:
            self._folder(path, end, above)


def unreadable(path: str, error: OSError) -> Problem:
    """What the operating system said of a path."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Problem(Severity.ERROR, MISSING, "there is no such file or directory", file=shown(path))
    reason = error.strerror or str(error)
    return Problem(Severity.ERROR, UNREADABLE, f"cannot be read: {reason}", file=shown(path))


def _plain(path: str, real: str, mode: int, *, link: bool = False) -> Found:
    if stat.S_ISREG(mode):
        return Found(path, real, link)
    problem = Problem(
        Severity.ERROR,
        NO_FILE,
        "is a pipe, socket or device; only regular files are read",
        file=shown(path),
        hint="'-' reads standard input",
    )
    return Found(path, None, link, problem)


def _not_followed(path: str, why: str, error: OSError | None = None) -> Problem:
    severity = Severity.WARNING if error is None else Severity.ERROR
    hint = "--follow-outside follows it" if "leads out" in why else ""
    return Problem(severity, NOT_FOLLOWED, f"symbolic link {why}", file=shown(path), hint=hint)


def _too_much(path: str, what: str) -> Problem:
    return Problem(Severity.ERROR, TOO_MUCH, f"{what}: not read", file=shown(path))
