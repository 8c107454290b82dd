"""Versions are of content, a Change is exact, and the way to a Snapshot leaves no trace in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from legation.names import CLUSTER, ENDPOINT, Key
from legation.snapshot.snapshot import Resource, Snapshot, adjusted, evolve, resource, snapshot


def made(name: str, content: str = "", type_url: str = CLUSTER) -> Resource:
    return resource(type_url, name, content.encode())


def test_a_version_is_of_the_content_alone() -> None:
    one = resource(CLUSTER, "a", b"x", refs=[(ENDPOINT, "a")], origins=[Key("Service", "default", "a")])
    assert one.version == resource(CLUSTER, "b", b"x").version
    assert one.version != resource(CLUSTER, "a", b"y").version


def test_a_type_version_tells_names_contents_and_sets_apart() -> None:
    sets = [[], [made("a")], [made("a", "x")], [made("b")], [made("a"), made("b")], [made("a", "x"), made("b")]]
    assert len({snapshot(listed).version(CLUSTER) for listed in sets}) == len(sets)


def test_swapped_contents_are_another_version() -> None:
    """A sum of versions alone would not see it."""
    one, other = [made("a", "x"), made("b", "y")], [made("a", "y"), made("b", "x")]
    assert snapshot(one).version(CLUSTER) != snapshot(other).version(CLUSTER)


def test_two_of_a_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        snapshot([made("a", "x"), made("a", "y")])
    assert snapshot([made("a"), made("a", type_url=ENDPOINT)]).of(ENDPOINT)


def test_a_change_names_what_differs_and_nothing_else() -> None:
    old = snapshot([made("same", "1"), made("changed", "1"), made("gone", "1"), made("other", "1", ENDPOINT)])
    put = [made("same", "1"), made("changed", "2"), made("new", "1")]
    now, change = evolve(old, put, [(CLUSTER, "gone"), (CLUSTER, "never-there")])
    assert change == {CLUSTER: frozenset({"changed", "gone", "new"})}
    assert now.of(CLUSTER).keys() == {"same", "changed", "new"}
    assert now.of(ENDPOINT) is old.of(ENDPOINT)


def test_removed_and_put_again_is_no_change() -> None:
    old = snapshot([made("a", "1")])
    now, change = evolve(old, [made("a", "1")], [(CLUSTER, "a")])
    assert change == {}
    assert now.version(CLUSTER) == old.version(CLUSTER)


def test_new_origins_are_kept_without_a_change() -> None:
    """A route that comes from another document now, and reads the same, is nothing to send; a report still finds it."""
    old = snapshot([resource(CLUSTER, "a", b"x", origins=[Key("Service", "default", "a")])])
    later = resource(CLUSTER, "a", b"x", origins=[Key("ServiceEntry", "default", "a")])
    now, change = evolve(old, [later], ())
    assert change == {}
    assert now.of(CLUSTER)["a"].origins == later.origins


def test_the_old_snapshot_stays_as_it_was() -> None:
    old = snapshot([made("a", "1")], "r1")
    now, _ = evolve(old, [made("b", "1")], [(CLUSTER, "a")], "r2")
    assert old.of(CLUSTER).keys() == {"a"}
    assert (old.revision, now.revision) == ("r1", "r2")


contents = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"), max_size=6)


@given(st.lists(contents, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_path_leaves_no_trace(steps: list[dict[str, str]], random: object) -> None:
    now, before = Snapshot(), dict[str, str]()
    for step in steps:
        put = [made(name, content) for name, content in step.items()]
        random.shuffle(put)  # type: ignore[attr-defined]
        now, change = evolve(now, put, [(CLUSTER, name) for name in before.keys() - step.keys()])
        names = {name for name in before.keys() | step.keys() if before.get(name) != step.get(name)}
        assert change == ({CLUSTER: frozenset(names)} if names else {})
        before = step
    fresh = snapshot(made(name, content) for name, content in before.items())
    assert now.version(CLUSTER) == fresh.version(CLUSTER)
    assert dict(now.of(CLUSTER)) == dict(fresh.of(CLUSTER))


@given(contents, contents)
def test_a_version_can_be_adjusted_without_the_rest(some: dict[str, str], more: dict[str, str]) -> None:
    """What a stream leaves out or adds changes the type's version as if it were not, or were, in the Snapshot."""
    extra = [made(f"x-{name}", content) for name, content in more.items()]
    base = [made(name, content) for name, content in some.items()]
    with_extra, without = snapshot([*base, *extra]).version(CLUSTER), snapshot(base).version(CLUSTER)
    assert adjusted(without, extra, ()) == with_extra
    assert adjusted(with_extra, (), extra) == without
