"""The clients that are connected, by scope; and the World, carried from one change to the next for all of them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from logging import DEBUG, INFO
from time import monotonic, perf_counter, time

from legation import hooks, names
from legation.console.metrics import Metrics
from legation.hooks import Hook, Hooked
from legation.ingest.admission import Version
from legation.journal import log, say
from legation.model import gateway_analysis, inbound, instances, sidecar_analysis
from legation.model.instances import Asked
from legation.model.meta import Key
from legation.model.proxy import Channel, Proxy, Scope
from legation.model.recall import Recall
from legation.model.world import Fact, World
from legation.problems import Problem
from legation.progress import Progress
from legation.refusals import Case, Kind, Ledger, Refusals
from legation.render.resources import Rendered, render, resources
from legation.served import Served
from legation.snapshot.snapshot import Change, Resource, Snapshot
from legation.status import ProxyStatus
from legation.stream.commands import Accepted, Rejected, Send
from legation.stream.machine import Variant
from legation.transport.control import Session
from legation.transport.csds import Inventory

REMEMBERED = 1000
"""For how many clients that went it is known what they have, so that nothing they use is taken away when they return."""

KINDS = 128
"""How many scopes those of one identity, or without identities from one address, may be of at a time."""

IDLE_SCOPES = 32
"""How many scopes without a client are kept rendered, for those that come back."""


@dataclass(slots=True)
class _Served:
    """A scope, what it is served and to whom."""

    rendered: Rendered
    sessions: set[Session] = field(default_factory=set)
    hooked: Hooked | None = None
    made: float = field(default_factory=time)
    changed: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a resource changed last (epoch), by type and name; those that are not here are as old as the scope."""

    @property
    def snapshot(self) -> Snapshot:
        """What clients get."""
        return self.hooked.snapshot if self.hooked is not None else self.rendered.snapshot

    def note(self, change: Change) -> None:
        """These have just changed."""
        now = time()
        self.changed.update(((type_url, name), now) for type_url, names in change.items() for name in names)


