"""Versions, nonces, and what a client says to a response (A-01 … A-16)."""

from __future__ import annotations

import pytest
from legation.names import CLUSTER, ENDPOINT, LISTENER, ROUTE
from legation.snapshot.snapshot import resource, snapshot
from legation.stream.commands import Accepted, Rejected
from legation.stream.events import Fault, Requested
from legation.stream.machine import WATCHDOG, Variant
from legation.stream.proofs import Experience, Known, Refused
from stream.playbook import DELTA, SOTW, Play, cluster, endpoints, listener, named, route

both = pytest.mark.parametrize("variant", [SOTW, DELTA])


@both
def test_A_01_every_response_has_a_nonce_of_its_own(variant: Variant) -> None:
    """Also two at one version, and those of different types; never the version itself."""
    play = Play(variant, endpoints("a"), endpoints("b"), cluster("c"))
    sends = play.settle(play.asks(ENDPOINT, "a")) + play.settle(play.asks(ENDPOINT, "b"))
    sends += play.settle(play.asks(CLUSTER))
    assert len({send.nonce for send in sends}) == len(sends) == 3
    assert all(send.nonce and send.nonce != send.version for send in sends)
    assert sends[0].version == sends[1].version


@both
def test_A_02_an_error_makes_the_refusal_and_the_nonce_says_of_what(variant: Variant) -> None:
    """Not the version: a client repeats the version that it has, and it may be the newest."""
    play = Play(variant, endpoints("a"))
    sent = play.only(play.asks(ENDPOINT, "a"))
    play.acks(sent)
    assert play.heard == [Accepted(ENDPOINT, sent.version, sent.nonce, sent.resources)]
    again = play.only(play.puts(endpoints("a", "2")))
    play.nacks(again, "bad weight", 3)
    refusal = play.heard[-1]
    assert refusal == Rejected(ENDPOINT, again.version, again.nonce, 3, "bad weight", again.resources)
    assert isinstance(refusal, Rejected)
    assert refusal.names == ("a",)


def test_A_03_a_refusal_at_the_version_that_the_client_has() -> None:
    """B is asked for, is bad, and the version is that of A, which was taken before."""
    play = Play(SOTW, endpoints("a"), endpoints("b"))
    first = play.settle(play.asks(ENDPOINT, "a"))[0]
    second = play.only(play.asks(ENDPOINT, "b"))
    assert second.version == first.version
    play.nacks(second, "b is bad")
    assert isinstance(play.heard[-1], Rejected)
    assert play.stream.status()["eds"].error == "b is bad"
    assert named(play.only(play.puts(endpoints("b", "2")))) == ["b"]


def test_A_04_the_names_of_a_refusal_count() -> None:
    """A NACK carries the current list like any request."""
    play = Play(SOTW, endpoints("a"), endpoints("b"))
    sent = play.only(play.asks(ENDPOINT, "a"))
    play.names[ENDPOINT] = ["a", "b"]
    assert named(play.only(play.nacks(sent))) == ["b"]
    play = Play(DELTA, endpoints("a"), endpoints("b"))
    sent = play.only(play.asks(ENDPOINT, "a"))
    answer = Requested(ENDPOINT, subscribe=("b",), response_nonce=sent.nonce, error=Fault(13, "no"))
    assert named(play.only(play.says(answer))) == ["b"]


@both
def test_A_05_what_was_refused_is_not_sent_again(variant: Variant) -> None:
    """Neither at once, nor later, nor because something else of the type changes."""
    play = Play(variant, endpoints("a"), endpoints("b"))
    play.settle(play.asks(ENDPOINT, "a", "b"))
    refused = play.only(play.puts(endpoints("a", "bad")))
    assert play.nacks(refused) == []
    assert play.waits(3600) == []
    assert named(play.only(play.settle(play.puts(endpoints("b", "2"))))) == ["b"]
    assert play.stream.status()["eds"].error == "no"
    assert play.stream.status()["eds"].refused == {"a": "no"}


def test_A_05_a_refused_full_state_waits_for_a_change() -> None:
    """With all in one response, the same response is not sent again; a new one holds all."""
    play = Play(SOTW, cluster("a"), cluster("b"))
    play.settle(play.asks(CLUSTER))
    assert play.nacks(play.only(play.puts(cluster("a", "bad")))) == []
    assert play.waits(3600) == []
    assert named(play.only(play.puts(cluster("b", "2")))) == ["a", "b"]


