"""docs/conformance.md says what is true: it is what the list and the names of the tests say."""

from __future__ import annotations

import pytest

from . import page


def test_every_check_that_counts_has_a_test_or_a_reason() -> None:
    bare = [check.id for checks in page.sections().values() for check in checks if check.is_bare]
    assert bare == [], "write a test that is named by it, or say in checks.yaml why there is none"


def test_every_test_is_of_a_check_that_exists() -> None:
    known = {check.id for checks in page.sections().values() for check in checks}
    assert {test: ids for test, ids in page.tests().items() if not known.issuperset(ids)} == {}


def test_the_levels_are_three() -> None:
    assert {check.level for checks in page.sections().values() for check in checks} == set(page.LEVELS)


def test_the_page_is_what_the_tests_say(request: pytest.FixtureRequest) -> None:
    made = page.page()
    if request.config.getoption("--update"):
        page.PAGE.write_text(made, encoding="utf-8")
    assert page.PAGE.read_text(encoding="utf-8") == made, "`make conformance` writes it"


def test_a_check_without_test_or_reason_would_be_found() -> None:
    assert page.Check("T-99", "SHOULD", "", (), "").is_bare
    assert not page.Check("T-99", "MAY", "", (), "").is_bare