class Fleet:
    """The transport's Control. Belongs to the event loop.

    `refused` is called with every refusal, in the client's own words; `hook` edits what every scope gets. Keys are sent
    over Unix sockets, over TLS, whose clients are verified, and over loopback only with `secrets_on_loopback`.
    """

    def __init__(
        self,
        world: World,
        metrics: Metrics,
        refused: Callable[[Session, Rejected], None],
        hook: Hook | None = None,
        *,
        secrets_on_loopback: bool = False,
    ) -> None:
        self.memory: Served | None = None
        """What was served before the last restart, if that is kept."""
        self.recall = Recall(world)
        self.revision = ""
        self._metrics = metrics
        self._refused = refused
        self._hook = hook
        self._private = {Channel.SOCKET, Channel.TLS, *((Channel.LOOPBACK,) if secrets_on_loopback else ())}
        self.on_new_scope: Callable[[], None] = lambda: None
        """Called when there is a scope that was not there before, for which there may be something to say."""
        self._loaded = asyncio.Event()
        self._scopes: dict[Scope, _Served] = {}
        self._scope_of: dict[Session, Scope] = {}
        self._asked = Asked()
        self._named: dict[Hashable, set[Session]] = {}
        self._gone: dict[Hashable, Snapshot] = {}
        self.on_stir: Callable[[Iterable[int]], None] = lambda _: None
        """Called with the numbers of streams that stand differently; see `Progress`."""
        self.progress = Progress(metrics, self.snapshot, self._stirred)
        self.refusals = Refusals()
        self.ledger: Ledger[Version] = Ledger()
        self.on_known_bad: Callable[[Case], None] = lambda _: None
        """Called when clients are to be served what their kind is known to refuse; it is not sent."""
        self.on_lifted: Callable[[list[Case]], None] = lambda _: None
        """Called when somebody took what was held back."""

    # -- what the transport asks --

    async def ready(self) -> None:
        await self._loaded.wait()

    def join(self, proxy: Proxy, session: Session) -> Snapshot:
        scope = self._scope(proxy, session)
        if scope not in self._scopes:
            self._may_be_new(session)
        served = self._served(scope)
        served.sessions.add(session)
        self._scope_of[session] = scope
        for name in instances.looked_up(proxy):
            self._named.setdefault(name, set()).add(session)
        variant, who = session.status().variant, _returning(session)
        if self.memory is not None and variant == Variant.SOTW:
            session.previous = self.memory.previous(repr(who))
            self.memory.joined(repr(who), repr(scope), served.snapshot)
        if who in self._gone:
            self._metrics.came_back()
            session.previous = self._gone.pop(who)
        session.proofs = self.refusals.proofs(_kind(session), who)
        self._look_for_known_bad({_kind(session)}, served.snapshot)
        say(INFO, "connected", f"{proxy.id} is connected", **_introduced(session))
        self.progress.joined(session)
        self._metrics.stream_opened(variant, proxy.client)
        return served.snapshot

    def leave(self, session: Session) -> None:
        scope = self._scope_of.pop(session)
        self._scopes[scope].sessions.discard(session)
        for name in instances.looked_up(session.proxy):
            self._named[name].discard(session)
            if not self._named[name]:
                del self._named[name]
        self._gone[_returning(session)] = session.served()
        if len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]
        self.progress.left(session)
        say(INFO, "disconnected", f"{session.proxy.id} is gone", **_introduced(session))
        self._metrics.stream_closed(session.status().variant, session.proxy.client)
        self._forget_idle()

    def heard(self, session: Session, command: Accepted | Rejected, latency: float) -> None:
        if isinstance(command, Rejected):
            self._metrics.nacked(_short(command.type_url), latency)
            self.progress.answered(session, taken=False)
            self._refused(session, command)
            return
        self._metrics.acked(_short(command.type_url), latency)
        unproven = [resource for resource in command.resources if not resource.harmless]
        if unproven:
            self._took(session, unproven)
        if log.isEnabledFor(DEBUG):
            told = _exchange(session, command)
            say(DEBUG, "ack", f"{told['proxy']} took {told['type'].upper()}", **told, seconds=round(latency, 6))
        self.progress.answered(session, taken=True)

    def _took(self, session: Session, resources: list[Resource]) -> None:
        self.ledger.took(resources)
        lifted = self.refusals.took(_kind(session), _returning(session), resources)
        if lifted:
            self.on_lifted(lifted)

    def sent(self, session: Session, command: Send, size: int, wait: float | None) -> None:
        self._metrics.pushed(_short(command.type_url), size)
        if wait is not None:
            self._metrics.first_answered(wait)
        if log.isEnabledFor(DEBUG):
            told = _exchange(session, command)
            words = f"{told['proxy']} was sent {told['type'].upper()}"
            say(
                DEBUG, "sent", words, **told, resources=len(command.resources), removed=len(command.removed), bytes=size
            )

    def stale(self, session: Session, type_url: str) -> None:
        self._metrics.stale(_short(type_url))

    def stirred(self, session: Session) -> None:
        self.progress.stirred(session)

    # -- what the application does --

    @property
    def is_loaded(self) -> bool:
        """Whether clients are answered."""
        return self._loaded.is_set()

    def load(self, world: World, revision: str, before: Mapping[Key, Version | None]) -> None:
        """The first World is complete: from now on clients are answered. `before` as in `advance`, of the last run."""
        self.ledger.step(before)
        self.recall = Recall(world)
        self._asked = instances.asked(world)
        self.revision = revision
        self.progress.revised(revision)
        self._loaded.set()

    def advance(
        self, world: World, facts: Collection[Fact], revision: str, at: float, before: Mapping[Key, Version | None]
    ) -> None:
        """Moves everyone to the next World; what differs goes out at once. `at` is when the files changed, `before` what
        was in service of the documents that did.
        """
        self.ledger.step(before)
        self.progress.revised(revision, at)
        self.recall.advance(world, facts)
        self.revision = revision
        asked = instances.asked(world)
        for scope, served in list(self._scopes.items()):
            earlier = served.snapshot
            change = self._render(scope, served)
            if change:
                if self.memory is not None:
                    self.memory.changed(repr(scope), earlier, served.snapshot, change)
                self.ledger.changed(earlier, served.snapshot, change)
                self._look_for_known_bad({_kind(session) for session in served.sessions}, served.snapshot)
                for session in served.sessions:
                    session.publish(served.snapshot, change)
                self.progress.sent(served.sessions, at)
                served.note(change)
        anew = self._named_by(facts)
        if asked != self._asked:
            self._asked = asked
            anew = set(self._scope_of)
        for session in anew:
            self._move(session, at)
        self.progress.published()

    @property
    def scopes(self) -> list[Scope]:
        """The scopes that have clients."""
        return [scope for scope, served in self._scopes.items() if served.sessions]

    @property
    def sessions(self) -> list[Session]:
        """The streams that joined."""
        return list(self._scope_of)

    def proxies(self) -> list[ProxyStatus]:
        """Every connected client and what it has."""
        return sorted((session.status() for session in self._scope_of), key=lambda status: status.id)

    def problems(self) -> list[Problem]:
        """What keeps a hook's newest output out of service."""
        found = (served.hooked.problem for served in self._scopes.values() if served.hooked is not None)
        return list(dict.fromkeys(problem for problem in found if problem is not None))

    @property
    def streams(self) -> Iterable[int]:
        """The numbers of the open ones."""
        return self.progress.streams

    def proxy(self, stream: int) -> Proxy | None:
        """Whose a stream is; None if it is over."""
        session = self.progress.session(stream)
        return session.proxy if session is not None else None

    def inventory(self, stream: int) -> Inventory | None:
        """What is known of the resources of its client."""
        session = self.progress.session(stream)
        if session is None:
            return None
        served = self._scopes[self._scope_of[session]]
        return Inventory(
            session.proxy, session.inventory(), lambda type_url, name: served.changed.get((type_url, name), served.made)
        )

    def snapshot(self, session: Session) -> Snapshot:
        """What its client is to have."""
        return self._scopes[self._scope_of[session]].snapshot

    def _stirred(self, streams: Iterable[int]) -> None:
        self.on_stir(streams)

    def audience(self, case: Case) -> set[Hashable]:
        """The connected clients of a kind that are served a content."""
        url, name, version = case.resource.type_url, case.resource.name, case.resource.version
        return {
            _returning(session)
            for served in self._scopes.values()
            if (found := served.snapshot.of(url).get(name)) is not None and found.version == version
            for session in served.sessions
            if _kind(session) == case.kind
        }

    def refuse(self, session: Session, resource: Resource, words: str) -> Case | None:
        """A client refused a resource that came alone; see `Refusals.refused`."""
        verified = session.peer.channel is not Channel.OPEN
        who = _returning(session)
        return self.refusals.refused(_kind(session), who, resource, words, monotonic(), verified=verified)

    def _look_for_known_bad(self, kinds: Iterable[Kind], snapshot: Snapshot) -> None:
        for kind in kinds:
            for case in self.refusals.known_bad(kind, lambda url, name: snapshot.of(url).get(name), monotonic()):
                self.on_known_bad(case)

    def _scope(self, proxy: Proxy, session: Session) -> Scope:
        scope = instances.scope(self.recall.world, proxy, self._asked)
        return replace(scope, secrets=session.peer.channel in self._private)

    def _named_by(self, facts: Collection[Fact]) -> set[Session]:
        """The sidecars of whose workloads something is said anew."""
        found: set[Session] = set()
        for fact in facts:
            if fact.table in instances.LOOKED_UP:
                found |= self._named.get(fact.name, set())
        return found

    def _may_be_new(self, session: Session) -> None:
        """A scope is made of claims, and each costs a rendering. Raises PermissionError."""
        if session.peer.channel in (Channel.SOCKET, Channel.LOOPBACK):
            return
        who = _whose(session)
        if len({scope for other, scope in self._scope_of.items() if _whose(other) == who}) >= KINDS:
            raise PermissionError(
                f"{who} claims to be more than {KINDS} kinds of proxies; they differ in what they say they are"
            )

    def _served(self, scope: Scope) -> _Served:
        served = self._scopes.get(scope)
        if served is None:
            served = _Served(Rendered(Snapshot()))
            with _no_garbage():
                self._render(scope, served)
            self._scopes[scope] = served
            self.on_new_scope()
        return served

    def _render(self, scope: Scope, served: _Served) -> Change:
        began = perf_counter()
        served.rendered, change = render(self.recall, scope, served.rendered, self.revision)
        if self._hook is not None and (change or served.hooked is None):
            served.hooked, change = hooks.apply(
                self._hook, scope, served.rendered.snapshot, change, served.hooked or Hooked()
            )
        self._metrics.rendered(perf_counter() - began)
        return change

    def _move(self, session: Session, at: float) -> None:
        """Another label counts now, so a client may belong to another scope."""
        before, scope = self._scope_of[session], self._scope(session.proxy, session)
        if scope == before:
            return
        old, new = self._scopes[before], self._served(scope)
        old.sessions.discard(session)
        new.sessions.add(session)
        self._scope_of[session] = scope
        if self.memory is not None and session.status().variant == Variant.SOTW:
            self.memory.joined(repr(_returning(session)), repr(scope), new.snapshot)
        change = _between(old.snapshot, new.snapshot)
        session.publish(new.snapshot, change)
        if change:
            self.progress.sent((session,), at)
        self._forget_idle()

    def _forget_idle(self) -> None:
        idle = [scope for scope, served in self._scopes.items() if not served.sessions]
        for scope in idle[:-IDLE_SCOPES]:
            del self._scopes[scope]
            if self.memory is not None:
                self.memory.idle(repr(scope))
            self.recall.forget(resources, scope)
            self.recall.forget(gateway_analysis.at_proxy, scope)
            self.recall.forget(sidecar_analysis.at_proxy, scope)
            self.recall.forget(inbound.at_proxy, scope)


