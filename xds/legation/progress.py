"""How far everyone is: who has the newest revision in full, what the others lack, and how long it took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from time import monotonic

from legation import names
from legation.console.metrics import Metrics
from legation.model.proxy import Client
from legation.snapshot.snapshot import Snapshot
from legation.status import Course, ProxyStatus, Standing, TypeStatus
from legation.transport.control import Session

GATHERED = 0.01
"""Seconds in which what happens to a stream is gathered before it is looked at: one change has several answers."""
AT_ONCE = 50
"""Streams that are looked at before anything else has its turn."""
REVISIONS = 1000
"""How many revisions are known by name."""
UNASKED = 15.0
"""Seconds in which an Envoy that aggregates has asked for all that it wants: after so many it goes on without what
it waits for (`initial_fetch_timeout`)."""

TOLD = 3
"""Refusals that are told in full; all of them are in the status."""

_URL = {short: url for url, short in names.SHORT_TYPE.items()}


@dataclass(slots=True, eq=False)
class _Followed:
    """A stream. `had` is the newest revision that it surely had in full, where that is not the newest there is;
    `awaited` since when it owes answers to a change of the files; `answered` when it answered last, `taken` what.
    """

    stream: int
    session: Session
    joined: float
    had: str = ""
    awaited: float | None = None
    answered: float = 0.0
    taken: bool = True


class Progress:
    """What the fleet notes of its sessions, on the event loop.

    `current` is what a session's scope is served now; `told` is called with the numbers of streams of which something
    is different: at once when something is sent to them, shortly after when they have said something.
    """

    def __init__(
        self, metrics: Metrics, current: Callable[[Session], Snapshot], told: Callable[[Iterable[int]], None]
    ) -> None:
        self._metrics = metrics
        self._current = current
        self._told = told
        self._revision = self._previous = ""
        self._order: dict[str, int] = {"": 0}
        self._numbers = count(1)
        self._streams: dict[int, _Followed] = {}
        self._of: dict[Session, _Followed] = {}
        self._behind: set[int] = set()
        self._refusing: set[int] = set()
        self._awaited: set[int] = set()
        self._changed = self._taken = 0.0
        self.record: Callable[[Course], None] | None = None
        """Called with the course of each change, if anybody wants it, when the last client has answered or the next
        change comes."""
        self._course: Course | None = None
        self._stirred: dict[int, None] = {}
        self._timer: asyncio.Handle | None = None

    # -- what happens --

    def revised(self, revision: str, changed: float | None = None) -> None:
        """Another revision is in service, because of a change of the files at `changed` (None: it is the first). Who had
        the one before has this one too, until it is `sent` something.
        """
        self._finish()
        if self.record is not None and changed is not None:
            self._course = Course(revision, changed, monotonic())
        self._previous, self._revision = self._revision, revision
        self._metrics.revised()
        self._order.pop(revision, None)
        self._order[revision] = next(self._numbers)
        if len(self._order) > REVISIONS:
            del self._order[next(iter(self._order))]
        self._told(())

    def published(self) -> None:
        """Everyone was sent what the change means for it."""
        if self._course is not None:
            self._course.published = monotonic()
            if not self._awaited:
                self._finish()

    def joined(self, session: Session) -> None:
        """A stream has introduced itself."""
        followed = _Followed(next(self._numbers), session, monotonic())
        self._streams[followed.stream] = self._of[session] = followed
        self._behind.add(followed.stream)
        self._stir(followed.stream)
        asyncio.get_running_loop().call_later(UNASKED, self._stir, followed.stream)
        self._told((followed.stream,))

    def left(self, session: Session) -> None:
        """It is over."""
        followed = self._of.pop(session)
        del self._streams[followed.stream]
        self._settle(followed)
        self._behind.discard(followed.stream)
        self._refusing.discard(followed.stream)
        self._told((followed.stream,))

    def sent(self, sessions: Iterable[Session], changed: float) -> None:
        """These have something new to take in, because of a change of the files at `changed`."""
        if not self._awaited:
            self._changed = changed
        streams = []
        for session in sessions:
            followed = self._of[session]
            if followed.stream not in self._behind:
                followed.had = self._previous
                self._behind.add(followed.stream)
            if followed.awaited is None:
                followed.awaited = changed
            self._awaited.add(followed.stream)
            streams.append(followed.stream)
        self._told(streams)

    def answered(self, session: Session, *, taken: bool) -> None:
        """It took a response, or refused it. Whether that was the last one is looked at with the rest, soon."""
        followed = self._of[session]
        followed.answered, followed.taken = monotonic(), taken

    def stirred(self, session: Session) -> None:
        """Something happened on it."""
        self._stir(self._of[session].stream)

    # -- what is told --

    @property
    def streams(self) -> Iterable[int]:
        """All of them, by their numbers."""
        return self._streams.keys()

    @property
    def tally(self) -> tuple[int, int, int]:
        """Open streams; those that have not got the newest revision in full; those that refuse something."""
        return len(self._streams), len(self._behind), len(self._refusing)

    @property
    def clients(self) -> int:
        """Different proxies: one that does not aggregate has several streams."""
        return len({followed.session.proxy.id for followed in self._streams.values()})

    def standing(self, stream: int) -> Standing | None:
        """How one stream stands now; None if it is over."""
        followed = self._streams.get(stream)
        if followed is None:
            return None
        status = followed.session.status()
        lacks = tuple(self._lacks(followed, status))
        revision = self._revision if stream not in self._behind else followed.had
        return Standing(stream, status, revision, stream not in self._behind, lacks)

    def session(self, stream: int) -> Session | None:
        """The session behind a number; None if it is over."""
        followed = self._streams.get(stream)
        return followed.session if followed is not None else None

    def revision_named(self, name: str) -> str | None:
        """The revision that is or was in service by this name, or by the only one that begins so."""
        if name in self._order:
            return name
        found = [revision for revision in self._order if name and revision.startswith(name)]
        return found[0] if len(found) == 1 else None

    def missing(self, revision: str) -> list[int]:
        """The streams that have neither this revision nor a newer one."""
        wanted = self._order[revision]
        return sorted(one for one in self._behind if self._order.get(self._streams[one].had, 0) < wanted)

    # -- looking --

    def _stir(self, stream: int) -> None:
        self._stirred[stream] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHERED, self._look)

    def _look(self) -> None:
        """Looks at what was stirred, a part at a time: ten thousand clients that reconnect are no reason to stand still."""
        self._timer = None
        part = list(islice(self._stirred, AT_ONCE))
        for stream in part:
            del self._stirred[stream]
            followed = self._streams.get(stream)
            if followed is not None:
                self._judge(followed)
        if self._stirred:
            self._timer = asyncio.get_running_loop().call_soon(self._look)
        self._told(part)

    def _judge(self, followed: _Followed) -> None:
        if followed.session.rests and monotonic() - followed.joined > UNASKED:
            self._settle_in_full(followed)  # nearly always, and a thousand times after every change
            return
        status = followed.session.status()
        if followed.awaited is not None:
            self._hear_out(followed, status)
        if next(self._lacks(followed, status), None) is None:
            self._behind.discard(followed.stream)
        elif followed.stream not in self._behind:
            followed.had = self._previous
            self._behind.add(followed.stream)
        if any(of.error or of.refused for of in status.types.values()):
            self._refusing.add(followed.stream)
        else:
            self._refusing.discard(followed.stream)

    def _settle_in_full(self, followed: _Followed) -> None:
        if followed.awaited is not None:
            self._note_answer(followed)
        self._behind.discard(followed.stream)
        self._refusing.discard(followed.stream)

    def _hear_out(self, followed: _Followed, status: ProxyStatus) -> None:
        """It owes answers to a change: were those all? Where it was sent nothing that it asks for there are none."""
        assert followed.awaited is not None
        has_answered = followed.answered > followed.awaited
        if _at_rest(status) or (has_answered and not followed.taken):
            self._note_answer(followed)

    def _note_answer(self, followed: _Followed) -> None:
        assert followed.awaited is not None
        has_answered = followed.answered > followed.awaited
        if has_answered and self._course is not None:
            self._course.answers.append((followed.session.proxy.id, followed.taken, followed.answered))
        if has_answered and followed.taken:
            self._taken = max(self._taken, followed.answered)
            self._metrics.delivered(followed.answered - followed.awaited)
        self._settle(followed)

    def _settle(self, followed: _Followed) -> None:
        """Nothing is expected of it any more."""
        if followed.awaited is None:
            return
        followed.awaited = None
        self._awaited.discard(followed.stream)
        if self._awaited:
            return
        if self._taken > self._changed:
            self._metrics.converged(self._taken - self._changed)
        self._finish()

    def _finish(self) -> None:
        """The course of a change is over."""
        course, self._course = self._course, None
        if course is not None and self.record is not None:
            course.unanswered = len(self._awaited)
            self.record(course)

    def _lacks(self, followed: _Followed, status: ProxyStatus) -> Iterator[str]:
        """What stands between a stream and the newest revision, in words."""
        snapshot, types = self._current(followed.session), status.types
        for short, of in sorted(types.items()):
            if of.error or of.refused or of.pending or of.acked != snapshot.version(_URL.get(short, "")):
                yield f"{short.upper()} {_reason(of)}"
        session = followed.session
        if not session.aggregated or session.proxy.client is not Client.ENVOY:
            return
        if monotonic() - followed.joined < UNASKED:
            yield from (f"{short.upper()} was not asked for yet" for short in _unasked(types.keys(), snapshot))


def _reason(of: TypeStatus) -> str:
    if of.refused:
        return "was refused: " + "; ".join(f"{name}: {words}" for name, words in sorted(of.refused.items())[:TOLD])
    if of.error:
        return f"was refused: {of.error}"
    return "was sent and not answered" if of.pending else "is not complete"


def _at_rest(status: ProxyStatus) -> bool:
    return all(of.synced and not of.pending for of in status.types.values())


def _unasked(asked: Iterable[str], snapshot: Snapshot) -> Iterator[str]:
    """What an Envoy that has just started will ask for: clusters and listeners, and then what these name."""
    wanted = {"cds", "lds"}
    if "lds" in asked and "rds" not in asked and _names(snapshot, names.LISTENER, names.ROUTE):
        wanted.add("rds")
    if "cds" in asked and "eds" not in asked and _names(snapshot, names.CLUSTER, names.ENDPOINT):
        wanted.add("eds")
    return iter(sorted(wanted - set(asked)))


def _names(snapshot: Snapshot, type_url: str, other: str) -> bool:
    return any(url == other for resource in snapshot.of(type_url).values() for url, _ in resource.refs)
