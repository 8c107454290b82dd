"""What can happen to a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from legation.snapshot.snapshot import Change, Snapshot


@dataclass(frozen=True, slots=True)
class Fault:
    """A client's reason to refuse a response: `error_detail`, a google.rpc.Status (code, message)."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Requested:
    """A DiscoveryRequest (`names`, `version_info`) or a DeltaDiscoveryRequest (`subscribe`, `unsubscribe`,
    `initial_resource_versions`: name → version). `error` is set in a NACK.
    """

    type_url: str
    names: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_resource_versions: Mapping[str, str] = field(default_factory=dict)
    version_info: str = ""
    response_nonce: str = ""
    error: Fault | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """The stream's scope has a new Snapshot; `change` names everything in which it differs from the last one."""

    snapshot: Snapshot
    change: Change


@dataclass(frozen=True, slots=True)
class Ticked:
    """The time asked for by a Wake has come. Harmless when it has not."""


Event = Requested | Published | Ticked
