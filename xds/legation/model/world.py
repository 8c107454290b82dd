"""The World: an immutable index of every accepted document.

A table is a mapping from a name to the documents that say something under that name; which tables a document appears in
stands in `model/index.py`. A new World is made from the old one and what changed; it shares every table that the change
did not touch, and the change is told as facts, so that whoever read a fact knows that it has to look again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from legation.model import index
from legation.model.meta import Key, Object
from legation.overlay import Overlay


class Fact(NamedTuple):
    """Something that can be read from a World: what a table has under a name, or (name is ALL) which names it has."""

    table: Hashable
    name: Hashable


class _All:
    def __repr__(self) -> str:
        return "ALL"


ALL: Final = _All()


@dataclass(frozen=True, slots=True)
class Mesh:
    """What is the same for the whole mesh, and for all Worlds of a line.

    `domain` is the DNS suffix of services; `deployments_are_hosts` says that a Deployment's name resolves to its
    replicas, as in docker compose. `ca_bundle` is where proxies have the authorities that everyone trusts.
    """

    domain: str = "cluster.local"
    deployments_are_hosts: bool = False
    ca_bundle: str = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, slots=True)
class World:
    """Every accepted document, by identity and by everything that is asked of it."""

    mesh: Mesh = Mesh()
    objects: Overlay[Key, Object] = field(default_factory=Overlay)
    tables: Mapping[Hashable, Overlay[Hashable, tuple[Object, ...]]] = field(default_factory=dict)

    def get(self, table: Hashable, name: Hashable) -> tuple[Object, ...]:
        """The documents under a name, oldest first; none if there is no such name."""
        rows = self.tables.get(table)
        return rows.get(name, ()) if rows is not None else ()

    def names(self, table: Hashable) -> Collection[Hashable]:
        """The names that a table has, in no particular order."""
        rows = self.tables.get(table)
        return rows.keys() if rows is not None else ()

    def apply(self, put: Iterable[Object], removed: Iterable[Key] = ()) -> tuple[World, frozenset[Fact]]:
        """The World after `put` and `removed`, and the facts that are different in it.

        An object that means the same as the one it replaces changes nothing.
        """
        new = {item.key: item for item in put}
        gone = {key: self.objects[key] for key in removed if key in self.objects and key not in new}
        new = {key: item for key, item in new.items() if self.objects.get(key) != item}
        if not new and not gone:
            return self, frozenset()
        old = [*gone.values(), *(self.objects[key] for key in new if key in self.objects)]
        entries: dict[tuple[Hashable, Hashable], tuple[dict[Key, Object], list[Object]]] = {}
        for item in old:
            for place in index.places(item, self.mesh.domain):
                entries.setdefault(place, ({}, []))[0][item.key] = item
        for item in new.values():
            for place in index.places(item, self.mesh.domain):
                entries.setdefault(place, ({}, []))[1].append(item)
        changed: dict[Hashable, dict[Hashable, tuple[Object, ...]]] = {}
        facts: set[Fact] = set()
        for (table, name), (without, added) in entries.items():
            before = self.get(table, name)
            after = _merged(before, without, added)
            facts.add(Fact(table, name))
            if not before or not after:
                facts.add(Fact(table, ALL))
            changed.setdefault(table, {})[name] = after
        tables = {**self.tables, **{table: _altered(self.tables.get(table), rows) for table, rows in changed.items()}}
        return World(self.mesh, self.objects.altered(new, gone), tables), frozenset(facts)


def _altered(
    table: Overlay[Hashable, tuple[Object, ...]] | None, rows: Mapping[Hashable, tuple[Object, ...]]
) -> Overlay[Hashable, tuple[Object, ...]]:
    """A table with other rows in it; empty ones are none."""
    emptied = [name for name, row in rows.items() if not row]
    return (table or Overlay()).altered({name: row for name, row in rows.items() if row}, emptied)


def _merged(row: tuple[Object, ...], without: Mapping[Key, Object], added: Collection[Object]) -> tuple[Object, ...]:
    """A row after some are taken out and others put in, oldest first. A few find their places in a long one."""
    if len(without) + len(added) > _FEW or len(row) <= _FEW:
        kept = [item for item in row if item.key not in without] + list(added)
        return tuple(sorted(kept, key=_age)) if len(kept) > 1 else tuple(kept)
    merged = list(row)
    for key, item in without.items():
        place = bisect_left(merged, item.age, key=_age)
        while merged[place].key != key:
            place += 1
        del merged[place]
    for item in added:
        insort(merged, item, key=_age)
    return tuple(merged)


_FEW = 8


def _age(item: Object) -> tuple[bool, float, str, str]:
    return item.age
