"""Make before break: what comes first, what stays, what is sent again (O-01 … O-14)."""

from __future__ import annotations

import pytest
from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from legation.snapshot.order import ORDER, rank
from legation.snapshot.snapshot import Resource
from legation.stream.commands import Send
from legation.stream.gate import PATIENCE
from legation.stream.linger import GRACE
from legation.stream.machine import Variant
from stream.playbook import DELTA, SOTW, Play, cluster, endpoints, listener, named, route, secret

both = pytest.mark.parametrize("variant", [SOTW, DELTA])


def connected(variant: Variant, *world: Resource, listed: str = "abcdx") -> Play:
    """A client that asked for all, and for the endpoints and routes of these names, and is up to date."""
    play = Play(variant, *world)
    for type_url, names in ((CLUSTER, ()), (ENDPOINT, tuple(listed)), (LISTENER, ()), (ROUTE, ("r", "s"))):
        play.settle(play.asks(type_url, *names))
    play.waits(60)
    return play


def shorts(sends: list[Send]) -> list[str]:
    return [send.type_url.rpartition(".")[2] for send in sends]


def everything(variant: Variant) -> Play:
    return connected(variant, cluster("a"), endpoints("a"), listener("l", "r"), route("r", "a"))


def test_O_01_the_order_of_the_types() -> None:
    """Clusters, their endpoints and certificates, listeners, routes; what is unknown at the end."""
    ranks = [rank(type_url) for type_url in (CLUSTER, ENDPOINT, SECRET, LISTENER, ROUTE, "unknown")]
    assert ranks == sorted(set(ranks))
    assert [row.type_url for row in ORDER if row.first] == [CLUSTER]


@both
def test_O_01_a_change_of_all_types_arrives_in_that_order(variant: Variant) -> None:
    """And each type that others wait for is acknowledged first."""
    play = everything(variant)
    sends = play.settle(
        play.puts(cluster("b"), endpoints("b"), listener("l", "r", content="2"), route("r", "b"), endpoints("a", "2"))
    )
    order = shorts(sends)
    assert order.index("Cluster") < order.index("RouteConfiguration")
    assert order.index("ClusterLoadAssignment") < order.index("RouteConfiguration")


@both
def test_O_02_a_switch_from_one_cluster_to_another(variant: Variant) -> None:
    """{X, Y}, endpoints of Y, the route to Y, and only then {Y}: never a route to a cluster that is not there."""
    play = everything(variant)
    play.asks(ENDPOINT, "b")
    play.settle([send for send in (play.open.pop(ENDPOINT, None),) if send])
    first = play.puts(cluster("b"), endpoints("b"), route("r", "b"), removed=[(CLUSTER, "a"), (ENDPOINT, "a")])
    clusters = first[0]
    assert named(clusters) == (["a", "b"] if variant is SOTW else ["b"])
    assert clusters.removed == ()
    assert "RouteConfiguration" not in shorts(first)
    sends = play.settle(first)
    assert shorts(sends)[-1] == "RouteConfiguration"
    assert play.waits(GRACE - 0.1) == []
    last = play.only(play.waits(0.2))
    assert named(last) == (["b"] if variant is SOTW else [])
    assert last.removed == (() if variant is SOTW else ("a",))


@both
def test_O_02_there_is_no_upper_limit_while_an_answer_is_owed(variant: Variant) -> None:
    """A client that takes its time with the new route keeps the old cluster for that time."""
    play = everything(variant)
    sends = play.puts(cluster("b"), endpoints("b"), route("r", "b"), removed=[(CLUSTER, "a"), (ENDPOINT, "a")])
    queue = [*sends]
    while queue:
        send = queue.pop(0)
        if send.type_url == ROUTE:
            break
        queue += play.acks(send)
    late = play.waits(3600)
    assert not any(send.removed or (variant is SOTW and send.type_url == CLUSTER) for send in late)
    play.acks(send)
    assert CLUSTER in {send.type_url for send in play.waits(GRACE + 0.1)}


@both
def test_O_02_a_refused_route_keeps_its_old_cluster(variant: Variant) -> None:
    """The client goes on with the route that it has."""
    play = everything(variant)
    sends = play.puts(cluster("b"), endpoints("b"), route("r", "b"), removed=[(CLUSTER, "a"), (ENDPOINT, "a")])
    while sends and sends[0].type_url != ROUTE:
        sends += play.acks(sends.pop(0))
    play.nacks(sends[0])
    assert play.waits(3600) == []
    fixed = play.only(play.puts(route("r", "b", content="fixed")))
    play.acks(fixed)
    assert CLUSTER in {send.type_url for send in play.waits(GRACE + 0.1)}


@both
def test_O_02_a_chain_goes_link_by_link(variant: Variant) -> None:
    """A listener, its route, the cluster, the endpoints: each only after what refers to it is gone."""
    play = everything(variant)
    first = play.only(play.puts(removed=[(LISTENER, "l"), (ROUTE, "r"), (CLUSTER, "a"), (ENDPOINT, "a")]))
    assert first.type_url == LISTENER
    gone = [first.type_url]
    assert play.waits(30) == [], "the listener's removal is not acknowledged"
    play.acks(first)
    for _ in range(5):
        gone += [send.type_url for send in play.settle(play.waits(GRACE + 0.05))]
    assert gone == ([LISTENER, CLUSTER] if variant is SOTW else [LISTENER, ROUTE, CLUSTER, ENDPOINT])