def _short(type_url: str) -> str:
    return names.SHORT_TYPE.get(type_url, "other")


def _introduced(session: Session) -> dict[str, str]:
    of = session.status()
    return {"proxy": of.id, "role": of.role, "namespace": of.namespace, "variant": of.variant, "peer": of.peer}


def _exchange(session: Session, command: Send | Accepted | Rejected) -> dict[str, str]:
    """What a log says of a response and its answer."""
    return {
        "proxy": session.proxy.id, "type": _short(command.type_url), "version": command.version, "nonce": command.nonce,
    }  # fmt: skip


def _whose(session: Session) -> str:
    """To whom a stream belongs, as far as that was shown."""
    return str(session.peer.identity or session.peer.address.rpartition(":")[0])


def _returning(session: Session) -> Hashable:
    """By what a client is known again. Ids are claims: under another's id nobody gets what only that one may have."""
    proxy, peer = session.proxy, session.peer
    return proxy.id, proxy.role, proxy.namespace, peer.channel, peer.identity


def _kind(session: Session) -> Kind:
    return str(session.proxy.client), session.proxy.version


@contextmanager
def _no_garbage() -> Iterator[None]:
    """No garbage is looked for among what is made inside: a whole mesh, all of which stays."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _between(old: Snapshot, new: Snapshot) -> Change:
    """What differs between any two Snapshots."""
    change: dict[str, frozenset[str]] = {}
    for type_url in old.resources.keys() | new.resources.keys():
        before, after = old.of(type_url), new.of(type_url)
        differing = frozenset(
            name for name in before.keys() | after.keys() if _version(before.get(name)) != _version(after.get(name))
        )
        if differing:
            change[type_url] = differing
    return change


def _version(resource: object) -> object:
    return getattr(resource, "version", None)
