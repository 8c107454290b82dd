"""What the server keeps on disk, beside the event loop: accepted versions, what clients were served last, notes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from legation.ingest import documents, state
from legation.ingest.admission import Decision, Version
from legation.ingest.decode import decode
from legation.journal import log
from legation.judge import NOTE
from legation.model.meta import Key
from legation.problems import Problem
from legation.served import Served

PATIENCE = 0.1
"""Seconds for which a change waits for the disk to have the one before."""


class Keeper:
    """Belongs to the event loop. Until `open`, and where there is no directory, nothing is kept.

    `told` is called on the loop with what was found on the disk; `changed` when `problems` are different.
    """

    def __init__(self, told: Callable[[Problem, bool], None], changed: Callable[[], None]) -> None:
        self.problems: tuple[Problem, ...] = ()
        """Why what is accepted now is not on disk."""
        self.served: Served | None = None
        self.note: str | None = None
        """What the last server noted of refusals."""
        self._told = told
        self._changed = changed
        self._state: state.State | None = None
        self._writer = ThreadPoolExecutor(1, "legation-state")
        self._writing: Future[None] | None = None

    def open(self, directory: Path, watched: Iterable[str], *, keep_secrets: bool) -> list[Version]:
        """Takes the directory for this server, and returns what the last one accepted. A directory that cannot be had is
        told, and read as far as it can be. Raises as `state.State.open` where going on would be wrong.
        """
        self._loop = asyncio.get_running_loop()
        places = [Path(root) for root in watched if root != "-"]
        try:
            self._state = state.State.open(directory, places, keep_secrets=keep_secrets)
            rows = self._state.load()
        except state.StateUnavailable as error:
            return self._without(directory, error.problem, keep_secrets=keep_secrets)
        self.served = Served(self._state.directory, self._later, self._told_soon)
        self.note = self._state.note(NOTE)
        self.problems = tuple(problem for problem in self._state.problems if problem.code == state.NOT_SAVED)
        for problem in self._state.problems:
            if problem not in self.problems:
                self._told(problem, True)
        return _restored(rows)

    def close(self) -> None:
        """What waits is written first."""
        self._writer.shutdown()
        if self.served is not None:
            self.served.close()
        if self._state is not None:
            self._state.close()

    def keep(self, decision: Decision) -> None:
        """What was accepted, and what went."""
        if self._state is None or not (decision.put or decision.removed):
            return
        rows = [
            state.Accepted(version.object.key, version.document.file, version.document.line, version.document.source)
            for version in decision.put
            if version.object is not None
        ]
        self._later(partial(self._save, self._state, rows, decision.removed))

    def keep_note(self, text: str) -> None:
        """What is known of refusals."""
        if self._state is not None:
            self._later(partial(_save_note, self._state, text))

    async def written(self) -> None:
        """Returns once the disk has all changes, or does not get on: so that after a sudden death at most one is missing
        there, and that one is in the files.
        """
        if self._writing is not None and not self._writing.done():
            await asyncio.wait([asyncio.wrap_future(self._writing)], timeout=PATIENCE)

    def _without(self, directory: Path, why: Problem, *, keep_secrets: bool) -> list[Version]:
        """What is accepted is kept in memory only; what an earlier server kept is read as far as it can be."""
        if self._state is not None:
            self._state.close()
            self._state = None
        said = f"{why.message}; what is accepted is not kept, a restart may not know it"
        self.problems = (replace(why, message=said),)
        rows, problems = state.rescued(directory, keep_secrets=keep_secrets)
        for problem in problems:
            self._told(problem, True)
        return _restored(rows)

    def _save(self, to: state.State, rows: list[state.Accepted], removed: tuple[Key, ...]) -> None:
        problem = to.save(rows, removed)
        self._loop.call_soon_threadsafe(self._saved, problem)

    def _saved(self, problem: Problem | None) -> None:
        self.problems = (problem,) if problem is not None else ()
        self._changed()

    def _later(self, work: Callable[[], None]) -> None:
        """Runs what waits for the disk, one after the other."""
        with contextlib.suppress(RuntimeError):  # the server is ending
            self._writing = self._writer.submit(work)
            self._writing.add_done_callback(lambda done: done.result())

    def _told_soon(self, problem: Problem) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self._told, problem, True)


def _save_note(to: state.State, text: str) -> None:
    problem = to.set_notes({NOTE: text})
    if problem is not None:
        log.error("%s", problem)


def _restored(rows: Iterable[state.Accepted]) -> list[Version]:
    restored = []
    for row in rows:
        document = documents.restore(row.file, row.line, row.text)
        item = decode(document)[0] if document is not None else None
        if document is not None and item is not None:
            restored.append(Version(document, item))
    return restored