@both
def test_O_02_what_comes_back_in_time_was_never_gone(variant: Variant) -> None:
    """A cluster that is removed and made again within its grace is not touched."""
    play = everything(variant)
    assert play.puts(removed=[(CLUSTER, "a"), (ENDPOINT, "a")]) == []
    play.waits(GRACE / 2)
    assert play.puts(cluster("a"), endpoints("a")) == []
    assert play.waits(60) == []
    assert all(status.synced for status in play.stream.status().values())


@both
def test_O_03_routes_wait_for_their_new_clusters(variant: Variant) -> None:
    """For the answer, not longer than the patience; and not at all for clusters that were there."""
    play = everything(variant)
    sends = play.puts(cluster("b"), cluster("a", "2"), route("r", "a", "b"), route("s", "a"))
    assert sends[0].type_url == CLUSTER
    assert named(sends[-1]) == ["s"]
    play.acks(sends[-1])
    assert [named(send) for send in play.waits(PATIENCE + 0.1) if send.type_url == ROUTE] == [["r"]]


@both
def test_O_03_a_refused_cluster_holds_its_own_routes_only(variant: Variant) -> None:
    """The others go on, and so does everything once the cluster is mended."""
    play = everything(variant)
    sends = play.puts(cluster("b", "bad"), route("r", "b"))
    play.nacks(play.only(sends))
    assert play.waits(3600) == []
    assert named(play.only(play.settle(play.puts(route("s", "a"))))) == ["s"]
    mended = play.only(play.puts(cluster("b", endpoints=False)))
    assert named(play.only(play.acks(mended))) == ["r"]


@both
def test_O_04_an_answer_to_a_request_keeps_the_order_too(variant: Variant) -> None:
    """A route that is asked for while its cluster is on the way."""
    play = Play(variant, cluster("a", endpoints=False), route("r", "a"))
    clusters = play.only(play.asks(CLUSTER))
    assert play.asks(ROUTE, "r") == []
    assert named(play.only(play.acks(clusters))) == ["r"]


@both
def test_O_05_endpoints_follow_a_cluster_that_is_new_or_changed(variant: Variant) -> None:
    """Although they did not change: a warming cluster waits for them. Those of other clusters do not."""
    play = connected(variant, cluster("a"), endpoints("a"), cluster("b"), endpoints("b"))
    sends = play.puts(cluster("a", "2"))
    assert shorts(sends) == ["Cluster", "ClusterLoadAssignment"]
    assert named(sends[1]) == ["a"]
    play.settle(sends)
    assert play.waits(60) == []


@both
def test_O_05_endpoints_that_are_on_the_way_do_not_count(variant: Variant) -> None:
    """They were sent before the cluster, so they go once more after it."""
    play = connected(variant, cluster("a"), endpoints("a"))
    before = play.only(play.puts(endpoints("a", "2")))
    assert shorts(play.puts(cluster("a", "2"))) == ["Cluster"]
    assert named(play.only(play.acks(before))) == ["a"]


@both
def test_O_06_an_empty_load_assignment_is_an_answer(variant: Variant) -> None:
    """Rendering makes one for every cluster; it goes out like any other."""
    play = connected(variant, cluster("a"), endpoints("a", "none"))
    assert named(play.only([send for send in play.puts(cluster("a", "2")) if send.type_url == ENDPOINT])) == ["a"]


@both
def test_O_07_a_route_that_a_new_listener_asks_for_is_sent(variant: Variant) -> None:
    """Also if the client had it, and dropped it, before."""
    play = everything(variant)
    play.drops(ROUTE, "r")
    play.settle(play.puts(listener("l", "r", content="2")))
    assert named(play.only(play.asks(ROUTE, "r"))) == ["r"]


@both
def test_O_09_a_missing_secret_holds_up_nothing(variant: Variant) -> None:
    """Incremental: it is said that it is not there. State of the world has no word for it."""
    play = Play(variant, secret("there"))
    sends = play.settle(play.asks(SECRET, "there")) + play.settle(play.asks(SECRET, "ghost"))
    assert [send.removed for send in sends] == ([()] if variant is SOTW else [(), ("ghost",)])
    assert named(play.only(play.puts(secret("ghost")))) == ["ghost"]


@both
def test_O_10_a_listener_waits_for_the_clusters_that_it_names_itself(variant: Variant) -> None:
    """A TCP proxy has no route that would."""
    play = everything(variant)
    sends = play.puts(cluster("t", endpoints=False), listener("tcp", clusters=["t"]))
    assert shorts(sends) == ["Cluster"]
    assert "tcp" in named(play.only(play.settle(sends)[1:]))


@both
def test_O_13_a_listener_goes_with_the_one_that_takes_its_address(variant: Variant) -> None:
    """In one response, even when the new one must wait for its cluster: apart they are refused as duplicates."""
    play = everything(variant)
    sends = play.puts(cluster("t", endpoints=False), listener("tcp", clusters=["t"]), removed=[(LISTENER, "l")])
    assert shorts(sends) == ["Cluster"]
    after = play.only(play.acks(sends[0]))
    assert named(after) == ["tcp"]
    assert after.removed == (() if variant is SOTW else ("l",))
