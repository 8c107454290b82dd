"""Incremental xDS: requests say what changes in the subscription, responses what changes in the resources.

Source: xDS protocol, "Incremental xDS", and the comments in discovery.proto.
"""

from __future__ import annotations

from dataclasses import replace

from legation.snapshot.order import Row
from legation.snapshot.snapshot import Snapshot
from legation.stream.events import Requested
from legation.stream.subscription import Asked
from legation.stream.track import Doubt, Lingering, Track

INCREMENTAL = True


def whole(row: Row) -> bool:
    """Does a response list everything? Never."""
    return False


def lingers(track: Track, name: str) -> bool:
    """May a removed resource stay? Its removal is not sent, so nothing needs to be known of it."""
    return track.row.lingers and track.may_have(name)


def subscribe(track: Track, request: Requested, first: bool) -> Asked:
    """Take in the names that come and go. They count on every message, whatever else it says."""
    legacy = first and track.row.full_state
    asked = track.subscription.adjust(request.subscribe, request.unsubscribe, legacy)
    # "An empty response tells the client that it is up to date": without one it waits on, after a reconnect too.
    track.owed |= (first or asked.opened) and bool(track.subscription)
    return asked


def remember(track: Track, request: Requested, asked: Asked, snapshot: Snapshot, previous: Snapshot) -> Asked:
    """`initial_resource_versions`: what the client has from an earlier stream. It is no subscription.

    What is equal is not sent again, save endpoints, routes and secrets that are asked for by name: after a reconnect
    Envoy may wait for them although it has them. What is gone lingers.
    """
    type_url = track.row.type_url
    table, known = snapshot.of(type_url), previous.of(type_url)
    for name, version in request.initial_resource_versions.items():
        if not track.wants(name):
            continue
        target = table.get(name)
        content = next((one for one in (target, known.get(name)) if one and one.version == version), None)
        if content is not None:
            track.held[name] = content
        else:
            track.doubts[name] = Doubt(None, None, present=True, version=version)
        track.dirty.add(name)
        if target is None and track.row.lingers:
            track.lingering[name] = Lingering(content)
    if track.row.full_state:
        return replace(asked, names=asked.names - track.held.keys())
    return asked
