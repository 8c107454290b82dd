"""The machine: one stream, all its types, both dialects. What is sent, when, in which order, and what is held back.

Everything that may ever have to be sent is a name in some track's `dirty` or `forced`; `_pump` looks at those, in the
order of the types, and at most one response per type is unanswered. So a slow client costs the names that changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import chain

from legation import names
from legation.snapshot import order
from legation.snapshot.snapshot import Ref, Resource, Snapshot, adjusted
from legation.status import TypeStatus
from legation.stream import delta, gate, linger, sotw
from legation.stream.commands import Accepted, Close, Command, Rejected, Send, Wake
from legation.stream.events import Event, Published, Requested, Ticked
from legation.stream.inventory import Holding, inventory
from legation.stream.proofs import TRUST, Proofs
from legation.stream.subscription import Asked
from legation.stream.track import GONE, NEVER, Flight, Lingering, Refusal, Track
from legation.stream.words import is_of_the_host

WATCHDOG = 30.0
"""Seconds after which an unanswered response stops holding up its type. Envoy answers nothing to a response of a type
that it has just stopped watching."""

CHUNK = 2 << 20
"""Bytes of resources after which a response of a type without full state is cut; the rest follows the ACK."""

MAX_TYPES = 64
"""Types on one stream: Envoy has a dozen."""

MAX_NAMES = 200_000
"""Names on one stream, asked for or said to be there: more than Envoy can hold."""

LONGEST_NAME = 1024
"""Characters of a name: a host has 253 of them."""

NOTHING = Snapshot()


class Variant(StrEnum):
    """The dialect, fixed by the RPC method."""

    SOTW = "sotw"
    DELTA = "delta"


class Stream:
    """One xDS stream. `handle` never fails on what a client sends; what cannot be served becomes a Close.

    `tag` makes the nonces differ from those of other streams (Envoy may send one from the stream before). `previous`
    is what this client was served before it reconnected, if that is known; for one that brings nothing along it is
    ignored. `proofs` say what may travel in company, and what is known to be refused.
    """

    def __init__(
        self,
        variant: Variant,
        snapshot: Snapshot,
        *,
        tag: str = "",
        previous: Snapshot = NOTHING,
        proofs: Proofs = TRUST,
    ) -> None:
        self.variant = variant
        self._dialect = sotw if variant is Variant.SOTW else delta
        self._snapshot = snapshot
        self._previous = previous
        self._proofs = proofs
        self._tag = tag
        self._nonces = 0
        self._tracks: dict[str, Track] = {}
        self._met = 0.0
        self._wake = NEVER
        self._closed = False

    def handle(self, event: Event, now: float) -> list[Command]:
        """What follows from an event. `now` is in seconds, from any origin, and never goes back."""
        if self._closed:
            return []
        commands: list[Command] = []
        match event:
            case Requested():
                close = self._refusal(event)
                if close is not None:
                    self._closed = True
                    return [close]
                self._request(event, now, commands)
            case Published():
                self._publish(event)
            case Ticked():
                self._wake = NEVER
        self._pump(now, commands)
        return commands

    @property
    def rests(self) -> bool:
        """Whether the client has all of what it asked for."""
        return all(track.rests for track in self._tracks.values())

    def status(self) -> Mapping[str, TypeStatus]:
        """What the client has of each type that it asked for, by the type's short name."""
        return {
            names.SHORT_TYPE.get(url, url.rpartition(".")[2]): track.status(
                self._snapshot.version(url), self._snapshot.of(url)
            )
            for url, track in self._tracks.items()
        }

    def served(self) -> Snapshot:
        """All that the client may have, as the `previous` of the stream with which it comes back."""
        tables = {url: self._snapshot.of(url) for url in self._tracks}
        heard = {
            url: tables[url] if track.has_all(tables[url]) else track.served() for url, track in self._tracks.items()
        }
        return Snapshot({**self._previous.resources, **heard}, {}, self._snapshot.revision)

    def inventory(self) -> list[Holding]:
        """What is known of every resource that the client asks for. Its cost follows what that is."""
        return list(inventory(self._tracks, self._snapshot))

    # Requests.

    def _refusal(self, request: Requested) -> Close | None:
        if not request.type_url:
            return Close("INVALID_ARGUMENT", "type_url is missing")
        if request.type_url.startswith(names.TYPE_PREFIX + "envoy.api.v2."):
            return Close("INVALID_ARGUMENT", f"xDS v2 is not served: {request.type_url}")
        if request.type_url not in self._tracks and len(self._tracks) >= MAX_TYPES:
            return Close("RESOURCE_EXHAUSTED", f"more than {MAX_TYPES} types on one stream")
        listed = (request.names, request.subscribe, request.initial_resource_versions)
        if any(len(name) > LONGEST_NAME for name in chain(*listed)):
            return Close("INVALID_ARGUMENT", f"a name has more than {LONGEST_NAME} characters")
        most = sum(map(len, listed)) + sum(len(track.subscription.names) for track in self._tracks.values())
        if most > MAX_NAMES and self._asks_for(request) > MAX_NAMES:
            return Close("RESOURCE_EXHAUSTED", f"more than {MAX_NAMES:,} names on one stream")
        return None

    def _asks_for(self, request: Requested) -> int:
        """How many names this stream would have to remember."""
        others = sum(len(track.subscription.names) for url, track in self._tracks.items() if url != request.type_url)
        track = self._tracks.get(request.type_url)
        before = track.subscription.names if track is not None and self._dialect.INCREMENTAL else frozenset[str]()
        come = {*request.names, *request.subscribe, *request.initial_resource_versions}
        return others + len((before | come) - set(request.unsubscribe))

    def _request(self, request: Requested, now: float, commands: list[Command]) -> None:
        track = self._tracks.get(request.type_url)
        first = track is None
        if track is None:
            track = Track(order.row(request.type_url))
            self._tracks[request.type_url] = track
            self._tracks = dict(sorted(self._tracks.items(), key=lambda item: order.rank(item[0])))
            self._met = now
        self._answer(track, request, now, commands)
        # The names count on every message: on a NACK, and on one that answers an older response.
        asked = self._dialect.subscribe(track, request, first)
        if first:
            # Whatever nonce it carries: an Envoy that reconnects may send one of the stream before.
            asked = self._dialect.remember(track, request, asked, self._snapshot, self._previous)
        self._apply(track, asked)

    def _apply(self, track: Track, asked: Asked) -> None:
        if asked.closed:
            track.narrow()
        elif not track.subscription.wildcard:
            for name in asked.dropped:
                track.forget(name)
        if asked.opened:
            track.dirty.update(self._snapshot.of(track.row.type_url).keys() - track.held.keys())
        self._recall(track, asked.names)
        track.ask(asked.names)
        if not track.subscription:
            track.expire()  # an empty or unwanted response may stay without an answer for ever
            track.owed = False

    def _recall(self, track: Track, asked: Iterable[str]) -> None:
        """What lingers may be new to the client: it was served, and never arrived. Then the client waits for what that
        refers to, and Envoy acknowledges no cluster before a new one has its endpoints.
        """
        known, table = self._previous.of(track.row.type_url), self._snapshot.of(track.row.type_url)
        for name in asked:
            if name in known and name not in table and track.row.lingers and self._lingers_for(track, name):
                track.lingering.setdefault(name, Lingering(known[name]))

    def _lingers_for(self, track: Track, name: str) -> bool:
        ref = (track.row.type_url, name)
        lingering = (one.content for other in self._tracks.values() for one in other.lingering.values())
        return any(content is not None and ref in content.refs for content in lingering)

    def _answer(self, track: Track, request: Requested, now: float, commands: list[Command]) -> None:
        """ACK or NACK, told apart by `error_detail` alone. An unknown or empty nonce answers nothing."""
        flights = track.answered(request.response_nonce) if request.response_nonce else []
        if not flights:
            return
        for older in flights[:-1]:
            track.accept(older, now)
        flight, url = flights[-1], track.row.type_url
        if request.error is not None:
            code, words = request.error.code, request.error.message
            whole = self._dialect.whole(track.row)
            suspects = track.reject(flight, words, now, whole=whole, passing=is_of_the_host(words))
            sent = tuple(flight.sent[name] for name in suspects if name in flight.sent)
            removed = tuple(name for name in suspects if name in flight.removed)
            commands.append(Rejected(url, flight.version, flight.nonce, code, words, sent, removed))
            return
        track.accept(flight, now)
        commands.append(Accepted(url, flight.version, flight.nonce, flight.taken, flight.removed))
        if track.row.first:
            self._retry({(url, name) for name, new in flight.sent.items() if _differs(flight.before[name], new)})

    def _retry(self, taken: set[Ref]) -> None:
        """What was refused may have been so for want of what was just taken (a route that is checked for its clusters)."""
        for url, track in self._tracks.items():
            for name in list(track.refused):
                target = self._snapshot.of(url).get(name)
                if target is not None and not target.refs.isdisjoint(taken):
                    track.retry(name)

    # Snapshots.

    def _publish(self, event: Published) -> None:
        self._snapshot = event.snapshot
        for url, changed in event.change.items():
            track = self._tracks.get(url)
            if track is None:
                continue
            for name in changed:
                if not track.wants(name):
                    continue
                track.dirty.add(name)
                if self._target(track, name) is not None:
                    track.lingering.pop(name, None)
                elif self._dialect.lingers(track, name):
                    track.lingering.setdefault(name, Lingering(track.likely(name)))

    # Responses.

    def _pump(self, now: float, commands: list[Command]) -> None:
        linger.release(self._tracks, self._snapshot, self._met, now)
        wake = NEVER
        for track in self._tracks.values():
            if track.refused:
                wake = min(wake, track.retry_what_may_have_passed(now))
            if track.flight is not None and track.flight.at + WATCHDOG <= now:
                track.expire()
            if track.flight is None and (track.dirty or track.forced or track.owed):
                wake = min(wake, self._offer(track, now, commands))
            if track.flight is not None:
                wake = min(wake, track.flight.at + WATCHDOG)
            track.trim()
        # Asked once more, because what was let go in silence, without an answer to wait for, may have freed others.
        wake = min(wake, linger.release(self._tracks, self._snapshot, self._met, now))
        if wake < NEVER and wake != self._wake:
            self._wake = wake
            commands.append(Wake(wake))

    def _offer(self, track: Track, now: float, commands: list[Command]) -> float:
        """Send what of a type is due and need not wait; when to look again for what must."""
        due, gone = self._due(track, now)
        whole = self._dialect.whole(track.row)
        candidates = due | self._in_doubt(track, due) if whole else due
        lacking, wake = self._lacking(track, now) if candidates else ({}, NEVER)
        gated = {name for name, new in candidates.items() if _must_wait(track, name, new, lacking)}
        if not gated:
            wake = NEVER
        elif track.row.together and any(lacking.get(ref) for name in gated for ref in candidates[name].refs):
            return wake  # a removal and an addition that belong together wait together, as long as waiting helps
        owed = track.owed and (track.row.full_state or not gated)
        if not (due.keys() - gated or gone or owed):
            return wake
        sent = {name: new for name, new in candidates.items() if name not in gated}
        if whole:
            sent = _one_of_the_suspects(track, sent)
        elif len(sent) + len(gone) > 1:
            sent, gone = self._portion(track, sent, gone)
        left_out = {name: new for name, new in candidates.items() if name not in sent}
        kept = self._kept(track, left_out)
        version = adjusted(self._snapshot.version(track.row.type_url), kept.values(), left_out.values())
        resources = tuple(sent.values())
        if whole:
            resources = (*self._listed(track, left_out), *kept.values())
            sent.update((name, old) for name, old in kept.items() if name not in track.held)
            gone = sorted({*gone, *(track.doubts.keys() - sent.keys() - kept.keys())})
        self._nonces += 1
        flight = Flight(
            nonce=f"{self._tag}{self._nonces}",
            version=version,
            at=now,
            sent=sent,
            removed=tuple(gone),
            before={name: track.surely(name) for name in (*sent, *gone)},
            postponed=frozenset({*left_out, *kept}) if whole else frozenset(),
        )
        track.depart(flight)
        track.dirty |= gated | (track.alone & left_out.keys())
        self._resend(track, flight)
        told = flight.removed if self._dialect.INCREMENTAL else ()
        commands.append(Send(track.row.type_url, version, flight.nonce, resources, told))
        return wake

    def _target(self, track: Track, name: str) -> Resource | None:
        """What is there under a name; or what stands in for it, if it is asked for by name."""
        found = self._snapshot.of(track.row.type_url).get(name)
        if found is None and name in track.subscription.names:
            return self._snapshot.stand_in(track.row.type_url, name)
        return found

    def _due(self, track: Track, now: float) -> tuple[dict[str, Resource], list[str]]:
        """What the client lacks or is owed, and what it must lose; what needs neither is crossed off."""
        due: dict[str, Resource] = {}
        gone: list[str] = []
        for name in sorted(track.dirty | track.forced):
            target = self._target(track, name)
            if target is None and name in track.lingering:
                target = track.lingering[name].content if name in track.forced else None
                if target is None:
                    track.settled(name)
                    continue
            if not track.wants(name):
                track.settled(name)
            elif target is not None:
                track.recognise(name, target)
                held = track.held.get(name)
                if held is not None and held.version == target.version and name not in track.forced:
                    track.agrees(name)
                elif track.refuses(name, target.version) or self._knows_better(track, target, now):
                    track.settled(name)
                else:
                    due[name] = target
            elif not self._tells(track, name):
                track.lose(name)
            elif track.refuses(name, GONE) or (track.told_gone(name) and name not in track.forced):
                track.settled(name)
            else:
                gone.append(name)
        return due, gone

    def _knows_better(self, track: Track, target: Resource, now: float) -> bool:
        """Is it known to be refused, by this client or by all of its kind, and not the time to try it again?"""
        words = self._proofs.refused(target, now)
        if not words or target.name in track.retried:
            return False
        track.refused[target.name] = Refusal(target.version, words)
        return True

    def _tells(self, track: Track, name: str) -> bool:
        """Is the absence of a resource something to say?"""
        if not self._dialect.INCREMENTAL:
            return track.may_have(name) and self._dialect.whole(track.row)
        if track.may_have(name):
            return track.row.removable
        # Never there and asked for: said once, so that the client need not wait for it; the interest stays.
        return name in track.forced and name not in track.absent

    def _lacking(self, track: Track, now: float) -> tuple[dict[Ref, bool], float]:
        """What resources of this type must wait for, because the client has not got it."""
        lacking: dict[Ref, bool] = {}
        wake = NEVER
        for url in track.row.refers:
            other = self._tracks.get(url)
            if other is not None and other.row.first and other is not track:
                found, again = gate.missing(other, self._tracks, self._snapshot, now)
                lacking |= found
                wake = min(wake, again)
        return lacking, wake

    def _in_doubt(self, track: Track, due: Mapping[str, Resource]) -> dict[str, Resource]:
        """A response that lists everything settles, in one way or the other, what is in doubt or refused."""
        found = {name: self._target(track, name) for name in {*track.doubts, *track.refused} if name not in due}
        return {name: target for name, target in found.items() if target is not None}

    def _portion(
        self, track: Track, sent: dict[str, Resource], gone: list[str]
    ) -> tuple[dict[str, Resource], list[str]]:
        """What of it goes into one response. What travels alone comes after what does not."""
        alone = track.alone
        if track.row.fragile:
            alone = alone | {name for name, new in sent.items() if not self._proofs.proven(new)}
        if alone:
            together = {name: new for name, new in sent.items() if name not in alone}
            known_gone = [name for name in gone if name not in alone]
            if not together and not known_gone:
                name = min((*sent, *gone))
                return ({name: sent[name]}, []) if name in sent else ({}, [name])
            sent, gone = together, known_gone
        if track.row.together:
            return sent, gone
        size = 0
        portion: dict[str, Resource] = {}
        for name, new in sent.items():
            size += len(new.body)
            if portion and size > CHUNK:
                return portion, []  # removals last
            portion[name] = new
        return portion, gone

    def _kept(self, track: Track, left_out: Mapping[str, Resource]) -> dict[str, Resource]:
        """What the client keeps for the time being: the old version of what must wait, and what lingers."""
        kept = {name: track.likely(name) for name in left_out}
        kept.update((name, lingering.content) for name, lingering in track.lingering.items())
        return {name: old for name, old in kept.items() if old is not None}

    def _listed(self, track: Track, left_out: Mapping[str, Resource]) -> list[Resource]:
        """All of a type that the client subscribes to, save what must wait."""
        wanted = track.subscription
        if wanted.wildcard:
            return [new for name, new in self._snapshot.of(track.row.type_url).items() if name not in left_out]
        found = (self._target(track, name) for name in sorted(wanted.names) if name not in left_out)
        return [target for target in found if target is not None]

    def _resend(self, track: Track, flight: Flight) -> None:
        """ "After a cluster is added or changed, its endpoints must be sent, changed or not": it is not used before."""
        if not track.row.resends:
            return
        for name, new in flight.sent.items():
            if not _differs(flight.before[name], new):
                continue
            for url, other_name in new.refs:
                other = self._tracks.get(url) if url in track.row.resends else None
                if other is not None and other.wants(other_name) and other_name in self._snapshot.of(url):
                    other.forced.add(other_name)


def _differs(before: Resource | None, new: Resource) -> bool:
    return before is None or before.version != new.version


def _must_wait(track: Track, name: str, new: Resource, lacking: Mapping[Ref, bool]) -> bool:
    """Does it refer to something that the client lacks, and that its own version does not refer to already?"""
    if not lacking or new.refs.isdisjoint(lacking):
        return False
    held = track.held.get(name)
    return held is None or not (new.refs - held.refs).isdisjoint(lacking)


def _one_of_the_suspects(track: Track, candidates: dict[str, Resource]) -> dict[str, Resource]:
    """Of a response that lists everything: what it lists in the new version. What is refused stays as it was; after a
    refusal of several each is tried by itself, after what is above suspicion, and after what is listed beside it in a
    version of which it is not known that the client took it.
    """
    trusted = {name: new for name, new in candidates.items() if not track.refuses(name, new.version)}
    suspects = sorted(track.alone & trusted.keys())
    if not suspects:
        return trusted
    beside = {*track.lingering, *track.alone, *track.refused}
    ready = len(suspects) == len(trusted) and not any(map(track.is_uncertain, beside))
    return {name: new for name, new in trusted.items() if name not in suspects or (ready and name == suspects[0])}