@both
def test_A_05_what_may_have_been_refused_for_want_of_another_is_tried_again(variant: Variant) -> None:
    """A route that is validated against clusters, before they were there. Once they are acknowledged it goes again."""
    play = Play(variant, route("r", "c", content="1"))
    play.settle(play.asks(CLUSTER))
    play.nacks(play.only(play.asks(ROUTE, "r")), "unknown cluster c")
    assert play.waits(60) == []
    clusters = play.only(play.puts(cluster("c", endpoints=False)))
    assert named(play.only(play.acks(clusters))) == ["r"]
    assert play.nacks(play.open[ROUTE]) == []
    assert play.waits(60) == []


@both
def test_A_05_the_guilty_one_among_several_is_found(variant: Variant) -> None:
    """Routes, endpoints and secrets beside a bad one are lost with it, so they go again, each alone, and the bad one
    is known by that.
    """
    play = Play(variant, *(endpoints(name) for name in "abc"))
    sent = play.only(play.asks(ENDPOINT, "a", "b", "c"))
    sends, got = play.nacks(sent), []
    while sends:
        one = play.only(sends)
        got.append(named(one))
        sends = play.nacks(one, "b is bad") if named(one) == ["b"] else play.acks(one)
    assert got == [["a"], ["b"], ["c"]]
    assert [named_of(word) for word in play.heard] == [("-", "abc"), ("+", "a"), ("-", "b"), ("+", "c")]
    assert play.waits(3600) == []


def named_of(word: Accepted | Rejected) -> tuple[str, str]:
    return "+" if isinstance(word, Accepted) else "-", "".join(one.name for one in word.resources)


@both
@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER])
def test_A_06_other_content_goes_at_once_and_so_does_the_old(variant: Variant, type_url: str) -> None:
    """A rollback differs from what was sent last, though not from what was taken last."""
    make = cluster if type_url == CLUSTER else listener
    play = Play(variant, make("x"))
    play.settle(play.asks(type_url))
    play.nacks(play.only(play.puts(make("x", content="bad"))))
    play.nacks(play.only(play.puts(make("x", content="worse"))))
    back = play.only(play.settle(play.puts(make("x"))))
    assert back.resources == (make("x"),)
    assert play.stream.status()["cds" if type_url == CLUSTER else "lds"].synced


@both
def test_A_07_nothing_of_a_refused_response_counts_as_held(variant: Variant) -> None:
    """Envoy applies the good part of clusters and listeners: a fix, and what is removed again, must be said."""
    play = Play(variant, cluster("a"))
    play.settle(play.asks(CLUSTER))
    sends = play.nacks(play.only(play.puts(cluster("a", "2"), cluster("new", "bad"))))
    sends += play.puts(cluster("a"), removed=[(CLUSTER, "new")])
    sends = play.settle(sends)
    assert sends[-1].resources == (cluster("a"),), "the client may have the second version, whatever it said"
    sends += play.settle(play.waits(5))
    assert variant is SOTW or any("new" in send.removed for send in sends), "and the new one"


@both
def test_A_08_an_ack_is_not_in_force(variant: Variant) -> None:
    """A listener that warms is acknowledged while the old one serves: what the old one needs stays until the routes
    of the new one are acknowledged as well.
    """
    play = Play(variant, cluster("old"), listener("l", clusters=["old"]), endpoints("old"))
    for type_url, names in ((CLUSTER, ()), (ENDPOINT, ("old",)), (LISTENER, ())):
        play.settle(play.asks(type_url, *names))
    sends = play.puts(listener("l", "r"), route("r"), removed=[(CLUSTER, "old"), (ENDPOINT, "old")])
    play.settle(sends)
    assert play.waits(0.2) == []
    routes = play.only(play.asks(ROUTE, "r"))
    assert play.waits(20) == []
    assert play.acks(routes) == []
    assert play.waits(0.9) == []
    assert {send.type_url for send in play.waits(0.2)} == {CLUSTER}


def test_A_09_a_stale_nonce_loses_no_name() -> None:
    """It is no answer to the newest response, but its names are the client's names."""
    play = Play(SOTW, *(endpoints(name) for name in "abc"))
    old = play.only(play.asks(ENDPOINT, "a"))
    play.acks(old)
    new = play.only(play.puts(endpoints("a", "2")))
    stale = Requested(ENDPOINT, names=("a", "b"), version_info=old.version, response_nonce=old.nonce)
    assert play.says(stale) == []
    assert play.heard[1:] == [], "it acknowledges nothing"
    play.names[ENDPOINT] = ["a", "b"]
    assert named(play.only(play.acks(new))) == ["b"]


def test_A_10_a_stale_nonce_loses_no_change_in_delta_either() -> None:
    """Subscriptions do not depend on nonces at all."""
    play = Play(DELTA, *(endpoints(name) for name in "ab"))
    play.settle(play.asks(ENDPOINT, "a"))
    assert named(play.only(play.says(Requested(ENDPOINT, subscribe=("b",), response_nonce="long ago")))) == ["b"]


