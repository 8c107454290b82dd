"""The World: an immutable index of every accepted document.

A table is a mapping from a name to the documents that say something under that name; which tables a document appears in
stands in `model/index.py`. A new World is made from the old one and what changed; it shares every table that the change
did not touch, and the change is told as facts, so that whoever read a fact knows that it has to look again.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from legation.model import index
from legation.model.meta import Key, Object


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

    `domain` is the DNS suffix of services, `root` the namespace whose rules are everyone's; `deployments_are_hosts`
    says that a Deployment's name resolves to its replicas, as in docker compose.
    """

    domain: str = "cluster.local"
    root: str = "istio-system"
    deployments_are_hosts: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """Every accepted document, by identity and by everything that is asked of it."""

    mesh: Mesh = Mesh()
    objects: Mapping[Key, Object] = field(default_factory=dict)
    tables: Mapping[Hashable, Mapping[Hashable, tuple[Object, ...]]] = field(default_factory=dict)

    def get(self, table: Hashable, name: Hashable) -> tuple[Object, ...]:
        """The documents under a name, oldest first; none if there is no such name."""
        return self.tables.get(table, {}).get(name, ())

    def names(self, table: Hashable) -> Collection[Hashable]:
        """The names that a table has, in no particular order."""
        return self.tables.get(table, {}).keys()

    def apply(self, put: Iterable[Object], removed: Iterable[Key] = ()) -> tuple[World, frozenset[Fact]]:
        """The World after `put` and `removed`, and the facts that are different in it.

        An object that means the same as the one it replaces changes nothing.
        """
        new = {item.key: item for item in put}
        gone = {key: self.objects[key] for key in removed if key in self.objects and key not in new}
        new = {key: item for key, item in new.items() if self.objects.get(key) != item}
        if not new and not gone:
            return self, frozenset()
        objects = {key: item for key, item in self.objects.items() if key not in gone} if gone else dict(self.objects)
        objects.update(new)
        old = [*gone.values(), *(self.objects[key] for key in new if key in self.objects)]
        entries: dict[tuple[Hashable, Hashable], tuple[set[Key], list[Object]]] = {}
        for item in old:
            for place in index.places(item, self.mesh.domain):
                entries.setdefault(place, (set(), []))[0].add(item.key)
        for item in new.values():
            for place in index.places(item, self.mesh.domain):
                entries.setdefault(place, (set(), []))[1].append(item)
        tables = dict(self.tables)
        copied: set[Hashable] = set()
        facts: set[Fact] = set()
        for (table, name), (without, added) in entries.items():
            if table not in copied:
                copied.add(table)
                tables[table] = dict(tables.get(table, {}))
            rows: dict[Hashable, tuple[Object, ...]] = tables[table]  # type: ignore[assignment]
            before = rows.get(name, ())
            after = [item for item in before if item.key not in without] + added
            facts.add(Fact(table, name))
            if not before or not after:
                facts.add(Fact(table, ALL))
            if after:
                rows[name] = tuple(sorted(after, key=lambda item: item.age)) if len(after) > 1 else tuple(after)
            else:
                rows.pop(name, None)
        return World(self.mesh, objects, tables), frozenset(facts)
