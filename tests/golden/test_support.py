"""docs/support.md says what is true: it is what the models say, and every field that counts is shown by a case."""

from __future__ import annotations

import pytest
import support
from cases import CASES


def test_every_field_in_force_is_shown_by_a_case() -> None:
    _, bare = support.page()
    assert bare == (), "write a golden case that renders something else without it, or mark it in the model"


def test_the_page_is_what_the_models_say(request: pytest.FixtureRequest) -> None:
    made, _ = support.page()
    if request.config.getoption("--update"):
        support.PAGE.write_text(made, encoding="utf-8")
    assert support.PAGE.read_text(encoding="utf-8") == made, "`make support` writes it"


def test_a_field_that_changes_nothing_is_found_out() -> None:
    """The proof is in what is rendered, not in that the field is written."""
    (case,) = (case for case in CASES if str(case) == "services/workload-entries")
    matters, idle = (
        support.Row(("WorkloadEntry",), path, "yes", counts=True)
        for path in (("spec", "address"), ("metadata", "annotations"))
    )
    assert support.shows(case, matters)
    assert not support.shows(case, idle)
    everywhere = [
        support.shows(each, support.Row(("ServiceEntry",), ("spec", "location"), "yes", True)) for each in CASES
    ]
    assert not any(everywhere)


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (("a", "[]", "b"), {"a": [{"c": 1}, 2], "d": {"x": {"b": 3}, "y": {}}}),
        (("d", "{}", "b"), {"a": [{"b": 1, "c": 1}, 2], "d": {"x": {}, "y": {}}}),
        (("d",), {"a": [{"b": 1, "c": 1}, 2]}),
        (("d", "b"), None),
        (("a", "{}"), None),
    ],
)
def test_what_is_left_without_a_field(path: tuple[str, ...], left: object) -> None:
    whole = {"a": [{"b": 1, "c": 1}, 2], "d": {"x": {"b": 3}, "y": {}}}
    assert support.without(whole, path) == ((whole, False) if left is None else (left, True))
