"""An overlay is a dict that costs what changed: the same entries, in the same order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from legation import overlay
from legation.overlay import Overlay

names = st.integers(0, 400)
changes = st.lists(
    st.tuples(st.dictionaries(names, st.integers(), max_size=90), st.sets(names, max_size=30)), max_size=12
)


@given(changes)
def test_it_is_a_dict(steps: list[tuple[dict[int, int], set[int]]]) -> None:
    made: Overlay[int, int] = Overlay()
    wanted: dict[int, int] = {}
    for put, removed in steps:
        before, earlier = made, dict(wanted)
        made = made.altered(put, removed)
        wanted = {name: number for name, number in wanted.items() if name not in removed or name in put} | put
        assert dict(before) == earlier  # the one it was made from is what it was
        assert dict(made) == wanted
        assert len(made) == len(wanted)
        assert made.keys() == wanted.keys()
        assert all(made.get(name, "none") == wanted.get(name, "none") for name in range(401))
        assert all((name in made) == (name in wanted) for name in range(401))


def test_what_changes_keeps_its_place() -> None:
    table = Overlay(dict.fromkeys(range(overlay.FEW), 0)).altered({3: 1}).altered({5: 1}, [4])
    assert list(table)[:5] == [0, 1, 2, 3, 5]
    assert list(table.values())[:5] == [0, 0, 0, 1, 1]


def test_many_changes_do_not_pile_up() -> None:
    table = Overlay(dict.fromkeys(range(1000), 0))
    for name in range(1_000):
        table = table.altered({name: 1}, [name + 1])
    assert len(table._top) <= overlay.FEW
    assert dict(table) == dict.fromkeys(range(1_000), 1)
