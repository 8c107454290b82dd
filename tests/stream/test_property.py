"""Random interleavings of a client like Envoy, a changing world, and time, against what must always be true."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE, SHORT_TYPE
from legation.snapshot.snapshot import Resource, Snapshot, snapshot
from legation.stream.commands import Accepted, Rejected, Send, Wake
from legation.stream.events import Event, Fault, Published, Requested, Ticked
from legation.stream.linger import GRACE
from legation.stream.machine import Stream, Variant
from legation.stream.proofs import TRUST, Experience, Known, Proofs

from stream.playbook import cluster, endpoints, listener, route

TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
WHOLE = (CLUSTER, LISTENER)
POISON = "poison"


class Envoy:
    """A client that does what Envoy does: everything of clusters and listeners, endpoints and routes by the names in
    those. It refuses a response with poison in it, as a whole. It checks each response as it reads it.
    """

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.has: dict[str, dict[str, Resource]] = {url: {} for url in TYPES}
        self.versions = dict.fromkeys(TYPES, "")
        self.nonces = dict.fromkeys(TYPES, "")
        self.names: dict[str, set[str]] = {ENDPOINT: set(), ROUTE: set()}
        self.excuses: dict[str, dict[str, list[int]]] = {url: {} for url in TYPES}
        self.first = set(TYPES)
        self.doubted: set[str] = set()
        self.asked: set[str] = set()
        self.maybe: dict[str, set[str]] = {url: set() for url in TYPES}
        self.refused: dict[tuple[str, str], Resource] = {}
        self.inbox: deque[tuple[Send, int]] = deque()
        self.said = 0
        self.outbox: deque[Requested] = deque()

    def connects(self) -> None:
        self.inbox.clear()
        self.outbox.clear()
        self.first = set(TYPES)
        self.asked.clear()
        self.refused.clear()
        for url in TYPES:
            self.nonces[url] = ""
        for url in WHOLE:
            self._request(url)
        for url, names in self.names.items():
            if names:
                self._subscribe(url, names, set(names))

    def reads(self) -> None:
        send, heard = self.inbox.popleft()
        url = send.type_url
        self._has_a_reason(send, heard)
        if url == CLUSTER:
            # Endpoints follow every cluster that is new or changed as far as the server can know, whatever becomes of it.
            unknown = url in self.first or url in self.doubted
            for one in send.resources:
                if unknown or self.has[url].get(one.name) != one:
                    self._excuses(ENDPOINT, one.name, 0)
        self.first.discard(url)
        self.doubted.discard(url)
        self.nonces[url] = send.nonce
        if any(POISON in str(one.body) for one in send.resources):
            if len(send.resources) + len(send.removed) > 1:
                for name in (*(one.name for one in send.resources), *send.removed):
                    self._excuses(url, name, self.said + 1)
            if len(send.resources) == 1:
                self.refused[url, send.resources[0].name] = send.resources[0]
            self.doubted.add(url)
            self.maybe[url] |= {one.name for one in send.resources}
            bad = [one.name for one in send.resources if POISON in str(one.body) and url in WHOLE]
            self._request(url, nonce=send.nonce, error=Fault(13, f"Error adding/updating {', '.join(bad)}: poison"))
            return
        before = self.has[url]
        listed = {one.name: one for one in send.resources}
        if self.variant is Variant.SOTW and url in WHOLE:
            self.has[url] = listed
        else:
            self.has[url] = {name: one for name, one in before.items() if name not in send.removed} | listed
        if url in self.names:  # What is not asked for any more is ignored.
            self.has[url] = {name: one for name, one in self.has[url].items() if name in self.names[url]}
        if url == CLUSTER:  # What refers to a cluster that is there now may have been refused for want of it.
            taken = {(CLUSTER, name) for name in listed}
            self.refused = {key: one for key, one in self.refused.items() if one.refs.isdisjoint(taken)}
        for name in (*listed, *send.removed):
            self.refused.pop((url, name), None)  # What was something else meanwhile, or gone, may come back as it was.
        for name in listed.keys() | set(send.removed):
            self.excuses[url][name] = [at for at in self.excuses[url].get(name, ()) if at > heard]
        self.maybe[url] -= listed.keys() | set(send.removed)
        self.versions[url] = send.version
        self._request(url, nonce=send.nonce)
        if url == CLUSTER:
            self._follows(ENDPOINT, self.has[CLUSTER].values())
        if url == LISTENER:
            self._follows(ROUTE, self.has[LISTENER].values())
        self._refers_to_what_it_has()

    def _follows(self, url: str, parents: Iterable[Resource]) -> None:
        wanted = {name for parent in parents for to, name in parent.refs if to == url}
        new, old = wanted - self.names[url], self.names[url] - wanted
        if not (new or old):
            return
        self.names[url] = wanted
        for name in old:
            self.has[url].pop(name, None)
        self._subscribe(url, new, old)

    def _subscribe(self, url: str, new: set[str], old: set[str]) -> None:
        for name in new:
            self._excuses(url, name, self.said + 1)
        if self.variant is Variant.SOTW:
            self._request(url, nonce=self.nonces[url])
        else:
            self._send(
                Requested(
                    url,
                    subscribe=tuple(sorted(new)),
                    unsubscribe=tuple(sorted(old - new)),
                    initial_resource_versions=self._initial(url),
                )
            )

    def _request(self, url: str, nonce: str = "", error: Fault | None = None) -> None:
        if self.variant is Variant.SOTW:
            names = tuple(sorted(self.names.get(url, ())))
            self._send(Requested(url, names=names, version_info=self.versions[url], response_nonce=nonce, error=error))
        else:
            self._send(Requested(url, initial_resource_versions=self._initial(url), response_nonce=nonce, error=error))

    def _initial(self, url: str) -> dict[str, str]:
        return {} if url in self.asked else {name: one.version for name, one in self.has[url].items()}

    def _send(self, request: Requested) -> None:
        self.asked.add(request.type_url)
        self.outbox.append(request)
        self.said += 1

    def _excuses(self, url: str, name: str, since: int) -> None:
        """This may come although it is there: for a reason in the server's response, or in the client's n-th request."""
        self.excuses[url].setdefault(name, []).append(since)

    def _has_a_reason(self, send: Send, heard: int) -> None:
        url, has = send.type_url, self.has[send.type_url]
        names = [one.name for one in send.resources] + list(send.removed)
        assert len(names) == len(set(names)), "a name twice"
        news = {one.name for one in send.resources if has.get(one.name) != one}
        whole = self.variant is Variant.SOTW and url in WHOLE
        gone = has.keys() - {one.name for one in send.resources} if whole else set(send.removed) & has.keys()
        # After a refusal the server cannot know what of it is in force, so it may say what is the case already.
        excused = {name for name, since in self.excuses[url].items() if any(at <= heard for at in since)}
        told = url in self.first or (whole and url in self.doubted) or self.maybe[url] & set(names)
        assert told or news or gone or excused & set(names), f"no reason for {send}"
        if not whole:
            idle = {one.name for one in send.resources} - news - excused - self.maybe[url]
            assert not idle or url in self.first, f"sent again without a reason: {idle}"
            again = {one.name for one in send.resources if self.refused.get((url, one.name)) == one}
            assert not again - excused, f"refused and sent again: {again}"

    def _refers_to_what_it_has(self) -> None:
        for url in (LISTENER, ROUTE):
            for one in self.has[url].values():
                for to, name in one.refs:
                    assert to != CLUSTER or name in self.has[CLUSTER], f"{one.name} refers to missing {name}"


class World:
    """The server's end: one stream at a time, and what must be true of what it does."""

    def __init__(self, variant: Variant, first: Snapshot, *, learns: bool = False) -> None:
        self.variant = variant
        self.experience = Experience()
        self.proofs: Proofs = Known(self.experience) if learns else TRUST
        self.snapshot = first
        self.now = 0.0
        self.wake: float | None = None
        self.connection = 0
        self.connected = 0.0
        self.envoy = Envoy(variant)
        self.stream = Stream(variant, first, tag="0-", proofs=self.proofs)
        self.sent_at: dict[str, float] = {}
        self.heard: dict[str, set[str]] = {}
        self.envoy.connects()

    def publishes(self, new: Snapshot) -> None:
        change = {}
        for url in TYPES:
            old_table, new_table = self.snapshot.of(url), new.of(url)
            names = {
                name
                for name in old_table.keys() | new_table.keys()
                if old_table.get(name) is None
                or new_table.get(name) is None
                or old_table[name].version != new_table[name].version
            }
            if names:
                change[url] = frozenset(names)
        self.snapshot = new
        self.handles(Published(new, change))

    def reconnects(self) -> None:
        self.connection += 1
        self.stream = Stream(
            self.variant, self.snapshot, tag=f"{self.connection}-", previous=self.stream.served(), proofs=self.proofs
        )
        self.wake = None
        self.connected = self.now
        self.sent_at.clear()
        self.heard.clear()
        self.envoy.connects()

    def hears(self) -> bool:
        if not self.envoy.outbox:
            return False
        request = self.envoy.outbox.popleft()
        url = request.type_url
        if url in self.envoy.names:
            before = set() if self.variant is Variant.SOTW else self.heard.get(url, set())
            self.heard[url] = ((before | set(request.subscribe)) - set(request.unsubscribe)) | set(request.names)
            if not self.heard[url]:
                self.sent_at.pop(url, None)  # Nobody watches the type any more, so nobody need answer.
        self.handles(request)
        return True

    def passes(self, seconds: float) -> None:
        if self.now + seconds >= self.connected + GRACE:  # In a second all that a client writes as it connects is read.
            while self.hears():
                pass
        self.now += seconds
        if self.wake is not None and self.wake <= self.now:
            self.wake = None
            self.handles(Ticked())

    def handles(self, event: Event) -> None:
        for command in self.stream.handle(event, self.now):
            match command:
                case Send():
                    before = self.sent_at.get(command.type_url)
                    assert before is None or self.now - before >= 30, "two responses of one type are unanswered"
                    self.sent_at[command.type_url] = self.now
                    self.envoy.inbox.append((command, self.envoy.said - len(self.envoy.outbox)))
                case Accepted() | Rejected():
                    self.sent_at.pop(command.type_url, None)
                    if isinstance(command, Accepted):
                        for resource in command.resources:
                            self.experience.took(resource)
                case Wake():
                    assert command.at > self.now
                    self.wake = command.at

    def rests(self) -> None:
        """Let everything be read, and time pass, until nothing happens any more."""
        for _ in range(400):
            while self.hears():
                pass
            if self.envoy.inbox:
                self.envoy.reads()
            elif self.wake is not None:
                self.passes(max(0.0, self.wake - self.now))
            else:
                for excuses in self.envoy.excuses.values():
                    excuses.clear()
                return
        raise AssertionError("it never comes to rest")

    def agrees(self) -> None:
        for url in TYPES:
            expected = dict(self.snapshot.of(url))
            if url in self.envoy.names:
                expected = {name: one for name, one in expected.items() if name in self.envoy.names[url]}
            assert self.envoy.has[url] == expected, url
        versions = {SHORT_TYPE[url]: self.snapshot.version(url) for url in TYPES}
        for short, status in self.stream.status().items():
            assert (status.synced, status.acked) == (True, versions[short]), "something is left to do"


