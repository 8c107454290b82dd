"""A Snapshot is everything that proxies of one scope are served, as versioned bytes; a Change is what differs from the last.

Versions are content hashes, so that two replicas, and a server before and after its restart, agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from legation.names import Key
from legation.overlay import Overlay

Ref = tuple[str, str]
"""Another resource, by type URL and name."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One xDS resource. `body` is the serialised `google.protobuf.Any`, made once and shared by every stream; it may hold a
    key, and is never printed.

    `refs` are the resources that a client asks for, or sends traffic to, because of this one (a listener's routes, a
    route's clusters, a cluster's endpoints); `origins` are the documents it was made from. `harmless`: by its making no
    client can refuse it.
    """

    type_url: str
    name: str
    body: bytes = field(repr=False)
    version: str
    refs: frozenset[Ref] = frozenset()
    origins: Collection[Key] = ()
    harmless: bool = False


def resource(
    type_url: str,
    name: str,
    body: bytes,
    refs: Iterable[Ref] = (),
    origins: Iterable[Key] = (),
    *,
    harmless: bool = False,
) -> Resource:
    """A Resource with its version: the hash of its bytes (64 bits of BLAKE2b, in hex)."""
    version = blake2b(body, digest_size=8).hexdigest()
    return Resource(type_url, name, body, version, frozenset(refs), tuple(dict.fromkeys(origins)), harmless)


Change = Mapping[str, frozenset[str]]
"""By type URL, the names that were added, changed or removed."""


def _nothing(_type_url: str, _name: str) -> Resource | None:
    return None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """By type URL: name → Resource, and the version of the type as a whole.

    A type that is not in `resources` has none. `revision` names the World that it was rendered from. `stand_in` says what
    a client gets that asks by name for what is not there, if anything; it depends on type URL and name alone.
    """

    resources: Mapping[str, Mapping[str, Resource]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    revision: str = ""
    stand_in: Callable[[str, str], Resource | None] = _nothing

    def of(self, type_url: str) -> Mapping[str, Resource]:
        """The resources of a type by name; empty for a type that we do not have."""
        return self.resources.get(type_url, {})

    def version(self, type_url: str) -> str:
        """The type's version: a hash of the set of its resources, and of nothing else."""
        return self.versions.get(type_url, _EMPTY)


def snapshot(resources: Iterable[Resource], revision: str = "") -> Snapshot:
    """A Snapshot of just these resources.

    Raises ValueError if two of a type share a name.
    """
    listed = list(resources)
    made, _ = evolve(Snapshot(), listed, (), revision)
    if sum(map(len, made.resources.values())) != len(listed):
        raise ValueError("two resources of one type have the same name")
    return made


def evolve(
    old: Snapshot, put: Iterable[Resource], removed: Iterable[Ref], revision: str = ""
) -> tuple[Snapshot, Change]:
    """The Snapshot after `put` and `removed`, sharing what did not change, and the names that really differ.

    Its cost follows the change.
    """
    wanted: dict[str, dict[str, Resource | None]] = {}
    for type_url, name in removed:
        wanted.setdefault(type_url, {})[name] = None
    for new in put:
        wanted.setdefault(new.type_url, {})[new.name] = new
    tables, versions, change = dict(old.resources), dict(old.versions), dict[str, frozenset[str]]()
    for type_url, named in wanted.items():
        table = old.of(type_url)
        more = {name: new for name, new in named.items() if new is not None}
        less = [name for name, new in named.items() if new is None and name in table]
        differing = [name for name, new in named.items() if _version(new) != _version(table.get(name))]
        before = (table[name] for name in differing if name in table)
        tables[type_url] = (table if isinstance(table, Overlay) else Overlay(table)).altered(more, less)
        versions[type_url] = adjusted(old.version(type_url), (more[name] for name in differing if name in more), before)
        if differing:
            change[type_url] = frozenset(differing)
    return replace(old, resources=tables, versions=versions, revision=revision or old.revision), change


def adjusted(version: str, more: Iterable[Resource], less: Iterable[Resource]) -> str:
    """The version of a type of which some resources are added and others left out."""
    total = int(version, 16) + sum(map(_weight, more)) - sum(map(_weight, less))
    return f"{total % _MODULUS:032x}"


_MODULUS = 1 << 128
_EMPTY = "0" * 32


def _version(of: Resource | None) -> str | None:
    return of.version if of is not None else None


def _weight(of: Resource) -> int:
    """A resource's share in its type's version: a sum needs no order, and changes with one term, whatever the others."""
    return int.from_bytes(blake2b(f"{of.name}\0{of.version}".encode(), digest_size=16).digest(), "big")