def test_A_11_a_request_without_a_nonce_answers_nothing() -> None:
    """A spontaneous change of subscription leaves the unanswered response unanswered, and a refusal a refusal."""
    play = Play(DELTA, endpoints("a"), endpoints("b"))
    first = play.only(play.asks(ENDPOINT, "a"))
    assert play.asks(ENDPOINT, "b") == []
    assert play.heard == []
    assert play.stream.status()["eds"].pending == 1
    play.settle(play.nacks(first))
    play.asks(ENDPOINT)
    assert play.stream.status()["eds"].error == "no"


@both
def test_A_12_one_response_per_type_is_unanswered(variant: Variant) -> None:
    """What changes meanwhile is merged into the next one, and a watchdog keeps the silent ones going."""
    play = Play(variant, cluster("a", endpoints=False))
    first = play.only(play.asks(CLUSTER))
    for number in range(50):
        assert play.puts(cluster("a", f"{number}", endpoints=False), cluster(f"n{number % 3}", endpoints=False)) == []
    assert named(play.only(play.acks(first))) == ["a", "n0", "n1", "n2"]
    assert play.puts(cluster("a", "late", endpoints=False)) == []
    assert "a" in named(play.only(play.waits(WATCHDOG + 1)))
    assert play.stream.status()["cds"].pending == 2


@both
def test_A_12_an_answer_after_the_watchdog_still_counts(variant: Variant) -> None:
    """The answer to the newer response is taken as one to the older as well: they come in order."""
    play = Play(variant, endpoints("a"))
    first = play.only(play.asks(ENDPOINT, "a"))
    play.puts(endpoints("a", "2"))
    second = play.only(play.waits(WATCHDOG + 1))
    assert play.acks(first) == []
    assert play.acks(second) == []
    assert [word.nonce for word in play.heard] == [first.nonce, second.nonce]
    status = play.stream.status()["eds"]
    assert (status.synced, status.pending, status.acked) == (True, 0, play.snapshot.version(ENDPOINT))


def test_A_13_versions_follow_content_and_nothing_else() -> None:
    """Equal for equal content, in whatever order it was made; different for different content."""
    one = snapshot([cluster("a"), cluster("b")])
    other = snapshot([cluster("b"), cluster("a")])
    assert one.version(CLUSTER) == other.version(CLUSTER)
    assert one.version(CLUSTER) != snapshot([cluster("a"), cluster("b", "2")]).version(CLUSTER)
    play = Play(SOTW, cluster("a"), route("r", "a"))
    play.settle(play.asks(CLUSTER))
    play.settle(play.asks(ROUTE, "r"))
    kept = play.settle(play.puts(cluster("b"), route("r", "b"), removed=[(CLUSTER, "a")]))[0]
    assert named(kept) == ["a", "b"]
    assert kept.version != play.snapshot.version(CLUSTER), "a full state with what lingers is another content"
    assert kept.version == snapshot([cluster("a"), cluster("b")]).version(CLUSTER)


@both
def test_A_14_a_type_keeps_its_version_when_another_changes(variant: Variant) -> None:
    """And is not sent."""
    play = Play(variant, cluster("a"), endpoints("a"))
    clusters = play.settle(play.asks(CLUSTER))[0]
    play.settle(play.asks(ENDPOINT, "a"))
    sent = play.only(play.settle(play.puts(endpoints("a", "2"))))
    assert sent.type_url == ENDPOINT
    assert play.snapshot.version(CLUSTER) == clusters.version


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER])
def test_A_05_the_guilty_one_in_a_full_state_is_found(type_url: str) -> None:
    """Each of the suspects by itself, the others as they were, or not at all if they are new."""
    make = cluster if type_url == CLUSTER else listener
    play = Play(SOTW, make("a"), make("b"))
    play.settle(play.asks(type_url))
    sends, got = play.nacks(play.only(play.puts(make("a", content="2"), make("b", content="bad"), make("c")))), []
    while sends:
        one = play.only(sends)
        got.append([two.body.decode().split()[1] + two.body.decode().split()[-1] for two in one.resources])
        bad = make("b", content="bad") in one.resources
        sends = play.nacks(one, "b is bad") if bad else play.acks(one)
    assert [sorted(listed) for listed in got] == [["a2", "b1"], ["a2", "bbad"], ["a2", "b1", "c1"]]
    assert [named_of(word) for word in play.heard[1:]] == [("-", "abc"), ("+", "a"), ("-", "b"), ("+", "c")]
    status = play.stream.status()["cds" if type_url == CLUSTER else "lds"]
    assert (status.refused, status.error, status.synced) == ({"b": "b is bad"}, "b is bad", False)
    assert named(play.only(play.settle(play.puts(make("b", content="good"))))) == ["a", "b", "c"]
    assert play.stream.status()["cds" if type_url == CLUSTER else "lds"].synced


