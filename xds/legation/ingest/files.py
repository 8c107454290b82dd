"""Reading trees: the text of every file below the DIRs, and whatever kept a file from being text."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from legation.ingest.walk import (
    NO_FILE,
    SECRET_FILES,
    STANDARD_INPUT,
    TOO_MUCH,
    UNREADABLE,
    Found,
    RootState,
    SecretPlace,
    distinct,
    inside,
    locate,
    secret_place,
    shown,
    sound_secret,
    unreadable,
    walk,
    wanted,
)
from legation.problems import Problem, Severity

__all__ = ["RawFile", "RootState", "SecretFolder", "Tree", "read_files", "read_tree", "wanted"]

MAX_BYTES: Final = 64 * 1024 * 1024
"""A larger file is told, not read."""
MAX_SECRET_BYTES: Final = 1024 * 1024
"""Kubernetes' own bound for a Secret."""

NOT_TEXT = "LEG0007"

_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file as it was read.

    `path` is as the user gave it: DIR joined with the relative path. `text` is None where the file is there but holds
    no readable text, and `problem` says why: its documents are unknown then, not gone. A byte order mark is no text.
    """

    path: str
    text: str | None = field(repr=False)
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class SecretFolder:
    """A folder `secrets/<namespace>/<name>/`: what it holds by file name, as bytes that are never quoted."""

    path: str
    namespace: str
    name: str
    files: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tree:
    """What was read.

    `files` and `secrets` are by path, in the order of the roots and then of the paths. `problems` are those that belong
    to no entry of `files`. `roots` says what became of every root that was read; a root that another one covers is not
    among them. `unread` are paths below which nothing is known: what came from there must not be taken as removed.
    """

    files: Mapping[str, RawFile]
    secrets: Mapping[str, SecretFolder]
    problems: tuple[Problem, ...]
    roots: Mapping[str, RootState]
    unread: tuple[str, ...] = ()

    def unknown(self, path: str) -> bool:
        """Whether a path that is not in `files` may be there all the same: a folder above it could not be read."""
        return any(inside(path, folder) for folder in self.unread)


def read_tree(roots: Sequence[str], *, follow_outside: bool = False) -> Tree:
    """Every file below the roots: DIRs, single files (whatever their names), `-` for standard input.

    Raises nothing: what cannot be read is told in the result.
    """
    reading = _Reading()
    for root in distinct(roots):
        if root == STANDARD_INPUT:
            reading.standard_input()
            continue
        walked = walk(root, follow_outside=follow_outside)
        reading.problems += walked.problems
        reading.unread += walked.unread
        reading.roots[root] = walked.state
        for found in sorted(walked.files, key=lambda found: found.path):
            reading.take(found)
        if walked.state is RootState.EMPTY:
            reading.problems.append(
                Problem(Severity.WARNING, NO_FILE, "holds no *.yaml, *.yml or *.json file", file=shown(root))
            )
    return reading.tree()


def read_files(roots: Sequence[str], paths: Iterable[str], *, follow_outside: bool = False) -> Tree:
    """The same for these paths only (as `Changed.paths` names them); the roots are those of `read_tree`.

    A path that is not in the result's `files` and not `unknown` is gone. The path of a secret's file stands for its
    folder, which is in `secrets` unless it is gone. A root is EMPTY only to `read_tree`.
    """
    reading = _Reading()
    kept = [root for root in distinct(roots) if root != STANDARD_INPUT]
    for root in kept:
        reading.root(root)
    places: dict[SecretPlace, None] = {}
    for path in sorted(set(paths)):
        if (place := secret_place(path)) is not None and path not in kept:
            places[place] = None
        elif (found := locate(path, kept, follow_outside=follow_outside)) is not None:
            reading.take(found)
    for place in places:
        for name in SECRET_FILES:
            found = locate(os.path.join(place.folder, name), kept, follow_outside=follow_outside)
            if found is not None:
                reading.take(found)
    return reading.tree()


def source(path: str) -> str:
    """What a changed path is read as: itself, or the folder of the Secret that it is a part of."""
    place = secret_place(path) if not wanted(os.path.basename(path)) else None
    return place.folder if place is not None else path


class _Reading:
    def __init__(self) -> None:
        self.files: dict[str, RawFile] = {}
        self.secrets: dict[SecretPlace, dict[str, bytes]] = {}
        self.problems: list[Problem] = []
        self.roots: dict[str, RootState] = {}
        self.unread: list[str] = []

    def tree(self) -> Tree:
        secrets = {
            place.folder: SecretFolder(place.folder, place.namespace, place.name, files)
            for place, files in self.secrets.items()
        }
        return Tree(self.files, secrets, tuple(self.problems), self.roots, tuple(self.unread))

    def root(self, root: str) -> None:
        state = RootState.FINE
        try:
            if stat.S_ISDIR(os.stat(root).st_mode):
                os.scandir(root).close()
        except OSError as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            state = RootState.MISSING if missing else RootState.UNREADABLE
            self.unread.append(root)
            self.problems.append(unreadable(root, error))
        self.roots[root] = state

    def standard_input(self) -> None:
        source = sys.stdin.buffer
        source = getattr(source, "raw", source)  # a program cannot end while someone waits inside the buffered one
        data = b""
        while len(data) <= MAX_BYTES and (more := source.read(1 << 16)):
            data += more
        self.files[STANDARD_INPUT] = decoded(STANDARD_INPUT, data)
        self.roots[STANDARD_INPUT] = RootState.FINE

    def take(self, found: Found) -> None:
        place = secret_place(found.path) if not wanted(os.path.basename(found.path)) else None
        if place is not None and found.path not in self.roots:
            self._secret(place, found)
            return
        path = shown(found.path)
        if found.real is None:
            self.files[path] = RawFile(path, None, found.problem)
            return
        read = _bytes(path, found.real, MAX_BYTES)
        if isinstance(read, Problem):
            self.files[path] = RawFile(path, None, read)
        elif read is not None:
            self.files[path] = decoded(path, read)

    def _secret(self, place: SecretPlace, found: Found) -> None:
        if (unsound := sound_secret(place)) is not None:
            if unsound not in self.problems:
                self.problems.append(unsound)
            return
        read = found.problem if found.real is None else _bytes(shown(found.path), found.real, MAX_SECRET_BYTES)
        if isinstance(read, Problem):
            self.problems.append(read)
            self.unread.append(place.folder)
        elif read is not None:
            self.secrets.setdefault(place, {})[os.path.basename(found.path)] = read


def _bytes(path: str, real: str, most: int) -> bytes | Problem | None:
    """A file's content, read while it did not change; None if it is gone."""
    for _ in range(_ATTEMPTS):
        try:
            # Not followed and not waited for, should it have become a link or a pipe since it was looked at.
            descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
            with open(descriptor, "rb", buffering=0) as file:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    return Problem(Severity.ERROR, NO_FILE, "is no regular file", file=path)
                if before.st_size > most:
                    return _too_large(path, most)
                data = _all(file.fileno(), most + 1)
                after = os.fstat(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return unreadable(path, error)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and len(data) == after.st_size:
            return data
    return Problem(Severity.ERROR, UNREADABLE, "is being written to while it is read", file=path)


def _all(descriptor: int, most: int) -> bytes:
    parts: list[bytes] = []
    while most > 0 and (part := os.read(descriptor, min(most, 1 << 20))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def decoded(path: str, data: bytes) -> RawFile:
    """The text in a file's bytes, or why they are none."""
    if len(data) > MAX_BYTES:
        return RawFile(path, None, _too_large(path, MAX_BYTES))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return RawFile(path, None, _not_text(path, data, 0, "is UTF-16"))
    if (zero := data.find(b"\0")) >= 0:
        return RawFile(path, None, _not_text(path, data, zero, "has a NUL byte: a binary file, or UTF-16"))
    try:
        return RawFile(path, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        # Positions in the error count from behind the mark that the codec took off.
        start = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        return RawFile(path, None, _not_text(path, data, start, f"byte 0x{data[start]:02x} is not UTF-8"))


def _not_text(path: str, data: bytes, at: int, what: str) -> Problem:
    before = data[:at].removeprefix(b"\xef\xbb\xbf")
    line = before.count(b"\n") + 1
    column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
    return Problem(
        Severity.ERROR, NOT_TEXT, what, file=path, line=line, column=column, hint="save the file as UTF-8 without zeros"
    )


def _too_large(path: str, most: int) -> Problem:
    return Problem(Severity.ERROR, TOO_MUCH, f"is larger than {most // (1024 * 1024)} MiB: not read", file=path)