NAMES = ("a", "b", "c")


@st.composite
def snapshots(draw: st.DrawFn, poison: bool) -> Snapshot:
    """A closed world: everything that is referred to is there, or is known not to be anywhere."""
    contents = st.sampled_from(["1", "2", "3", POISON] if poison else ["1", "2", "3"])
    clusters = draw(st.sets(st.sampled_from(NAMES)))
    made: list[Resource] = []
    for name in sorted(clusters):
        made.append(cluster(name, draw(contents)))
        made.append(endpoints(name, draw(contents)))
    some = st.lists(st.sampled_from(sorted(clusters)), unique=True, max_size=2) if clusters else st.just([])
    routes = draw(st.sets(st.sampled_from(("r", "s"))))
    made += [route(name, *draw(some), content=draw(contents)) for name in sorted(routes)]
    for name in sorted(draw(st.sets(st.sampled_from(("l", "m"))))):
        to = draw(st.lists(st.sampled_from(sorted(routes)), max_size=1)) if routes else []
        made.append(listener(name, *to, clusters=draw(some), content=draw(contents)))
    return snapshot(made)


@pytest.mark.parametrize("variant", list(Variant))
@given(data=st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_client_gets_the_world_and_never_a_dead_end(variant: Variant, data: st.DataObject) -> None:
    # A client that refuses AND is slower than the patience of the gate may be given a route too early: that is what the
    # patience means. So either it may refuse, or it may be slow.
    refuses = data.draw(st.booleans(), label="refuses")
    steps = st.sampled_from([0.1, 0.4] if refuses else [0.1, 0.6, 1.1, 6.0, 31.0])
    world = World(variant, data.draw(snapshots(refuses)), learns=data.draw(st.booleans(), label="learns"))
    slack = 0.0
    for _ in range(data.draw(st.integers(0, 25))):
        match data.draw(st.sampled_from(["hear", "read", "hear", "read", "rest", "publish", "pass", "reconnect"])):
            case "hear":
                world.hears()
            case "read" if world.envoy.inbox:
                world.envoy.reads()
            case "publish":
                world.publishes(data.draw(snapshots(refuses)))
            case "pass":
                step = data.draw(steps)
                if refuses and slack + step > 4:
                    world.rests()
                    slack = 0.0
                slack += step
                world.passes(step)
            case "rest":
                world.rests()
                slack = 0.0
            case "reconnect":
                world.reconnects()
                slack = 0.0
    world.publishes(data.draw(snapshots(poison=False)))
    world.rests()
    world.agrees()
