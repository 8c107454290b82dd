"""The wildcard, with and without its name (W-01 … W-11)."""

from __future__ import annotations

import pytest
from legation.names import CLUSTER, ENDPOINT
from legation.snapshot.snapshot import resource
from legation.stream.events import Requested
from legation.stream.machine import Variant
from stream.playbook import DELTA, SOTW, Play, cluster, named


@pytest.mark.parametrize("variant", [SOTW, DELTA])
def test_W_01_without_names_ever_everything_is_meant(variant: Variant) -> None:
    """For the types that know it."""
    play = Play(variant, cluster("a"), cluster("b"))
    assert named(play.only(play.asks(CLUSTER))) == ["a", "b"]


@pytest.mark.parametrize("variant", [SOTW, DELTA])
@pytest.mark.parametrize("type_url", [CLUSTER, ENDPOINT, "type.googleapis.com/made.up.Type"])
def test_W_02_a_star_means_everything(variant: Variant, type_url: str) -> None:
    """By its name it is known for every type."""
    play = Play(variant, *(resource(type_url, name, name.encode()) for name in "ab"))
    assert named(play.only(play.asks(type_url, "*"))) == ["a", "b"]
    assert named(play.settle([play.open[type_url], *play.puts(resource(type_url, "c", b"c"))])[-1])[-1] == "c"


def test_W_03_state_of_the_world_from_nothing_said_to_nothing_wanted() -> None:
    """{} is everything; {*, A} is that and A; {A} is A; {} is then nothing."""
    play = Play(SOTW, cluster("a"), cluster("b"))
    assert named(play.settle(play.asks(CLUSTER))[0]) == ["a", "b"]
    play.settle(play.asks(CLUSTER, "*", "a"))
    assert named(play.settle(play.puts(cluster("c")))[0]) == ["a", "b", "c"]
    play.drops(CLUSTER, "*")
    assert play.puts(cluster("b", "2")) == []
    assert named(play.settle(play.puts(cluster("a", "2")))[0]) == ["a"]
    play.drops(CLUSTER, "a")
    assert play.puts(cluster("a", "3"), cluster("d")) == []


def test_W_04_incremental_from_nothing_said_to_nothing_wanted() -> None:
    """subscribe {} is everything; + A is that and A; - * is A; - A is nothing."""
    play = Play(DELTA, cluster("a"), cluster("b"))
    assert named(play.settle(play.asks(CLUSTER))[0]) == ["a", "b"]
    assert named(play.settle(play.asks(CLUSTER, "a"))[0]) == ["a"]
    assert named(play.settle(play.puts(cluster("b", "2")))[0]) == ["b"]
    assert play.drops(CLUSTER, "*") == []
    assert play.puts(cluster("b", "3")) == []
    assert named(play.settle(play.puts(cluster("a", "2")))[0]) == ["a"]
    assert play.drops(CLUSTER, "a") == []
    assert play.puts(cluster("a", "3")) == []


def test_W_05_a_star_that_comes_and_goes_in_one_message_is_nothing() -> None:
    """Istio's ambient clients say "nothing yet" like that, since an empty first request would be everything."""
    play = Play(DELTA, cluster("a"))
    assert play.says(Requested(CLUSTER, subscribe=("*",), unsubscribe=("*",))) == []
    assert play.puts(cluster("a", "2")) == []
    assert named(play.only(play.asks(CLUSTER, "a"))) == ["a"]


def test_W_06_a_first_request_that_only_unsubscribes_is_not_the_wildcard() -> None:
    """Only one that names nothing at all is."""
    play = Play(DELTA, cluster("a"))
    assert play.drops(CLUSTER, "x") == []
    assert play.puts(cluster("a", "2")) == []


def test_W_07_from_everything_to_names() -> None:
    """The next full state holds only the named; the rest is deleted by that."""
    play = Play(SOTW, cluster("a"), cluster("b"))
    play.settle(play.asks(CLUSTER))
    assert named(play.only(play.asks(CLUSTER, "a"))) == ["a"]


@pytest.mark.parametrize("variant", [SOTW, DELTA])
def test_W_08_from_names_to_everything_at_an_unchanged_version(variant: Variant) -> None:
    """What was not sent yet is sent now."""
    play = Play(variant, cluster("a"), cluster("b"))
    play.settle(play.asks(CLUSTER, "a"))
    assert "b" in named(play.only(play.asks(CLUSTER, "*")))


def test_W_11_everything_and_a_name_on_demand() -> None:
    """Envoy's on-demand clusters: `*` and names on one stream, each served and let go by itself."""
    play = Play(DELTA, cluster("a"))
    play.settle(play.asks(CLUSTER, "*"))
    missing = play.only(play.settle(play.asks(CLUSTER, "later")))
    assert (missing.resources, missing.removed) == ((), ("later",))
    assert named(play.only(play.settle(play.puts(cluster("later"))))) == ["later"]
    assert named(play.only(play.settle(play.asks(CLUSTER, "later")))) == ["later"]
