"""What must wait: nothing is sent that refers to a resource which the client should have first and does not.

Source: xDS protocol, "Eventual consistency considerations" (make before break). Clients warm most of what they use;
the types marked `first` in `snapshot.order` they do not.
"""

from __future__ import annotations

from collections.abc import Mapping

from legation.snapshot.snapshot import Ref, Resource, Snapshot
from legation.stream.track import NEVER, Track, Young

PATIENCE = 5.0
"""Seconds after which a new resource that was sent and not refused is taken as there, although it was not acknowledged
or what it waits for was not. Messages of one stream arrive in order, so the order is kept even then."""

UNASKED = 0.5
"""Seconds in which a client that will ask for what a new resource refers to has done so. Envoy asks with its ACK."""

FETCH = 15.0
"""Seconds after which Envoy stops waiting for something that nobody answers (`initial_fetch_timeout`)."""

Tracks = Mapping[str, Track]


def missing(track: Track, tracks: Tracks, snapshot: Snapshot, now: float) -> tuple[dict[Ref, bool], float]:
    """Of a `first` type, what the client is to have and lacks; and when that may change by itself.

    True for what only needs time, False for what the client refused.
    """
    type_url, table = track.row.type_url, snapshot.of(track.row.type_url)
    lacking: dict[Ref, bool] = {}
    wake = NEVER
    for name in {*track.dirty, *track.forced, *track.refused, *track.young, *track.doubts}:
        if name not in table or not track.wants(name):
            continue
        if name in track.young:
            ready = _grown(track.young[name], track.held[name], tracks, now)
            if ready <= now:
                del track.young[name]
                continue
            wake = min(wake, ready)
        elif track.has(name):
            continue
        lacking[type_url, name] = not track.refuses(name, table[name].version)
    return lacking, wake


def _grown(young: Young, resource: Resource, tracks: Tracks, now: float) -> float:
    """When a new resource can bear traffic, at the latest: `now` or earlier if it can."""
    deadline = young.sent + PATIENCE
    if young.taken is None:
        return deadline
    for ref in resource.refs:
        deadline_of_ref = answered(tracks, ref, young.taken, now, UNASKED)
        if deadline_of_ref > now:
            return min(deadline, deadline_of_ref)
    return now


def answered(tracks: Tracks, ref: Ref, since: float, now: float, unasked: float) -> float:
    """Is what a client waits for there, and acknowledged? Now or earlier if so, else when it is taken as so.

    `unasked` is how long, after `since`, the client may still ask for it.
    """
    type_url, name = ref
    track = tracks.get(type_url)
    if track is None or not track.wants(name):
        return since + unasked
    if track.waiting(name) or name in track.dirty or name in track.forced or name in track.refused:
        return NEVER
    if name in track.held or name in track.absent:
        return now
    return since + FETCH  # asked for and not there: in state of the world, silence
