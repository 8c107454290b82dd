"""The subscription by itself: what a request asks for, drops, opens and closes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from legation.stream.subscription import Asked, Subscription

NAMES = st.lists(st.sampled_from(["a", "b", "c", "*"]), max_size=4)


def test_a_list_replaces_the_one_before() -> None:
    subscription = Subscription()
    assert subscription.replace(["a", "b"], legacy=False) == Asked(names=frozenset("ab"))
    assert subscription.replace(["b", "c"], legacy=False) == Asked(names=frozenset("c"), dropped=frozenset("a"))
    assert [name for name in "abc" if subscription.wants(name)] == ["b", "c"]


def test_a_change_is_applied_to_what_is_there() -> None:
    subscription = Subscription()
    assert subscription.adjust(["a"], [], legacy=False) == Asked(names=frozenset("a"))
    assert subscription.adjust(["a"], [], legacy=False) == Asked(names=frozenset("a")), "asked for again"
    assert subscription.adjust([], ["a", "x"], legacy=False) == Asked(dropped=frozenset("a"))
    assert not subscription


@given(st.lists(NAMES, min_size=1, max_size=5), st.booleans())
def test_state_of_the_world_depends_on_the_last_list_and_on_whether_names_were_ever_said(
    lists: list[list[str]], legacy: bool
) -> None:
    subscription = Subscription()
    for names in lists:
        subscription.replace(names, legacy)
    last = set(lists[-1])
    assert subscription.names == last - {"*"}
    assert subscription.wildcard == ("*" in last or (legacy and not any(lists)))


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5))
def test_incremental_is_the_sum_of_its_changes(changes: list[tuple[list[str], list[str]]]) -> None:
    subscription, expected = Subscription(), set[str]()
    for come, gone in changes:
        asked = subscription.adjust(come, gone, legacy=False)
        expected = (expected | set(come)) - set(gone)
        assert set(come) - set(gone) - {"*"} <= asked.names
        assert not asked.dropped & subscription.names
    assert subscription.names == expected - {"*"}
    assert subscription.wildcard == ("*" in expected)
