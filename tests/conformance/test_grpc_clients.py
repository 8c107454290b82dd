"""Proxyless gRPC (P-02 …): state of the world, everything by name, listeners and clusters too."""

from __future__ import annotations

from dataclasses import replace

from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE
from legation.snapshot.snapshot import Resource, Snapshot, snapshot
from legation.stream.commands import Send
from legation.stream.events import Published
from stream.playbook import SOTW, Play, cluster, endpoints, listener, named, route

HOST = "reviews.default.svc.cluster.local:9080"


def test_P_02_named_listeners_and_clusters_in_full() -> None:
    """All that is asked for and nothing else, in every response of these types."""
    play = Play(SOTW, listener("a"), listener("b"), listener("c"))
    assert named(play.settle(play.asks(LISTENER, "a"))[0]) == ["a"]
    assert named(play.settle(play.asks(LISTENER, "b"))[0]) == ["a", "b"]
    assert play.puts(listener("c", content="2")) == []
    assert named(play.settle(play.puts(listener("b", content="2")))[0]) == ["a", "b"]
    assert named(play.settle(play.puts(removed=[(LISTENER, "a")]))[0]) == ["b"]


def test_P_03_names_are_opaque() -> None:
    """A target with its port, an xdstp name: the same bytes back, nothing folded or trimmed."""
    odd = [HOST, "xdstp://auth/envoy.config.listener.v3.Listener/a%20b?x=1#y", " A ", "Ünïcode\n"]
    play = Play(SOTW, *(listener(name) for name in odd))
    sent = play.only(play.asks(LISTENER, *odd, HOST.upper()))
    assert [one.name for one in sent.resources] == sorted(odd)


def test_P_09_each_type_is_answered_as_it_is_asked_for() -> None:
    """Listener, route, cluster, endpoints: the client walks, the server must not wait for its own order."""
    play = Play(SOTW, listener(HOST, "9080"), route("9080", "c"), cluster("c"), endpoints("c"))
    for type_url, name in ((LISTENER, HOST), (ROUTE, "9080"), (CLUSTER, "c"), (ENDPOINT, "c")):
        assert named(play.only(play.settle(play.asks(type_url, name)))) == [name]
    sends = play.settle(play.puts(route("9080", "d"), cluster("d"), endpoints("d")))
    assert [send.type_url for send in sends] == [ROUTE], "a cluster that it has not asked for holds up nothing"
    assert named(play.settle(play.asks(CLUSTER, "d"))[0]) == ["c", "d"]


def test_P_09_a_missing_listener_is_answered_too() -> None:
    """The client takes the silence of fifteen seconds for the same, but need not wait for it."""
    play = Play(SOTW, listener("a"))
    assert named(play.only(play.asks(LISTENER, "ghost"))) == []


def ghost(type_url: str, name: str) -> Resource | None:
    return listener(name, content="nobody") if type_url == LISTENER else None


def haunted(*resources: Resource) -> Play:
    """Something stands in for a listener that is not there."""
    play = Play(SOTW, *resources)
    play.snapshot = replace(play.snapshot, stand_in=ghost)
    play.says(Published(play.snapshot, {}))
    return play


def bodies(sends: list[Send]) -> list[bytes]:
    return [one.body for one in sends[-1].resources]


def test_P_09_what_stands_in_for_a_listener_is_sent_until_there_is_one_and_after() -> None:
    """Leaving it out says nothing to a client that never had it, so it would wait fifteen seconds."""
    play = haunted(listener("a"))
    nobody, there = listener("ghost", content="nobody").body, listener("ghost", content="there")
    assert bodies(play.settle(play.asks(LISTENER, "a", "ghost"))) == [listener("a").body, nobody]
    assert play.puts(listener("b")) == []
    assert bodies(play.settle(play.puts(there))) == [listener("a").body, there.body]
    assert bodies(play.settle(play.puts(removed=[(LISTENER, "ghost")]))) == [listener("a").body, nobody]
    assert play.drops(LISTENER, "a", "ghost") == []
    assert named(play.only(play.asks(CLUSTER, "ghost"))) == []


def test_P_09_who_asks_for_everything_gets_nothing_that_stands_in() -> None:
    play = haunted(listener("a"))
    assert named(play.only(play.asks(LISTENER))) == ["a"]


def test_P_10_no_names_any_more_means_nothing() -> None:
    """A channel that closes asks for an empty list; it is not the wildcard."""
    play = Play(SOTW, listener("a"), listener("b"))
    play.settle(play.asks(LISTENER, "a"))
    assert play.drops(LISTENER, "a") == []
    assert play.puts(listener("a", content="2")) == []


def test_P_02_a_reconnect_by_name_is_answered_at_an_equal_version() -> None:
    """The version is of the whole type and says nothing of these names; and a first answer resets the back-off."""
    world = [listener("a"), listener("b")]
    play = Play(SOTW, *world, previous=Snapshot())
    play.version = {LISTENER: snapshot(world).version(LISTENER)}
    assert named(play.only(play.asks(LISTENER, "a"))) == ["a"]
