"""Incremental xDS, the core (D-01 … D-19)."""

from __future__ import annotations

import pytest
from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from legation.snapshot.order import EXTENSION
from legation.snapshot.snapshot import resource, snapshot
from legation.stream.events import Requested
from legation.stream.machine import CHUNK
from stream.playbook import DELTA, Play, cluster, endpoints, listener, named, route, secret


def versions(*resources: object) -> dict[str, str]:
    return {one.name: one.version for one in resources}  # type: ignore[attr-defined]


def test_D_01_lists_are_changes_and_count_on_every_message() -> None:
    """Empty lists change nothing; an ACK may carry some."""
    play = Play(DELTA, endpoints("a"), endpoints("b"))
    sent = play.only(play.asks(ENDPOINT, "a"))
    assert named(play.only(play.says(Requested(ENDPOINT, subscribe=("b",), response_nonce=sent.nonce)))) == ["b"]
    play.acks(play.open[ENDPOINT])
    assert play.asks(ENDPOINT) == []
    assert named(play.only(play.puts(endpoints("a", "2"), endpoints("b", "2")))) == ["a", "b"]


@pytest.mark.parametrize("make", [cluster, endpoints, listener, route, secret])
def test_D_02_who_subscribes_again_is_sent_again(make: object) -> None:
    """Even if it is subscribed and current: the client may have lost it."""
    one = make("a")  # type: ignore[operator]
    play = Play(DELTA, one)
    play.settle(play.asks(one.type_url, "a"))
    assert named(play.only(play.settle(play.asks(one.type_url, "a")))) == ["a"]


def test_D_02_a_refused_one_too_since_the_client_wants_it() -> None:
    """Asking by name for what it refused is a reason of the client's own."""
    play = Play(DELTA, endpoints("a"))
    play.nacks(play.only(play.asks(ENDPOINT, "a")))
    assert named(play.only(play.asks(ENDPOINT, "a"))) == ["a"]


def test_D_03_a_name_that_is_not_there_is_told_so_and_remembered() -> None:
    """On-demand clients fail fast by it; the subscription outlives it."""
    play = Play(DELTA)
    for type_url in (CLUSTER, ENDPOINT, SECRET, "type.googleapis.com/made.up.Type"):
        sent = play.only(play.settle(play.asks(type_url, "ghost")))
        assert (sent.resources, sent.removed) == ((), ("ghost",))
    assert named(play.only(play.settle(play.puts(secret("ghost"))))) == ["ghost"]


def test_D_04_it_is_told_once() -> None:
    """Not again with every push."""
    play = Play(DELTA, endpoints("a"))
    play.settle(play.asks(ENDPOINT, "a", "ghost"))
    assert play.only(play.settle(play.puts(endpoints("a", "2")))).removed == ()
    assert play.only(play.settle(play.asks(ENDPOINT, "ghost"))).removed == ("ghost",), "but to who asks again"


def test_D_05_unknown_names_are_unsubscribed_in_silence() -> None:
    """Nothing happens, and nothing is lost."""
    play = Play(DELTA, endpoints("a"))
    play.settle(play.asks(ENDPOINT, "a"))
    assert play.drops(ENDPOINT, "ghost") == []
    assert named(play.only(play.puts(endpoints("a", "2")))) == ["a"]


def test_D_06_who_has_everything_and_unsubscribes_from_a_name_is_told_what_it_has_now() -> None:
    """The resource, if it is in everything; else that it is gone. Otherwise an unsubscription is not answered."""
    play = Play(DELTA, cluster("a"))
    play.settle(play.asks(CLUSTER, "*", "a", "ghost"))
    assert named(play.only(play.settle(play.drops(CLUSTER, "a")))) == ["a"]
    assert play.only(play.settle(play.drops(CLUSTER, "ghost"))).removed == ("ghost",)
    assert named(play.only(play.settle(play.puts(cluster("a", "2"))))) == ["a"]
    play = Play(DELTA, endpoints("a"))
    play.settle(play.asks(ENDPOINT, "a"))
    assert play.drops(ENDPOINT, "a") == []


def test_D_07_nothing_comes_after_an_unsubscription() -> None:
    """No change, and no removal."""
    play = Play(DELTA, endpoints("a"))
    play.settle(play.asks(ENDPOINT, "a"))
    play.drops(ENDPOINT, "a")
    assert play.puts(endpoints("a", "2")) == []
    assert play.puts(removed=[(ENDPOINT, "a")]) == []
    assert play.waits(10) == []


def test_D_08_every_resource_has_a_version_of_its_own() -> None:
    """A hash of its bytes: the same on another replica, another one for other content."""
    sent = Play(DELTA, cluster("a"), cluster("b")).asks(CLUSTER)[0]
    again = Play(DELTA, cluster("b"), cluster("a")).asks(CLUSTER)[0]
    assert versions(*sent.resources) == versions(*again.resources)
    assert all(sent.resources[0].version != other.version for other in (sent.resources[1], cluster("a", "2")))


def test_D_09_initial_versions_say_what_the_client_has() -> None:
    """Equal: not sent. Other or missing: sent. Gone: removed, once nothing needs it any more. Only at the first message."""
    play = Play(DELTA, cluster("same"), cluster("changed", "2"), cluster("new"))
    had = versions(cluster("same"), cluster("changed"), cluster("gone"))
    sent = play.only(play.asks(CLUSTER, initial_resource_versions=had))
    assert (named(sent), sent.removed) == (["changed", "new"], ())
    play.acks(sent)
    removal = play.only(play.waits(2))
    assert (removal.resources, removal.removed) == ((), ("gone",))
    play.acks(removal)
    assert play.asks(CLUSTER, initial_resource_versions=versions(cluster("x"))) == []
    assert play.waits(10) == []


