"""State of the world, the core: what a response holds, and when there is one (S-01 … S-18)."""

from __future__ import annotations

from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from legation.snapshot.order import SCOPED_ROUTE
from legation.snapshot.snapshot import Resource, resource, snapshot
from legation.stream.machine import WATCHDOG
from stream.playbook import SOTW, Play, cluster, endpoints, listener, named, route, secret


def scope(name: str) -> Resource:
    return resource(SCOPED_ROUTE, name, name.encode())


def test_S_01_a_first_request_is_answered_even_when_the_set_is_empty() -> None:
    """Envoy waits for clusters and listeners at its start, so "none" must be said."""
    play = Play(SOTW)
    for type_url in (CLUSTER, LISTENER):
        sent = play.only(play.asks(type_url))
        assert sent.resources == ()
    play = Play(SOTW, cluster("a"), cluster("b"))
    assert named(play.only(play.asks(CLUSTER))) == ["a", "b"]


def test_S_02_clusters_and_listeners_are_sent_in_full_and_left_out_is_deleted() -> None:
    """Every response of these types lists all that is subscribed to."""
    play = Play(SOTW, cluster("a"), cluster("b"))
    play.settle(play.asks(CLUSTER))
    assert named(play.only(play.puts(cluster("c")))) == ["a", "b", "c"]
    play = Play(SOTW, listener("l"), listener("m"))
    play.settle(play.asks(LISTENER))
    assert named(play.only(play.puts(removed=[(LISTENER, "l")]))) == ["m"]


def test_S_03_scoped_routes_are_full_state_too() -> None:
    """Envoy deletes scopes that a response leaves out, and subscribes to them without names."""
    play = Play(SOTW, scope("a"), scope("b"))
    play.settle(play.asks(SCOPED_ROUTE))
    assert named(play.only(play.puts(scope("c")))) == ["a", "b", "c"]


def test_S_04_other_types_send_what_changed_and_absence_says_nothing() -> None:
    """A removed load assignment is not told; a changed one comes alone."""
    play = Play(SOTW, endpoints("a"), endpoints("b"))
    play.settle(play.asks(ENDPOINT, "a", "b"))
    assert named(play.only(play.puts(endpoints("a", "2")))) == ["a"]
    assert play.acks(play.open[ENDPOINT]) == []
    assert play.puts(removed=[(ENDPOINT, "b")]) == []
    assert play.waits(60) == []


def test_S_05_one_change_costs_one_resource() -> None:
    """Unchanged endpoints and routes are not sent again because of another's change."""
    many = [endpoints(f"e{number}") for number in range(100)]
    play = Play(SOTW, *many)
    play.settle(play.asks(ENDPOINT, *(one.name for one in many)))
    assert named(play.only(play.puts(endpoints("e7", "2")))) == ["e7"]


def test_S_06_a_name_added_at_the_same_version_is_answered() -> None:
    """The type's version did not change, the client's needs did. So it is after an unasked one, too."""
    play = Play(SOTW, endpoints("a"), endpoints("b"))
    play.settle(play.asks(ENDPOINT, "a"))
    assert named(play.only(play.asks(ENDPOINT, "b"))) == ["b"]
    play = Play(SOTW, cluster("a"), cluster("b"))
    play.settle(play.asks(CLUSTER, "*"))
    assert named(play.only(play.asks(CLUSTER, "a"))) == ["a", "b"]


def test_S_07_a_name_that_is_dropped_and_asked_for_again_is_sent_again() -> None:
    """The client forgot it in between; at the same version it must come once more."""
    play = Play(SOTW, endpoints("a"), endpoints("b"))
    play.settle(play.asks(ENDPOINT, "a", "b"))
    assert play.drops(ENDPOINT, "b") == []
    assert named(play.only(play.asks(ENDPOINT, "b"))) == ["b"]


def test_S_08_a_missing_name_holds_up_nothing_and_comes_when_it_appears() -> None:
    """Silence for what is not there, at once what is, and interest kept."""
    play = Play(SOTW, endpoints("a"))
    assert named(play.only(play.settle(play.asks(ENDPOINT, "a", "ghost")))) == ["a"]
    assert named(play.only(play.puts(endpoints("ghost")))) == ["ghost"]
    play = Play(SOTW, secret("there"))
    assert play.asks(SECRET, "ghost") == []


