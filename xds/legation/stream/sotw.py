"""State of the world: every request lists all names, a response lists all resources or, by type, some of them.

Source: xDS protocol, "SotW protocol variants" and "Deleting resources".
"""

from __future__ import annotations

from legation.snapshot.order import Row
from legation.snapshot.snapshot import Snapshot
from legation.stream.events import Requested
from legation.stream.subscription import Asked
from legation.stream.track import Doubt, Lingering, Track

INCREMENTAL = False


def whole(row: Row) -> bool:
    """Does a response list everything? "For listeners and clusters the server must return all subscribed resources"."""
    return row.full_state


def lingers(track: Track, name: str) -> bool:
    """May a removed resource stay? Only one that can be listed on: what was refused and never taken cannot."""
    return track.row.lingers and track.likely(name) is not None


def subscribe(track: Track, request: Requested, first: bool) -> Asked:
    """Take in the list of names. On the first request of a type also what the client brings along."""
    asked = track.subscription.replace(request.names, legacy=track.row.full_state)
    track.owed |= (first or asked.opened) and whole(track.row) and bool(track.subscription)
    return asked


def remember(track: Track, request: Requested, asked: Asked, snapshot: Snapshot, previous: Snapshot) -> Asked:
    """What the client has from an earlier stream: it says so by a version, and nothing about names.

    `previous` is what was last served; whether the client took it is not known. What of it is gone lingers until the
    client has acknowledged what replaces it. A resource of which nothing is known may refer to anything.
    """
    type_url, wanted = track.row.type_url, track.subscription
    if not request.version_info:
        return asked
    table = snapshot.of(type_url)
    if whole(track.row) and wanted.wildcard and not wanted.names and request.version_info == snapshot.version(type_url):
        # A content hash, and everything is asked for: the client has it all. For other types versions say too little,
        # and endpoints, routes and secrets are waited for after a reconnect, so they are sent in any case.
        track.held.update(table)
        track.owed = False
        track.sent_version = track.acked_version = request.version_info
        return asked
    known = previous.of(type_url)
    for name in known if wanted.wildcard else wanted.names & known.keys():
        track.doubts[name] = Doubt(known[name], known[name].refs, present=False)
        track.dirty.add(name)
        if name not in table and track.row.lingers:
            track.lingering[name] = Lingering(known[name])
    if track.row.refers:
        for name in wanted.names - known.keys():
            track.doubts[name] = Doubt(None, None, present=False)
            track.dirty.add(name)
    return asked
