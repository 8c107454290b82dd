"""Units that are run again only when something that they read has changed.

A unit is a pure function `unit(reader, *arguments)`. What it reads of the World, and which other units it asks, is
noted while it runs; its result is kept until one of these is different. So the cost of a change follows the change, not
the mesh, and no list of "which kind affects what" exists that could be wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, Generic, Protocol, TypeVar

from legation.model.meta import Object
from legation.model.world import ALL, Fact, Mesh, World
from legation.overlay import Overlay

T = TypeVar("T")


class Reader(Protocol):
    """What a unit sees of the World; every use is noted as something that its result depends on."""

    @property
    def mesh(self) -> Mesh:
        """World.mesh, the same for all Worlds of a line."""

    def get(self, table: Hashable, name: Hashable) -> tuple[Object, ...]:
        """World.get."""

    def names(self, table: Hashable) -> Collection[Hashable]:
        """World.names."""

    def ask(self, unit: Callable[..., T], *args: Hashable) -> T:
        """The result of another unit: `unit(reader, *args)`."""

    def each(
        self, unit: Callable[..., T], extra: tuple[Hashable, ...], members: Callable[..., Any], *args: Hashable
    ) -> Each[T]:
        """The results of `unit(reader, member, *extra)` for each member of `members(reader, *args)`, in their order.

        When single members change only those are run again, and the others are not even looked at.
        """


_serials = count(1)


@dataclass(frozen=True, slots=True, eq=False)
class Each(Mapping[Any, T], Generic[T]):
    """The results of one unit for many members: member → result, in the order of the members. Equal to itself only."""

    results: Overlay[Any, T]
    changed: frozenset[Any] = frozenset()
    after: int = 0
    serial: int = field(default_factory=lambda: next(_serials))
    _unions: dict[Callable[[Any], Collection[Any]], _Union] = field(default_factory=dict)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __getitem__(self, key: Any) -> T:
        return self.results[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def since(self, earlier: Each[T] | None) -> Collection[Any]:
        """The members whose result differs from an earlier Each of the same unit; those that are gone included."""
        if earlier is None:
            return self.results.keys()
        if earlier.serial == self.serial:
            return ()
        if earlier.serial == self.after:
            return self.changed
        mine, other = self.results, earlier.results
        return {key for key in mine if mine[key] is not other.get(key)} | (other.keys() - mine.keys())

    def union(self, select: Callable[[T], Collection[Any]]) -> frozenset[Any]:
        """All that `select` finds in any of the results. It costs what changed, and is the same object if it did not."""
        union = self._unions.get(select)
        if union is None:
            found = Counter(chain.from_iterable(frozenset(select(result)) for result in self.results.values()))
            union = self._unions[select] = _Union(frozenset(found), found)
        return union.items

    def moved(self, results: Overlay[Any, T], changed: frozenset[Any]) -> Each[T]:
        """The Each that follows this one, and takes its unions along."""
        for select, union in self._unions.items():
            union.move(
                tuple(select(of[name]) if name in of else () for of in (self.results, results)) for name in changed
            )
        made = Each(results, changed, self.serial, _unions=dict(self._unions))
        self._unions.clear()
        return made


@dataclass(slots=True)
class _Union:
    """A union of collections, with how many of them have each item."""

    items: frozenset[Any] = frozenset()
    counts: Counter[Any] = field(default_factory=Counter)

    def move(self, changes: Iterable[tuple[Collection[Any], ...]]) -> None:
        """Collections are replaced by others: (before, after)."""
        touched: set[Any] = set()
        for before, after in changes:
            if before is after or before == after:
                continue
            less, more = frozenset(before), frozenset(after)
            self.counts.subtract(less - more)
            self.counts.update(more - less)
            touched |= less ^ more
        come = {item for item in touched if self.counts[item] > 0 and item not in self.items}
        gone = {item for item in touched if self.counts[item] <= 0}
        for item in gone:
            del self.counts[item]
        if come or not gone.isdisjoint(self.items):
            self.items = (self.items - gone) | come


_Unit = tuple[Callable[..., Any], tuple[Any, ...]]
_NONE: frozenset[Any] = frozenset()


@dataclass(slots=True, eq=False)
class _Entry:
    """A unit's last result, what it depends on, and who depends on it. Times count the Worlds that were seen.

    Entries refer to each other, not to each other's units: a unit is hashed when it is asked, and never again.
    """

    unit: _Unit
    value: Any = None
    changed: int = 0
    checked: int = 0
    reads: Set[Fact] = _NONE
    asks: Set[_Entry] = _NONE
    askers: set[_Entry] = field(default_factory=set)
    stale: bool = True
    """It never ran, or one of `reads` is different now."""
    doubtful: Set[_Entry] = _NONE
    """Those of `asks` that may be different now."""
    root: bool = False
    """Someone outside wants it."""


class Recall:
    """The memory of all units over one line of Worlds. Not thread-safe."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runs = 0
        """How many times any unit ran: for the benchmark and the tests."""
        self._now = 1
        self._entries: dict[_Unit, _Entry] = {}
        self._readers: dict[Fact, set[_Entry]] = {}

    @property
    def remembered(self) -> int:
        """How many results are kept."""
        return len(self._entries)

    def advance(self, world: World, facts: Iterable[Fact]) -> None:
        """Moves on to the next World, in which `facts` are different."""
        self.world = world
        self._now += 1
        doubtful: list[_Entry] = []
        for fact in facts:
            for entry in self._readers.get(fact, ()):
                if not entry.stale:
                    entry.stale = True
                    if not entry.doubtful:
                        doubtful.append(entry)
        while doubtful:
            entry = doubtful.pop()
            for asker in entry.askers:
                if not asker.doubtful and not asker.stale:
                    doubtful.append(asker)
                if asker.doubtful:
                    asker.doubtful.add(entry)  # type: ignore[attr-defined]
                else:
                    asker.doubtful = {entry}

    def ask(self, unit: Callable[..., T], *args: Hashable) -> T:
        """The result of a unit in the current World. It is kept up to date until `forget`."""
        entry = self._current((unit, args))
        entry.root = True
        result: T = entry.value
        return result

    def forget(self, unit: Callable[..., Any], *args: Hashable) -> None:
        """Nobody outside wants this unit any longer; what only it depended on goes too."""
        entry = self._entries.get((unit, args))
        if entry is not None:
            entry.root = False
            self._drop_unless_wanted(entry)

    def _current(self, unit: _Unit) -> _Entry:
        """The unit's entry, brought up to date."""
        entry = self._entries.get(unit)
        if entry is None:
            entry = self._entries[unit] = _Entry(unit)
        self._update(entry)
        return entry

    def _update(self, entry: _Entry) -> None:
        changed: set[_Entry] = set()
        if entry.doubtful and (not entry.stale or entry.unit[0] is _each):
            for suspect in entry.doubtful:
                self._update(suspect)
                if suspect.changed > entry.checked:
                    changed.add(suspect)
        if entry.stale or changed:
            self._run(entry, changed)
        elif entry.doubtful:
            entry.doubtful, entry.checked = _NONE, self._now

    def _run(self, entry: _Entry, changed: set[_Entry]) -> None:
        function, args = entry.unit
        if function is _each:
            value = self._run_each(entry, changed, *args)
        else:
            self.runs += 1
            trace = _Trace(self)
            value = function(trace, *args)
            self._link(entry, trace.reads, trace.asks)
        if entry.changed == 0 or (value is not entry.value and value != entry.value):
            entry.value, entry.changed = value, self._now
        entry.checked, entry.stale, entry.doubtful = self._now, False, _NONE

    def _run_each(
        self,
        entry: _Entry,
        changed: set[_Entry],
        function: Callable[..., Any],
        extra: tuple[Any, ...],
        members: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> Each[Any]:
        before: Each[Any] | None = entry.value
        list_of_members = self._current((members, args))
        if before is None:
            first = {name: self._current((function, (name, *extra))) for name in list_of_members.value}
            self._link(entry, set(), {list_of_members, *first.values()})
            return Each(Overlay({name: asked.value for name, asked in first.items()}))
        results, gone = before.results, frozenset[Any]()
        differing = {asked.unit[1][0]: asked for asked in changed if asked is not list_of_members}
        if list_of_members in changed:
            old, results = results, Overlay({name: results.get(name) for name in list_of_members.value})
            gone = frozenset(old.keys() - results.keys())
            added = {name: self._current((function, (name, *extra))) for name in results.keys() - old.keys()}
            differing = {name: asked for name, asked in differing.items() if name not in gone} | added
            left = {self._entries[function, (name, *extra)] for name in gone}
            self._link(entry, set(), (entry.asks | set(added.values())) - left)
        results = results.altered({name: asked.value for name, asked in differing.items()})
        return before.moved(results, gone.union(differing))

    def _link(self, entry: _Entry, reads: Set[Fact], asks: Set[_Entry]) -> None:
        """Replaces what a unit depends on."""
        before, asked_before = entry.reads, entry.asks
        entry.reads, entry.asks = reads, asks
        for fact in reads - before if before else reads:
            readers = self._readers.get(fact)
            if readers is None:
                self._readers[fact] = {entry}
            else:
                readers.add(entry)
        for asked in asks - asked_before if asked_before else asks:
            asked.askers.add(entry)
        gone = asked_before - asks
        self._unread(entry, before - reads)
        for asked in gone:
            asked.askers.discard(entry)
            self._drop_unless_wanted(asked)

    def _unread(self, entry: _Entry, facts: Iterable[Fact]) -> None:
        for fact in facts:
            readers = self._readers[fact]
            readers.discard(entry)
            if not readers:
                del self._readers[fact]

    def _drop_unless_wanted(self, entry: _Entry) -> None:
        todo = [entry]
        while todo:
            entry = todo.pop()
            if entry.askers or entry.root or self._entries.get(entry.unit) is not entry:
                continue
            del self._entries[entry.unit]
            self._unread(entry, entry.reads)
            for asked in entry.asks:
                asked.askers.discard(entry)
                todo.append(asked)


def _each(*_: Any) -> Any:
    """Stands for the units that run another one for each of many members; see Recall._run_each."""


class _Trace:
    """The Reader of one run: answers, and notes what was asked."""

    __slots__ = ("_recall", "asks", "reads")

    def __init__(self, recall: Recall) -> None:
        self._recall = recall
        self.reads: set[Fact] = set()
        self.asks: set[_Entry] = set()

    @property
    def mesh(self) -> Mesh:
        return self._recall.world.mesh

    def get(self, table: Hashable, name: Hashable) -> tuple[Object, ...]:
        self.reads.add(Fact(table, name))
        return self._recall.world.get(table, name)

    def names(self, table: Hashable) -> Collection[Hashable]:
        self.reads.add(Fact(table, ALL))
        return self._recall.world.names(table)

    def ask(self, unit: Callable[..., T], *args: Hashable) -> T:
        entry = self._recall._current((unit, args))
        self.asks.add(entry)
        result: T = entry.value
        return result

    def each(
        self, unit: Callable[..., T], extra: tuple[Hashable, ...], members: Callable[..., Any], *args: Hashable
    ) -> Each[T]:
        asks: Callable[..., Each[T]] = _each
        return self.ask(asks, unit, extra, members, args)
