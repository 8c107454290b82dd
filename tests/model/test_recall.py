"""Units run again only when something that they read has changed, and never answer from the past."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from legation.model.meta import Key, Object, ObjectMeta
from legation.model.recall import Reader, Recall
from legation.model.world import ALL, Fact, World


def pod(name: str, **labels: str) -> Object:
    return Object(Key("Pod", "default", name), ObjectMeta(labels), None)


def advance(recall: Recall, world: World, *put: Object, removed: tuple[Key, ...] = ()) -> World:
    world, facts = world.apply(put, removed)
    recall.advance(world, facts)
    return world


def test_the_facts_of_a_change_are_what_differs() -> None:
    world, facts = World().apply([pod("a", app="x")])
    assert Fact(("Pod"), ("default", "a")) in facts
    assert Fact("workload", ("default", "app", "x")) in facts
    assert Fact("workload", ALL) in facts
    _, facts = world.apply([pod("b", app="x")])
    assert Fact("workload", ("default", "app", "x")) in facts
    assert Fact("workload", ALL) not in facts


def test_an_equal_object_changes_nothing() -> None:
    world, _ = World().apply([pod("a", app="x")])
    again, facts = world.apply([pod("a", app="x")])
    assert again is world
    assert not facts


def size(reader: Reader, app: str) -> int:
    return len(reader.get("workload", ("default", "app", app)))


def total(reader: Reader, *apps: str) -> int:
    return sum(reader.ask(size, app) for app in apps)


def is_even(reader: Reader, app: str) -> bool:
    return reader.ask(size, app) % 2 == 0


def verdict(reader: Reader, app: str) -> str:
    return "even" if reader.ask(is_even, app) else "odd"


def test_only_what_read_the_change_runs_again() -> None:
    world = World()
    recall = Recall(world)
    assert recall.ask(total, "x", "y") == 0
    ran = recall.runs
    world = advance(recall, world, pod("a", app="x"))
    assert recall.ask(total, "x", "y") == 1
    assert recall.runs - ran == 2, "size(x) and total, not size(y)"
    ran = recall.runs
    advance(recall, world, pod("b", app="z"))
    assert recall.ask(total, "x", "y") == 1
    assert recall.runs == ran


def test_an_equal_result_stops_there() -> None:
    world = World()
    recall = Recall(world)
    assert recall.ask(verdict, "x") == "even"
    ran = recall.runs
    advance(recall, world, pod("a", app="x"), pod("b", app="x"))
    assert recall.ask(verdict, "x") == "even"
    assert recall.runs - ran == 2, "size and is_even ran, verdict had no reason to"


def test_two_that_ask_the_same_both_learn_of_its_change() -> None:
    world = World()
    recall = Recall(world)
    recall.ask(verdict, "x")
    recall.ask(total, "x")
    advance(recall, world, pod("a", app="x"))
    assert recall.ask(total, "x") == 1
    assert recall.ask(verdict, "x") == "odd"


def test_a_unit_that_failed_is_asked_again() -> None:
    def fragile(reader: Reader) -> int:
        found = reader.ask(size, "x")
        if found == 1:
            raise RuntimeError("one")
        return found

    def outer(reader: Reader) -> int:
        return reader.ask(fragile)

    world = World()
    recall = Recall(world)
    assert recall.ask(outer) == 0
    world = advance(recall, world, pod("a", app="x"))
    for _ in range(2):
        try:
            recall.ask(outer)
        except RuntimeError:
            continue
        raise AssertionError("the failure was forgotten")
    advance(recall, world, pod("b", app="x"))
    assert recall.ask(outer) == 2


def apps(reader: Reader) -> tuple[str, ...]:
    return tuple(sorted({name[2] for name in reader.names("workload")}))  # type: ignore[index]


def sizes(reader: Reader) -> Any:
    return reader.each(size, (), apps)


def test_each_looks_only_at_what_changed_and_says_what_that_was() -> None:
    world, _ = World().apply([pod(f"p{n}", app=f"a{n}") for n in range(50)])
    recall = Recall(world)
    before = recall.ask(sizes)
    ran = recall.runs
    world = advance(recall, world, pod("more", app="a7"))
    after = recall.ask(sizes)
    assert set(after.since(before)) == {"a7"}
    assert after["a7"] == 2
    assert recall.runs - ran <= 2, "one size, and the unit that holds them"
    world = advance(recall, world, removed=(Key("Pod", "default", "p3"),))
    later = recall.ask(sizes)
    assert set(later.since(after)) == {"a3"}
    assert "a3" not in later
    assert set(later.since(before)) == {"a3", "a7"}, "from further back it is compared"


def up_to(number: int) -> range:
    return range(number)


def test_a_union_is_the_same_object_until_it_differs() -> None:
    world, _ = World().apply([pod("a", app="x"), pod("b", app="x"), pod("c", app="y")])
    recall = Recall(world)
    before = recall.ask(sizes).union(up_to)
    assert before == {0, 1}
    world = advance(recall, world, pod("c", app="z"))
    assert recall.ask(sizes).union(up_to) is before
    world = advance(recall, world, pod("d", app="x"))
    assert recall.ask(sizes).union(up_to) == {0, 1, 2}
    world = advance(recall, world, removed=(Key("Pod", "default", "d"), Key("Pod", "default", "a")))
    assert recall.ask(sizes).union(up_to) == {0}


def test_what_nobody_wants_any_longer_is_forgotten() -> None:
    world, _ = World().apply([pod("a", app="x")])
    recall = Recall(world)
    recall.ask(total, "x", "y")
    assert recall.remembered == 3
    recall.forget(total, "x", "y")
    assert recall.remembered == 0


changes = st.lists(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["x", "y", "z", None])), max_size=4), max_size=12
)


@given(changes)
def test_the_answer_is_that_of_a_memory_without_past(steps: list[list[tuple[str, str | None]]]) -> None:
    world = World()
    recall = Recall(world)
    for step in steps:
        put = [pod(name, app=app) for name, app in step if app is not None]
        gone = [Key("Pod", "default", name) for name, app in step if app is None]
        world, facts = world.apply(put, gone)
        recall.advance(world, facts)
        fresh = Recall(world)
        assert dict(recall.ask(sizes)) == dict(fresh.ask(sizes))
        assert recall.ask(sizes).union(up_to) == fresh.ask(sizes).union(up_to)
        for app in "xyz":
            assert recall.ask(verdict, app) == fresh.ask(verdict, app)
        assert recall.ask(total, "x", "y") == fresh.ask(total, "x", "y")