def test_S_09_a_request_need_not_name_all_there_is() -> None:
    """A response is not withheld because the Snapshot has more than the client asks for."""
    play = Play(SOTW, endpoints("a"), endpoints("b"), endpoints("c"))
    assert named(play.only(play.asks(ENDPOINT, "b"))) == ["b"]


def test_S_10_no_more_is_sent_than_was_asked_for() -> None:
    """Clients would ignore it."""
    play = Play(SOTW, *(endpoints(name) for name in "abc"), *(cluster(name, endpoints=False) for name in "abc"))
    assert named(play.only(play.settle(play.asks(ENDPOINT, "a")))) == ["a"]
    assert named(play.only(play.settle(play.asks(CLUSTER, "a")))) == ["a"]
    assert play.puts(endpoints("b", "2"), cluster("b", "2", endpoints=False)) == []


def test_S_11_nothing_is_sent_of_what_is_no_longer_asked_for() -> None:
    """Envoy would answer with its old version and no error, and a server that compares versions would never stop."""
    play = Play(SOTW, endpoints("a"), endpoints("b"))
    first = play.only(play.asks(ENDPOINT, "a", "b"))
    assert play.puts(endpoints("a", "2"), endpoints("b", "2")) == []  # waits for the answer
    play.names[ENDPOINT] = ["b"]
    assert named(play.only(play.acks(first))) == ["b"]
    play.settle([play.open[ENDPOINT]])
    play.drops(ENDPOINT, "b")
    assert play.puts(endpoints("a", "3"), endpoints("b", "3")) == []
    assert play.waits(120) == []


def test_S_12_an_answer_that_never_comes_does_not_block_for_ever() -> None:
    """Envoy says nothing to a response of a type that it has just stopped watching."""
    play = Play(SOTW, endpoints("a"))
    play.asks(ENDPOINT, "a")
    assert play.puts(endpoints("a", "2")) == []
    assert play.waits(WATCHDOG - 1) == []
    assert named(play.only(play.waits(2))) == ["a"]
    play = Play(SOTW, endpoints("a"))
    play.asks(ENDPOINT, "a")
    play.drops(ENDPOINT, "a")
    assert named(play.only(play.asks(ENDPOINT, "a"))) == ["a"], "and at once after it stopped and started again"


def test_S_13_a_newer_request_supersedes_an_older_one() -> None:
    """Names of two requests that wait for the same ACK are answered by one response."""
    play = Play(SOTW, *(endpoints(name) for name in "abcd"))
    first = play.only(play.asks(ENDPOINT, "a"))
    assert play.asks(ENDPOINT, "b") == []
    assert play.asks(ENDPOINT, "c") == []
    assert play.drops(ENDPOINT, "b") == []
    assert named(play.only(play.acks(first))) == ["c"]


def test_S_14_an_acknowledgement_is_not_answered() -> None:
    """Otherwise both sides would never stop."""
    play = Play(SOTW, cluster("a"), endpoints("a"), listener("l", "r"), route("r", "a"))
    for type_url, names in ((CLUSTER, ()), (ENDPOINT, ("a",)), (LISTENER, ()), (ROUTE, ("r",))):
        sent = play.asks(type_url, *names)
        assert play.settle(sent) == sent
    assert play.waits(300) == []


def test_S_15_no_name_comes_twice_in_a_response() -> None:
    """Not for a name listed twice, nor for one that is asked for by name and with everything."""
    play = Play(SOTW, cluster("a"), endpoints("a"))
    assert named(play.only(play.asks(CLUSTER, "*", "a", "a", "*"))) == ["a"]
    assert named(play.only(play.asks(ENDPOINT, "a", "a"))) == ["a"]


def test_S_16_after_a_reconnect_only_equal_full_sets_are_not_sent_again() -> None:
    """Versions are content hashes. Endpoints and routes are sent in any case: Envoy may wait for them."""
    world = [cluster("a"), endpoints("a"), listener("l", "r"), route("r", "a")]
    versions = snapshot(world)
    play = Play(SOTW, *world)
    play.version = {one: versions.version(one) for one in (CLUSTER, ENDPOINT, LISTENER, ROUTE)}
    assert play.asks(CLUSTER) == []
    assert play.asks(LISTENER) == []
    assert named(play.only(play.asks(ENDPOINT, "a"))) == ["a"]
    assert named(play.only(play.asks(ROUTE, "r"))) == ["r"]
    assert named(play.only(play.puts(cluster("b")))) == ["a", "b"]
    assert all(status.acked for status in play.stream.status().values() if not status.pending)


