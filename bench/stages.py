"""How long each stage of the server takes: its own functions, wrapped in clocks while a profile is taken."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Clock = Callable[[], float]


class Stages:
    """Seconds by stage; what a stage calls of another is the other's. `began` is when a stage was first entered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: list[float] = []
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.began: dict[str, float] = {}

    def clear(self) -> None:
        self.seconds.clear()
        self.began.clear()

    @contextmanager
    def wrapped(self, places: dict[str, list[tuple[Any, str]]]) -> Iterator[None]:
        """Clocks around these functions, by stage, for as long as the context lasts."""
        before = [(owner, attribute, getattr(owner, attribute)) for of in places.values() for owner, attribute in of]
        try:
            for stage, of in places.items():
                for owner, attribute in of:
                    setattr(owner, attribute, self._timed(stage, getattr(owner, attribute)))
            yield
        finally:
            for owner, attribute, function in before:
                setattr(owner, attribute, function)

    def _timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **named: Any) -> Any:
            began = self._clock()
            self.began.setdefault(stage, time.monotonic())
            self._open.append(0.0)
            try:
                return function(*args, **named)
            finally:
                took = self._clock() - began
                self.seconds[stage] += took - self._open.pop()
                if self._open:
                    self._open[-1] += took

        return timed


def of_a_change() -> dict[str, list[tuple[Any, str]]]:
    """The functions in which a change spends its time, by stage."""
    from legation import fleet  # noqa: PLC0415 (so that a smoke run of another case needs none of it)
    from legation.ingest import admission, decode, documents, files  # noqa: PLC0415
    from legation.render import virtual_hosts  # noqa: PLC0415
    from legation.stream.machine import Stream  # noqa: PLC0415
    from legation.transport import codec  # noqa: PLC0415

    return {
        "read": [(files, "read_files")],
        "parse": [(documents, "read")],
        "decode": [(decode, "decode"), (decode, "identify")],
        "admit": [(admission.Admission, "step")],
        "render": [(fleet.Fleet, "advance")],
        "assemble": [(virtual_hosts, "table")],
        "stream": [(Stream, "handle")],
        "send": [(codec, "delta_response")],
    }
