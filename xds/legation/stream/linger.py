"""What must stay: a removed resource is kept on a stream as long as anything in the client may refer to it.

An ACK is evidence of order, not of being in force, so a second passes before what nobody needs any more goes.
"""

from __future__ import annotations

from legation.snapshot.snapshot import Ref, Snapshot
from legation.stream.gate import FETCH, Tracks, answered
from legation.stream.track import NEVER, Track

GRACE = 1.0
"""Seconds between the last acknowledgement that frees a resource and its removal."""


def release(tracks: Tracks, snapshot: Snapshot, met: float, now: float) -> float:
    """Mark as due the removals that nothing in the client stands against; the next time at which to look again.

    `met` is when the client last asked for a type for the first time: what it has of a type that it has not asked for
    yet is not known, so nothing goes in the second after that.
    """
    if not any(track.lingering for track in tracks.values()):
        return NEVER
    pinned, types, wake = _pinned(tracks, snapshot, now)
    for type_url, track in tracks.items():
        for name, lingering in list(track.lingering.items()):
            if type_url in types or (type_url, name) in pinned:
                lingering.free = None
                continue
            if lingering.free is None:
                lingering.free = now
            due = max(lingering.free, met) + GRACE
            if due <= now:
                del track.lingering[name]
                track.dirty.add(name)
            else:
                wake = min(wake, due)
    return wake


def _pinned(tracks: Tracks, snapshot: Snapshot, now: float) -> tuple[set[Ref], set[str], float]:
    """What the client may be using that the Snapshot no longer wants it to use: resources, and whole types where all
    that is known is that something may refer to one; and when that may change by itself.

    Only resources on which client and Snapshot may differ can do so. A reference that the Snapshot itself still holds
    does not count: it dangles because it was written so.
    """
    pinned: set[Ref] = set()
    types: set[str] = set()
    wake = NEVER
    for type_url, track in tracks.items():
        table = snapshot.of(type_url)
        for name in set(track.unsettled()):
            wake = min(wake, _cool(track, name, tracks, now))
            target = table.get(name)
            kept = target.refs if target else frozenset()
            for refs in track.possible(name):
                if refs is None:
                    types.update(other for other in track.row.refers if other != type_url)
                else:
                    pinned |= refs - kept
    return pinned, types, wake


def _cool(track: Track, name: str, tracks: Tracks, now: float) -> float:
    """Is a new version in force by now? If so forget what the old one referred to; else when to look again."""
    warming = track.warming.get(name)
    if warming is None:
        return NEVER
    times = [answered(tracks, ref, warming.since, now, FETCH) for ref in warming.awaits]
    latest = max(times, default=now)
    if latest <= now:
        del track.warming[name]
        return NEVER
    return latest