def test_A_05_what_is_refused_is_listed_as_it_was() -> None:
    """A full state that is sent for another reason does not say again what was refused."""
    play = Play(SOTW, cluster("a"), cluster("b"))
    play.settle(play.asks(CLUSTER))
    play.nacks(play.only(play.puts(cluster("a", "bad"))))
    sent = play.only(play.puts(cluster("b", "2")))
    assert sorted(one.body for one in sent.resources) == [cluster("a").body, cluster("b", "2").body]
    play.acks(sent)
    assert play.stream.status()["cds"].refused == {"a": "no"}


@both
def test_A_05_what_nobody_has_taken_yet_travels_alone(variant: Variant) -> None:
    """A client stops at the first bad one of endpoints, routes and secrets, so what is new costs nobody else."""
    experience = Experience()
    for known in "ad":
        experience.took(route(known))
    play = Play(variant, *(route(name) for name in "abcd"), proofs=Known(experience))
    sends = play.asks(ROUTE, *"abcd")
    assert [named(send) for send in play.settle(sends)] == [["a", "d"], ["b"], ["c"]]
    experience.took(route("b", content="2"))
    experience.took(route("c", content="2"))
    assert [named(send) for send in play.puts(route("b", content="2"), route("c", content="2"))] == [["b", "c"]]


@both
def test_A_05_what_our_own_checks_prove_travels_together(variant: Variant) -> None:
    harmless = [resource(ENDPOINT, name, name.encode(), harmless=True) for name in "abc"]
    play = Play(variant, *harmless, endpoints("d"), proofs=Known(Experience()))
    assert [named(send) for send in play.settle(play.asks(ENDPOINT, *"abcd"))] == [["a", "b", "c"], ["d"]]


@both
def test_A_05_a_trouble_of_the_host_is_tried_again(variant: Variant) -> None:
    """A port that is in use may be free again: after one second, two, four; and other content at once."""
    play = Play(variant, listener("l"), listener("m"))
    words = "Error adding/updating listener(s) l: cannot bind '127.0.0.1:80': Address already in use"
    sends = play.asks(LISTENER)
    while sends:
        sends = play.nacks(sends[0], words) if listener("l") in sends[0].resources else play.acks(sends[0])
    for pause in (1, 2, 4):
        assert play.waits(pause - 0.1) == []
        assert listener("l") in play.only(play.waits(0.2)).resources
        play.nacks(play.open[LISTENER], words)
    assert play.stream.status()["lds"].refused == {"l": words}
    play.settle(play.puts(listener("l", content="2")))
    assert play.waits(3600) == []
    assert play.stream.status()["lds"].synced


@both
def test_A_05_what_was_refused_is_not_sent_on_a_new_stream_before_its_time(variant: Variant) -> None:
    """Nor to another client of the same version, if it is known to be bad for all of them; something else at once."""
    refused = {route("a").version: Refused((ROUTE, "a"), "no", 3, again=200.0)}
    for known in (Known(Experience(), {"me": refused}, "me"), Known(Experience(bad=refused), {}, "me")):
        play = Play(variant, route("a"), route("b"), proofs=known)
        assert [named(send) for send in play.settle(play.asks(ROUTE, "a", "b"))] == [["b"]]
        assert play.stream.status()["rds"].refused == {"a": "no"}
        assert [named(send) for send in play.settle(play.puts(route("a", content="2")))] == [["a"]]
        play = Play(variant, route("a"), proofs=known)
        play.now = 200.0
        assert [named(send) for send in play.settle(play.asks(ROUTE, "a"))] == [["a"]]


def test_A_05_what_the_client_asks_for_again_is_sent_again() -> None:
    """On the same stream and by name, whatever is known of it."""
    experience = Experience()
    play = Play(DELTA, route("a"), proofs=Known(experience))
    assert play.nacks(play.only(play.asks(ROUTE, "a"))) == []
    experience.bad[route("a").version] = Refused((ROUTE, "a"), "no", 1, again=1000.0)
    assert [named(send) for send in play.asks(ROUTE, "a")] == [["a"]]


@both
def test_A_05_nor_before_something_that_it_refers_to_is_new(variant: Variant) -> None:
    known = Known(Experience(bad={route("r", "c").version: Refused((ROUTE, "r"), "no", 3, again=1000.0)}))
    play = Play(variant, route("r", "c"), proofs=known)
    play.settle(play.asks(CLUSTER))
    assert not any(send.resources for send in play.settle(play.asks(ROUTE, "r")))
    clusters = play.only(play.puts(cluster("c", endpoints=False)))
    assert named(play.only(play.acks(clusters))) == ["r"]
