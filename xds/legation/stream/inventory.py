"""What a stream knows of every resource that its client asks for: for people and their tools, nothing depends on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from legation.snapshot.snapshot import Resource, Snapshot
from legation.stream.track import Track


class State(StrEnum):
    """Where client and Snapshot stand with one resource."""

    SYNCED = "the client has taken the newest version"
    STALE = "a version is on its way or still to come, or it is not known which one the client has"
    NOT_SENT = "the client has not been sent any"
    REFUSED = "the client refuses the newest version"


@dataclass(frozen=True, slots=True)
class Holding:
    """One resource. `content` is what the client was sent last and has not refused, None if that is nothing or not known;
    `refused` is what it refuses, None for a removal, and `words` are its own.
    """

    type_url: str
    name: str
    state: State
    content: Resource | None = None
    refused: Resource | None = None
    words: str = ""


def inventory(tracks: Mapping[str, Track], snapshot: Snapshot) -> Iterator[Holding]:
    """By type, in the order of types; then by name."""
    for type_url, track in tracks.items():
        table = snapshot.of(type_url)
        names = {*track.held, *track.doubts, *track.refused, *track.subscription.names}
        if track.subscription.wildcard:
            names.update(table)
        for name in sorted(names):
            yield _holding(track, type_url, name, table.get(name))


def _holding(track: Track, type_url: str, name: str, target: Resource | None) -> Holding:
    content = track.surely(name)
    if name in track.refused:
        version = track.refused[name].version
        refused = target if target is not None and target.version == version else None
        return Holding(type_url, name, State.REFUSED, content, refused, track.refused[name].words)
    if track.waiting(name) or name in track.doubts:
        return Holding(type_url, name, State.STALE, content)
    if content is None:
        return Holding(type_url, name, State.NOT_SENT)
    is_newest = target is not None and target.version == content.version
    return Holding(type_url, name, State.SYNCED if is_newest else State.STALE, content)
