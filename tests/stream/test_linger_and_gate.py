"""Corners of what must stay and what must wait that no numbered check of the protocol names."""

from __future__ import annotations

from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from legation.snapshot.snapshot import resource, snapshot
from legation.stream.gate import FETCH, PATIENCE, UNASKED
from legation.stream.linger import GRACE

from stream.playbook import DELTA, SOTW, Play, cluster, endpoints, listener, named, route


def test_a_cluster_in_service_stays_while_a_listener_that_replaces_it_is_gated() -> None:
    """The new listener waits for its new cluster, and so the old cluster waits for the new listener."""
    play = Play(SOTW, cluster("old", endpoints=False), listener("l", clusters=["old"]))
    play.settle(play.asks(CLUSTER))
    play.settle(play.asks(LISTENER))
    sends = play.puts(cluster("new", endpoints=False), listener("l", clusters=["new"]), removed=[(CLUSTER, "old")])
    assert [named(send) for send in sends] == [["new", "old"]]
    (listeners,) = play.acks(sends[0])
    assert play.waits(60) == []
    assert play.acks(listeners) == []
    assert [named(send) for send in play.waits(GRACE + 0.1)] == [["new"]]


def test_a_full_state_lists_the_old_version_of_what_must_wait() -> None:
    """Leaving it out would delete it."""
    play = Play(SOTW, cluster("a", endpoints=False), listener("l", clusters=["a"]), listener("m"))
    play.settle(play.asks(CLUSTER))
    play.settle(play.asks(LISTENER))
    refused = play.puts(cluster("b", "bad", endpoints=False), listener("l", clusters=["b"]))
    assert play.nacks(play.only(refused)) == []
    sent = play.only(play.puts(listener("m", content="2")))
    old = {one.name: one for one in sent.resources}
    assert old == {"l": listener("l", clusters=["a"]), "m": listener("m", content="2")}
    assert sent.version == snapshot(list(old.values())).version(LISTENER)


def test_a_new_cluster_that_nobody_asks_endpoints_for_delays_its_route_for_a_moment_only() -> None:
    play = Play(DELTA, route("r"))
    play.settle(play.asks(CLUSTER))
    play.settle(play.asks(ROUTE, "r"))
    play.settle(play.puts(cluster("a"), endpoints("a"), route("r", "a")))
    assert play.waits(UNASKED / 2) == []
    assert named(play.only(play.waits(UNASKED))) == ["r"]


def test_a_new_cluster_whose_endpoints_are_not_acknowledged_delays_it_as_long_as_patience_lasts() -> None:
    play = Play(DELTA, route("r"))
    play.settle(play.asks(CLUSTER))
    play.settle(play.asks(ROUTE, "r"))
    play.settle(play.puts(cluster("a"), endpoints("a"), route("r", "a")))
    assert named(play.only(play.asks(ENDPOINT, "a"))) == ["a"]
    assert play.waits(PATIENCE - 0.1) == []
    assert named(play.only(play.waits(0.2))) == ["r"]


def test_what_a_new_version_waits_for_in_vain_holds_the_old_ones_cluster_for_as_long_as_envoy_waits() -> None:
    """In state of the world a missing route is silence; Envoy gives up after its own time."""
    play = Play(SOTW, cluster("old", endpoints=False), listener("l", clusters=["old"]))
    play.settle(play.asks(CLUSTER))
    play.settle(play.asks(LISTENER))
    play.settle(play.puts(listener("l", "ghost"), removed=[(CLUSTER, "old")]))
    assert play.asks(ROUTE, "ghost") == []
    assert play.waits(FETCH - 0.1) == []
    assert [named(send) for send in play.waits(GRACE + 0.2)] == [[]]


def test_a_secret_that_is_renewed_holds_up_nothing() -> None:
    """Clients wait for secrets by themselves."""
    tls = resource(LISTENER, "l", b"tls", [(SECRET, "s")])
    play = Play(DELTA, tls, resource(SECRET, "s", b"1"))
    play.settle(play.asks(LISTENER))
    play.settle(play.asks(SECRET, "s"))
    sends = play.puts(resource(LISTENER, "l", b"tls 2", [(SECRET, "s")]), resource(SECRET, "s", b"2"))
    assert [send.type_url for send in sends] == [SECRET, LISTENER]


def test_an_aggregate_and_its_members_go_together_in_time() -> None:
    """A cluster may refer to clusters; the members stay until the aggregate is gone."""
    both = resource(CLUSTER, "both", b"both", [(CLUSTER, "a"), (CLUSTER, "b")])
    play = Play(DELTA, both, cluster("a", endpoints=False), cluster("b", endpoints=False))
    play.settle(play.asks(CLUSTER))
    play.puts(removed=[(CLUSTER, "both"), (CLUSTER, "a"), (CLUSTER, "b")])
    first = play.only(play.waits(GRACE + 0.1))
    assert first.removed == ("both",)
    play.acks(first)
    assert play.only(play.waits(GRACE + 0.1)).removed == ("a", "b")


def test_served_is_what_the_client_may_have_with_the_references_of_every_version() -> None:
    play = Play(SOTW, cluster("a"), cluster("b"), route("r", "a"))
    play.settle(play.asks(CLUSTER))
    play.asks(ROUTE, "r")
    play.settle(play.waits(UNASKED))
    play.puts(route("r", "b"))
    served = play.stream.served()
    assert served.of(CLUSTER) == {"a": cluster("a"), "b": cluster("b")}
    assert served.of(ROUTE)["r"].refs == {(CLUSTER, "a"), (CLUSTER, "b")}
    assert served.of(ROUTE)["r"].body == route("r", "a").body, "the one that it surely took"