def test_S_16_a_reconnect_with_another_version_gets_everything() -> None:
    """What was removed meanwhile stays until the routes are acknowledged that replace those to it."""
    old = snapshot([cluster("old"), endpoints("old"), route("r", "old")])
    play = Play(SOTW, cluster("new"), endpoints("new"), route("r", "new"), previous=old)
    play.version = {one: old.version(one) for one in (CLUSTER, ENDPOINT, ROUTE)}
    clusters = play.only(play.asks(CLUSTER))
    assert named(clusters) == ["new", "old"]
    assert clusters.version not in (old.version(CLUSTER), play.snapshot.version(CLUSTER))
    play.settle([clusters])
    assert named(play.only(play.settle(play.asks(ENDPOINT, "new", "old")))) == ["new", "old"]
    routes = play.only(play.asks(ROUTE, "r"))
    assert play.waits(25) == []
    assert play.acks(routes) == []
    after = play.only(play.waits(2))
    assert (named(after), after.version) == (["new"], play.snapshot.version(CLUSTER))


def test_S_16_after_a_restart_routes_of_which_nothing_is_known_may_use_anything() -> None:
    """What lists everything is kept on disk, routes are not: until they are replaced every cluster stays."""
    old = snapshot([cluster("old")])
    play = Play(SOTW, cluster("new"), endpoints("new"), route("r", "new"), previous=old)
    play.version = {CLUSTER: old.version(CLUSTER), ROUTE: "some", ENDPOINT: "other"}
    assert named(play.settle(play.asks(CLUSTER))[0]) == ["new", "old"]
    play.settle(play.asks(ENDPOINT, "new", "old"))
    routes = play.only(play.asks(ROUTE, "r", "another"))
    assert play.waits(25) == []
    assert play.acks(routes) == []
    assert named(play.only(play.waits(2))) == ["new"]


def test_S_16_what_stays_may_never_have_arrived() -> None:
    """A cluster that is listed because it was served, and is new to the client all the same, gets its endpoints: Envoy
    acknowledges no list of clusters before each that is new has some.
    """
    old = snapshot([cluster("lost"), endpoints("lost")])
    play = Play(SOTW, cluster("new"), endpoints("new"), route("r", "new"), previous=old)
    play.version = dict.fromkeys((CLUSTER, ENDPOINT, ROUTE), "older")
    clusters = play.only(play.asks(CLUSTER))
    assert named(clusters) == ["lost", "new"]
    play.settle(play.asks(ENDPOINT, "new"))
    assert named(play.settle(play.asks(ENDPOINT, "new", "lost"))[0]) == ["lost"]
    play.acks(clusters)
    play.settle(play.asks(ROUTE, "r"))
    assert named(play.only(play.waits(5))) == ["new"]


def test_S_16_a_fresh_client_gets_no_leftovers() -> None:
    """A client without a version has nothing to lose, whatever was served to its predecessor."""
    play = Play(SOTW, cluster("new"), previous=snapshot([cluster("old")]))
    assert named(play.only(play.asks(CLUSTER))) == ["new"]


def test_S_17_the_first_request_is_the_first_whatever_nonce_it_carries() -> None:
    """Envoy may send the nonce of the stream before, even one that would be ours, even with an error."""
    for nonce in ("n1", "n2", "garbage"):
        play = Play(SOTW, endpoints("a"))
        assert named(play.only(play.asks(ENDPOINT, "a", response_nonce=nonce))) == ["a"]
        assert play.heard == []


def test_S_18_no_names_means_nothing_for_types_without_the_wildcard() -> None:
    """Envoy does send such requests for endpoints."""
    play = Play(SOTW, endpoints("a"), route("r"), secret("s"))
    for type_url in (ENDPOINT, ROUTE, SECRET):
        assert play.asks(type_url) == []
    assert play.puts(endpoints("a", "2"), route("r", content="2"), secret("s", "2")) == []
    assert named(play.only(play.asks(ENDPOINT, "a"))) == ["a"]