def test_D_09_listeners_that_are_gone_go_at_once() -> None:
    """Nothing refers to a listener, and another may want its address."""
    play = Play(DELTA, listener("new"))
    sent = play.only(play.asks(LISTENER, initial_resource_versions=versions(listener("gone"))))
    assert (named(sent), sent.removed) == (["new"], ("gone",))


def test_D_10_initial_versions_are_no_subscription() -> None:
    """A client that comes back must name again what it wants."""
    play = Play(DELTA, endpoints("a"), endpoints("b"))
    had = versions(endpoints("a"), endpoints("b", "0"))
    assert named(play.only(play.settle(play.asks(ENDPOINT, "a", initial_resource_versions=had)))) == ["a"]
    assert play.puts(endpoints("b", "3")) == []


def test_D_11_a_reconnect_without_news_is_answered() -> None:
    """With nothing: the client waits for a first response to finish its start."""
    play = Play(DELTA, cluster("a"), listener("l"))
    for one in (cluster("a"), listener("l")):
        sent = play.only(play.asks(one.type_url, initial_resource_versions=versions(one)))
        assert (sent.resources, sent.removed) == ((), ())
    play = Play(DELTA, cluster("a"))
    sent = play.only(play.asks(CLUSTER, "*", initial_resource_versions=versions(cluster("a"))))
    assert (sent.resources, sent.removed) == ((), ())


@pytest.mark.parametrize("make", [endpoints, route, secret])
def test_D_12_after_a_reconnect_what_is_waited_for_by_name_is_sent(make: object) -> None:
    """Envoy may wait for endpoints, routes and secrets whose version it has."""
    one = make("a")  # type: ignore[operator]
    play = Play(DELTA, one)
    assert named(play.only(play.asks(one.type_url, "a", initial_resource_versions=versions(one)))) == ["a"]


def test_D_12_a_reconnect_removes_nothing_before_its_routes_are_acknowledged() -> None:
    """In whatever order the types are asked for."""
    for first in (CLUSTER, ROUTE):
        play = Play(DELTA, cluster("new"), route("r", "new"))
        requests = [
            Requested(CLUSTER, initial_resource_versions=versions(cluster("old"))),
            Requested(ROUTE, subscribe=("r",), initial_resource_versions=versions(route("r", "old"))),
        ]
        sends = []
        for request in requests if first == CLUSTER else reversed(requests):
            sends += play.says(request)
        (clusters,) = (send for send in sends if send.type_url == CLUSTER)
        assert clusters.removed == ()
        assert [send.type_url for send in play.acks(clusters)] in ([], [ROUTE])
        assert [send for send in play.waits(20) if send.removed] == []
        play.settle([play.open[ROUTE]])
        assert [send.removed for send in play.waits(2)] == [("old",)]


def test_D_14_a_large_response_is_cut_and_each_part_has_its_nonce() -> None:
    """Clients have limits (4 MB in gRPC); the parts follow each other's ACK."""
    large = [resource(ENDPOINT, f"e{number}", bytes(CHUNK // 4) + bytes([number])) for number in range(9)]
    play = Play(DELTA, *large)
    sends = play.settle(play.asks(ENDPOINT, *(one.name for one in large)))
    assert [len(send.resources) for send in sends] == [3, 3, 3]
    assert len({send.nonce for send in sends}) == 3
    assert len({send.version for send in sends}) == 3
    assert sends[-1].version == play.snapshot.version(ENDPOINT)


def test_D_16_what_is_deleted_is_removed_once() -> None:
    """And an extension's configuration never: Envoy would drop the filter."""
    play = Play(DELTA, cluster("a"), cluster("b"))
    play.settle(play.asks(CLUSTER))
    assert play.puts(removed=[(CLUSTER, "a")]) == []
    assert play.only(play.settle(play.waits(2))).removed == ("a",)
    assert play.waits(10) == []
    assert play.only(play.settle(play.puts(cluster("b", "2")))).removed == ()
    play = Play(DELTA, resource(EXTENSION, "x", b"x"))
    play.settle(play.asks(EXTENSION, "x"))
    assert play.puts(removed=[(EXTENSION, "x")]) == []
    assert play.waits(10) == []


def test_D_18_a_change_costs_what_changed() -> None:
    """Not the rest of the type, for clusters and listeners neither."""
    play = Play(DELTA, *(cluster(f"c{number}") for number in range(500)))
    play.settle(play.asks(CLUSTER))
    assert named(play.only(play.puts(cluster("c7", "2")))) == ["c7"]
    assert snapshot([]).of(CLUSTER) == {}


def test_D_19_a_name_is_in_one_of_the_two_lists_once() -> None:
    """Removed and made again before it was said, or asked for in the same moment."""
    play = Play(DELTA, listener("a"), listener("b"))
    first = play.only(play.asks(LISTENER))
    play.puts(removed=[(LISTENER, "a")])
    play.puts(listener("a", content="2"), removed=[(LISTENER, "b")])
    play.asks(LISTENER, "a", "b", "a")
    sent = play.only(play.acks(first))
    assert (named(sent), sent.removed) == (["a"], ("b",))
