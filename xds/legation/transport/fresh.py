"""A value that is made of files and follows them. Files that are broken change nothing: the last good value stays."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from legation.problems import Problem, Severity

T = TypeVar("T")

UNFIT: Final = "LEG0901"
LARGEST: Final = 4 << 20


class Unfit(Exception):
    """The files do not make a value; the problems say why."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def unfit(file: str, message: str, hint: str = "") -> Unfit:
    """A file of the channel that cannot be what it should be. Nothing of it is ever quoted."""
    return Unfit(Problem(Severity.ERROR, UNFIT, message, file, hint=hint))


class Fresh(Generic[T]):
    """What `make` makes of the bytes of some files; it raises Unfit. `look` may be called from any thread."""

    def __init__(self, paths: Sequence[str], make: Callable[..., T]) -> None:
        """Raises Unfit if there is no value to begin with."""
        self._paths = tuple(paths)
        self._make = make
        self._one_at_a_time = threading.Lock()
        self._contents = self._read()
        self.value: T = make(*self._contents)
        self.problems: tuple[Problem, ...] = ()

    def look(self) -> T:
        """The value of now: another object if the files have changed and are good."""
        with self._one_at_a_time:
            try:
                contents = self._read()
                if contents != self._contents:
                    self.value, self._contents = self._make(*contents), contents
                self.problems = ()
            except Unfit as error:
                self.problems = error.problems
            return self.value

    def _read(self) -> tuple[bytes, ...]:
        return tuple(map(_bytes, self._paths))


def _bytes(path: str) -> bytes:
    try:
        # Not to wait for whoever may write into a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise unfit(path, "it is no regular file")
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise unfit(path, f"cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise unfit(path, f"is larger than {LARGEST >> 20} MiB")
    return content
